import { assert, beforeAll, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { createHmac, hkdfSync } from "node:crypto"
import * as crypto from "../../../src/internal/crypto/primitives.js"
import { withoutBuiltins } from "../../support/withoutBuiltins.js"

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")
const bytes = (hex: string) => new Uint8Array(Buffer.from(hex, "hex"))
const ascii = (text: string) => new TextEncoder().encode(text)
const up = (from: number, to: number) => Uint8Array.from({ length: to - from + 1 }, (_, i) => from + i)

let portable: typeof crypto

beforeAll(async () => {
  portable = await withoutBuiltins(() => import("../../../src/internal/crypto/primitives.js"))
})

const implementations = [["native", () => crypto], ["portable", () => portable]] as const

/** RFC 4231. The fifth case publishes the first half of its digest only. */
const macs: ReadonlyArray<readonly [key: Uint8Array, message: Uint8Array, digest: string]> = [
  [
    new Uint8Array(20).fill(0x0b),
    ascii("Hi There"),
    "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
  ],
  [
    ascii("Jefe"),
    ascii("what do ya want for nothing?"),
    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
  ],
  [
    new Uint8Array(20).fill(0xaa),
    new Uint8Array(50).fill(0xdd),
    "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"
  ],
  [up(1, 25), new Uint8Array(50).fill(0xcd), "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"],
  [new Uint8Array(20).fill(0x0c), ascii("Test With Truncation"), "a3b6167473100ee06e0c796c2955552b"],
  [
    new Uint8Array(131).fill(0xaa),
    ascii("Test Using Larger Than Block-Size Key - Hash Key First"),
    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
  ],
  [
    new Uint8Array(131).fill(0xaa),
    ascii(
      "This is a test using a larger than block-size key and a larger than block-size data. " +
        "The key needs to be hashed before being used by the HMAC algorithm."
    ),
    "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"
  ]
]

/** RFC 5869: secret, salt, info, and the first 32 bytes of the result. */
const keys: ReadonlyArray<readonly [secret: Uint8Array, salt: Uint8Array, info: Uint8Array, key: string]> = [
  [
    new Uint8Array(22).fill(0x0b),
    up(0, 0x0c),
    up(0xf0, 0xf9),
    "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
  ],
  [
    up(0, 0x4f),
    up(0x60, 0xaf),
    up(0xb0, 0xff),
    "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
  ],
  [
    new Uint8Array(22).fill(0x0b),
    new Uint8Array(0),
    new Uint8Array(0),
    "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
  ]
]

const some = fc.uint8Array({ maxLength: 200 })

describe.each(implementations)("%s", (_, implementation) => {
  macs.forEach(([key, message, digest], index) =>
    it(`HMAC: RFC 4231, case ${index + 1}`, () =>
      assert.strictEqual(hex(implementation().hmacSha256(key, message)).slice(0, digest.length), digest))
  )

  keys.forEach(([secret, salt, info, key], index) =>
    it(`HKDF: RFC 5869, case ${index + 1}`, () =>
      assert.strictEqual(hex(implementation().hkdfSha256(secret, salt, info)), key))
  )

  it("HMAC and HKDF equal those of node:crypto for all lengths, and the parts are one message", () =>
    fc.assert(
      fc.property(some, some, some, (a, b, c) => {
        const mac = createHmac("sha256", a).update(b).update(c).digest("hex")
        assert.strictEqual(hex(implementation().hmacSha256(a, b, c)), mac)
        assert.strictEqual(hex(implementation().hmacSha256(a, Buffer.concat([b, c]))), mac)
        assert.strictEqual(
          hex(implementation().hkdfSha256(a, b, c)),
          Buffer.from(hkdfSync("sha256", a, b, c, 32)).toString("hex")
        )
      }),
      { numRuns: 1000 }
    ))

  it("comparing secrets returns whether all bytes are equal, and never throws", () => {
    fc.assert(fc.property(some, some, (a, b) => {
      assert.strictEqual(implementation().equals(a, b), hex(a) === hex(b))
      assert.isTrue(implementation().equals(a, Uint8Array.from(a)))
    }))
    const mac = up(1, 32)
    for (let length = 0; length <= 64; length++) {
      const other = new Uint8Array(length)
      other.set(mac.subarray(0, length))
      assert.strictEqual(implementation().equals(mac, other), length === 32)
      assert.strictEqual(implementation().equals(other, mac), length === 32)
    }
    for (let bit = 0; bit < 256; bit++) {
      assert.isFalse(implementation().equals(mac, mac.map((byte, i) => i === bit >> 3 ? byte ^ 1 << (bit & 7) : byte)))
    }
  })
})

describe("lengthPrefixed", () => {
  it("accepts bytes among texts", () =>
    assert.strictEqual(hex(crypto.lengthPrefixed("a", bytes("ff00"), "")), "0001" + "61" + "0002" + "ff00" + "0000"))

  it("rejects more than 65,535 bytes", () => {
    assert.throws(() => crypto.lengthPrefixed(new Uint8Array(0x10000)), RangeError)
    assert.strictEqual(crypto.lengthPrefixed(new Uint8Array(0xFFFF)).length, 0x10001)
  })
})
