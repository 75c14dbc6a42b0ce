/**
 * Hashing and random bytes: native and synchronous where the runtime has them, an audited portable library elsewhere.
 * Nothing of `node:*` is imported, so that modules above this one can be bundled for a browser.
 */
import { sha256 as portableSha256 } from "@noble/hashes/sha2.js"
import * as Encoding from "effect/Encoding"

interface NativeCrypto {
  readonly hash: (algorithm: "sha256", bytes: Uint8Array, encoding: "base64url") => string
}

interface Runtime {
  readonly process?: { readonly getBuiltinModule?: (id: string) => NativeCrypto | undefined }
}

const native = (globalThis as Runtime).process?.getBuiltinModule?.("node:crypto")

/** SHA-256, as base64url. */
export const sha256: (bytes: Uint8Array) => string = native === undefined
  ? (bytes) => Encoding.encodeBase64Url(portableSha256(bytes))
  : (bytes) => native.hash("sha256", bytes, "base64url")

/** Random bytes from the runtime's cryptographic source, which throws rather than degrade. */
export const randomBytes = (length: number): Uint8Array => globalThis.crypto.getRandomValues(new Uint8Array(length))

const utf8 = new TextEncoder()

/**
 * The parts as UTF-8, each behind its length in two bytes, so that no two lists of parts give the same bytes. Throws on a
 * part that has no such spelling: over 65,535 bytes, or with a lone surrogate.
 */
export const lengthPrefixed = (...parts: ReadonlyArray<string>): Uint8Array => {
  const encoded = parts.map((part) => {
    const bytes = utf8.encode(part)
    if (bytes.length > 0xFFFF || /\p{Surrogate}/u.test(part)) throw new RangeError("a part that cannot be spelled")
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
