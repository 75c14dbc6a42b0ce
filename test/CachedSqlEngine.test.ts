import * as Statement from "@effect/sql/Statement"
import { it } from "@effect/vitest"
import { Effect, Layer, Option, Schema, TestClock } from "effect"
import { Session } from "effect-session"
import * as CachedSqlEngine from "effect-session/CachedSqlEngine"
import * as SqlMigrations from "effect-session/SqlMigrations"
import type * as StoredEngine from "effect-session/StoredEngine"
import { assert, describe } from "vitest"
import { freshPrefix, sqliteClient } from "./support/localStores.js"
import { visit } from "./support/requestWithoutHttp.js"
import { ofRedis, postgresClient, redisClient } from "./support/serverClients.js"

class App extends Session.Tag<App>()("test/Cached", {
  schema: Schema.Struct({ name: Schema.optional(Schema.String) })
}) {}

/** A node with an engine of its own, and the number of statements that each request executes. */
const node = <E, R>(engine: Layer.Layer<StoredEngine.Provided, E, R>) =>
  Effect.map(Layer.build(Layer.provide(App.layer, engine)), (context) => {
    const request = <A, E>(handler: Effect.Effect<A, E, App>, cookie?: string) =>
      Effect.gen(function*() {
        let statements = 0
        const answer = yield* visit(App, handler, cookie).pipe(
          Effect.provide(context),
          Statement.withTransformer((self) => Effect.sync(() => (statements++, self)))
        )
        assert.isUndefined(answer.error)
        return { ...answer, statements }
      })
    return {
      login: Effect.flatMap(request(App.authenticate("ann")), ({ cookie }) => Option.fromNullable(cookie)),
      logout: (cookie: string) => request(App.destroy, cookie),
      /** Returns the subject, and the number of statements that its load took. */
      who: (cookie: string) =>
        Effect.map(request(App.subject, cookie), ({ result, statements }) => [Option.getOrNull(result), statements])
    }
  })

describe("layer", () => {
  it.scoped("each process has its own cache: a logout on another process is visible when the lease has passed", () =>
    Effect.gen(function*() {
      const sql = yield* Layer.build(Layer.provideMerge(SqlMigrations.layer, sqliteClient))
      const engine = Layer.provide(CachedSqlEngine.layer({ lease: "5 seconds" }), Layer.succeedContext(sql))
      const [a, b] = yield* Effect.all([node(engine), node(engine)])
      const cookie = yield* a.login
      assert.deepStrictEqual(yield* b.who(cookie), ["ann", 1])
      assert.deepStrictEqual(yield* b.who(cookie), ["ann", 0])
      yield* a.logout(cookie)
      assert.deepStrictEqual(yield* a.who(cookie), [null, 2])
      yield* TestClock.adjust("4999 millis")
      assert.deepStrictEqual(yield* b.who(cookie), ["ann", 0])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* b.who(cookie), [null, 2])
    }))

  it.scoped("the cache respects its configured bounds", () =>
    Effect.gen(function*() {
      const sql = yield* Layer.build(Layer.provideMerge(SqlMigrations.layer, sqliteClient))
      const options = { lease: "5 seconds", cache: { maxEntries: 1 } } as const
      const engine = Layer.provide(CachedSqlEngine.layer(options), Layer.succeedContext(sql))
      const [a, b] = yield* Effect.all([node(engine), node(engine)])
      const [one, other] = yield* Effect.all([a.login, a.login])
      for (const cookie of [one, other, one]) assert.deepStrictEqual(yield* b.who(cookie), ["ann", 1])
    }))
})

for (const redis of ofRedis(redisClient)) {
  describe("layerRedis", () => {
    it.scoped("all processes share one cache: a logout is visible to the others at once", () =>
      Effect.gen(function*() {
        const prefix = freshPrefix()
        const servers = yield* Layer.build(
          Layer.merge(Layer.provideMerge(SqlMigrations.layerWith({ prefix }), postgresClient()), redis)
        )
        const options = { lease: "1 minute", prefix, redis: { prefix } } as const
        const engine = Layer.provide(CachedSqlEngine.layerRedis(options), Layer.succeedContext(servers))
        const [a, b] = yield* Effect.all([node(engine), node(engine)])
        const cookie = yield* a.login
        assert.deepStrictEqual(yield* b.who(cookie), ["ann", 1])
        assert.deepStrictEqual(yield* a.who(cookie), ["ann", 0])
        yield* b.logout(cookie)
        assert.deepStrictEqual(yield* a.who(cookie), [null, 2])
      }))
  })
}
