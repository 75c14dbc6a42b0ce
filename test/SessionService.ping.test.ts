/**
 * `sessions.ping`: whether the store answers, for the readiness of a server.
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import { PgClient } from "@effect/sql-pg"
import { it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Redacted, Schema, Scope } from "effect"
import {
  CookieEngine,
  FileStore,
  Keyring,
  MemoryStore,
  Session,
  SessionStore,
  StoredEngine,
  TieredStore
} from "effect-session"
import * as RedisClient from "effect-session/RedisClient"
import * as RedisStore from "effect-session/RedisStore"
import type { SessionEngine } from "effect-session/SessionEngine"
import type { Store } from "effect-session/SessionStore"
import * as SqlEngine from "effect-session/SqlEngine"
import * as SqlMigrations from "effect-session/SqlMigrations"
import { FaultyStore } from "effect-session/testing"
import { rmSync, writeFileSync } from "node:fs"
import { assert, describe } from "vitest"
import { activeMillis } from "./support/activeTime.js"
import * as Postgres from "./support/postgresServer.js"
import { ioredisOn } from "./support/redisClients.js"
import { key } from "./support/seededKeys.js"
import * as Redis from "./support/servers/redis.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

class App extends Session.Tag<App>()("ping/App", {
  schema: Schema.Struct({ user: Schema.optional(Schema.String) })
}) {}

const on = <E, R>(engine: Layer.Layer<SessionEngine, E, R>) =>
  Effect.map(Layer.build(Layer.provide(App.layer, engine)), (context) => Context.get(context, App.service))

const over = (store: Store) =>
  on(StoredEngine.layer.pipe(Layer.provide(Layer.succeed(SessionStore.SessionStore, store))))

const keyring = Layer.effect(
  Keyring.Keyring,
  Keyring.make([key("ping")])
)

const isDown = (ping: Effect.Effect<void, { readonly reason: string }>) =>
  Effect.map(Effect.flip(ping), ({ reason }) => assert.strictEqual(reason, "store"))

describe("ping", () => {
  it.scopedLive("is one load of a key that no session has, past every cache", () =>
    Effect.gen(function*() {
      const { calls, store } = FaultyStore.recorded(MemoryStore.make())
      const sessions = yield* over(store)
      yield* sessions.ping
      yield* sessions.ping
      assert.deepStrictEqual(calls.map(({ operation }) => operation), ["load", "load"])
      assert.deepStrictEqual(calls.map(({ args }) => args[2]), ["fresh", "fresh"])
      assert.notStrictEqual(calls[0]?.args[0], calls[1]?.args[0])
    }))

  it.scopedLive("fails while the store fails, and succeeds again afterwards", () =>
    Effect.gen(function*() {
      const { controls, store } = FaultyStore.controlled(MemoryStore.make())
      const sessions = yield* over(store)
      controls.fault = "failBefore"
      yield* isDown(sessions.ping)
      controls.fault = undefined
      yield* sessions.ping
    }))

  it.scopedLive("fails within the time limit of the engine if the store hangs", () =>
    Effect.gen(function*() {
      const { controls, store } = FaultyStore.controlled(MemoryStore.make())
      const sessions = yield* over(store)
      controls.fault = "hang"
      const [millis] = yield* activeMillis(isDown(sessions.ping))
      assert.isBelow(millis, 3000)
    }))

  it.scopedLive("of a cache over a store asks the origin, and does not need the cache", () =>
    Effect.gen(function*() {
      const [cache, origin] = [FaultyStore.controlled(MemoryStore.make()), FaultyStore.controlled(MemoryStore.make())]
      const sessions = yield* Effect.flatMap(TieredStore.make(cache.store, origin.store, { lease: "5 seconds" }), over)
      yield* sessions.ping
      origin.controls.fault = "failBefore"
      yield* isDown(sessions.ping)
      origin.controls.fault = undefined
      cache.controls.fault = "failBefore"
      yield* sessions.ping
    }))

  it.scopedLive("of a session in its cookie makes no call; with a ledger it asks the ledger's store", () =>
    Effect.gen(function*() {
      const plain = yield* on(Layer.provide(CookieEngine.layer, keyring))
      yield* plain.ping
      const { calls, controls, store } = FaultyStore.controlled(MemoryStore.make())
      const ledger = yield* on(CookieEngine.layerLedger.pipe(
        Layer.provide(Layer.succeed(SessionStore.SessionStore, store)),
        Layer.provide(keyring)
      ))
      yield* ledger.ping
      assert.deepStrictEqual(calls, ["load"])
      controls.fault = "failBefore"
      yield* isDown(ledger.ping)
    }))

  it.scopedLive("of files fails if the directory has become a file", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryDirectory("ping")
      const sessions = yield* Effect.flatMap(FileStore.make({ directory }), over)
      yield* sessions.ping
      rmSync(directory, { recursive: true })
      writeFileSync(directory, "")
      yield* isDown(sessions.ping)
    }).pipe(Effect.provide(NodeContext.layer)))
})

describe("ping on a real server fails while it is stopped", () => {
  it.scopedLive("postgres, and succeeds after the restart", () =>
    Effect.gen(function*() {
      const start = yield* Postgres.startable()
      const running = yield* Scope.make()
      const { signal, url } = yield* Scope.extend(start, running)
      const client = PgClient.layer({ url: Redacted.make(url), maxConnections: 2, connectTimeout: "1 second" })
      const sessions = yield* on(
        SqlEngine.layer.pipe(Layer.provide(SqlMigrations.layer), Layer.provide(client))
      )
      yield* sessions.ping
      yield* signal("SIGKILL")
      yield* Scope.close(running, Exit.void)
      yield* isDown(sessions.ping)
      yield* start
      yield* sessions.ping
    }))

  it.scopedLive("postgres: a server whose table has disappeared is not ready", () =>
    Effect.gen(function*() {
      const start = yield* Postgres.startable()
      const { url } = yield* start
      const client = yield* Layer.build(PgClient.layer({ url: Redacted.make(url), maxConnections: 2 }))
      const sessions = yield* on(
        SqlEngine.layer.pipe(Layer.provide(SqlMigrations.layer), Layer.provide(Layer.succeedContext(client)))
      )
      yield* Context.get(client, PgClient.PgClient).unsafe("ALTER TABLE effect_sessions RENAME TO gone")
      yield* isDown(sessions.ping)
    }))

  it.scopedLive("redis", () =>
    Effect.gen(function*() {
      const directory = yield* Redis.temporary
      const server = yield* Redis.make({ directory })
      const client = yield* ioredisOn(server.url)
      const sessions = yield* on(StoredEngine.layer.pipe(
        Layer.provide(RedisStore.layerWith({ durableDestroy: false })),
        Layer.provide(Layer.succeed(RedisClient.RedisClient, RedisClient.ioredis(client)))
      ))
      yield* sessions.ping
      yield* server.signal("SIGKILL")
      yield* isDown(sessions.ping)
    }))
})
