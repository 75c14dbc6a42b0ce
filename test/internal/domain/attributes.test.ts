import { Option } from "effect"
import { assert, describe, it } from "vitest"
import * as Attributes from "../../../src/internal/domain/attributes.js"

describe("decode", () => {
  for (
    const text of [
      "",
      "{",
      "null",
      "[]",
      "1",
      `{"level":-1}`,
      `{"level":1.5}`,
      `{"level":"2"}`,
      `{"methods":"pwd"}`,
      `{"methods":[1]}`,
      `{"remembered":1}`,
      `{"impersonating":{"toString":1}}`,
      `{"elevated":{"at":1}}`,
      `{"elevated":{"at":"1","methods":[],"level":1}}`,
      `{"level":1,"__proto__":{"impersonating":"bob"}}`,
      `{"context":{"\\u005f_proto__":{"label":"mine"}}}`
    ]
  ) {
    it(`rejects ${text === "" ? "no text" : text}`, () =>
      assert.deepStrictEqual(Attributes.decode(text), Option.none()))
  }

  it("keeps members of later versions", () =>
    assert.deepStrictEqual(Attributes.decode(`{"level":2,"later":[1]}`), Option.some({ level: 2, later: [1] })))
})

describe("unmet", () => {
  const required: Attributes.Requirements = {
    within: 1000,
    methods: [],
    level: 0,
    allowRemembered: false,
    allowImpersonating: false
  }
  const at = 5000

  it("ASVS 7.5.1: a login is fresh for exactly `within`, and not a millisecond longer", () => {
    const reasonAfter = (age: number) => Attributes.unmet({}, at, required, at + age)
    assert.deepStrictEqual([999, 1000, 1001].map(reasonAfter), [undefined, undefined, "age"])
  })

  it("a step-up is fresh for exactly `within`, too, and does not make the login fresh", () => {
    const attributes = { methods: ["pwd"], level: 2, elevated: { at: at + 5000, methods: ["otp"], level: 1 } }
    const reasonAt = (now: number, fields: Partial<Attributes.Requirements> = {}) =>
      Attributes.unmet(attributes, at, { ...required, ...fields }, now)
    assert.deepStrictEqual([6000, 6001].map((after) => reasonAt(at + after)), [undefined, "age"])
    assert.strictEqual(reasonAt(at + 5000, { methods: ["pwd"] }), "methods")
    assert.strictEqual(reasonAt(at + 5000, { level: 2 }), "level")
    assert.strictEqual(reasonAt(at + 5000, { within: 5000, methods: ["pwd", "otp"], level: 2 }), undefined)
  })
})
