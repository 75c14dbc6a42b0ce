/**
 * Servers that are demoted or hang while a store uses them, with each client and its default options.
 */
import { it } from "@effect/vitest"
import { Effect, Option, type Scope } from "effect"
import { freshKey, isAlive, isDead, start, stored } from "effect-session/Fixtures"
import type { Client } from "effect-session/RedisClient"
import * as RedisClient from "effect-session/RedisClient"
import { SessionStoreError } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import { activeMillis } from "./support/activeTime.js"
import { range } from "./support/concurrency.js"
import * as LossyProxy from "./support/lossyProxy.js"
import { ioredisOn, nodeRedisOn, nodeRedisPoolOn, storeOn } from "./support/redisClients.js"
import { untilReplicated } from "./support/redisReplication.js"
import * as Server from "./support/servers/redis.js"
import { until } from "./support/servers/server.js"
import { reads, storeTwoRecords, works, writes } from "./support/storeCalls.js"

const clients: ReadonlyArray<
  readonly [name: string, on: (url: string) => Effect.Effect<Client, never, Scope.Scope>]
> = [
  ["ioredis", (url) => Effect.map(ioredisOn(url), RedisClient.ioredis)],
  ["node-redis", (url) => Effect.map(nodeRedisOn(url), RedisClient.nodeRedis)],
  ["a pool of node-redis", (url) => Effect.map(nodeRedisPoolOn(url), RedisClient.nodeRedis)]
]

/** A primary and its replica, and a proxy to the primary. */
const pair = Effect.gen(function*() {
  const settings = { "repl-diskless-sync-delay": "0" }
  const [first, second] = [yield* Server.make({ settings }), yield* Server.make({ settings })]
  yield* second.ask("REPLICAOF", "127.0.0.1", String(first.port))
  yield* until(first.ask("INFO", "replication"), (info) => info.includes("state=online"))
  const proxy = yield* LossyProxy.make(first.port)
  return { first, second, proxy, url: `redis://127.0.0.1:${proxy.port}` }
})

describe("a server that becomes a replica behind the same address", () => {
  for (const [name, on] of clients) {
    it.scopedLive(`${name}: the store reconnects and works with the new primary within two seconds`, () =>
      Effect.gen(function*() {
        const { first, second, url, proxy } = yield* pair
        const store = yield* Effect.flatMap(on(url), (client) => storeOn(client, { durableDestroy: false }))
        const one = yield* stored(store)
        yield* untilReplicated(first, second)
        // Open connections stay, and their server is a replica from now on.
        yield* second.ask("REPLICAOF", "NO", "ONE")
        yield* first.ask("REPLICAOF", "127.0.0.1", String(second.port))
        yield* proxy.connectTo(second.port)
        const [spent] = yield* activeMillis(
          until(Effect.either(store.destroy(one.key)), ({ _tag }) => _tag === "Right")
        )
        assert.isBelow(spent, 2000)
        yield* isDead(store, one, start)
        yield* works(store)
      }))

    it.scopedLive(`${name}: calls that reach the replica fail, and succeed once the address leads to the new primary`, () =>
      Effect.gen(function*() {
        const { first, second, url, proxy } = yield* pair
        const store = yield* Effect.flatMap(on(url), (client) => storeOn(client, { durableDestroy: false }))
        const one = yield* storeTwoRecords(store)
        yield* untilReplicated(first, second)
        yield* second.ask("REPLICAOF", "NO", "ONE")
        yield* first.ask("REPLICAOF", "127.0.0.1", String(second.port))
        for (const [call, run] of [...reads, ...writes]) {
          const error = yield* Effect.flip(Effect.timeout(run(store, one), "30 seconds"))
          assert.instanceOf(error, SessionStoreError, call)
          assert.deepStrictEqual([error.operation, error.reason], [call.split(" ")[0], "unavailable"])
        }
        yield* proxy.connectTo(second.port)
        yield* until(Effect.either(store.load(one.key, start)), ({ _tag }) => _tag === "Right")
        // The failed calls changed nothing.
        yield* isAlive(store, one, start)
        yield* works(store)
      }))
  }
})

describe("a server that hangs", () => {
  for (const [name, on] of clients) {
    it.scopedLive(`${name}: gets at most 1,000 commands, further calls fail, and the store works once the server answers`, () =>
      Effect.gen(function*() {
        const server = yield* Server.make()
        const real = yield* on(server.url)
        let unanswered = 0
        let maxUnanswered = 0
        // Counts the commands that the client has without a reply.
        const client: Client = {
          ...real,
          send: (key, command) => {
            maxUnanswered = Math.max(maxUnanswered, ++unanswered)
            return real.send(key, command).finally(() => unanswered--)
          }
        }
        const store = yield* storeOn(client, { durableDestroy: false })
        const one = yield* stored(store)
        yield* server.signal("SIGSTOP")
        // Calls that time out, as in an engine: their commands stay with the client.
        const timedOut = yield* Effect.forEach(
          range(1500),
          () => Effect.flip(Effect.timeout(Effect.disconnect(store.load(one.key, start)), "300 millis")),
          { concurrency: "unbounded" }
        )
        assert.isTrue(timedOut.every(({ _tag }) => _tag === "TimeoutException"))
        assert.deepStrictEqual([unanswered, maxUnanswered], [1000, 1000])
        const [waited, late] = yield* activeMillis(Effect.flip(store.load(one.key, start)))
        assert.instanceOf(late, SessionStoreError)
        assert.strictEqual(late.reason, "unavailable")
        // A pool of node-redis has its own limit, and fails earlier.
        assert.match(
          String(late.cause),
          /has not answered the last 1000 commands: nothing was sent|waiting for a client/
        )
        assert.isBelow(waited, 4000)
        const [spent, all] = yield* activeMillis(
          Effect.forEach(range(100), () => Effect.flip(store.load(one.key, start)), { concurrency: "unbounded" })
        )
        assert.isTrue(all.every(({ reason }) => reason === "unavailable"))
        assert.isBelow(spent, 4000)
        assert.isAtMost(maxUnanswered, 1000)
        yield* server.signal("SIGCONT")
        yield* until(Effect.either(store.load(freshKey(), start)), ({ _tag }) => _tag === "Right")
        yield* isAlive(store, one, start)
        // A burst of more calls than the limit waits for replies, and does not fail. A pool has its own limit.
        if (!name.includes("pool")) {
          const burst = yield* Effect.forEach(range(1500), () => store.load(one.key, start), {
            concurrency: "unbounded"
          })
          assert.isTrue(burst.every(Option.isSome))
        }
        assert.strictEqual(maxUnanswered, 1000)
        yield* works(store)
      }))
  }
})
