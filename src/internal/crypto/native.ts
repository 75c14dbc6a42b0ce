/**
 * The built-in crypto and buffers of a server runtime. It imports nothing of `node:*`, so that dependent modules can be bundled for a
 * browser, where everything here is `undefined`.
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
  /** Missing in some runtimes that have the other functions. */
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
