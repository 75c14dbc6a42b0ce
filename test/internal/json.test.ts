import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { equals, isRecord, maxFields, problemOf } from "../../src/internal/json.js"
import type { Json, JsonRecord } from "../../src/Json.js"

const json = fc.jsonValue() as fc.Arbitrary<Json>
const hostile = ["__proto__", "constructor", "prototype"]

/** An object with the fields as own properties, as `JSON.parse` makes them. */
const own = (fields: ReadonlyArray<readonly [string, unknown]>): object => {
  const object = {}
  for (const [key, value] of fields) {
    Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true })
  }
  return object
}

const isHarmless = (value: Json): boolean =>
  typeof value !== "object" || value === null ||
  Object.entries(value).every(([key, child]) => !hostile.includes(key) && isHarmless(child))

const harmless = json.filter(isHarmless)

const nestedArrays = (levels: number): unknown => JSON.parse("[".repeat(levels) + "]".repeat(levels))
const nestedRecords = (levels: number): unknown => JSON.parse(`${"{\"a\":".repeat(levels)}1${"}".repeat(levels)}`)

const withFields = (count: number): object => own(Array.from({ length: count }, (_, i) => [`field-${i}`, i]))

/** A value nested in random JSON: in an array, in a record, or alone. */
const around = (value: unknown): fc.Arbitrary<unknown> =>
  fc.array(fc.tuple(harmless, fc.boolean()), { maxLength: 8 }).map((layers) =>
    layers.reduce<unknown>((inner, [beside, array]) => array ? [beside, inner] : { beside, inner }, value)
  )

describe("problemOf", () => {
  it("accepts exactly the JSON values without hostile field names", () =>
    fc.assert(fc.property(json, (value) => assert.strictEqual(problemOf(value) === undefined, isHarmless(value)))))

  it("an accepted value equals itself after JSON.stringify and JSON.parse", () =>
    fc.assert(fc.property(fc.anything({ withNullPrototype: true, withDate: true, withBigInt: true }), (value) => {
      fc.pre(problemOf(value) === undefined)
      assert.isTrue(equals(JSON.parse(JSON.stringify(value)) as Json, value as Json))
    })))

  it("F11: accepts NUL and lone surrogates, which survive JSON", () => {
    const value = ["\u0000", "\uD800", "\uDC00x", "\uFFFF", "\u2028"]
    assert.isUndefined(problemOf(value))
    assert.deepStrictEqual(JSON.parse(JSON.stringify(value)), value)
  })

  const foreign: Readonly<Record<string, unknown>> = {
    "a function": () => 1,
    "a symbol": Symbol.for("x"),
    "a bigint": 1n,
    "NaN": Number.NaN,
    "Infinity": Infinity,
    "-Infinity": -Infinity,
    "a Date": new Date(0),
    "a Map": new Map(),
    "a Set": new Set(),
    "a Uint8Array": new Uint8Array(2),
    "an Error": new Error("x"),
    "a boxed string": Object("x"),
    "an instance": new (class Instance {
      a = 1
    })(),
    "an object with an inherited field": Object.create({ inherited: 1 }),
    "an object with a toJSON": { toJSON: () => 1 },
    "a sparse array": new Array(1)
  }
  for (const [title, value] of Object.entries(foreign)) {
    it(`rejects ${title} at any depth`, () => {
      assert.isDefined(problemOf(value))
      fc.assert(fc.property(around(value), (value) => assert.isDefined(problemOf(value))), { numRuns: 20 })
    })
  }

  it("treats an undefined field as absent, and rejects undefined anywhere else", () => {
    assert.isUndefined(problemOf({ a: undefined, b: { c: undefined } }))
    for (const value of [undefined, [undefined], { a: [1, undefined] }]) assert.isDefined(problemOf(value))
  })

  it("accepts objects without a prototype", () =>
    assert.isUndefined(problemOf(Object.assign(Object.create(null), { a: [1] }))))

  it("returns the path of the problem", () => {
    assert.deepStrictEqual(problemOf({ a: [1, { b: 1n }] })?.path, ["a", 1, "b"])
    assert.deepStrictEqual(problemOf([[], [Number.NaN]])?.path, [1, 0])
    assert.deepStrictEqual(problemOf(1n)?.path, [])
  })

  it("L6: the message contains no value", () =>
    fc.assert(fc.property(fc.constantFrom(...Object.values(foreign)), (value) => {
      const secret = "correct horse battery staple"
      const problem = problemOf({ before: secret, list: [secret, value, secret], after: { secret } })
      assert.isDefined(problem)
      assert.notInclude(JSON.stringify(problem), secret)
    })))

  describe("F8: keys that change a prototype when they are copied", () => {
    for (const key of hostile) {
      it(`${key} is rejected at any depth`, () => {
        fc.assert(fc.property(json, (value) => assert.isDefined(problemOf(own([["a", 1], [key, value]])))))
        fc.assert(fc.property(around(own([[key, 1]])), (value) => assert.isDefined(problemOf(value))))
        assert.isDefined(problemOf(JSON.parse(`{"a":[{"${key}":{"admin":true}}]}`)))
      })
    }

    it("copying an accepted record field by field does not change the prototype", () =>
      fc.assert(fc.property(fc.dictionary(fc.constantFrom("a", "b", ...hostile), json), (fields) => {
        fc.pre(problemOf(fields) === undefined)
        const copy: Record<string, unknown> = {}
        for (const [key, value] of Object.entries(fields)) copy[key] = value
        assert.strictEqual(Object.getPrototypeOf(copy), Object.prototype)
        assert.isFalse("admin" in copy)
      })))
  })

  describe("F9: depth", () => {
    it("accepts 64 levels and rejects 65", () => {
      for (const nested of [nestedArrays, nestedRecords]) {
        assert.isUndefined(problemOf(nested(64)))
        assert.match(problemOf(nested(65))?.message ?? "", /deeper than 64/)
      }
    })

    it("rejects 5,000 levels", () => {
      assert.isDefined(problemOf(nestedArrays(5000)))
      assert.isDefined(problemOf(nestedRecords(5000)))
    })

    it("rejects 1,000,000 levels without a stack overflow, with a short message", () => {
      const problem = problemOf({ a: nestedArrays(1_000_000) })
      assert.isDefined(problem)
      assert.isBelow(JSON.stringify(problem).length, 1000)
    })

    it("rejects cyclic values", () => {
      const array: Array<unknown> = []
      array.push(1, array, array)
      const record: Record<string, unknown> = { a: 1 }
      record["self"] = [record]
      assert.isDefined(problemOf(array))
      assert.isDefined(problemOf(record))
    })

    it("accepts a long array, which is not deep", () =>
      assert.isUndefined(problemOf(Array.from({ length: 100_000 }, (_, i) => i))))
  })

  describe("F10: fields", () => {
    it(`accepts ${maxFields} fields in one object and rejects one more`, () => {
      assert.isUndefined(problemOf(withFields(maxFields)))
      assert.isDefined(problemOf(withFields(maxFields + 1)))
    })

    it("rejects 10,000 fields at any depth", () => {
      assert.isDefined(problemOf(withFields(10_000)))
      assert.isDefined(problemOf({ a: [withFields(10_000)] }))
    })
  })
})

/** A canonical text of a value, with the fields sorted by name. */
const canonical = (value: Json): string => {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`
  if (typeof value !== "object" || value === null) return JSON.stringify(value)
  const fields = Object.entries(value as JsonRecord).map(([key, child]) => `${JSON.stringify(key)}:${canonical(child)}`)
  return `{${fields.sort().join(",")}}`
}

/** A copy with the fields of every object in reverse order. */
const reordered = (value: Json): Json => {
  if (Array.isArray(value)) return value.map(reordered)
  if (typeof value !== "object" || value === null) return value
  return own(Object.entries(value).reverse().map(([key, child]) => [key, reordered(child)] as const)) as JsonRecord
}

describe("equals", () => {
  // Few leaves and few names, so that equal and nearly equal values are generated.
  const similar: fc.Arbitrary<Json> = fc.letrec<{ value: Json }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 3 },
      fc.constantFrom<Json>(null, true, false, 0, 1, "", "0", "a", "__proto__"),
      fc.array(tie("value"), { maxLength: 2 }),
      fc.dictionary(fc.constantFrom("0", "a", "__proto__", "length"), tie("value"), { maxKeys: 2 })
    )
  })).value

  it("agrees with the comparison of canonical texts", () => {
    fc.assert(
      fc.property(similar, similar, (a, b) => assert.strictEqual(equals(a, b), canonical(a) === canonical(b))),
      { numRuns: 5000 }
    )
    fc.assert(fc.property(json, json, (a, b) => assert.strictEqual(equals(a, b), canonical(a) === canonical(b))))
  })

  it("ignores the order of fields and object identity", () =>
    fc.assert(fc.property(json, (value) => {
      assert.isTrue(equals(value, reordered(value)))
      assert.isTrue(equals(reordered(value), value))
    })))

  it("respects the order of items", () => assert.isFalse(equals([1, 2], [2, 1])))

  it("is symmetric", () =>
    fc.assert(fc.property(similar, similar, (a, b) => assert.strictEqual(equals(a, b), equals(b, a)))))

  it("undefined equals only undefined, not null", () => {
    assert.isTrue(equals(undefined, undefined))
    fc.assert(fc.property(json, (value) => assert.isFalse(equals(undefined, value) || equals(value, undefined))))
    assert.isFalse(equals(null, undefined))
  })

  it("an empty array differs from an empty record, and inherited fields are ignored", () => {
    assert.isFalse(equals([], {}))
    assert.isFalse(equals({}, []))
    assert.isFalse(equals({ toString: 1 }, { a: 1 }))
    assert.isFalse(equals({ a: 1 }, { toString: 1 }))
  })
})

describe("isRecord", () => {
  it("is true exactly for JSON objects", () =>
    fc.assert(fc.property(json, (value) => assert.strictEqual(isRecord(value), JSON.stringify(value).startsWith("{")))))

  it("is false for undefined and for functions", () => {
    assert.isFalse(isRecord(undefined))
    assert.isFalse(isRecord(() => 1))
  })
})
