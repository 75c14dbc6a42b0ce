/**
 * What the runtime has built in and a browser has not. Nothing of `node:*` is imported, so that modules above this one
 * can be bundled for a browser; there, everything here is `undefined`.
 */

interface Hmac {
  readonly update: (bytes: Uint8Array) => Hmac
  readonly digest: () => Uint8Array
}

interface Cipher {
  readonly setAAD: (aad: Uint8Array, options: { readonly plaintextLength: number }) => unknown
  readonly update: (bytes: Uint8Array) => Uint8Array
  readonly final: () => Uint8Array
}

interface TagLength {
  readonly authTagLength: 16
}

interface NativeCrypto {
  /** Not in every runtime that has the others. */
  readonly hash?: (algorithm: "sha256", bytes: Uint8Array, encoding: "base64url") => string
  readonly createHmac: (algorithm: "sha256", key: Uint8Array) => Hmac
  readonly timingSafeEqual: (a: Uint8Array, b: Uint8Array) => boolean
  readonly createCipheriv: (
    algorithm: string,
    key: Uint8Array,
    nonce: Uint8Array,
    options: TagLength
  ) => Cipher & { readonly getAuthTag: () => Uint8Array }
  readonly createDecipheriv: (
    algorithm: string,
    key: Uint8Array,
    nonce: Uint8Array,
    options: TagLength
  ) => Cipher & { readonly setAuthTag: (tag: Uint8Array) => unknown }
}

interface NativeBuffer {
  readonly Buffer: {
    from(text: string, encoding: "base64url"): Uint8Array
    from(buffer: ArrayBufferLike, offset: number, length: number): { toString(encoding: "base64url"): string }
  }
}

interface Runtime {
  readonly process?: {
    readonly getBuiltinModule?: {
      (id: "node:crypto"): NativeCrypto | undefined
      (id: "node:buffer"): NativeBuffer | undefined
    }
  }
}

const { process } = globalThis as Runtime

export const nativeCrypto = process?.getBuiltinModule?.("node:crypto")

export const nativeBuffer = process?.getBuiltinModule?.("node:buffer")?.Buffer
