import { it } from "@effect/vitest"
import {
  Cause,
  ConfigProvider,
  DateTime,
  Duration,
  Effect,
  Either,
  Exit,
  Layer,
  Schema,
  Stream,
  TestClock
} from "effect"
import { Expiry, Lifetime, MemoryEngine, MemoryStore, Session, SessionCookie, StoredEngine } from "effect-session"
import { SessionConfigError } from "effect-session/SessionConfigError"
import { assert, describe } from "vitest"
import { sqliteClient, sqlStore } from "./support/localStores.js"

const engine = MemoryEngine.layer

class Plain
  extends Session.Tag<Plain>()("test/Plain", { schema: Schema.Struct({ a: Schema.optional(Schema.String) }) })
{}
class Other
  extends Session.Tag<Other>()("test/Other", { schema: Schema.Struct({ a: Schema.optional(Schema.String) }) })
{}

/** The message with which building a layer fails, or "built". */
const outcomeOf = <A>(layer: Layer.Layer<A, unknown>) =>
  Effect.map(Effect.exit(Effect.scoped(Layer.build(layer))), (exit) => {
    if (Exit.isSuccess(exit)) return "built"
    const error = Cause.squash(exit.cause)
    return error instanceof SessionConfigError ? error.message : `not a SessionConfigError: ${error}`
  })

const plainWith = (settings: Parameters<typeof Plain.layerWith>[0]) => Layer.provide(Plain.layerWith(settings), engine)

/** For settings that the types reject, but that a configuration file may contain. */
const untyped = (settings: unknown) => plainWith(settings as Parameters<typeof Plain.layerWith>[0])

const environment = (NODE_ENV: string) =>
  Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["NODE_ENV", NODE_ENV]])))

describe("an invalid configuration fails the layer with a message", () => {
  const cases: ReadonlyArray<readonly [string, Layer.Layer<never, unknown>, RegExp]> = [
    [
      "idle longer than absolute",
      plainWith({ expiry: Expiry.earliest(Expiry.idle("2 days"), Expiry.absolute("1 day")) }),
      /idle limit .* longer than its absolute limit/
    ],
    [
      "a zero idle limit",
      plainWith({ expiry: Expiry.earliest(Expiry.idle(0), Expiry.absolute("1 day")) }),
      /idle limit .* finite length of at least one second/
    ],
    [
      "an infinite absolute limit",
      plainWith({ expiry: Expiry.absolute(Duration.infinity) }),
      /absolute limit .* finite length/
    ],
    ["no fixed end", untyped({ expiry: Expiry.idle("1 day") }), /needs an end that activity cannot move/],
    [
      "__Host- with a domain",
      untyped({ cookie: { prefix: "__Host-", domain: "example.com" } }),
      /__Host- cannot carry a Domain/
    ],
    ["__Host- with a path", untyped({ cookie: { path: "/shop" } }), /__Host- must have the path \//],
    ["__Secure- without Secure", untyped({ cookie: { prefix: "__Secure-", secure: false } }), /must be Secure/],
    [
      "SameSite=None without Secure",
      untyped({ cookie: { prefix: "", secure: false, sameSite: "none" } }),
      /SameSite=None that is not Secure/
    ],
    [
      "partitioned without SameSite=None",
      untyped({ cookie: { partitioned: true } }),
      /partitioned cookie needs SameSite=None/
    ],
    ["an invalid cookie name", untyped({ cookie: { name: "my session" } }), /name of a session cookie/],
    [
      "a path over 1,024 characters (R3)",
      untyped({ cookie: { prefix: "", path: `/${"a".repeat(1024)}` } }),
      /path of a session cookie/
    ],
    ["an invalid domain", untyped({ cookie: { prefix: "", domain: "exa mple" } }), /not a host name/],
    [
      "a development cookie in production",
      Layer.provide(plainWith({ cookie: SessionCookie.development }), environment("production")),
      /NODE_ENV is production/
    ],
    [
      "the same cookie name for two tags in one server",
      Layer.provide(Layer.merge(Plain.layer, Other.layer), engine),
      /"__Host-Http-session" is taken by the session "test\//
    ],
    [
      "the same cookie name for two tags on two engines",
      Layer.merge(Layer.provide(Plain.layer, MemoryEngine.layer), Layer.provide(Other.layer, MemoryEngine.layer)),
      /is taken by the session/
    ]
  ]
  for (const [title, layer, sentence] of cases) {
    it.effect(title, () => Effect.map(outcomeOf(layer), (message) => assert.match(message, sentence)))
  }

  it.effect("a schema that does not encode to JSON is rejected", () =>
    Effect.gen(function*() {
      class Dates extends Session.Tag<Dates>()("test/Dates", {
        schema: Schema.Struct({ list: Schema.optional(Schema.Array(Schema.Struct({ at: Schema.DateFromSelf }))) })
      }) {}
      assert.match(
        yield* outcomeOf(Layer.provide(Dates.layer, engine)),
        /must encode to JSON, and DateFromSelf at \.list\[\]\.at does not/
      )
    }))

  it.effect("an initial value that does not fit the schema is rejected, without printing the value", () =>
    Effect.gen(function*() {
      class Bad extends Session.Tag<Bad>()("test/Bad", {
        schema: Schema.Struct({ n: Schema.Int }),
        initial: { n: 1.2345 }
      }) {}
      const message = yield* outcomeOf(Layer.provide(Bad.layer, engine))
      assert.match(message, /initial value does not fit the schema at "n"/)
      assert.notInclude(message, "1.2345")
    }))
})

describe("a valid configuration builds", () => {
  const layers: ReadonlyArray<readonly [string, Layer.Layer<never, unknown>]> = [
    ["the defaults", plainWith({})],
    ["Expiry.django, which has no absolute limit", plainWith({ expiry: Expiry.django })],
    [
      "a development cookie outside production",
      Layer.provide(plainWith({ cookie: SessionCookie.development }), environment("development"))
    ],
    [
      "two tags with different cookie names",
      Layer.provide(Layer.merge(Plain.layer, Other.layerWith({ cookie: { name: "other" } })), engine)
    ],
    ["one tag whose layer is built twice", Layer.provide(Layer.merge(Plain.layer, Plain.layerWith({})), engine)],
    [
      "SameSite=None, acknowledged and partitioned",
      plainWith({ cookie: { sameSite: "none", acknowledgeCrossSite: true, partitioned: true } })
    ]
  ]
  for (const [title, layer] of layers) {
    it.effect(title, () => Effect.map(outcomeOf(layer), (message) => assert.strictEqual(message, "built")))
  }
})

describe("the metadata of sessions in lists", () => {
  for (const [name, layer] of [["memory", MemoryStore.layer], ["sqlite", sqlStore(sqliteClient)]] as const) {
    it.effect(`${name}: a page has a whole number of sessions for any limit`, () =>
      Effect.gen(function*() {
        const sessions = yield* Plain.service
        for (const _ of [1, 2, 3]) yield* sessions.create({ a: "x" }, { subject: "ann" })
        const lengths = yield* Effect.forEach(
          [-1, 0, 1.5, NaN, Infinity],
          (limit) => Effect.map(sessions.list("ann", { limit }), ({ length }) => length)
        )
        assert.deepStrictEqual(lengths, [0, 0, 1, 3, 3])
      }).pipe(
        Effect.provide(Plain.layer.pipe(Layer.provideMerge(StoredEngine.layer), Layer.provide(layer))),
        Effect.orDie
      ))
  }

  it.effect("times are DateTime, and the last summary of a page leads to the next page", () =>
    Effect.gen(function*() {
      const sessions = yield* Plain.service
      for (const _ of [1, 2, 3]) {
        yield* sessions.create({ a: "x" }, { subject: "ann", lifetime: Lifetime.inactivity("1 hour") })
        yield* TestClock.adjust("1 minute")
      }
      const first = yield* sessions.list("ann", { limit: 2 })
      const second = yield* sessions.list("ann", { limit: 2, after: first.at(-1) })
      const all = [...first, ...second]
      assert.deepStrictEqual(all.map(({ createdAt }) => DateTime.toEpochMillis(createdAt)), [0, 60_000, 120_000])
      const [one] = first
      assert.deepStrictEqual(one === undefined ? undefined : { ...one, id: "id" }, {
        id: "id",
        subject: "ann",
        createdAt: DateTime.unsafeMake(0),
        authenticatedAt: DateTime.unsafeMake(0),
        modifiedAt: DateTime.unsafeMake(0),
        lastSeenAt: DateTime.unsafeMake(0),
        endsAt: DateTime.unsafeMake(60 * 60_000),
        deadline: DateTime.unsafeMake(30 * 24 * 60 * 60_000),
        lifetime: Lifetime.inactivity("1 hour"),
        impersonating: undefined,
        methods: [],
        level: 1,
        isRemembered: false,
        context: undefined,
        version: 1,
        schemaVersion: 1
      })
      assert.deepStrictEqual([...yield* Stream.runCollect(sessions.listAll("ann"))], all)
      const entries = yield* Stream.runCollect(Stream.filterMap(sessions.all, Either.getRight))
      assert.deepStrictEqual([...entries].map(({ info }) => info.id).sort(), all.map(({ id }) => id).sort())
    }).pipe(Effect.provide(Plain.layer.pipe(Layer.provideMerge(engine)))))
})
