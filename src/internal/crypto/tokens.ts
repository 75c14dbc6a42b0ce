/**
 * Tokens: bytes that were signed or sealed, as text that any cookie can hold.
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
 * LP is two bytes of length, and then the bytes. What is sealed is `content | 0x80 | zeros`, to a multiple of 32 bytes:
 * its length tells little, and the last 0x80 is always where the content ends. Base64url is without padding, and a text
 * that is not the one spelling of its bytes is no token.
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

/** How tokens are made. The first letters of a token name it, and nothing in a token chooses another. */
export type Suite = "e1" | "f1" | "h1"

/** A secret from which keys are derived, and the name under which tokens refer to it. */
export interface RootKey {
  readonly id: string
  readonly secret: Uint8Array
}

/** What tokens are for. Those of one use mean nothing in another. */
export interface Use {
  readonly purpose: string
  readonly suite: Suite
  readonly cookieName: string
  readonly audience: string
}

/** What a token holds. */
interface Content {
  readonly content: Uint8Array
  /** Another key than the first had made it. */
  readonly outdated: boolean
}

/** Makes and reads the tokens of one use. */
export interface Tokens {
  /** The nonce is given in tests only. */
  readonly write: (content: Uint8Array, nonce?: Uint8Array) => string
  /** Whatever is not such a token is `None`, for whatever reason. */
  readonly read: (token: string) => Option.Option<Content>
}

/**
 * Why a text is not a token: it does not look like one of this suite; it names a key that is not in the ring; or what it
 * holds is not what that key has made for this use.
 */
type Rejection = "malformed" | "unknown_key" | "forged"

/** What comes behind the second dot of a token, under one key. */
interface Body {
  readonly write: (content: Uint8Array, nonce: Uint8Array | undefined) => string
  readonly read: (body: string) => Uint8Array | "malformed" | "forged"
}

type MakeBody = (secret: Uint8Array, info: Uint8Array, aad: Uint8Array, nonces: () => Uint8Array) => Body

/**
 * Derives the keys of one use, the first of which makes tokens. Throws if a name cannot be spelled: over 65,535 bytes,
 * or with a lone surrogate. Who counts hears why a text is no token; who asks does not.
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
      // No prefix begins another, so at most one key is tried, and none for an id that nobody has.
      const key = derived.find(({ prefix }) => token.startsWith(prefix))
      const content = key === undefined
        ? looksLike(use.suite, token) ? "unknown_key" : "malformed"
        : key.read(token.slice(key.prefix.length))
      if (typeof content !== "string") return Option.some({ content, outdated: key !== first })
      rejected(content)
      return Option.none()
    }
  }
}

const looksLike = (suite: Suite, token: string): boolean => token.startsWith(`${suite}.`) && token.indexOf(".", 3) > 3

const nonceBytes = 24

/** Random nonces. Not drawn in advance: a copy of this process, woken twice, must not find one in its memory. */
const nonceSource = () => {
  let last: Uint8Array = new Uint8Array(nonceBytes)
  return () => {
    const nonce = randomBytes(nonceBytes)
    // A second message under one nonce would give the key away.
    if (equals(nonce, last)) throw new Error("the source of random bytes repeats itself")
    last = nonce
    return nonce
  }
}

/** A body of `nonce | ciphertext | tag`, by the cipher and the nonce for it that go with a nonce. */
const sealed = (
  cipherOf: (nonce: Uint8Array) => readonly [aead: Aead, nonce: Uint8Array],
  aad: Uint8Array,
  nonces: () => Uint8Array
): Body => ({
  write: (content, nonce = nonces()) => {
    const padded = Math.ceil((content.length + 1) / step) * step
    const bytes = new Uint8Array(nonceBytes + padded + tagBytes)
    bytes.set(nonce)
    bytes.set(content, nonceBytes)
    bytes[nonceBytes + content.length] = mark
    const [aead, own] = cipherOf(nonce)
    aead.seal(own, aad, bytes.subarray(nonceBytes, nonceBytes + padded), bytes.subarray(nonceBytes))
    return encodeBase64Url(bytes)
  },
  read: (body) => {
    const bytes = decodeBase64Url(body)
    if (bytes === undefined || bytes.length < nonceBytes + tagBytes) return "malformed"
    const [aead, own] = cipherOf(bytes.subarray(0, nonceBytes))
    const padded = aead.open(own, aad, bytes.subarray(nonceBytes))
    const end = padded?.lastIndexOf(mark) ?? -1
    return padded === undefined || end < 0 ? "forged" : padded.subarray(0, end)
  }
})

// Padding: this byte, and zeros up to a multiple of this many.
const mark = 0x80
const step = 32

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
