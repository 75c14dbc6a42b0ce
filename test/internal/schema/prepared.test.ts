import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Either, FastCheck, Option, Schema } from "effect"
import { ReadOnce } from "effect-session"
import type { Any } from "effect-session/SessionSchema"
import type { SessionSchema, ValidationIssue } from "../../../src/internal/schema/prepared.js"
import { make } from "../../../src/internal/schema/prepared.js"
import type { Json, JsonRecord } from "../../../src/Json.js"

type Values = Readonly<Record<string, unknown>>

const prepare = (schema: Any) => make<Values>(schema, Context.empty())

/** The value after each field was encoded, stringified and parsed, as a store passes it to the next request. */
const stored = <A extends object>(schema: SessionSchema<A>, value: A) =>
  Effect.map(
    Effect.forEach(schema.keys, (key) =>
      Effect.map(schema.encodeField(key, value), (encoded) => [schema.encodedName(key), encoded] as const)),
    (fields) =>
      JSON.parse(JSON.stringify(Object.fromEntries(fields))) as JsonRecord
  )

const Item = Schema.Struct({ id: Schema.String, count: Schema.Int })
const fields = {
  required: Schema.String,
  optional: Schema.optional(Schema.Int),
  exact: Schema.optionalWith(Schema.Int, { exact: true }),
  defaulted: Schema.optionalWith(Schema.Literal("en", "ja"), { default: () => "en" as const }),
  nullable: Schema.optionalWith(Schema.String, { nullable: true }),
  option: Schema.optionalWith(Schema.String, { as: "Option" }),
  optionalDate: Schema.optionalWith(Schema.Date, { as: "Option" }),
  since: Schema.Date,
  renamed: Schema.propertySignature(Schema.String).pipe(Schema.fromKey("r")),
  renamedOptional: Schema.optional(Schema.Date).pipe(Schema.fromKey("ro")),
  undefinable: Schema.UndefinedOr(Schema.Int),
  items: Schema.Array(Item),
  pair: Schema.Tuple(Schema.Date, Schema.NullOr(Schema.Boolean)),
  union: Schema.Union(Schema.TaggedStruct("A", { a: Schema.Int }), Schema.TaggedStruct("B", { b: Schema.BigInt })),
  either: Schema.Option(Schema.Date)
}
const Everything = Schema.Struct(fields)
class Whole extends Schema.Class<Whole>("Whole")(fields) {}
class Longer extends Whole.extend<Longer>("Longer")({ more: Schema.optionalWith(Schema.Int, { default: () => 7 }) }) {}

const present = (value: object) => Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined))

describe("encodeField and decode", () => {
  const everything = make<typeof Everything.Type>(Everything, Context.empty())
  const whole = make<Whole>(Whole, Context.empty())
  const longer = make<Longer>(Longer, Context.empty())

  it.effect.prop(
    "a struct encoded field by field decodes to an equal value",
    [Everything],
    ([value]) =>
      Effect.gen(function*() {
        const decoded = yield* everything.decode(yield* stored(everything, value))
        assert.deepStrictEqual(present(decoded), present(value))
      })
  )

  it.effect.prop(
    "encoding field by field equals Schema.encode of the whole value",
    [Everything],
    ([value]) =>
      Effect.gen(function*() {
        const encoded: unknown = JSON.parse(JSON.stringify(yield* Schema.encode(Everything)(value)))
        assert.deepStrictEqual<unknown>(yield* stored(everything, value), encoded)
      })
  )

  it.effect.prop(
    "a class decodes to an instance of itself",
    [Whole, Longer],
    ([first, second]) =>
      Effect.gen(function*() {
        const a = yield* whole.decode(yield* stored(whole, first))
        assert.instanceOf(a, Whole)
        assert.deepStrictEqual(present(a), present(first))
        const b = yield* longer.decode(yield* stored(longer, second))
        assert.instanceOf(b, Longer)
        assert.deepStrictEqual(present(b), present(second))
      })
  )

  it("keys are the decoded names, encodedName returns the stored names", () => {
    assert.deepStrictEqual<ReadonlyArray<string>>(everything.keys, Object.keys(fields))
    assert.deepStrictEqual<ReadonlyArray<string>>(longer.keys, [...Object.keys(fields), "more"])
    const names = ["required", "renamed", "renamedOptional", "option"] as const
    assert.deepStrictEqual(names.map((key) => everything.encodedName(key)), ["required", "r", "ro", "option"])
  })

  it.effect("absent, undefined and None fields have no encoding", () =>
    Effect.gen(function*() {
      const schema = prepare(Everything)
      for (const [key, value] of [["optional", {}], ["optional", { optional: undefined }], ["exact", {}]] as const) {
        assert.isUndefined(yield* schema.encodeField(key, value))
      }
      assert.isUndefined(yield* schema.encodeField("option", { option: Option.none() }))
      assert.strictEqual(yield* schema.encodeField("defaulted", { defaulted: "en" }), "en")
    }))

  it.effect("L7: a record with unknown fields is accepted", () =>
    Effect.gen(function*() {
      const schema = prepare(Schema.Struct({ a: Schema.Int }))
      assert.deepStrictEqual(yield* schema.decode({ a: 1, later: { b: [2] } }), { a: 1 })
    }))

  it.effect("F11: NUL and lone surrogates survive", () =>
    Effect.gen(function*() {
      const schema = prepare(Schema.Struct({ a: Schema.String }))
      const value = { a: "\u0000 \uD800 \uDC00\uD83D \u{1F600}" }
      assert.deepStrictEqual(yield* schema.decode(yield* stored(schema, value)), value)
    }))

  it.effect("a nested optional field may be undefined, as its type allows", () =>
    Effect.gen(function*() {
      const Profile = Schema.Struct({ name: Schema.String, note: Schema.optional(Schema.String) })
      const schema = prepare(Schema.Struct({ profile: Profile, all: Schema.Array(Profile) }))
      const profile: typeof Profile.Type = { name: "ann", note: undefined }
      const decoded = yield* schema.decode(yield* stored(schema, { profile, all: [profile] }))
      assert.deepStrictEqual(decoded, { profile: { name: "ann" }, all: [{ name: "ann" }] })
    }))
})

interface Branch {
  readonly leaf: string
  readonly branches: ReadonlyArray<Branch>
}
const Branch: Schema.Schema<Branch> = Schema.Struct({
  leaf: Schema.String,
  branches: Schema.Array(Schema.suspend(() => Branch))
})

describe("mutable", () => {
  it("contains exactly the fields whose type allows mutation in place", () => {
    const immutable: Schema.Struct.Fields = {
      text: Schema.String,
      literal: Schema.optionalWith(Schema.Literal("a", 1, null), { default: () => 1 as const }),
      list: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] }),
      record: Schema.Record({ key: Schema.String, value: Schema.Array(Item) }),
      tuple: Schema.Tuple(Schema.String, Schema.Int),
      tree: Branch,
      optionalTree: Schema.optional(Branch),
      option: Schema.Option(Schema.String),
      optional: Schema.optionalWith(Schema.String, { as: "Option" }),
      hashMap: Schema.HashMap({ key: Schema.String, value: Schema.Chunk(Schema.Duration) }),
      utc: Schema.DateTimeUtc,
      bigint: Schema.BigInt,
      decimal: Schema.BigDecimal,
      redacted: Schema.Redacted(Schema.String),
      once: ReadOnce.field(Schema.Struct({ a: Schema.String }))
    }
    const mutable: Schema.Struct.Fields = {
      date: Schema.optionalWith(Schema.Date, { as: "Option" }),
      map: Schema.Map({ key: Schema.String, value: Schema.String }),
      set: Schema.optional(Schema.Set(Schema.String)),
      array: Schema.mutable(Schema.Array(Schema.String)),
      inner: Schema.Struct({ list: Schema.Array(Schema.mutable(Schema.Struct({ a: Schema.Int }))) }),
      bytes: Schema.Uint8Array,
      class: Whole,
      hashMapOfDates: Schema.HashMap({ key: Schema.String, value: Schema.Date }),
      unknown: Schema.Unknown,
      any: Schema.parseJson(Schema.Any),
      object: Schema.Object,
      union: Schema.Union(Schema.String, Schema.URL),
      empty: Schema.Struct({})
    }
    assert.deepStrictEqual([...prepare(Schema.Struct({ ...immutable, ...mutable })).mutable], Object.keys(mutable))
  })
})

class Prefix extends Context.Tag("test/Prefix")<Prefix, string>() {}

describe("services", () => {
  const Prefixed = Schema.transformOrFail(Schema.String, Schema.String, {
    strict: true,
    decode: (text) => Effect.map(Prefix, (prefix) => text.slice(prefix.length)),
    encode: (text) => Effect.map(Prefix, (prefix) => prefix + text)
  })
  const Slow = Schema.transformOrFail(Schema.String, Schema.String, {
    strict: true,
    decode: (text) => Effect.as(Effect.yieldNow(), text.toLowerCase()),
    encode: (text) => Effect.as(Effect.yieldNow(), text.toUpperCase())
  })

  it.effect("required by a schema are taken from the context passed to make", () =>
    Effect.gen(function*() {
      const schema = make<{ readonly a: string }>(Schema.Struct({ a: Prefixed }), Context.make(Prefix, "p-"))
      assert.strictEqual(yield* schema.encodeField("a", { a: "x" }), "p-x")
      assert.deepStrictEqual(yield* schema.decode({ a: "p-x" }), { a: "x" })
    }))

  it.effect("an asynchronous schema is supported", () =>
    Effect.gen(function*() {
      const schema = make<{ readonly a: string }>(Schema.Struct({ a: Slow }), Context.empty())
      assert.strictEqual(yield* schema.encodeField("a", { a: "x" }), "X")
      assert.deepStrictEqual(yield* schema.decode({ a: "X" }), { a: "x" })
    }))
})

describe("validation issues", () => {
  const schema = prepare(Everything)

  const misplaced: ReadonlyArray<readonly [key: string, value: unknown, field: string]> = [
    ["required", 1, "required"],
    ["renamed", null, "renamed"],
    ["items", [{ id: "a", count: 1 }, { id: "b", count: 1.5 }], "items.1.count"],
    ["pair", [new Date(0), "no"], "pair.1"],
    ["exact", undefined, "exact"]
  ]
  for (const [key, value, place] of misplaced) {
    it.effect(`an invalid value at ${place} is rejected with that path`, () =>
      Effect.gen(function*() {
        const issue = yield* Effect.flip(schema.encodeField(key, { [key]: value }))
        assert.deepInclude(issue, { _tag: "ValidationIssue", field: place })
      }))
  }

  it.effect("a missing required field is named", () =>
    Effect.gen(function*() {
      const issue = yield* Effect.flip(schema.decode({}))
      assert.deepStrictEqual(issue, { _tag: "ValidationIssue", field: "required", problem: "it is missing" })
    }))

  it.effect("a field that the schema does not have is rejected", () =>
    Effect.gen(function*() {
      for (const key of ["nope", "r", "__proto__", "toString"]) {
        assert.strictEqual((yield* Effect.flip(schema.encodeField(key, { [key]: 1 }))).field, key)
      }
    }))

  const marker = "hunter2"
  const json = FastCheck.letrec<{ value: Json }>((tie) => ({
    value: FastCheck.oneof(
      { maxDepth: 3 },
      FastCheck.constantFrom<Json>(marker, `${marker} ${marker}`, `2024-${marker}`, null, 1.5, "A", true),
      FastCheck.array(tie("value"), { maxLength: 3 }),
      FastCheck.dictionary(FastCheck.constantFrom("_tag", "a", "b", "id", "count", "value"), tie("value"))
    )
  })).value
  const records = FastCheck.dictionary(
    FastCheck.constantFrom(
      "required",
      "r",
      "ro",
      "items",
      "pair",
      "union",
      "since",
      "either",
      "option"
    ),
    json
  )

  it.effect.prop("L6: an issue never contains the value", [records], ([record]) =>
    Effect.gen(function*() {
      const decoding: Either.Either<unknown, ValidationIssue> = yield* Effect.either(schema.decode(record))
      const encodings: ReadonlyArray<Either.Either<unknown, ValidationIssue>> = yield* Effect.forEach(
        Object.keys(fields),
        (key) => Effect.either(schema.encodeField(key, { [key]: record[schema.encodedName(key)] }))
      )
      for (const outcome of [decoding, ...encodings]) {
        if (Either.isLeft(outcome)) {
          assert.notInclude(JSON.stringify(outcome.left), marker)
        }
      }
    }), { fastCheck: { numRuns: 200 } })

  it.effect("L6: an issue of a filter never contains the value", () =>
    Effect.gen(function*() {
      const filtered = prepare(Schema.Struct({
        pin: Schema.String.pipe(Schema.minLength(100)),
        odd: Schema.String.pipe(Schema.filter((text) => `${text} is not odd`)),
        unknown: Schema.Unknown
      }))
      for (
        const [key, value] of [["pin", marker], ["odd", marker], ["unknown", {
          a: marker,
          b: () => marker
        }]] as const
      ) {
        const issue = yield* Effect.flip(filtered.encodeField(key, { [key]: value }))
        assert.strictEqual(issue.field.split(".")[0], key)
        assert.notInclude(JSON.stringify(issue), marker)
      }
    }))
})
