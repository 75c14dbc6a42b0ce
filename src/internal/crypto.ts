/**
 * Hashing and random bytes: native and synchronous where the runtime has them, an audited portable library elsewhere.
 * Nothing of `node:*` is imported, so that modules above this one can be bundled for a browser.
 */
import { sha256 as portableSha256 } from "@noble/hashes/sha2.js"

interface NativeCrypto {
  readonly createHash: (algorithm: "sha256") => { update(bytes: Uint8Array): { digest(): Uint8Array } }
  readonly randomFillSync: (bytes: Uint8Array) => Uint8Array
}

interface Runtime {
  readonly process?: { readonly getBuiltinModule?: (id: string) => NativeCrypto | undefined }
}

const native = (globalThis as Runtime).process?.getBuiltinModule?.("node:crypto")

/** SHA-256. */
export const sha256: (bytes: Uint8Array) => Uint8Array = native === undefined
  ? portableSha256
  : (bytes) => native.createHash("sha256").update(bytes).digest()

/** Random bytes from the runtime's cryptographic source, which throws rather than degrade. */
export const randomBytes = (length: number): Uint8Array => globalThis.crypto.getRandomValues(new Uint8Array(length))

const utf8 = new TextEncoder()

/**
 * The parts as UTF-8, each behind its length in two bytes, so that no two lists of parts give the same bytes.
 */
export const lengthPrefixed = (...parts: ReadonlyArray<string>): Uint8Array => {
  const encoded = parts.map((part) => utf8.encode(part))
  const bytes = new Uint8Array(encoded.reduce((sum, part) => sum + 2 + part.length, 0))
  let offset = 0
  for (const part of encoded) {
    new DataView(bytes.buffer).setUint16(offset, part.length)
    bytes.set(part, offset + 2)
    offset += 2 + part.length
  }
  return bytes
}
