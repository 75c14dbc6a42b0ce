/**
 * Hashing, random bytes and base64url, all synchronous: native where the runtime provides them, an audited portable library elsewhere.
 */
import { hmac as portableHmac } from "@noble/hashes/hmac.js"
import { sha256 as portableSha256 } from "@noble/hashes/sha2.js"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import { nativeBuffer, nativeCrypto } from "./native.js"

const native = nativeCrypto
const hash = native?.hash

/** SHA-256 as base64url. It is the function of the runtime itself, if that has one. */
export const digest: (bytes: Uint8Array, encoding: "base64url") => string = hash === undefined
  ? (bytes) => Encoding.encodeBase64Url(portableSha256(bytes))
  : hash.bind(undefined, "sha256")

/** SHA-256 as base64url. */
export const sha256 = (bytes: Uint8Array): string => digest(bytes, "base64url")

/** HMAC-SHA-256 of the concatenated parts. */
export const hmacSha256: (key: Uint8Array, ...parts: ReadonlyArray<Uint8Array>) => Uint8Array = native === undefined
  ? (key, ...parts) => parts.reduce((mac, part) => mac.update(part), portableHmac.create(portableSha256, key)).digest()
  : (key, ...parts) => parts.reduce((mac, part) => mac.update(part), native.createHmac("sha256", key)).digest()

/** HKDF-SHA-256 (RFC 5869) with 32 bytes of output, which is one round of expansion. */
export const hkdfSha256 = (secret: Uint8Array, salt: Uint8Array, info: Uint8Array): Uint8Array =>
  hmacSha256(hmacSha256(salt, secret), info, Uint8Array.of(1))

/** Compares two secrets in constant time. Their lengths are not secret. */
export const equals = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && (native === undefined ? portableEqual(a, b) : native.timingSafeEqual(a, b))

// Not the function of `@noble/ciphers`: applications that seal nothing would load that package for it.
const portableEqual = (a: Uint8Array, b: Uint8Array): boolean =>
  a.reduce((difference, byte, at) => difference | (byte ^ (b[at] ?? 0)), 0) === 0

/** Random bytes from the cryptographic source of the runtime, which throws if it has no entropy. */
export const randomBytes = (length: number): Uint8Array => globalThis.crypto.getRandomValues(new Uint8Array(length))

const pool: { bytes: Uint8Array; used: number } = { bytes: new Uint8Array(0), used: 0 }

/**
 * Random bytes for names that are not secret. They are generated in bulk, because a call of the runtime's source costs more than the rest
 * of a write in memory.
 */
export const nameBytes = (length: number): Uint8Array => {
  if (pool.used + length > pool.bytes.length) {
    pool.bytes = randomBytes(Math.max(1024, length))
    pool.used = 0
  }
  pool.used += length
  return pool.bytes.slice(pool.used - length, pool.used)
}

const utf8 = new TextEncoder()

/**
 * Concatenates the parts, each preceded by its length in two bytes, so that different lists of parts have different encodings. Text is
 * encoded as UTF-8. Throws if a part has more than 65,535 bytes, or is text with a lone surrogate.
 */
export const lengthPrefixed = (...parts: ReadonlyArray<string | Uint8Array>): Uint8Array => {
  const encoded = parts.map((part) => {
    const bytes = typeof part === "string" ? utf8.encode(part) : part
    if (bytes.length > 0xFFFF || (typeof part === "string" && /\p{Surrogate}/u.test(part))) {
      throw new RangeError("A part has more than 65,535 bytes or a lone surrogate")
    }
    return bytes
  })
  const bytes = new Uint8Array(encoded.reduce((sum, part) => sum + 2 + part.length, 0))
  let offset = 0
  for (const part of encoded) {
    new DataView(bytes.buffer).setUint16(offset, part.length)
    bytes.set(part, offset + 2)
    offset += 2 + part.length
  }
  return bytes
}

const buffer = nativeBuffer

/** Encodes bytes as base64url without padding. */
export const encodeBase64Url: (bytes: Uint8Array) => string = buffer === undefined
  ? Encoding.encodeBase64Url
  : (bytes) => buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64url")

/**
 * Decodes base64url. Both decoders accept non-canonical text: padding, spare bits, the other alphabet; the native one any character
 * at all.
 */
export const decodeLenient: (text: string, encoding: "base64url") => Uint8Array | undefined = buffer === undefined
  ? (text) => Either.getOrUndefined(Encoding.decodeBase64Url(text))
  : buffer.from

/** Decodes canonical base64url without padding; `undefined` for any other text. */
export const decodeBase64Url = (text: string): Uint8Array | undefined => {
  const bytes = decodeLenient(text, "base64url")
  return bytes !== undefined && encodeBase64Url(bytes) === text ? bytes : undefined
}

/** SHA-256 as 32 bytes. */
export const sha256Bytes = (bytes: Uint8Array): Uint8Array => decodeBase64Url(sha256(bytes)) ?? new Uint8Array()
