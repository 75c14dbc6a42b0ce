/**
 * Deep, cyclic and shared values are rejected with a typed error in linear time, never with a defect; stored ones too.
 */
import { it } from "@effect/vitest"
import { Chunk, Context, Effect, Either, HashMap, Layer, List, Option, Schema } from "effect"
import { MemoryEngine, MemoryStore, Session, SessionCodec, SessionHistory, StoredEngine } from "effect-session"
import type { Any } from "effect-session/SessionSchema"
import { assert, describe } from "vitest"
import { maxDepth, maxValues, problemOf, problemOfValue } from "../../../src/internal/json.js"
import { make } from "../../../src/internal/schema/prepared.js"
import { visit } from "../../support/requestWithoutHttp.js"

interface Tree {
  readonly name: string
  readonly children: ReadonlyArray<Tree>
}
const Tree: Schema.Schema<Tree> = Schema.Struct({
  name: Schema.String,
  children: Schema.Array(Schema.suspend(() => Tree))
})
interface Chain {
  readonly next: Option.Option<Chain>
}
interface EncodedChain {
  readonly next?: EncodedChain
}
const Chain: Schema.Schema<Chain, EncodedChain> = Schema.Struct({
  next: Schema.optionalWith(Schema.suspend(() => Chain), { as: "Option", exact: true })
})
class Category extends Schema.Class<Category>("Category")({
  within: Schema.Array(Schema.suspend((): Schema.Schema<Category, EncodedCategory> => Category))
}) {}
interface EncodedCategory {
  readonly within: ReadonlyArray<EncodedCategory>
}
/** A class whose fields only its own schema can encode. */
class Opaque {
  constructor(readonly inner: Opaque | undefined) {}
}
interface EncodedOpaque {
  readonly inner?: EncodedOpaque
}
const Opaques: Schema.Schema<Opaque, EncodedOpaque> = Schema.transform(
  Schema.Struct({ inner: Schema.optionalWith(Schema.suspend(() => Opaques), { exact: true }) }),
  Schema.instanceOf(Opaque),
  {
    strict: true,
    decode: ({ inner }) => new Opaque(inner),
    encode: ({ inner }) => inner === undefined ? {} : { inner }
  }
)

type Nest = (inner: unknown) => unknown

const nest = (levels: number, around: Nest, core: unknown): unknown => {
  let value = core
  for (let level = 0; level < levels; level++) value = around(value)
  return value
}

const around: Readonly<Record<string, readonly [Schema.Schema.Any, Nest, core: unknown]>> = {
  "a recursive struct": [Tree, (inner) => ({ name: "a", children: [inner] }), { name: "z", children: [] }],
  "a recursion through Option": [Chain, (inner) => ({ next: Option.some(inner) }), { next: Option.none() }],
  "a recursive class": [
    Category,
    (inner) => new Category({ within: [inner as Category] }, true),
    new Category({ within: [] })
  ],
  "a custom class": [Opaques, (inner) => new Opaque(inner as Opaque), new Opaque(undefined)],
  "Unknown": [Schema.Unknown, (inner) => ({ a: [inner] }), 1],
  "parseJson": [Schema.parseJson(Schema.Unknown), (inner) => [inner], 1],
  "Maps": [Schema.Unknown, (inner) => new Map([["a", inner]]), 1]
}

const prepare = (field: Schema.Schema.Any) =>
  make<{ readonly a: unknown }>(Schema.Struct({ a: field }) as unknown as Any, Context.empty())

describe("a deeply nested value", () => {
  for (const [title, [field, nesting, core]] of Object.entries(around)) {
    const schema = prepare(field)
    for (const levels of [200, 3000, 100_000]) {
      it.effect(`${title}, ${levels} levels, is rejected with an issue that names the field`, () =>
        Effect.gen(function*() {
          const issue = yield* Effect.flip(schema.encodeField("a", { a: nest(levels, nesting, core) }))
          assert.strictEqual(issue._tag, "ValidationIssue")
          assert.match(issue.field, /^a\b/)
          assert.match(issue.problem, /nested|instance of a class/)
        }))
    }
  }

  for (const [title, [field, nesting, core]] of Object.entries(around)) {
    if (title === "Maps") continue
    it.effect(`${title}: an accepted value can be loaded`, () =>
      Effect.gen(function*() {
        const schema = prepare(field)
        let deepest = 0
        for (let levels = 0; levels < 150; levels++) {
          const encoded = yield* Effect.either(schema.encodeField("a", { a: nest(levels, nesting, core) }))
          if (Either.isLeft(encoded)) continue
          deepest = levels
          assert.isUndefined(problemOf({ a: encoded.right }))
          yield* schema.decode({ a: encoded.right ?? null })
        }
        assert.isAtLeast(deepest, 20)
      }))
  }

  it.effect("a schema that needs services has the same limit", () => {
    class Name extends Context.Tag("test/deep/Name")<Name, string>() {}
    interface Node {
      readonly inner?: Node
      readonly text: string
    }
    const text = Schema.transformOrFail(Schema.String, Schema.String, {
      strict: true,
      decode: (text) => Effect.map(Name, () => text),
      encode: (text) => Effect.zipRight(Effect.yieldNow(), Effect.map(Name, () => text))
    })
    const Node: Schema.Schema<Node, Node, Name> = Schema.Struct({
      inner: Schema.optionalWith(Schema.suspend(() => Node), { exact: true }),
      text
    })
    const schema = make<{ readonly a: unknown }>(
      Schema.Struct({ a: Node }) as unknown as Any,
      Context.make(Name, "x") as Context.Context<never>
    )
    return Effect.gen(function*() {
      for (const levels of [100, 3000, 20_000]) {
        const a = nest(levels, (inner) => ({ inner, text: "t" }), { text: "t" })
        assert.strictEqual((yield* Effect.flip(schema.encodeField("a", { a })))._tag, "ValidationIssue")
      }
    })
  })
})

describe("a cyclic value", () => {
  const cyclic = (build: (self: Record<string, unknown>) => unknown) => {
    const self: Record<string, unknown> = {}
    Object.assign(self, build(self))
    return self
  }
  const cycles: Readonly<Record<string, unknown>> = {
    "an object": cyclic((self) => ({ self })),
    "an object, twice": cyclic((self) => ({ a: self, b: self })),
    "an array": cyclic((self) => ({ list: [1, [self]] })),
    "a tree": cyclic((self) => ({ name: "a", children: [self] })),
    "a map": cyclic((self) => ({ map: new Map([["a", self]]) })),
    "an option": cyclic((self) => ({ next: Option.some(self) }))
  }
  for (const [title, a] of Object.entries(cycles)) {
    for (const [name, field] of [["Unknown", Schema.Unknown], ["Tree", Tree], ["Chain", Chain]] as const) {
      it.effect(`${title} is rejected by a field of ${name}`, () =>
        Effect.gen(function*() {
          const issue = yield* Effect.flip(prepare(field).encodeField("a", { a }))
          assert.strictEqual(issue.problem, "it contains itself")
        }))
    }
  }

  it("an instance property outside the schema that refers back to its instance is no cycle", () => {
    class Owner extends Schema.Class<Owner>("Owner")({ name: Schema.String }) {
      readonly self = this
    }
    assert.isUndefined(problemOfValue({ owner: new Owner({ name: "ann" }) }))
  })
})

describe("a value with shared parts", () => {
  /** Makes 2^levels values out of `levels` objects. */
  const doubling = (levels: number, both: (inner: unknown) => unknown, core: unknown) => nest(levels, both, core)
  const shapes: Readonly<Record<string, readonly [Schema.Schema.Any, Nest, core: unknown]>> = {
    "arrays": [Schema.Unknown, (inner) => [inner, inner], 1],
    "objects": [Schema.Unknown, (inner) => ({ a: inner, b: inner }), 1],
    "a recursive struct": [Tree, (inner) => ({ name: "a", children: [inner, inner] }), { name: "z", children: [] }],
    "a recursive class": [
      Category,
      (inner) => new Category({ within: [inner as Category, inner as Category] }, true),
      new Category({ within: [] })
    ],
    "maps": [Schema.Unknown, (inner) => new Map([["a", inner], ["b", inner]]), 1],
    "sets of options": [Schema.Unknown, (inner) => new Set([Option.some(inner), Option.some(inner)]), 1],
    "hash maps": [Schema.Unknown, (inner) => HashMap.make(["a", inner], ["b", inner]), 1],
    "chunks and lists": [Schema.Unknown, (inner) => Chunk.make(List.make(inner, inner)), 1]
  }
  for (const [title, [field, both, core]] of Object.entries(shapes)) {
    it.effect(`${title}: 2^30 values are rejected without visiting each`, () =>
      Effect.gen(function*() {
        const issue = yield* Effect.flip(prepare(field).encodeField("a", { a: doubling(30, both, core) }))
        assert.strictEqual(issue.problem, `more than ${maxValues} values`)
      }))
  }

  it("is walked in linear time in the number of its objects", () => {
    const reads = (levels: number): number => {
      let count = 0
      const counted = (inner: unknown) =>
        new Proxy({ a: inner, b: inner }, {
          ownKeys: (target) => (count++, Reflect.ownKeys(target)),
          getPrototypeOf: () => Object.prototype
        })
      problemOfValue(nest(levels, counted, 1))
      return count
    }
    // The first 10,000 steps do not track shared objects.
    assert.isBelow(reads(60), 10_000 + 60 * 4)
    assert.isBelow(reads(120), 10_000 + 120 * 4)
  })

  it.effect("is accepted if it is small", () =>
    Effect.gen(function*() {
      const line = { sku: "tea" }
      const encoded = yield* prepare(Schema.Unknown).encodeField("a", { a: [line, line, { line }] })
      assert.deepStrictEqual<unknown>(encoded, [{ sku: "tea" }, { sku: "tea" }, { line: { sku: "tea" } }])
    }))

  it("JSON with shared parts from a codec is validated in linear time, too", () => {
    assert.strictEqual(
      problemOf({ a: doubling(40, (inner) => [inner, inner], 1) })?.message,
      `more than ${maxValues} values`
    )
    assert.isUndefined(problemOf({ a: doubling(15, (inner) => [inner, inner], 1) }))
  })

  it("a large value without shared parts is accepted", () => {
    assert.isUndefined(problemOf({ a: Array.from({ length: 200_000 }, (_, i) => ({ i })) }))
  })

  it("the depth of a shared part is that of its deepest place", () => {
    const shared = nest(maxDepth - 10, (inner) => [inner], 1)
    const many = Array.from({ length: 11_000 }, () => [1])
    assert.isUndefined(problemOf([many, shared]))
    assert.strictEqual(
      problemOf([many, shared, nest(10, (inner) => [inner], shared)])?.message,
      "nested deeper than 64 levels"
    )
  })
})

class Forum extends Session.Tag<Forum>()("test/Forum", {
  schema: Schema.Struct({
    tree: Schema.optional(Tree),
    any: Schema.optional(Schema.Unknown),
    text: Schema.optional(Schema.parseJson(Tree)),
    count: Schema.optionalWith(Schema.Number, { default: () => 0 })
  })
}) {}

describe("in a request", () => {
  const forum = Layer.provide(Forum.layer, MemoryEngine.layer)
  const deep = nest(3000, (inner) => ({ name: "a", children: [inner] }), { name: "z", children: [] }) as Tree
  const cycle: { self?: unknown } = {}
  cycle.self = cycle

  for (
    const [title, change] of Object.entries({
      "set": Forum.set("tree", deep),
      "update": Forum.update("tree", () => deep),
      "modify": Forum.modify("tree", () => [0, deep]),
      "patch": Forum.patch({ count: 1, tree: deep }),
      "getOrSet": Effect.asVoid(Forum.getOrSet("tree", deep)),
      "set of a cycle": Forum.set("any", cycle),
      "set of a text": Forum.set("text", deep)
    })
  ) {
    it.effect(`${title} of a deep value fails with SessionInvalid, and the session is unchanged`, () =>
      Effect.gen(function*() {
        const { cookie, result } = yield* visit(
          Forum,
          Effect.zipLeft(Effect.flip(Effect.asVoid(change)), Forum.set("count", 7))
        )
        assert.strictEqual(result._tag, "SessionInvalid")
        assert.deepStrictEqual((yield* visit(Forum, Forum.value, cookie)).result, { count: 7 })
      }).pipe(Effect.provide(forum)))
  }

  it.effect("modify may return a deep or cyclic result, and is a conflict on replay if results cannot be compared", () =>
    Effect.gen(function*() {
      const { cookie } = yield* visit(Forum, Forum.set("count", 1))
      const other = visit(Forum, Forum.update("count", (n) => n + 1), cookie)
      for (const result of [deep, cycle, nest(100_000, (inner) => [inner], 1)]) {
        const alone = yield* visit(Forum, Forum.modify("count", (n) => [result, n + 1]), cookie)
        assert.isUndefined(alone.error)
        assert.strictEqual(alone.result, result)
        const replayed = yield* visit(
          Forum,
          Effect.zipLeft(Forum.modify("count", (n) => [structuredCloneOf(result), n + 1], compareDeeply), other),
          cookie
        )
        assert.strictEqual(replayed.error?._tag, "SessionConflict")
      }
    }).pipe(Effect.provide(forum)))

  const structuredCloneOf = (value: unknown): unknown => [value]
  const compareDeeply = (a: unknown, b: unknown): boolean => {
    const walk = (): boolean => walk()
    return a === b || walk()
  }

  const stored: Readonly<Record<string, string>> = {
    "3,000 levels": `{"any":${"[".repeat(3000)}${"]".repeat(3000)}}`,
    "3,000 levels of a recursive field": `{"tree":${"{\"name\":\"a\",\"children\":[".repeat(3000)}${
      "]}".repeat(3000)
    }}`,
    "a million levels": `{"any":${"[".repeat(1_000_000)}${"]".repeat(1_000_000)}}`,
    "65 levels": `{"any":${"[".repeat(65)}${"]".repeat(65)}}`,
    "3,000 levels in a text": JSON.stringify({
      text: `${"{\"name\":\"a\",\"children\":[".repeat(3000)}${"]}".repeat(3000)}`
    })
  }
  for (const [title, data] of Object.entries(stored)) {
    for (const onUndecodable of ["restart", "fail"] as const) {
      it.effect(`stored data of ${title} is handled by onUndecodable: ${onUndecodable}`, () => {
        const codec = { encode: () => data, decode: (text: string): unknown => JSON.parse(text) }
        const store = MemoryStore.layer
        const layer = (policy: typeof onUndecodable) =>
          Layer.provide(
            Layer.fresh(Forum.layerWith({ onUndecodable: policy })),
            StoredEngine.layerWith({ maxSessionBytes: 10_000_000 })
          )
        return Effect.gen(function*() {
          const { cookie } = yield* visit(Forum, Forum.set("count", 1)).pipe(
            Effect.provide(layer("restart").pipe(Layer.provide(SessionCodec.layer(codec))))
          )
          const exit = yield* Effect.either(
            visit(Forum, Forum.get("count"), cookie).pipe(Effect.provide(layer(onUndecodable)))
          )
          if (onUndecodable === "restart") assert.strictEqual(Either.getOrThrow(exit).result, 0)
          else assert.strictEqual(Either.flip(exit).pipe(Either.getOrThrow)._tag, "SessionUnavailable")
        }).pipe(Effect.provide(store))
      })
    }
  }

  it.effect("a history handles deep data by the same policy, and an upgrade that produces deep data is a typed failure", () => {
    const V1 = Schema.Struct({ text: Schema.optional(Schema.String) })
    const V2 = Schema.Struct({ any: Schema.optional(Schema.Unknown) })
    class Old extends Session.Tag<Old>()("test/Upgraded", { schema: V1, namespace: "up" }) {}
    class New extends Session.Tag<New>()("test/Upgraded2", {
      schema: V2,
      namespace: "up",
      cookie: { name: "other" },
      history: SessionHistory.from(V1).to(V2, () => ({ any: nest(3000, (inner) => [inner], 1) }))
    }) {}
    return Effect.gen(function*() {
      const { cookie } = yield* visit(Old, Old.set("text", "t"))
      assert.isUndefined((yield* visit(New, New.get("any"), cookie)).result)
    }).pipe(Effect.provide(Layer.provide(Layer.merge(Old.layer, New.layer), MemoryEngine.layer)))
  })
})
