/** Lazy decoding of fields: a value that the check accepts must decode, and to the same value as an eager decoding. */
import { Context, Effect, Either, FastCheck as fc, ParseResult, Schema } from "effect"
import type { JsonRecord } from "effect-session/Json"
import { assert, describe, it } from "vitest"
import { checkOf, hasField, wholeOf, withField } from "../../../src/internal/schema/lazy.js"
import * as Prepared from "../../../src/internal/schema/prepared.js"

const Item = Schema.Struct({ sku: Schema.String, count: Schema.Number, note: Schema.optional(Schema.String) })

interface Tree {
  readonly name: string
  readonly children: ReadonlyArray<Tree>
}
const Tree: Schema.Schema<Tree> = Schema.Struct({
  name: Schema.String,
  children: Schema.Array(Schema.suspend(() => Tree))
})

/** Fields of every kind that the check supports, and of some that it leaves to the decoder. */
const fields = {
  string: Schema.String,
  number: Schema.Number,
  boolean: Schema.Boolean,
  literal: Schema.Literal("a", 1, null),
  optional: Schema.optional(Schema.String),
  exact: Schema.optionalWith(Schema.Number, { exact: true }),
  withDefault: Schema.optionalWith(Schema.Number, { default: () => 7 }),
  nullable: Schema.optionalWith(Schema.String, { nullable: true, default: () => "x" }),
  asOption: Schema.optionalWith(Schema.String, { as: "Option" }),
  renamed: Schema.propertySignature(Schema.String).pipe(Schema.fromKey("other")),
  nullOr: Schema.NullOr(Schema.Number),
  refined: Schema.NonEmptyString,
  between: Schema.Number.pipe(Schema.between(1, 5)),
  tuple: Schema.Tuple(Schema.String, Schema.optionalElement(Schema.Number)),
  rest: Schema.Tuple([Schema.String], Schema.Number),
  items: Schema.Array(Item),
  record: Schema.Record({ key: Schema.String, value: Schema.Number }),
  keys: Schema.Record({ key: Schema.NonEmptyString, value: Schema.Number }),
  both: Schema.Struct({ a: Schema.String }, Schema.Record({ key: Schema.String, value: Schema.String })),
  union: Schema.Union(Schema.NumberFromString, Schema.String, Item),
  date: Schema.DateFromString,
  trimmed: Schema.Trim,
  unknown: Schema.Unknown,
  tree: Tree,
  filteredStruct: Item.pipe(Schema.filter(({ count }) => count > 0)),
  inner: Schema.Struct({ count: Schema.optionalWith(Schema.Number, { default: () => 1 }) }),
  innerNullable: Schema.Struct({ n: Schema.optionalWith(Schema.NumberFromString, { nullable: true }) }),
  never: Schema.Never,
  undefinedOr: Schema.UndefinedOr(Schema.String)
}

const leaf = fc.oneof(
  fc.constantFrom<unknown>(null, true, false, "", "a", " a ", "1", "x", 0, 1, 3, 9, -1, 1.5, "2020-01-01"),
  fc.string()
)
const json = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    leaf,
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom("a", "sku", "count", "note", "name", "children", "n", "b"), tie("value"), {
      maxKeys: 4
    }),
    fc.record({ sku: fc.string(), count: fc.integer() }),
    fc.record({ name: fc.string(), children: fc.array(tie("value"), { maxLength: 2 }) })
  )
})).value

describe.each(Object.entries(fields))("%s", (key, field) => {
  const single = Schema.Struct({ [key]: field }) as unknown as Schema.Schema<
    Record<string, unknown>,
    Record<string, unknown>
  >
  const check = checkOf(single.ast)
  const decode = ParseResult.decodeUnknownEither(single)
  const name = key === "renamed" ? "other" : key

  it("an accepted value decodes; a primitive or plain one decodes to the same value and is its own encoding", () => {
    fc.assert(
      fc.property(json, (value) => {
        if (!check.accepts(value)) return
        const decoded = decode({ [name]: value })
        assert.isTrue(Either.isRight(decoded), JSON.stringify(value))
        if (!(check.isPrimitive(value) || check.isPlain) || Either.isLeft(decoded)) return
        assert.deepStrictEqual(decoded.right[key], value)
        assert.deepStrictEqual(ParseResult.encodeUnknownSync(single)({ [key]: value }), { [name]: value })
      }),
      { numRuns: 2000 }
    )
  })
})

it("schemas of primitives, arrays and structs are plain; transformed and recursive ones are not", () => {
  const isPlain = (key: keyof typeof fields) =>
    checkOf((Schema.Struct({ [key]: fields[key] }) as unknown as Schema.Schema<unknown>).ast).isPlain
  const plain = [
    "string",
    "literal",
    "optional",
    "withDefault",
    "refined",
    "tuple",
    "rest",
    "items",
    "record",
    "both"
  ] as const
  assert.deepStrictEqual(plain.map(isPlain), plain.map(() => true))
  const others = ["union", "date", "trimmed", "unknown", "tree", "filteredStruct", "inner", "innerNullable"] as const
  assert.deepStrictEqual(others.map(isPlain), others.map(() => false))
})

it("a plain value with shared parts is rejected if it has too many values", () => {
  const Grid = Schema.Struct({ grid: Schema.Array(Schema.Array(Schema.Array(Schema.Number))) })
  const schema = Prepared.make<typeof Grid.Type>(Grid, Context.empty())
  const cell = Array.from({ length: 60 }, () => 1)
  const row = Array.from({ length: 200 }, () => cell)
  const grid = Array.from({ length: 200 }, () => row)
  const problem = Effect.runSync(
    Effect.match(schema.encodeField("grid", { grid }), { onFailure: ({ problem }) => problem, onSuccess: () => "none" })
  )
  assert.strictEqual(problem, "more than 1000000 values")
})

describe("the check is effective", () => {
  it.each(
    [
      ["string", "a"],
      ["literal", null],
      ["withDefault", 1],
      ["nullable", "a"],
      ["nullOr", null],
      ["refined", "a"],
      ["between", 3],
      ["tuple", ["a"]],
      ["rest", ["a", 1, 2]],
      ["items", [{ sku: "a", count: 1 }]],
      ["record", { a: 1 }],
      ["union", "a"],
      ["tree", { name: "a", children: [{ name: "b", children: [] }] }],
      ["inner", { count: 2 }]
    ] as const
  )("%s accepts a valid value", (key, value) => {
    const single = Schema.Struct({ [key]: fields[key] }) as unknown as Schema.Schema<unknown>
    assert.isTrue(checkOf(single.ast).accepts(value))
  })
})

describe("an opened value", () => {
  const Session = Schema.Struct({
    user: Schema.optional(Schema.String),
    count: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    when: Schema.optional(Schema.NumberFromString),
    items: Schema.optionalWith(Schema.Array(Item), { default: () => [] })
  })
  const schema = Prepared.make<typeof Session.Type>(Session, Context.empty())
  const opened = (raw: JsonRecord) => Effect.runSync(schema.open(raw))

  it("equals the eagerly decoded value, whatever the record holds", () => {
    const field = fc.oneof(json, fc.constant(undefined))
    fc.assert(
      fc.property(fc.record({ user: field, count: field, when: field, items: field, more: field }), (record) => {
        const raw = JSON.parse(JSON.stringify(record))
        const decoded = Schema.decodeUnknownEither(Session)(raw)
        const value = Effect.runSync(Effect.either(schema.open(raw)))
        assert.strictEqual(Either.isRight(value), Either.isRight(decoded))
        if (Either.isRight(value) && Either.isRight(decoded)) {
          assert.deepStrictEqual(wholeOf(value.right, schema.keys), decoded.right)
        }
      }),
      { numRuns: 1000 }
    )
  })

  it("returns the same object for each read of a field", () => {
    const value = opened({ items: [{ sku: "a", count: 1 }] })
    assert.strictEqual(value.items, value.items)
    assert.deepStrictEqual(value.items, [{ sku: "a", count: 1 }])
  })

  it("withField sets or removes one field, keeps the others and does not mutate its argument", () => {
    const value = opened({ user: "ann", count: 3 })
    const next = withField(withField(value, "user", { present: false }), "count", { present: true, value: 4 })
    assert.deepStrictEqual([hasField(next, "user"), next.user, next.count, next.items], [false, undefined, 4, []])
    assert.deepStrictEqual(wholeOf(next, schema.keys), { count: 4, items: [] })
    assert.deepStrictEqual(wholeOf(value, schema.keys), { user: "ann", count: 3, items: [] })
  })
})
