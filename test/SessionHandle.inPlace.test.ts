/** Values that a handler may mutate in place: they are not shared between visitors, and mutations are saved. */
import { it } from "@effect/vitest"
import { Deferred, Effect, Fiber, HashMap, Layer, Option, Redacted, Schema, Stream } from "effect"
import { MemoryEngine, Merge, ReadOnce, Session, SessionHistory } from "effect-session"
import { assert, describe } from "vitest"
import { visit } from "./support/requestWithoutHttp.js"

/** A schema of mutable values, and a mutation. Each call of `change` makes another change. */
interface Kind {
  readonly schema: Schema.Schema<unknown, unknown>
  readonly make: () => unknown
  readonly change: (value: unknown) => void
}

const kind = <A, I>(schema: Schema.Schema<A, I>, make: () => A, change: (value: A) => void): Kind => ({
  schema: schema as unknown as Schema.Schema<unknown, unknown>,
  make,
  change: change as (value: unknown) => void
})

const Line = Schema.mutable(Schema.Struct({ count: Schema.Number, tags: Schema.mutable(Schema.Array(Schema.String)) }))
class Cart extends Schema.Class<Cart>("Cart")({ items: Schema.mutable(Schema.Array(Schema.String)) }) {}
class Celsius {
  constructor(public degrees: number) {}
}
const CelsiusFromNumber = Schema.transform(Schema.Number, Schema.instanceOf(Celsius), {
  strict: true,
  decode: (degrees) => new Celsius(degrees),
  encode: ({ degrees }) => degrees
})
interface Tree {
  name: string
  readonly children: Array<Tree>
}
const Tree: Schema.Schema<Tree> = Schema.mutable(
  Schema.Struct({ name: Schema.String, children: Schema.mutable(Schema.Array(Schema.suspend(() => Tree))) })
)

const kinds: Readonly<Record<string, Kind>> = {
  "Map": kind(
    Schema.Map({ key: Schema.String, value: Schema.Number }),
    () => new Map([["a", 1]]),
    (map) => map.set("a", (map.get("a") ?? 0) + 1)
  ),
  "Map of Maps": kind(
    Schema.Map({ key: Schema.String, value: Schema.Map({ key: Schema.String, value: Schema.Number }) }),
    () => new Map([["a", new Map<string, number>()]]),
    (map) => map.get("a")?.set(`k${map.get("a")?.size}`, 1)
  ),
  "Set": kind(Schema.Set(Schema.Number), () => new Set([0]), (set) => set.add(set.size)),
  "mutable array": kind(Schema.mutable(Schema.Array(Schema.String)), () => ["a"], (list) => list.push("b")),
  "mutable array in a readonly struct": kind(
    Schema.Struct({ list: Schema.mutable(Schema.Array(Schema.String)) }),
    () => ({ list: [] }),
    ({ list }) => list.push("b")
  ),
  "mutable struct": kind(Line, () => ({ count: 0, tags: [] }), (line) => (line.count++, line.tags.push("t"))),
  "mutable record": kind(
    Schema.mutable(Schema.Record({ key: Schema.String, value: Schema.Number })),
    () => ({ a: 0 }),
    (record) => record["a"] = (record["a"] ?? 0) + 1
  ),
  "mutable tuple": kind(
    Schema.mutable(Schema.Tuple(Schema.Number, Schema.String)),
    (): [number, string] => [0, "x"],
    (pair) => pair[0]++
  ),
  "Date": kind(Schema.Date, () => new Date(0), (date) => date.setTime(date.getTime() + 1)),
  "readonly array of Dates": kind(
    Schema.Array(Schema.Date),
    () => [new Date(0)],
    ([date]) => date?.setTime(date.getTime() + 1)
  ),
  "bytes": kind(Schema.Uint8Array, () => new Uint8Array(2), (bytes) => bytes[0] = (bytes[0] ?? 0) + 1),
  "URL": kind(Schema.URL, () => new URL("https://a.example/"), (url) => url.pathname += "b"),
  "Schema.Class": kind(Cart, () => new Cart({ items: [] }), ({ items }) => items.push("tea")),
  "other class": kind(CelsiusFromNumber, () => new Celsius(20), (value) => value.degrees++),
  "Option of a Date": kind(
    Schema.Option(Schema.Date),
    () => Option.some(new Date(0)),
    (date) => Option.map(date, (date) => date.setTime(date.getTime() + 1))
  ),
  "HashMap of Dates": kind(
    Schema.HashMap({ key: Schema.String, value: Schema.Date }),
    () => HashMap.make(["a", new Date(0)]),
    (map) => HashMap.forEach(map, (date) => void date.setTime(date.getTime() + 1))
  ),
  "Redacted bytes": kind(
    Schema.Redacted(Schema.Uint8Array),
    () => Redacted.make(new Uint8Array(1)),
    (bytes) => Redacted.value(bytes)[0]!++
  ),
  "union": kind(
    Schema.Union(Schema.String, Line),
    () => ({ count: 0, tags: [] }),
    (line) => typeof line !== "string" && line.count++
  ),
  "recursion": kind(
    Tree,
    () => ({ name: "a", children: [] }),
    (tree) => tree.children.push({ name: "b", children: [] })
  ),
  "Unknown": kind(Schema.Unknown, () => ({ list: [] }), (value) => (value as { list: Array<string> }).list.push("b")),
  "Object": kind(Schema.Object, () => ({ list: [] }), (value) => (value as { list: Array<string> }).list.push("b")),
  "parseJson": kind(Schema.parseJson(Schema.Unknown), () => [], (value) => (value as Array<string>).push("b"))
}

/** Session tags with the field `box` from a default, a shared default, and an initial value. */
const tags = ({ change, make, schema }: Kind) => {
  const field = Schema.optionalWith(schema, { default: make })
  const shared = make()
  class Defaulted extends Session.Tag<Defaulted>()("test/Defaulted", {
    schema: Schema.Struct({ box: field, spare: Schema.optional(schema) })
  }) {}
  class Shared extends Session.Tag<Shared>()("test/Shared", {
    schema: Schema.Struct({
      box: Schema.optionalWith(schema, { default: () => shared }),
      spare: Schema.optional(schema)
    })
  }) {}
  class Initial extends Session.Tag<Initial>()("test/Initial", {
    schema: Schema.Struct({ box: schema, spare: Schema.optional(schema) }),
    initial: { box: shared }
  }) {}
  const encode = Schema.encodeSync(Schema.Struct({ box: schema, spare: Schema.optional(schema) }))
  const shown = (value: { readonly box: unknown; readonly spare?: unknown }) =>
    JSON.parse(JSON.stringify(encode(value as { box: unknown }))) as { box: unknown; spare?: unknown }
  return { Defaulted, Shared, Initial, shown, change, make }
}

type Box = ReturnType<typeof tags>["Defaulted"]

const ways = (
  { change, make }: Kind
): Readonly<Record<string, (tag: Box) => Effect.Effect<unknown, unknown, Box["Identifier"]>>> => ({
  "get": (tag) => Effect.map(tag.get("box"), change),
  "get, set": (tag) => Effect.flatMap(Effect.tap(tag.get("box"), change), (box) => tag.set("box", box)),
  "get, set, get": (tag) =>
    Effect.gen(function*() {
      const box = yield* tag.get("box")
      change(box)
      yield* tag.set("box", box)
      change(yield* tag.get("box"))
    }),
  "get, patch": (tag) => Effect.flatMap(Effect.tap(tag.get("box"), change), (box) => tag.patch({ box, spare: box })),
  "get, change of another field": (tag) =>
    Effect.zipRight(Effect.map(tag.get("box"), change), tag.set("spare", make())),
  "value": (tag) => Effect.map(tag.value, ({ box }) => change(box)),
  "value and get": (tag) =>
    Effect.gen(function*() {
      change((yield* tag.value).box)
      change(yield* tag.get("box"))
    }),
  "update": (tag) => tag.update("box", (box) => (change(box), box)),
  "get, update": (tag) =>
    Effect.zipRight(Effect.map(tag.get("box"), change), tag.update("box", (box) => (change(box), box))),
  "modify": (tag) => tag.modify("box", (box) => (change(box), [box, box])),
  "getOrSet": (tag) => Effect.map(tag.getOrSet("spare", make()), change),
  "set, getOption": (tag) =>
    Effect.zipRight(tag.set("spare", make()), Effect.map(tag.getOption("spare"), Option.map(change))),
  "set, getOrElse": (tag) =>
    Effect.zipRight(tag.set("spare", make()), Effect.map(tag.getOrElse("spare", make), change)),
  "clear, get": (tag) => Effect.zipRight(tag.clear, Effect.map(tag.get("box"), change)),
  "get, save": (tag) => Effect.zipRight(Effect.map(tag.get("box"), change), tag.save),
  "save, get": (tag) =>
    Effect.gen(function*() {
      yield* tag.set("spare", make())
      yield* tag.save
      change(yield* tag.get("box"))
      change(yield* tag.get("spare"))
    }),
  "get, fresh": (tag) => Effect.zipRight(Effect.map(tag.get("box"), change), tag.reload),
  "get, cycleKey": (tag) => Effect.zipRight(Effect.map(tag.get("box"), change), tag.rotate),
  "set, then change what was set": (tag) => {
    const box = make()
    return Effect.map(tag.set("box", box), () => change(box))
  }
})

type Memory = Layer.Layer.Success<typeof MemoryEngine.layer>

const onMemory = <A, E, E2, I>(
  tag: { readonly layer: Layer.Layer<I, E, Memory> },
  effect: Effect.Effect<A, E2, I | Memory>
) => Effect.provide(effect, Layer.provideMerge(tag.layer, MemoryEngine.layer))

describe("a mutable value", () => {
  for (const [title, kind] of Object.entries(kinds)) {
    const { Defaulted, Initial, Shared, shown } = tags(kind)
    const pristine = shown({ box: kind.make() })

    for (
      const [source, tag] of [["default", Defaulted], ["shared default", Shared as unknown as Box], [
        "initial",
        Initial as unknown as Box
      ]] as const
    ) {
      it.effect(`${title}: a mutation of the ${source} is not visible to another visitor`, () =>
        onMemory(
          tag,
          Effect.gen(function*() {
            for (
              const way of source === "default"
                ? Object.keys(ways(kind))
                : ["get", "value", "update", "modify", "clear, get"]
            ) {
              const run = ways(kind)[way] ?? assert.fail(way)
              yield* visit(tag, run(tag))
              assert.deepStrictEqual(shown((yield* visit(tag, tag.value)).result), pristine, way)
              // The same for a stored session whose field comes from the default.
              const { cookie } = yield* visit(tag, tag.authenticate("ann"))
              yield* visit(tag, run(tag), cookie)
              const other = yield* visit(tag, tag.authenticate("bob"))
              assert.deepStrictEqual(shown((yield* visit(tag, tag.value, other.cookie)).result), pristine, way)
            }
          })
        ))
    }

    it.effect(`${title}: the next request reads the value as the handler left it`, () =>
      onMemory(
        Defaulted,
        Effect.gen(function*() {
          for (const [way, run] of Object.entries(ways(kind))) {
            for (const begin of [Defaulted.set("box", kind.make()), Defaulted.authenticate("ann"), Effect.void]) {
              const { cookie } = yield* visit(Defaulted, begin)
              const changed = yield* visit(
                Defaulted,
                Effect.zipRight(run(Defaulted), Effect.map(Defaulted.value, shown)),
                cookie
              )
              assert.isUndefined(changed.error, way)
              const next = yield* visit(Defaulted, Effect.map(Defaulted.value, shown), changed.cookie)
              assert.deepStrictEqual(next.result, changed.result, way)
              if (way !== "set, then change what was set") assert.notDeepEqual(next.result, pristine, way)
            }
          }
        })
      ))

    it.effect(`${title}: reading writes nothing`, () =>
      onMemory(
        Defaulted,
        Effect.gen(function*() {
          assert.isUndefined((yield* visit(Defaulted, Defaulted.value)).setCookie)
          const { cookie } = yield* visit(Defaulted, Defaulted.patch({ box: kind.make(), spare: kind.make() }))
          const seen = yield* visit(
            Defaulted,
            Effect.all([Defaulted.value, Defaulted.get("box"), Defaulted.get("box"), Defaulted.getOption("spare")]),
            cookie
          )
          assert.strictEqual(seen.result[1], seen.result[2])
          assert.strictEqual(seen.result[0].box, seen.result[1])
          const service = yield* Defaulted.service
          const entries = yield* Stream.runCollect(service.all)
          assert.deepStrictEqual([...entries].map((entry) => entry._tag === "Right" && entry.right.info.version), [1])
        })
      ))
  }
})

class Shop extends Session.Tag<Shop>()("test/Shop", {
  schema: Schema.Struct({
    basket: Schema.optionalWith(Schema.Map({ key: Schema.String, value: Schema.JsonNumber }), {
      default: () => new Map()
    }),
    seen: Schema.optionalWith(Schema.mutable(Schema.Array(Schema.String)), { default: () => [] }),
    gift: Schema.optional(Schema.mutable(Schema.Array(Schema.String))),
    merged: Schema.optionalWith(Schema.mutable(Schema.Array(Schema.String)), { default: () => [] }),
    name: Schema.optional(Schema.String)
  }),
  merge: { merged: (base, mine, theirs) => [...Merge.union(base, mine, theirs)] }
}) {}
const shop = Layer.provide(Shop.layer, MemoryEngine.layer)
const test = <E>(title: string, effect: Effect.Effect<unknown, E, Layer.Layer.Success<typeof shop>>) =>
  it.effect(title, () => Effect.provide(effect, shop))

describe("a field mutated in place", () => {
  test(
    "counts as a set of a field that was read: a concurrent change is a conflict, or is merged if the field has a merge",
    Effect.gen(function*() {
      const { cookie } = yield* visit(Shop, Shop.patch({ seen: ["a"], merged: ["a"] }))
      const meanwhile = visit(Shop, Shop.patch({ seen: ["other"], merged: ["a", "other"] }), cookie)
      const refused = yield* visit(
        Shop,
        Effect.zipRight(Effect.tap(Shop.get("seen"), (seen) => seen.push("b")), meanwhile),
        cookie
      )
      assert.strictEqual(refused.error?._tag, "SessionConflict")
      yield* visit(Shop, Shop.patch({ seen: ["a"], merged: ["a"] }), cookie)
      const merged = yield* visit(
        Shop,
        Effect.zipRight(Effect.tap(Shop.get("merged"), (list) => list.push("b")), meanwhile),
        cookie
      )
      assert.isUndefined(merged.error)
      const { result } = yield* visit(Shop, Shop.value, cookie)
      assert.deepStrictEqual([result.seen, result.merged], [["other"], ["a", "other", "b"]])
    })
  )

  test(
    "is applied exactly once if an update is replayed",
    Effect.gen(function*() {
      const { cookie } = yield* visit(Shop, Shop.set("seen", ["a"]))
      const add = (item: string) => Shop.update("seen", (seen) => (seen.push(item), seen))
      const { error } = yield* visit(Shop, Effect.zipRight(add("mine"), visit(Shop, add("other"), cookie)), cookie)
      assert.isUndefined(error)
      assert.deepStrictEqual((yield* visit(Shop, Shop.get("seen"), cookie)).result, ["a", "other", "mine"])
    })
  )

  test(
    "is the same value for concurrent fibers, and no change of either is lost",
    Effect.gen(function*() {
      const { cookie } = yield* visit(
        Shop,
        Effect.gen(function*() {
          const gate = yield* Deferred.make<void>()
          const branch = yield* Effect.fork(
            Effect.tap(Shop.get("seen"), (seen) => Effect.map(Deferred.await(gate), () => seen.push("branch")))
          )
          yield* Effect.yieldNow()
          yield* Effect.tap(Shop.get("seen"), (seen) => seen.push("main"))
          yield* Shop.set("name", "ann")
          yield* Deferred.succeed(gate, undefined)
          yield* Fiber.join(branch)
        })
      )
      assert.deepStrictEqual((yield* visit(Shop, Shop.get("seen"), cookie)).result, ["main", "branch"])
    })
  )

  test(
    "to an invalid value fails with SessionInvalid: at the next change, at save, and at the commit",
    Effect.gen(function*() {
      const { cookie } = yield* visit(Shop, Shop.set("basket", new Map([["tea", 1]])))
      const invalidate = Effect.tap(Shop.get("basket"), (basket) => basket.set("cup", NaN))
      for (const next of [Shop.set("name", "ann"), Shop.save]) {
        const error = yield* visit(Shop, Effect.zipRight(invalidate, Effect.flip(next)), cookie)
        assert.strictEqual(error.result._tag, "SessionInvalid")
      }
      const { error } = yield* visit(Shop, invalidate, cookie)
      assert.strictEqual(error?._tag, "SessionInvalid")
      // A response that saves nothing validates nothing.
      assert.isUndefined((yield* visit(Shop, invalidate, cookie, 500)).error)
      assert.isUndefined((yield* visit(Shop, Effect.zipRight(invalidate, Shop.discard), cookie)).error)
      const { result } = yield* visit(Shop, Shop.get("basket"), cookie)
      assert.deepStrictEqual([...result], [["tea", 1]])
    })
  )

  test(
    "by an update that is rejected is restored",
    Effect.gen(function*() {
      const { result } = yield* visit(
        Shop,
        Effect.gen(function*() {
          yield* Shop.set("basket", new Map([["tea", 1]]))
          yield* Effect.flip(Shop.update("basket", (basket) => basket.set("cup", NaN)))
          yield* Effect.flip(Shop.modify("basket", (basket) => [0, basket.set("cup", NaN)]))
          return yield* Shop.get("basket")
        })
      )
      assert.deepStrictEqual([...result], [["tea", 1]])
    })
  )

  test(
    "is not saved after discard, destroy or a failure",
    Effect.gen(function*() {
      const { cookie } = yield* visit(Shop, Shop.set("seen", ["a"]))
      const change = Effect.tap(Shop.get("seen"), (seen) => seen.push("b"))
      yield* visit(Shop, Effect.zipRight(change, Shop.discard), cookie)
      yield* visit(Shop, change, cookie, 500)
      assert.deepStrictEqual((yield* visit(Shop, Shop.get("seen"), cookie)).result, ["a"])
      const destroyed = yield* visit(
        Shop,
        Effect.zipRight(change, Effect.zipRight(Shop.destroy, Shop.get("seen"))),
        cookie
      )
      assert.deepStrictEqual([destroyed.result, destroyed.cookie], [[], undefined])
      // The same without a stored session, where the field holds its default.
      const anonymous = yield* visit(Shop, Effect.zipRight(change, Effect.zipRight(Shop.destroy, Shop.get("seen"))))
      assert.deepStrictEqual([anonymous.result, anonymous.cookie], [[], undefined])
    })
  )

  test(
    "is returned in its current state by pop, and makes isEmpty false",
    Effect.gen(function*() {
      const { result } = yield* visit(
        Shop,
        Effect.gen(function*() {
          yield* Effect.tap(Shop.get("seen"), (seen) => seen.push("a"))
          const empty = yield* Shop.isEmpty
          yield* Effect.tap(Shop.getOrSet("gift", []), (gift) => gift.push("ring"))
          const popped = yield* Shop.pop("gift")
          Option.map(popped, (gift) => gift.push("later"))
          return [empty, yield* Shop.has("gift"), Option.getOrThrow(popped)]
        })
      )
      assert.deepStrictEqual(result, [false, false, ["ring", "later"]])
    })
  )
})

describe("other functions that return values", () => {
  it.effect("sessions.all: entries do not share a default", () => {
    const shared: Array<string> = []
    class Listed extends Session.Tag<Listed>()("test/Listed", {
      schema: Schema.Struct({
        list: Schema.optionalWith(Schema.mutable(Schema.Array(Schema.String)), { default: () => shared })
      })
    }) {}
    return onMemory(
      Listed,
      Effect.gen(function*() {
        const service = yield* Listed.service
        yield* service.create()
        yield* service.create()
        const entries = [...yield* Stream.runCollect(service.all)]
        for (const entry of entries) if (entry._tag === "Right") entry.right.value.list.push("x")
        assert.deepStrictEqual(entries.map((entry) => entry._tag === "Right" && entry.right.value.list), [["x"], ["x"]])
        assert.deepStrictEqual(shared, [])
      })
    )
  })

  it.effect("take: visitors do not share the content of an initial value", () => {
    class Noted extends Session.Tag<Noted>()("test/Noted", {
      schema: Schema.Struct({ note: ReadOnce.field(Schema.mutable(Schema.Array(Schema.String))) }),
      initial: { note: ReadOnce.make(["welcome"]) }
    }) {}
    return Effect.provide(
      Effect.gen(function*() {
        const first = yield* visit(Noted, Noted.take("note"))
        Option.map(first.result, (note) => note.push("spoiled"))
        assert.deepStrictEqual((yield* visit(Noted, Noted.take("note"))).result, Option.some(["welcome"]))
      }),
      Noted.layer.pipe(Layer.provideMerge(MemoryEngine.layer))
    )
  })

  it.effect("history: each upgrade gets its own default", () => {
    const shared: Array<string> = []
    const V1 = Schema.Struct({
      list: Schema.optionalWith(Schema.mutable(Schema.Array(Schema.String)), { default: () => shared })
    })
    const V2 = Schema.Struct({ count: Schema.optional(Schema.Number) })
    class Old extends Session.Tag<Old>()("test/History", { schema: V1, namespace: "history" }) {}
    class New extends Session.Tag<New>()("test/History2", {
      schema: V2,
      namespace: "history",
      cookie: { name: "other" },
      history: SessionHistory.from(V1).to(V2, ({ list }) => ({ count: list.push("x") }))
    }) {}
    return Effect.gen(function*() {
      const { cookie } = yield* visit(Old, Old.authenticate("ann"))
      for (let i = 0; i < 2; i++) assert.strictEqual((yield* visit(New, New.get("count"), cookie)).result, 1)
      assert.deepStrictEqual(shared, [])
    }).pipe(Effect.provide(Layer.provide(Layer.merge(Old.layer, New.layer), MemoryEngine.layer)))
  })

  it.effect("a Class: instance properties besides its fields are not shared", () => {
    class State extends Schema.Class<State>("State")({ n: Schema.optionalWith(Schema.Int, { default: () => 0 }) }) {
      readonly scratch: Array<string> = []
    }
    class Classy extends Session.Tag<Classy>()("test/Classy", { schema: State }) {}
    return onMemory(
      Classy,
      Effect.gen(function*() {
        yield* visit(Classy, Effect.map(Classy.value, ({ scratch }) => scratch.push("x")))
        const { result } = yield* visit(Classy, Classy.value)
        assert.instanceOf(result, State)
        assert.deepStrictEqual(result.scratch, [])
      })
    )
  })

  it.effect("a readonly default is shared and frozen: mutating it through a cast throws", () => {
    const given = { profile: { tags: ["a"] } }
    class Frozen extends Session.Tag<Frozen>()("test/Frozen", {
      schema: Schema.Struct({ profile: Schema.Struct({ tags: Schema.Array(Schema.String) }) }),
      initial: given
    }) {}
    return onMemory(
      Frozen,
      Effect.gen(function*() {
        const { result } = yield* visit(Frozen, Frozen.get("profile"))
        assert.throws(() => (result.tags as Array<string>).push("b"), TypeError)
        assert.throws(() => ((result as { tags: ReadonlyArray<string> }).tags = []), TypeError)
        assert.strictEqual((yield* visit(Frozen, Frozen.get("profile"))).result, result)
        // Mutating the object passed as `initial` does not affect the session.
        given.profile.tags.push("b")
        assert.deepStrictEqual((yield* visit(Frozen, Frozen.get("profile"))).result, { tags: ["a"] })
      })
    )
  })

  it.effect("a read does not write a field whose schema encodes non-deterministically", () => {
    let salt = 0
    const Salted = Schema.transform(Schema.String, Schema.DateFromSelf, {
      strict: true,
      decode: (text) => new Date(Number(text.split(":")[0])),
      encode: (date) => `${date.getTime()}:${salt++}`
    })
    class Random
      extends Session.Tag<Random>()("test/Random", { schema: Schema.Struct({ at: Schema.optional(Salted) }) })
    {}
    return onMemory(
      Random,
      Effect.gen(function*() {
        const { cookie } = yield* visit(Random, Random.set("at", new Date(7)))
        yield* visit(Random, Random.get("at"), cookie)
        const service = yield* Random.service
        const [entry] = yield* Stream.runCollect(service.all)
        assert.strictEqual(entry?._tag === "Right" && entry.right.info.version, 1)
      })
    )
  })
})
