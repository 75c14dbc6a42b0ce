/**
 * Tokens: signed or sealed bytes, as text that is valid in a cookie.
 *
 * ```
 * e1.<kid>.<B>        B = base64url(nonce 24 | ciphertext | tag 16)   XChaCha20-Poly1305
 * f1.<kid>.<B>        B = base64url(salt 24 | ciphertext | tag 16)    AES-256-GCM, key of its own, nonce zero
 * h1.<kid>.<P>.<M>    P = base64url(content), M = base64url(HMAC-SHA-256(key, LP(aad) | P)), readable
 *
 * aad                 ASCII up to and including the dot before B or P | LP(cookieName) | LP(audience)
 * key                 HKDF-SHA-256(secret, salt, info); the salt is empty, but for f1
 * info                LP("effect-session") LP(suite) LP(purpose) LP(kid) LP(cookieName) LP(audience)
 * ```
 *
 * LP is two bytes of length, followed by the bytes. The plaintext is `content | 0x80 | zeros`, padded to a multiple of 32 bytes to hide the
 * exact length; the content ends at the last 0x80. Base64url is without padding and canonical: any other encoding of the same bytes is
 * rejected.
 */
import * as Arr from "effect/Array"
import * as Option from "effect/Option"
import type { Aead } from "./cipher.js"
import { aes256Gcm, tagBytes, xchacha20Poly1305 } from "./cipher.js"
import {
  decodeBase64Url,
  encodeBase64Url,
  equals,
  hkdfSha256,
  hmacSha256,
  lengthPrefixed,
  randomBytes
} from "./primitives.js"

/** The cipher suite of tokens. A token begins with its suite, but the reader decides which suite it accepts. */
export type Suite = "e1" | "f1" | "h1"

/** A secret from which keys are derived, and the id by which tokens refer to it. */
export interface RootKey {
  readonly id: string
  readonly secret: Uint8Array
}

/** The purpose of tokens. A token of one use is rejected by every other. */
export interface Use {
  readonly purpose: string
  readonly suite: Suite
  readonly cookieName: string
  readonly audience: string
}

/** The content of a token. */
interface Content {
  readonly content: Uint8Array
  /** It was made with another key than the first of the keyring. */
  readonly outdated: boolean
}

/** Writes and reads the tokens of one use. */
export interface Tokens {
  /** Only tests pass a nonce. */
  readonly write: (content: Uint8Array, nonce?: Uint8Array) => string
  /** Returns `None` for any text that is not a valid token. */
  readonly read: (token: string) => Option.Option<Content>
}

/**
 * Why a text is rejected. `malformed`: it has not the form of this suite. `unknown_key`: its key is not in the keyring. `forged`: its
 * content was not made with that key for this use.
 */
type Rejection = "malformed" | "unknown_key" | "forged"

const form = /^[efh]1(?:\.[A-Za-z0-9_-]+){2,3}$/

/** Returns whether a text has the form of a token of any suite, without checking it. */
export const isTokenText = (text: string): boolean => form.test(text)

/** Writes and reads the part of a token after the second dot, with one key. */
interface Body {
  readonly write: (content: Uint8Array, nonce: Uint8Array | undefined) => string
  readonly read: (body: string) => Uint8Array | "malformed" | "forged"
}

type MakeBody = (secret: Uint8Array, info: Uint8Array, aad: Uint8Array, nonces: () => Uint8Array) => Body

/**
 * Derives the keys of one use. The first key writes tokens; all keys read them. Throws if a name has more than 65,535 bytes or a lone
 * surrogate. The reason of a rejection is passed to `rejected` for metrics only, and not to the caller of `read`.
 */
export const tokens = (
  keys: Arr.NonEmptyReadonlyArray<RootKey>,
  use: Use,
  rejected: (reason: Rejection) => void = () => {}
): Tokens => {
  const nonces = nonceSource()
  const derived = Arr.map(keys, ({ id, secret }) => {
    const prefix = `${use.suite}.${id}.`
    const info = lengthPrefixed("effect-session", use.suite, use.purpose, id, use.cookieName, use.audience)
    const aad = join(ascii(prefix), lengthPrefixed(use.cookieName, use.audience))
    return { prefix, ...suites[use.suite](secret, info, aad, nonces) }
  })
  const [first] = derived
  return {
    write: (content, nonce) => first.prefix + first.write(content, nonce),
    read: (token) => {
      // No prefix begins with another one, so at most one key is tried.
      const key = derived.find(({ prefix }) => token.startsWith(prefix))
      const content = key === undefined
        ? hasForm(use.suite, token) ? "unknown_key" : "malformed"
        : key.read(token.slice(key.prefix.length))
      if (typeof content !== "string") return Option.some({ content, outdated: key !== first })
      rejected(content)
      return Option.none()
    }
  }
}

/** Returns whether a text begins as a token of this suite does, with the id of a key. */
export const hasForm = (suite: Suite, token: string): boolean =>
  token.startsWith(`${suite}.`) && token.indexOf(".", 3) > 3

const nonceBytes = 24

/** Random nonces. They are not generated in advance: two processes restored from one snapshot would use the same nonces. */
const nonceSource = () => {
  let last: Uint8Array = new Uint8Array(nonceBytes)
  return () => {
    const nonce = randomBytes(nonceBytes)
    // Two messages with one nonce would reveal parts of their plaintexts and allow forgeries.
    if (equals(nonce, last)) throw new Error("The source of random bytes returned the same nonce twice")
    last = nonce
    return nonce
  }
}

/** A body of `nonce | ciphertext | tag`. `cipherOf` derives the cipher, and the nonce of the cipher, from the nonce of the body. */
const sealed = (
  cipherOf: (nonce: Uint8Array) => readonly [aead: Aead, nonce: Uint8Array],
  aad: Uint8Array,
  nonces: () => Uint8Array
): Body => ({
  write: (content, nonce = nonces()) => {
    const padded = Math.ceil((content.length + 1) / blockBytes) * blockBytes
    const bytes = new Uint8Array(nonceBytes + padded + tagBytes)
    bytes.set(nonce)
    bytes.set(content, nonceBytes)
    bytes[nonceBytes + content.length] = paddingByte
    const [aead, cipherNonce] = cipherOf(nonce)
    aead.seal(cipherNonce, aad, bytes.subarray(nonceBytes, nonceBytes + padded), bytes.subarray(nonceBytes))
    return encodeBase64Url(bytes)
  },
  read: (body) => {
    const bytes = decodeBase64Url(body)
    if (bytes === undefined || bytes.length < nonceBytes + tagBytes) return "malformed"
    const [aead, cipherNonce] = cipherOf(bytes.subarray(0, nonceBytes))
    const padded = aead.open(cipherNonce, aad, bytes.subarray(nonceBytes))
    const end = padded?.lastIndexOf(paddingByte) ?? -1
    return padded === undefined || end < 0 ? "forged" : padded.subarray(0, end)
  }
})

/** The first byte of the padding; zeros follow. */
const paddingByte = 0x80
/** The length of the padded plaintext is a multiple of this. */
const blockBytes = 32

const noSalt = new Uint8Array(0)
const zeroNonce = new Uint8Array(12)

const suites: Readonly<Record<Suite, MakeBody>> = {
  e1: (secret, info, aad, nonces) => {
    const aead = xchacha20Poly1305(hkdfSha256(secret, noSalt, info))
    return sealed((nonce) => [aead, nonce], aad, nonces)
  },
  f1: (secret, info, aad, nonces) =>
    sealed((salt) => [aes256Gcm(hkdfSha256(secret, salt, info)), zeroNonce], aad, nonces),
  h1: (secret, info, aad) => {
    const key = hkdfSha256(secret, noSalt, info)
    const prefix = lengthPrefixed(aad)
    const macOf = (text: string) => hmacSha256(key, prefix, ascii(text))
    return {
      write: (content) => {
        const text = encodeBase64Url(content)
        return `${text}.${encodeBase64Url(macOf(text))}`
      },
      read: (body) => {
        const dot = body.indexOf(".")
        if (dot < 0) return "malformed"
        const text = body.slice(0, dot)
        const content = decodeBase64Url(text)
        const mac = decodeBase64Url(body.slice(dot + 1))
        if (content === undefined || mac === undefined) return "malformed"
        return equals(mac, macOf(text)) ? content : "forged"
      }
    }
  }
}

const utf8 = new TextEncoder()

const ascii = (text: string): Uint8Array => utf8.encode(text)

const join = (a: Uint8Array, b: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(a.length + b.length)
  bytes.set(a)
  bytes.set(b, a.length)
  return bytes
}
