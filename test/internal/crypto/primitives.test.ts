import { assert, describe, it, vi } from "@effect/vitest"
import { sha256 as noble } from "@noble/hashes/sha2.js"
import * as fc from "fast-check"
import { lengthPrefixed, nameBytes, randomBytes, sha256 } from "../../../src/internal/crypto/primitives.js"
import { withoutBuiltins } from "../../support/withoutBuiltins.js"

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")
const utf8 = (text: string) => new TextEncoder().encode(text)
const base64url = (hex: string) => Buffer.from(hex, "hex").toString("base64url")

/** FIPS 180-4, from the examples that NIST publishes. */
const vectors: ReadonlyArray<readonly [title: string, input: string, digest: string]> = [
  ["nothing", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
  ["abc", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"],
  [
    "448 bits",
    "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
    "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
  ],
  [
    "896 bits",
    "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
    "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"
  ],
  ["a million times a", "a".repeat(1_000_000), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"]
]

describe("sha256", () => {
  for (const [title, input, digest] of vectors) {
    it(`returns the published digest of ${title}, as base64url`, () =>
      assert.strictEqual(sha256(utf8(input)), base64url(digest)))
  }

  it("the native function and the portable one agree on any bytes", () =>
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        (bytes) => assert.strictEqual(sha256(bytes), base64url(hex(noble(bytes))))
      )
    ))

  it("hashes the bytes of a view, and not those around it", () => {
    const around = utf8("xxabcxx")
    assert.strictEqual(sha256(around.subarray(2, 5)), sha256(utf8("abc")))
  })

  it("is the portable function in a runtime without native hashing", async () => {
    const portable = await withoutBuiltins(() => import("../../../src/internal/crypto/primitives.js"))
    assert.notStrictEqual(portable.sha256, sha256)
    for (const [, input, digest] of vectors) {
      assert.strictEqual(portable.sha256(utf8(input)), base64url(digest))
    }
  })
})

describe("randomBytes", () => {
  it("returns the requested number of bytes", () => {
    for (const length of [0, 1, 12, 16, 32, 1000]) assert.strictEqual(randomBytes(length).length, length)
  })

  it("never returns the same bytes twice", () =>
    assert.strictEqual(new Set(Array.from({ length: 1000 }, () => hex(randomBytes(16)))).size, 1000))

  it("throws if the source of the runtime throws", () => {
    const source = vi.spyOn(globalThis.crypto, "getRandomValues").mockImplementation(() => {
      throw new Error("no entropy")
    })
    try {
      assert.throws(() => randomBytes(16), "no entropy")
    } finally {
      source.mockRestore()
    }
  })
})

describe("nameBytes", () => {
  it("returns the requested number of bytes, also more than are generated at once", () => {
    for (const length of [0, 1, 12, 16, 1000, 1024, 5000]) assert.strictEqual(nameBytes(length).length, length)
  })

  it("never returns the same bytes twice", () =>
    assert.strictEqual(new Set(Array.from({ length: 1000 }, () => hex(nameBytes(12)))).size, 1000))
})

describe("lengthPrefixed", () => {
  it("puts the length of each part, as UTF-8, before it in two bytes", () => {
    assert.strictEqual(hex(lengthPrefixed("ab", "", "\u00E9")), "0002" + "6162" + "0000" + "0002" + "c3a9")
    assert.strictEqual(hex(lengthPrefixed()), "")
    assert.strictEqual(hex(lengthPrefixed("a".repeat(0x0102))), "0102" + "61".repeat(0x0102))
  })

  // Few characters, among them bytes of lengths, so that near collisions are generated.
  const part = fc.oneof(
    fc.string({ unit: fc.constantFrom("\u0000", "\u0001", "\u0002", "a"), maxLength: 4 }),
    fc.string({ unit: "binary", maxLength: 6 })
  )
  const parts = fc.array(part, { maxLength: 4 })
  const injective = (a: ReadonlyArray<string>, b: ReadonlyArray<string>) =>
    assert.strictEqual(
      hex(lengthPrefixed(...a)) === hex(lengthPrefixed(...b)),
      JSON.stringify(a) === JSON.stringify(b)
    )

  it("R24: encodes different lists of parts differently", () =>
    fc.assert(fc.property(parts, parts, injective), { numRuns: 5000 }))

  it("R24: distinguishes where one part ends and the next begins", () =>
    fc.assert(fc.property(parts, fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), (before, a, b) => {
      injective([...before, a, b], [...before, a + b])
      injective([...before, a, b], [...before, a + b, ""])
      injective([...before, a, b], [...before, "", a + b])
    })))

  /** Checks that different lists have different encodings, or are rejected. */
  const separate = (a: ReadonlyArray<string>, b: ReadonlyArray<string>) => {
    const bytes = (list: ReadonlyArray<string>) => {
      try {
        return hex(lengthPrefixed(...list))
      } catch {
        return undefined
      }
    }
    const first = bytes(a)
    if (first !== undefined) assert.notStrictEqual(first, bytes(b))
  }

  it("R24: a part that is too long for its prefix is not encoded like several short parts", () => {
    // With their lengths, they make a text of 65,536 bytes, whose own length in two bytes is zero.
    const short = [0x403E, 0x403E, 0x403E, 0x3F3E].map((length) => "a".repeat(length))
    const long = short.map((part) => String.fromCharCode(part.length >> 8, part.length & 0xFF) + part).join("")
    assert.strictEqual(utf8(long).length, 0x10000)
    separate([long], ["", ...short])
  })

  it("R24: texts that differ in a lone surrogate are not encoded alike", () => {
    separate(["\uD800"], ["\uFFFD"])
    separate(["\uD800"], ["\uDC00"])
  })
})
