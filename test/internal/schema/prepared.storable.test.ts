/** A schema is accepted only if its values can be stored as JSON and loaded by the next request. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Either, Option, Schema } from "effect"
import type { Any } from "effect-session/SessionSchema"
import { problemOf } from "../../../src/internal/json.js"
import { make, validate } from "../../../src/internal/schema/prepared.js"

interface Tree<A> {
  readonly leaf: A
  readonly branches: ReadonlyArray<Tree<A>>
}

const NumberTree: Schema.Schema<Tree<number>> = Schema.Struct({
  leaf: Schema.Number,
  branches: Schema.Array(Schema.suspend(() => NumberTree))
})
const DateTree: Schema.Schema<Tree<Date>> = Schema.Struct({
  leaf: Schema.DateFromSelf,
  branches: Schema.Array(Schema.suspend(() => DateTree))
})
class Category extends Schema.Class<Category>("Category")({
  name: Schema.String,
  within: Schema.Array(Schema.suspend((): Schema.Schema<Category, EncodedCategory> => Category))
}) {}
interface EncodedCategory {
  readonly name: string
  readonly within: ReadonlyArray<EncodedCategory>
}
class Profile extends Schema.Class<Profile>("Profile")({ born: Schema.Date, nick: Schema.optional(Schema.String) }) {}

describe("validate", () => {
  const storable: Readonly<Record<string, Schema.Struct.Fields>> = {
    "no fields": {},
    "literals, enums and templates": {
      a: Schema.Literal("x", 1, true, null),
      b: Schema.Enums({ One: 1, Two: "two" }),
      c: Schema.TemplateLiteral("x-", Schema.Number)
    },
    "fields encoded as text": {
      a: Schema.Date,
      b: Schema.BigInt,
      c: Schema.Redacted(Schema.String),
      d: Schema.Duration
    },
    "collections encoded as arrays": {
      a: Schema.HashMap({ key: Schema.String, value: Schema.Date }),
      b: Schema.ReadonlySet(Schema.BigInt),
      c: Schema.Uint8Array
    },
    "options, eithers and classes": {
      a: Schema.Option(Schema.Date),
      b: Schema.Either({ left: Schema.String, right: Schema.Int }),
      c: Profile,
      d: Schema.Data(Schema.Struct({ a: Schema.Int }))
    },
    "optional fields of all kinds": {
      a: Schema.optional(Schema.String),
      b: Schema.optionalWith(Schema.Date, { as: "Option", nullable: true }),
      c: Schema.optionalWith(Schema.Int, { default: () => 1 }),
      d: Schema.Struct({ e: Schema.optional(Schema.String) })
    },
    "recursion": { a: NumberTree },
    "recursion through a class": { a: Category },
    "any JSON": { a: Schema.Unknown, b: Schema.parseJson(Schema.Struct({ a: Schema.Date })) }
  }
  for (const [title, fields] of Object.entries(storable)) {
    it(`accepts ${title}`, () => assert.isUndefined(validate(Schema.Struct(fields))))
  }

  it("accepts a class", () => assert.isUndefined(validate(Profile)))

  const unstorable: Readonly<Record<string, readonly [field: Schema.Schema.All, place: string]>> = {
    "a Date": [Schema.DateFromSelf, "a"],
    "an optional bigint": [Schema.UndefinedOr(Schema.BigIntFromSelf), "a"],
    "a literal bigint": [Schema.Literal(1n), "a"],
    "a symbol": [Schema.SymbolFromSelf, "a"],
    "a unique symbol": [Schema.UniqueSymbolFromSelf(Symbol.for("x")), "a"],
    "an Option": [Schema.OptionFromSelf(Schema.String), "a"],
    "a ReadonlyMap": [Schema.ReadonlyMapFromSelf({ key: Schema.String, value: Schema.String }), "a"],
    "a Uint8Array": [Schema.Uint8ArrayFromSelf, "a"],
    "a Blob": [Schema.instanceOf(Blob), "a"],
    "a filtered Date": [Schema.DateFromSelf.pipe(Schema.filter((date) => date.getTime() > 0)), "a"],
    "a Date in a struct": [Schema.Struct({ b: Schema.Struct({ c: Schema.DateFromSelf }) }), "a.b.c"],
    "a Date in an array": [Schema.Array(Schema.Struct({ b: Schema.DateFromSelf })), "a[].b"],
    "a Date in a tuple": [Schema.Tuple(Schema.String, Schema.DateFromSelf), "a[]"],
    "a Date in the rest of a tuple": [Schema.Tuple([Schema.String], Schema.DateFromSelf), "a[]"],
    "a Date in a record": [Schema.Record({ key: Schema.String, value: Schema.DateFromSelf }), "a[]"],
    "a Date in a union": [Schema.Union(Schema.String, Schema.Struct({ b: Schema.DateFromSelf })), "a.b"],
    "a Date in a recursive schema": [DateTree, "a.leaf"],
    "undefined in an array": [Schema.Array(Schema.UndefinedOr(Schema.String)), "a[]"],
    "symbol keys of a record": [Schema.Record({ key: Schema.SymbolFromSelf, value: Schema.String }), "a"],
    "F8: a field named __proto__": [Schema.Struct({ ["__proto__"]: Schema.String }), "a"],
    "F8: a field named constructor": [Schema.Struct({ constructor: Schema.String }), "a"]
  }
  for (const [title, [field, place]] of Object.entries(unstorable)) {
    it(`rejects ${title} and names the path`, () => {
      const problem = validate(Schema.Struct({ before: Schema.String, a: field }))
      assert.include(problem ?? "", `.${place}`)
    })
  }

  for (const key of ["__proto__", "constructor", "prototype"]) {
    it(`F8: rejects a field whose encoded name is ${key}, because such a record could not be loaded`, () => {
      const named = Schema.Struct({ [key]: Schema.optional(Schema.String) })
      assert.include(validate(named) ?? "", key)
    })
  }

  it("F8: rejects a field whose encoded name is renamed to such a name", () => {
    const renamed = Schema.Struct({ a: Schema.optional(Schema.String).pipe(Schema.fromKey("prototype")) })
    assert.include(validate(renamed) ?? "", "prototype")
  })
})

const prepare = (schema: Any) => make<Readonly<Record<string, unknown>>>(schema, Context.empty())

describe("a value that can be set can be loaded", () => {
  const schema = prepare(Schema.Struct({
    any: Schema.Unknown,
    notes: Schema.Record({ key: Schema.String, value: Schema.String })
  }))
  const nested = (levels: number): unknown => JSON.parse("[".repeat(levels) + "]".repeat(levels))

  it.effect("F9: a nesting depth that encodeField accepts is accepted on load", () =>
    Effect.gen(function*() {
      for (let levels = 1; levels < 70; levels++) {
        const any = nested(levels)
        const outcome = yield* Effect.either(schema.encodeField("any", { any }))
        if (Either.isRight(outcome)) assert.isUndefined(problemOf({ any }), `${levels} levels`)
        else assert.isAbove(levels, 60)
      }
    }))

  it.effect("F9: encodeField rejects a nesting depth that would overflow the stack", () =>
    Effect.gen(function*() {
      for (const levels of [5000, 1_000_000]) {
        assert.strictEqual(
          (yield* Effect.flip(schema.encodeField("any", { any: nested(levels) })))._tag,
          "ValidationIssue"
        )
      }
    }))

  for (const key of ["__proto__", "constructor", "prototype"]) {
    it.effect(`F8: a value with an own field ${key} is rejected, not stored without it`, () =>
      Effect.gen(function*() {
        for (const field of ["notes", "any"]) {
          const value: unknown = JSON.parse(`{"a":"b","${key}":"x"}`)
          assert.isTrue(Either.isLeft(yield* Effect.either(schema.encodeField(field, { [field]: value }))), field)
        }
      }))
  }

  it.effect("encodeField rejects values that JSON cannot hold", () =>
    Effect.gen(function*() {
      for (
        const any of [
          1n,
          Number.NaN,
          new Date(0),
          () => 1,
          [undefined],
          new Map(),
          Option.none(),
          Symbol.for("x")
        ]
      ) {
        assert.strictEqual((yield* Effect.flip(schema.encodeField("any", { any })))._tag, "ValidationIssue")
      }
    }))

  it.effect("a computed field of a class is stored, or its schema is rejected", () =>
    Effect.gen(function*() {
      class Price extends Schema.Class<Price>("Price")({ net: Schema.Int }) {}
      class Taxed extends Price.transformOrFail<Taxed>("Taxed")({ gross: Schema.Int }, {
        decode: ({ net }) => Effect.succeed({ net, gross: net * 2 }),
        encode: ({ net }) => Effect.succeed({ net })
      }) {}
      if (validate(Taxed) !== undefined) return
      const taxed = prepare(Taxed)
      const gross = yield* taxed.encodeField("gross", { net: 1, gross: 9 })
      const decoded = yield* taxed.decode({ net: 1, [taxed.encodedName("gross")]: gross ?? null })
      assert.strictEqual(decoded["gross"], 9)
    }))
})
