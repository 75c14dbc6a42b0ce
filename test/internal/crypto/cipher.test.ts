import { afterEach, assert, beforeAll, describe, it, vi } from "@effect/vitest"
import * as fc from "fast-check"
import { createCipheriv } from "node:crypto"
import * as cipher from "../../../src/internal/crypto/cipher.js"
import { hchacha20 } from "../../support/referenceTokens.js"
import { withoutBuiltins } from "../../support/withoutBuiltins.js"

const hex = (bytes: Uint8Array | undefined) => bytes === undefined ? undefined : Buffer.from(bytes).toString("hex")
const bytes = (hex: string) => new Uint8Array(Buffer.from(hex.replaceAll(/\s/g, ""), "hex"))

type Name = "xchacha20Poly1305" | "aes256Gcm"

const nonceLength: Readonly<Record<Name, number>> = { xchacha20Poly1305: 24, aes256Gcm: 12 }

interface Vector {
  readonly source: string
  readonly name: Name
  readonly key: string
  readonly nonce: string
  readonly aad: string
  readonly plaintext: string
  readonly ciphertext: string
  readonly tag: string
}

const gcmKey = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"
const gcmText = `d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
  1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39`
const gcmCiphertext = `522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
  8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662`

/** draft-irtf-cfrg-xchacha-03, and the vectors with which GCM was submitted to NIST. */
const vectors: ReadonlyArray<Vector> = [
  {
    source: "draft-irtf-cfrg-xchacha-03, A.3.1",
    name: "xchacha20Poly1305",
    key: "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
    nonce: "404142434445464748494a4b4c4d4e4f5051525354555657",
    aad: "50515253c0c1c2c3c4c5c6c7",
    plaintext: Buffer.from(
      "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."
    ).toString("hex"),
    ciphertext: `bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb
      731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e
      3f3fac2bc369488f76b2383565d3fff921f9664c97637da9768812f615c68b13b52e`,
    tag: "c0875924c1c7987947deafd8780acf49"
  },
  {
    source: "GCM test case 13",
    name: "aes256Gcm",
    key: "00".repeat(32),
    nonce: "00".repeat(12),
    aad: "",
    plaintext: "",
    ciphertext: "",
    tag: "530f8afbc74536b9a963b4f1c4cb738b"
  },
  {
    source: "GCM test case 14",
    name: "aes256Gcm",
    key: "00".repeat(32),
    nonce: "00".repeat(12),
    aad: "",
    plaintext: "00".repeat(16),
    ciphertext: "cea7403d4d606b6e074ec5d3baf39d18",
    tag: "d0d1c8a799996bf0265b98b5d48ab919"
  },
  {
    source: "GCM test case 15",
    name: "aes256Gcm",
    key: gcmKey,
    nonce: "cafebabefacedbaddecaf888",
    aad: "",
    plaintext: `${gcmText}1aafd255`,
    ciphertext: `${gcmCiphertext}898015ad`,
    tag: "b094dac5d93471bdec1a502270e3cc6c"
  },
  {
    source: "GCM test case 16",
    name: "aes256Gcm",
    key: gcmKey,
    nonce: "cafebabefacedbaddecaf888",
    aad: "feedfacedeadbeeffeedfacedeadbeefabaddad2",
    plaintext: gcmText,
    ciphertext: gcmCiphertext,
    tag: "76fc6ece0f4e1768cddf8853bb2d551b"
  }
]

/** The modules in a runtime that has nothing built in. */
let portable: typeof cipher

beforeAll(async () => {
  portable = await withoutBuiltins(() => import("../../../src/internal/crypto/cipher.js"))
})

afterEach(() => {
  vi.restoreAllMocks()
  vi.resetModules()
})

const names: ReadonlyArray<Name> = ["xchacha20Poly1305", "aes256Gcm"]
const of = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const message = (name: Name) =>
  fc.record({
    key: of(32),
    nonce: of(nonceLength[name]),
    aad: fc.uint8Array({ maxLength: 80 }),
    plaintext: fc.uint8Array({ maxLength: 700 })
  })

describe.each([["native", () => cipher], ["portable", () => portable]] as const)("%s", (_, implementation) => {
  for (const { source, ...vector } of vectors) {
    it(`matches the published vector: ${source}`, () => {
      const aead = implementation()[vector.name](bytes(vector.key))
      const sealed = aead.seal(bytes(vector.nonce), bytes(vector.aad), bytes(vector.plaintext))
      assert.strictEqual(hex(sealed), hex(bytes(vector.ciphertext + vector.tag)))
      assert.strictEqual(hex(aead.open(bytes(vector.nonce), bytes(vector.aad), sealed)), hex(bytes(vector.plaintext)))
    })
  }

  it.each(names)("%s rejects a message with one bit changed", (name) => {
    const aead = implementation()[name](new Uint8Array(32).fill(7))
    const parts = [new Uint8Array(nonceLength[name]).fill(8), bytes("010203"), bytes("c0ffee")] as const
    const [nonce, aad, plaintext] = parts
    const sealed = aead.seal(nonce, aad, plaintext)
    const flipped = (part: Uint8Array) =>
      Array.from(
        { length: part.length * 8 },
        (_, bit) => part.map((byte, i) => i === bit >> 3 ? byte ^ 1 << (bit & 7) : byte)
      )
    const opened = [
      ...flipped(sealed).map((other) => aead.open(nonce, aad, other)),
      ...flipped(nonce).map((other) => aead.open(other, aad, sealed)),
      ...flipped(aad).map((other) => aead.open(nonce, other, sealed)),
      ...flipped(new Uint8Array(32).fill(7)).map((key) => implementation()[name](key).open(nonce, aad, sealed))
    ]
    assert.strictEqual(opened.length, 8 * (3 + 16 + nonceLength[name] + 3 + 32))
    assert.deepStrictEqual(opened.filter((plaintext) => plaintext !== undefined), [])
    assert.strictEqual(hex(aead.open(nonce, aad, sealed)), hex(plaintext))
  })

  it.each(names)("%s rejects tags of other lengths, and messages shorter than a tag", (name) => {
    const aead = implementation()[name](new Uint8Array(32).fill(7))
    const nonce = new Uint8Array(nonceLength[name])
    const sealed = aead.seal(nonce, bytes("01"), bytes("c0ffee"))
    for (const length of [0, 4, 8, 12, 13, 14, 15]) {
      assert.isUndefined(aead.open(nonce, bytes("01"), sealed.subarray(0, 3 + length)))
    }
    assert.isUndefined(aead.open(nonce, bytes("01"), Uint8Array.of(...sealed, 0)))
    const empty = aead.seal(nonce, bytes("01"), new Uint8Array(0))
    for (let length = 0; length < 16; length++) {
      assert.isUndefined(aead.open(nonce, bytes("01"), empty.subarray(0, length)))
    }
    assert.strictEqual(hex(aead.open(nonce, bytes("01"), empty)), "")
  })

  it.each(names)("%s can write the ciphertext over the plaintext", (name) => {
    const aead = implementation()[name](new Uint8Array(32).fill(7))
    const [nonce, aad, plaintext] = [new Uint8Array(nonceLength[name]), bytes("01"), bytes("c0ffee")]
    const room = new Uint8Array(3 + 16)
    room.set(plaintext)
    assert.strictEqual(aead.seal(nonce, aad, room.subarray(0, 3), room), room)
    assert.strictEqual(hex(room), hex(aead.seal(nonce, aad, plaintext)))
  })

  it("XChaCha20-Poly1305 rejects nonces of other lengths", () => {
    const aead = implementation().xchacha20Poly1305(new Uint8Array(32))
    for (const length of [0, 12, 16, 23, 25]) {
      assert.throws(() => aead.seal(new Uint8Array(length), bytes(""), bytes("00")))
      assert.throws(() => aead.open(new Uint8Array(length), bytes(""), new Uint8Array(17)))
    }
  })

  it.each(names)("%s does not change its arguments, and reads only the bytes of a view", (name) => {
    const view = (length: number, fill: number) => new Uint8Array(length + 5).fill(fill).subarray(3, length + 3)
    const views = { key: view(32, 1), nonce: view(nonceLength[name], 2), aad: view(9, 3), plaintext: view(50, 4) }
    const seal = ({ aad, key, nonce, plaintext }: typeof views) =>
      implementation()[name](key).seal(nonce, aad, plaintext)
    const around = () => Object.values(views).map((part) => hex(new Uint8Array(part.buffer)))
    const before = around()
    const sealed = seal(views)
    const copies = {
      key: Uint8Array.from(views.key),
      nonce: Uint8Array.from(views.nonce),
      aad: Uint8Array.from(views.aad),
      plaintext: Uint8Array.from(views.plaintext)
    }
    assert.strictEqual(hex(sealed), hex(seal(copies)))
    assert.strictEqual(
      hex(implementation()[name](views.key).open(views.nonce, views.aad, sealed)),
      hex(copies.plaintext)
    )
    assert.deepStrictEqual(around(), before)
  })
})

describe("native and portable", () => {
  it.each(names)("%s: return the same bytes, and open each other's messages", (name) =>
    fc.assert(
      fc.property(message(name), ({ aad, key, nonce, plaintext }) => {
        const sealed = cipher[name](key).seal(nonce, aad, plaintext)
        assert.strictEqual(hex(portable[name](key).seal(nonce, aad, plaintext)), hex(sealed))
        assert.strictEqual(hex(portable[name](key).open(nonce, aad, sealed)), hex(plaintext))
        assert.strictEqual(hex(cipher[name](key).open(nonce, aad, sealed)), hex(plaintext))
      }),
      { numRuns: 3000 }
    ))

  it("differ: only one of them uses the runtime", () => {
    const builtin = vi.spyOn(process.getBuiltinModule("node:crypto"), "createCipheriv")
    const seal = (implementation: typeof cipher) =>
      names.map((name) =>
        implementation[name](new Uint8Array(32)).seal(new Uint8Array(nonceLength[name]), new Uint8Array(0), bytes("00"))
      )
    seal(portable)
    assert.strictEqual(builtin.mock.calls.length, 0)
    seal(cipher)
    assert.deepStrictEqual(builtin.mock.calls.map(([algorithm]) => algorithm), ["chacha20-poly1305", "aes-256-gcm"])
  })

  it("a runtime without a cipher, or with a wrong one, is not used for it", async () => {
    vi.resetModules()
    const crypto = process.getBuiltinModule("node:crypto")
    const broken = vi.spyOn(crypto, "createCipheriv").mockImplementation((...[algorithm, ...rest]) => {
      if (algorithm === "chacha20-poly1305") throw new Error("unsupported")
      // It uses a fixed key, so it is not the cipher that its name states.
      return createCipheriv("aes-256-gcm", new Uint8Array(32).fill(9), rest[1])
    })
    const careful = await import("../../../src/internal/crypto/cipher.js")
    assert.strictEqual(broken.mock.calls.length, 2)
    for (const { aad, ciphertext, key, name, nonce, plaintext, tag } of vectors) {
      const sealed = careful[name](bytes(key)).seal(bytes(nonce), bytes(aad), bytes(plaintext))
      assert.strictEqual(hex(sealed), hex(bytes(ciphertext + tag)))
    }
    assert.strictEqual(broken.mock.calls.length, 2)
  })
})

describe("XChaCha20-Poly1305", () => {
  it("the second implementation, in the tests, returns the published HChaCha20", () =>
    assert.strictEqual(
      hex(hchacha20(
        bytes("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"),
        bytes("000000090000004a0000000031415927")
      )),
      "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"
    ))

  it("is ChaCha20-Poly1305 of RFC 8439 under the key of HChaCha20", () =>
    fc.assert(
      fc.property(message("xchacha20Poly1305"), ({ aad, key, nonce, plaintext }) => {
        const rest = Buffer.concat([Buffer.alloc(4), nonce.subarray(16)])
        const chacha = createCipheriv("chacha20-poly1305", hchacha20(key, nonce.subarray(0, 16)), rest, {
          authTagLength: 16
        })
        chacha.setAAD(aad, { plaintextLength: plaintext.length })
        const body = Buffer.concat([chacha.update(plaintext), chacha.final()])
        const sealed = Buffer.concat([body, chacha.getAuthTag()])
        assert.strictEqual(hex(cipher.xchacha20Poly1305(key).seal(nonce, aad, plaintext)), hex(sealed))
      }),
      { numRuns: 500 }
    ))
})
