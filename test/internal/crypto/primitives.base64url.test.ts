import { assert, beforeAll, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as primitives from "../../../src/internal/crypto/primitives.js"
import { withoutBuiltins } from "../../support/withoutBuiltins.js"

let portable: typeof primitives

beforeAll(async () => {
  portable = await withoutBuiltins(() => import("../../../src/internal/crypto/primitives.js"))
})

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
const canonical = /^(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048])?$/
const some = fc.uint8Array({ maxLength: 120 })

describe.each([["native", () => primitives], ["portable", () => portable]] as const)("%s", (_, implementation) => {
  it("encodes bytes without padding, and decodes them", () => {
    assert.strictEqual(implementation().encodeBase64Url(Uint8Array.of(0xFB, 0xFF, 0xFE, 0)), "-__-AA")
    fc.assert(fc.property(some, (bytes) => {
      const text = implementation().encodeBase64Url(bytes)
      assert.strictEqual(text, Buffer.from(bytes).toString("base64url"))
      assert.deepStrictEqual([...implementation().decodeBase64Url(text) ?? []], [...bytes])
    }))
  })

  it("encodes only the bytes of a view", () => {
    const around = Uint8Array.of(1, 2, 3, 4, 5)
    assert.strictEqual(implementation().encodeBase64Url(around.subarray(1, 4)), "AgME")
  })

  it("accepts only the canonical encoding: of the last characters with the same bytes, only one is accepted", () => {
    const read = (text: string) =>
      [...alphabet].filter((last) => implementation().decodeBase64Url(text + last) !== undefined)
    assert.deepStrictEqual(read(""), [])
    assert.deepStrictEqual(read("A"), ["A", "Q", "g", "w"])
    assert.deepStrictEqual(read("AA"), [..."AEIMQUYcgkosw048"])
    assert.deepStrictEqual(read("AAA"), [...alphabet])
    assert.deepStrictEqual(read("AAAA"), [])
  })

  for (
    const text of [
      "AAA=",
      "AA==",
      "AAAA=",
      "=",
      "+/AA",
      "AA\n",
      "AAAA\n",
      "\nAAAA",
      "AA AA",
      " AAAA",
      "AA%41A",
      "AA.AA",
      "AA\u0000A",
      "AAA\u0410",
      "AAA\u0141",
      "\u{1f600}"
    ]
  ) {
    it(`rejects ${JSON.stringify(text)}`, () => assert.isUndefined(implementation().decodeBase64Url(text)))
  }

  it("any text that it decodes is the encoding of the result", () =>
    fc.assert(fc.property(
      fc.oneof(fc.string({ unit: "binary" }), fc.base64String(), fc.string({ unit: fc.constantFrom(...alphabet) })),
      (text) => {
        const bytes = implementation().decodeBase64Url(text)
        assert.strictEqual(bytes !== undefined, canonical.test(text))
        if (bytes !== undefined) assert.strictEqual(Buffer.from(bytes).toString("base64url"), text)
      }
    )))
})
