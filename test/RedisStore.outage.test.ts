import { it } from "@effect/vitest"
import { Effect, Fiber, Layer, Redacted, Scope } from "effect"
import { freshKey, isAlive, isDead, start, stored } from "effect-session/Fixtures"
import type { Client } from "effect-session/RedisClient"
import * as RedisClient from "effect-session/RedisClient"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { capabilityLaws } from "effect-session/testing"
import { assert, describe } from "vitest"
import { freePort } from "../examples/shop/freePort.js"
import { activeMillis } from "./support/activeTime.js"
import { range } from "./support/concurrency.js"
import { engineOf, next, opened, record, written } from "./support/engines.js"
import * as LossyProxy from "./support/lossyProxy.js"
import { countIsPlausible, increment, shopsOn, timeLimitMillis, underLoad } from "./support/outages.js"
import { ioredisOn, nodeRedisOn, nodeRedisPoolOn, storeAt, storeOn } from "./support/redisClients.js"
import { untilReplicated } from "./support/redisReplication.js"
import * as Redis from "./support/servers/redis.js"
import { until } from "./support/servers/server.js"
import * as Shop from "./support/shop.js"
import { begin, between, ok, ShopSession, show, valueOf } from "./support/shop.js"
import { reads, storeTwoRecords, works, writes } from "./support/storeCalls.js"

/** A server that can be killed, and restarted with the data on its disk. */
const restartable = (settings: Redis.Options["settings"] = {}) =>
  Effect.gen(function*() {
    const directory = yield* Redis.temporary
    const start = Scope.extend(Redis.make({ directory, port: yield* freePort, settings }), yield* Effect.scope)
    let server = yield* start
    return {
      url: server.url,
      ask: (...command: ReadonlyArray<string>) => Effect.suspend(() => server.ask(...command)),
      kill: Effect.suspend(() => server.signal("SIGKILL")),
      start: Effect.map(start, (another) => void (server = another))
    }
  })

/** Waits until the client has reconnected. */
const untilAnswers = (store: Store) =>
  until(Effect.either(store.load(freshKey(), start)), ({ _tag }) => _tag === "Right")

/** Clients with their default options, by which they queue commands while offline, and with the offline queue disabled. */
const clients: ReadonlyArray<
  readonly [name: string, on: (url: string) => Effect.Effect<Client, never, Scope.Scope>]
> = [
  ["ioredis", (url) => Effect.map(ioredisOn(url), RedisClient.ioredis)],
  ["node-redis", (url) => Effect.map(nodeRedisOn(url), RedisClient.nodeRedis)],
  ["a pool of node-redis", (url) => Effect.map(nodeRedisPoolOn(url), RedisClient.nodeRedis)],
  [
    "ioredis without offline queue",
    (url) => Effect.map(ioredisOn(url, { enableOfflineQueue: false }), RedisClient.ioredis)
  ],
  [
    "node-redis without offline queue",
    (url) => Effect.map(nodeRedisOn(url, { disableOfflineQueue: true }), RedisClient.nodeRedis)
  ]
]

describe("a server that is killed and restarted", () => {
  for (const [name, on] of clients) {
    it.scopedLive(`${name}: every call fails with \`unavailable\` meanwhile, and the same store works afterwards`, () =>
      Effect.gen(function*() {
        const server = yield* restartable({ appendonly: "yes", appendfsync: "always" })
        const store = yield* Effect.flatMap(on(server.url), (client) => storeOn(client))
        const one = yield* storeTwoRecords(store)
        yield* server.kill
        for (const [call, run] of [...reads, ...writes]) {
          const error = yield* Effect.flip(Effect.timeout(run(store, one), "30 seconds"))
          assert.instanceOf(error, SessionStoreError, call)
          assert.deepStrictEqual([error.operation, error.reason], [call.split(" ")[0], "unavailable"])
          assert.notInclude(error.message, one.key)
        }
        yield* server.start
        yield* untilAnswers(store)
        // The client does not send the failed calls later.
        yield* isAlive(store, one, start)
        yield* works(store)
      }))

    it.scopedLive(`${name}: a failed rotation or save is not sent later, so the old cookie still works`, () =>
      Effect.gen(function*() {
        const server = yield* restartable({ appendonly: "yes", appendfsync: "always" })
        const store = yield* Effect.flatMap(on(server.url), (client) => storeOn(client))
        const shop = yield* Shop.make(Layer.succeed(SessionStore, store))
        for (const write of [ShopSession.rotate, ShopSession.save]) {
          const cookie = yield* begin(shop)
          const { go, handler, reached } = yield* between(
            ShopSession.update("count", (n) => n + 1),
            Effect.zipRight(write, ok)
          )
          const pending = yield* Effect.fork(shop.request(handler, cookie))
          yield* reached
          yield* server.kill
          yield* go
          const response = yield* Fiber.join(pending)
          assert.deepStrictEqual([response.status, response.cookie], [503, undefined])
          yield* server.start
          yield* untilAnswers(store)
          assert.deepInclude(yield* valueOf(shop, cookie), { user: "ann", count: 0 })
        }
      }))
  }
})

describe("a server that is killed under load and restarted", () => {
  for (const [name, on] of clients) {
    it.scopedLive(`${name}: no confirmed write is lost, and logged-out visitors stay logged out`, () =>
      Effect.gen(function*() {
        const server = yield* restartable({ appendonly: "yes", appendfsync: "always" })
        const store = yield* Effect.flatMap(on(server.url), (client) => storeOn(client))
        const shops = yield* shopsOn(store)
        const { lenient, shop } = shops
        const out = yield* begin(lenient)
        assert.strictEqual((yield* lenient.request(Effect.zipRight(ShopSession.destroy, ok), out)).status, 200)
        // The server stays down until a request fails.
        const cookie = yield* begin(lenient)
        const failed = until(
          Effect.map(shop.request(increment, cookie), ({ status }) => status),
          (status) => status === 503
        )
        const crash = Effect.delay(server.kill, "100 millis").pipe(
          Effect.zipRight(failed),
          Effect.zipRight(server.start)
        )
        const all = yield* underLoad(shops, crash)
        yield* Effect.forEach(all, (visitor) => countIsPlausible(shops, visitor))
        assert.isUndefined((yield* valueOf(lenient, out)).user)
      }))
  }
})

describe("confirmed writes after a crash", () => {
  const settings = { appendonly: "yes", appendfsync: "always" }

  // The laws crash a store and open it again: here the same one, on a restarted server.
  for (const [i] of capabilityLaws(Effect.never).entries()) {
    it.scopedLive(`appendfsync always: no confirmed write is lost, as durableDestroy claims (law ${i + 1})`, () =>
      Effect.gen(function*() {
        const server = yield* restartable(settings)
        const store = yield* storeAt(server.url)
        assert.isTrue(store.capabilities.durableDestroy)
        const kept = yield* stored(store)
        const crash = Effect.as(Effect.all([server.kill, server.start, untilAnswers(store)]), store)
        const law = capabilityLaws(crash)[i]
        if (law === undefined) return assert.fail("there is no such law")
        yield* Effect.provideService(law.law, SessionStore, store)
        yield* isAlive(store, kept, start)
      }))
  }

  it.scopedLive("appendfsync everysec: synced writes are not lost, and durableDestroy is not claimed", () =>
    Effect.gen(function*() {
      const server = yield* restartable({ ...settings, appendfsync: "everysec" })
      const store = yield* storeAt(server.url)
      assert.isFalse(store.capabilities.durableDestroy)
      const kept = yield* stored(store)
      const destroyed = yield* stored(store)
      yield* store.destroy(destroyed.key)
      yield* until(
        server.ask("INFO", "persistence"),
        (info) => /aof_pending_bio_fsync:0/.test(info) && /aof_buffer_length:0/.test(info)
      )
      yield* Effect.all([server.kill, server.start, untilAnswers(store)])
      yield* isAlive(store, kept, start)
      yield* isDead(store, destroyed, start)
    }))

  it.scopedLive("snapshots only: a destroyed session is alive again, and durableDestroy is not claimed", () =>
    Effect.gen(function*() {
      const server = yield* restartable()
      const store = yield* storeAt(server.url)
      assert.isFalse(store.capabilities.durableDestroy)
      const destroyed = yield* stored(store)
      const revoked = yield* stored(store, { subject: "bob" })
      yield* server.ask("SAVE")
      const late = yield* stored(store)
      yield* store.destroy(destroyed.key)
      yield* store.revokeSubject(revoked.record.namespace, "bob")
      yield* Effect.all([server.kill, server.start, untilAnswers(store)])
      yield* isAlive(store, destroyed, start)
      yield* isAlive(store, revoked, start)
      yield* isDead(store, late, start)
    }))

  it.scopedLive("failover to a replica that lacks a logout: the session is alive again, and durableDestroy is not claimed", () =>
    Effect.gen(function*() {
      const settings = { "repl-diskless-sync-delay": "0" }
      const main = yield* Redis.make({ settings })
      const replica = yield* Redis.make({ settings })
      const link = yield* LossyProxy.make(main.port)
      yield* replica.ask("REPLICAOF", "127.0.0.1", String(link.port))
      yield* until(main.ask("INFO", "replication"), (info) => info.includes("state=online"))
      const store = yield* storeAt(main.url, { prefix: "shop:" })
      assert.isFalse(store.capabilities.durableDestroy)
      const destroyed = yield* stored(store)
      yield* untilReplicated(main, replica)
      yield* link.loseReplies
      yield* store.destroy(destroyed.key)
      yield* isDead(store, destroyed, start)

      yield* main.signal("SIGKILL")
      yield* replica.ask("REPLICAOF", "NO", "ONE")
      const promoted = yield* storeAt(replica.url, { prefix: "shop:" })
      yield* isAlive(promoted, destroyed, start)
      yield* works(promoted)
    }))
})

describe("a server that hangs", () => {
  it.scopedLive("a hundred concurrent requests get 503 within the engine's timeout, and requests work once the server answers", () =>
    Effect.gen(function*() {
      const server = yield* Redis.make()
      const store = yield* storeAt(server.url)
      const { lenient, shop } = yield* shopsOn(store)
      const cookie = yield* begin(lenient)
      yield* server.signal("SIGSTOP")
      const [spent, all] = yield* activeMillis(
        Effect.forEach(range(100), () => shop.request(show(ShopSession.get("user")), cookie), {
          concurrency: "unbounded"
        })
      )
      for (const { cookie, headers, status } of all) {
        assert.deepStrictEqual([status, headers.get("retry-after"), cookie], [503, "5", undefined])
      }
      assert.isBelow(spent, timeLimitMillis)
      const logout = yield* shop.request(Effect.zipRight(ShopSession.destroy, ok), cookie)
      assert.deepStrictEqual([logout.status, logout.cookie], [503, undefined])
      yield* server.signal("SIGCONT")
      // The server received the logout while it hung, and executed it later: its 503 left the outcome open.
      assert.strictEqual((yield* valueOf(lenient, cookie)).user, undefined)
      assert.strictEqual((yield* valueOf(lenient, yield* begin(lenient))).user, "ann")
    }))

  it.scopedLive("a write that it received while it hung is done at most once", () =>
    Effect.gen(function*() {
      const server = yield* Redis.make()
      const engine = yield* Effect.flatMap(storeAt(server.url), (store) => engineOf(store))
      const first = yield* written(engine, { _tag: "Create", record: record() })
      const save = { _tag: "Save", value: first.value, record: next(first.record), expectedVersion: 1 } as const
      yield* server.signal("SIGSTOP")
      assert.strictEqual((yield* Effect.flip(engine.write(save, start))).reason, "timeout")
      yield* server.signal("SIGCONT")
      assert.deepStrictEqual(yield* opened(engine, first.value), next(first.record))
      assert.deepStrictEqual(yield* engine.write(save, start), { _tag: "Conflict" })
    }))
})

describe("a lost reply", () => {
  const drivers: ReadonlyArray<
    readonly [name: string, on: (url: string) => Effect.Effect<Client, never, Scope.Scope>]
  > = [
    ["ioredis, which resends", (url) => Effect.map(ioredisOn(url), RedisClient.ioredis)],
    [
      "ioredis without autoResendUnfulfilledCommands",
      (url) => Effect.map(ioredisOn(url, { autoResendUnfulfilledCommands: false }), RedisClient.ioredis)
    ],
    ["node-redis, which does not resend", (url) => Effect.map(nodeRedisOn(url), RedisClient.nodeRedis)]
  ]
  for (const [name, on] of drivers) {
    it.scopedLive(`${name}: each write is done once, and reported as done`, () =>
      Effect.gen(function*() {
        const server = yield* Redis.make()
        const proxy = yield* LossyProxy.make(server.port)
        const prefix = "shop:"
        const direct = yield* storeAt(server.url, { prefix })
        const store = yield* Effect.flatMap(
          on(`redis://127.0.0.1:${proxy.port}`),
          (client) => storeOn(client, { prefix })
        )
        // One of these clients does not report the lost reply: with it, each call takes this timeout.
        const engine = yield* engineOf(store, { timeout: "5 seconds" })
        const plain = yield* engineOf(direct, { timeout: "20 seconds" })
        yield* works(store)

        yield* proxy.loseNextReply
        const first = yield* written(engine, { _tag: "Create", record: record() })
        assert.deepStrictEqual(yield* opened(plain, first.value), first.record)

        yield* proxy.loseNextReply
        const saved = next(first.record)
        yield* written(engine, { _tag: "Save", value: first.value, record: saved, expectedVersion: 1 })
        assert.deepStrictEqual(yield* opened(plain, first.value), saved)

        yield* proxy.loseNextReply
        const moved = { ...saved, version: 3, writeId: "moved" }
        const second = yield* written(engine, {
          _tag: "Rotate",
          value: first.value,
          record: moved,
          expectedVersion: 2
        })
        assert.notStrictEqual(Redacted.value(second.value), Redacted.value(first.value))
        assert.deepStrictEqual(yield* opened(plain, second.value), moved)
        assert.isUndefined(yield* opened(plain, first.value))

        yield* proxy.loseNextReply
        yield* engine.destroy(second.value)
        assert.isUndefined(yield* opened(plain, second.value))
        assert.deepStrictEqual(yield* direct.scan(first.record.namespace, { limit: 10, now: start }), [])
      }))
  }
})
