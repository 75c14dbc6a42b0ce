/**
 * Text that only the holder of a token can read: what a store keeps in its place.
 */
import * as Option from "effect/Option"
import type { SessionToken } from "../SessionToken.js"
import { unsafeBytes } from "../SessionToken.js"
import * as Base64Url from "./base64url.js"
import { xchacha20Poly1305 } from "./cipher.js"
import { hkdfSha256, lengthPrefixed, randomBytes } from "./crypto.js"

const nonceBytes = 24
const tagBytes = 16
const mark = "t1."

const utf8 = new TextEncoder()
const fromUtf8 = new TextDecoder("utf-8", { ignoreBOM: true })
const noSalt = new Uint8Array(0)

/** Seals the texts of a namespace, each under a key that is derived from its token, and bound to a version. */
export const make = (namespace: string) => {
  const info = lengthPrefixed("effect-session", "t1", "rest", namespace)
  const cipherOf = (token: SessionToken) => xchacha20Poly1305(hkdfSha256(unsafeBytes(token), noSalt, info))
  const bound = (version: number) => lengthPrefixed(mark, String(version))
  return {
    seal: (token: SessionToken, version: number, text: string): string => {
      const nonce = randomBytes(nonceBytes)
      const sealed = cipherOf(token).seal(nonce, bound(version), utf8.encode(text))
      const bytes = new Uint8Array(nonceBytes + sealed.length)
      bytes.set(nonce)
      bytes.set(sealed, nonceBytes)
      return mark + Base64Url.encode(bytes)
    },
    /** Nothing if it was not sealed so. */
    open: (token: SessionToken, version: number, text: string): Option.Option<string> => {
      const bytes = text.startsWith(mark) ? Base64Url.decode(text.slice(mark.length)) : undefined
      if (bytes === undefined || bytes.length < nonceBytes + tagBytes) return Option.none()
      const plain = cipherOf(token).open(bytes.subarray(0, nonceBytes), bound(version), bytes.subarray(nonceBytes))
      return Option.map(Option.fromNullable(plain), (plain) => fromUtf8.decode(plain))
    }
  }
}

export type SealedText = ReturnType<typeof make>
