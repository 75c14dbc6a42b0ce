/**
 * Authenticated encryption with tags of exactly 16 bytes: native where the runtime provides it, an audited portable library elsewhere.
 * Both return the same bytes.
 */
import { gcm } from "@noble/ciphers/aes.js"
import { chacha20poly1305, hchacha, xchacha20poly1305 } from "@noble/ciphers/chacha.js"
import type { CipherWithOutput } from "@noble/ciphers/utils.js"
import { u32 } from "@noble/ciphers/utils.js"
import { nativeCrypto } from "./native.js"

/** A cipher under one key. A nonce must never be used twice with it. */
export interface Aead {
  /**
   * Returns the ciphertext followed by the tag, which also covers `aad`. They are written to `room`, which is 16 bytes longer than the
   * plaintext, and may begin with the plaintext itself.
   */
  readonly seal: (nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array, room?: Uint8Array) => Uint8Array
  /** Returns the plaintext; `undefined` if the nonce, `aad`, ciphertext or tag differs from what was sealed. */
  readonly open: (nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array) => Uint8Array | undefined
}

export const tagBytes = 16

const roomFor = (plaintext: Uint8Array): Uint8Array => new Uint8Array(plaintext.length + tagBytes)

type Algorithm = "chacha20-poly1305" | "aes-256-gcm"

type Portable = (key: Uint8Array, nonce: Uint8Array, aad: Uint8Array) => CipherWithOutput

const portably = (cipher: Portable) => (key: Uint8Array): Aead => ({
  seal: (nonce, aad, plaintext, room = roomFor(plaintext)) => {
    room.set(cipher(key, nonce, aad).encrypt(plaintext))
    return room
  },
  open: (nonce, aad, sealed) => {
    const opening = cipher(key, nonce, aad)
    try {
      return opening.decrypt(sealed)
    } catch {
      return undefined
    }
  }
})

const native = nativeCrypto

// Without this option, the runtime would accept tags of 4 bytes.
const tagLength = { authTagLength: tagBytes } as const

const natively = (crypto: NonNullable<typeof native>, algorithm: Algorithm) => (key: Uint8Array): Aead => ({
  seal: (nonce, aad, plaintext, room = roomFor(plaintext)) => {
    const cipher = crypto.createCipheriv(algorithm, key, nonce, tagLength)
    cipher.setAAD(aad, { plaintextLength: plaintext.length })
    room.set(cipher.update(plaintext))
    cipher.final()
    room.set(cipher.getAuthTag(), plaintext.length)
    return room
  },
  open: (nonce, aad, sealed) => {
    const length = sealed.length - tagBytes
    if (length < 0) return undefined
    const decipher = crypto.createDecipheriv(algorithm, key, nonce, tagLength)
    decipher.setAAD(aad, { plaintextLength: length })
    decipher.setAuthTag(sealed.subarray(length))
    const plaintext = decipher.update(sealed.subarray(0, length))
    try {
      decipher.final()
      return plaintext
    } catch {
      return undefined
    }
  }
})

/** The native cipher, if the runtime has it and the portable cipher can open what it seals. */
const nativeOf = (algorithm: Algorithm, portable: Portable): ((key: Uint8Array) => Aead) | undefined => {
  if (native === undefined) return undefined
  const [key, nonce, aad, text] = [new Uint8Array(32), new Uint8Array(12), Uint8Array.of(1), Uint8Array.of(2)]
  try {
    portable(key, nonce, aad).decrypt(natively(native, algorithm)(key).seal(nonce, aad, text))
    return natively(native, algorithm)
  } catch {
    return undefined
  }
}

/** AES-256-GCM. Its nonce of 12 bytes is too short to be random for many messages under one key. */
export const aes256Gcm: (key: Uint8Array) => Aead = nativeOf("aes-256-gcm", gcm) ?? portably(gcm)

const chacha20Poly1305 = nativeOf("chacha20-poly1305", chacha20poly1305)

const sigma = u32(new TextEncoder().encode("expand 32-byte k"))

/** XChaCha20-Poly1305: ChaCha20-Poly1305 under a key that HChaCha20 derives from the first 16 bytes of the nonce. */
export const xchacha20Poly1305: (key: Uint8Array) => Aead = chacha20Poly1305 === undefined
  ? portably(xchacha20poly1305)
  : (key) => {
    const words = u32(new Uint8Array(key))
    // The buffers are reused by all calls, which are synchronous.
    const [first, subkey, rest] = [new Uint8Array(16), new Uint8Array(32), new Uint8Array(12)]
    const [firstWords, subkeyWords] = [u32(first), u32(subkey)]
    const under = (nonce: Uint8Array): Aead => {
      if (nonce.length !== 24) throw new RangeError("A nonce of XChaCha20 must have 24 bytes")
      first.set(nonce.subarray(0, 16))
      rest.set(nonce.subarray(16), 4)
      hchacha(sigma, words, firstWords, subkeyWords)
      return chacha20Poly1305(subkey)
    }
    return {
      seal: (nonce, aad, plaintext, room) => under(nonce).seal(rest, aad, plaintext, room),
      open: (nonce, aad, sealed) => under(nonce).open(rest, aad, sealed)
    }
  }
