/**
 * Servers that are demoted or hang while a store uses them, with each client as it comes.
 */
import { it } from "@effect/vitest"
import { Effect, Option, type Scope } from "effect"
import type { Client as Client } from "effect-session/RedisClient"
import * as RedisClient from "effect-session/RedisClient"
import { SessionStoreError } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import { range } from "../src/internal/testing/law.js"
import { freshKey, isAlive, isDead, start, stored } from "../src/internal/testing/records.js"
import { activeMillis } from "./support/activeTime.js"
import { furnish, reads, works, writes } from "./support/databases.js"
import * as LossyProxy from "./support/lossyProxy.js"
import { ioredisOn, nodeRedisOn, nodeRedisPoolOn, storeOn } from "./support/redisClients.js"
import { untilReplicated } from "./support/redisReplication.js"
import * as Server from "./support/servers/redis.js"
import { until } from "./support/servers/server.js"

const clients: ReadonlyArray<
  readonly [name: string, on: (url: string) => Effect.Effect<Client, never, Scope.Scope>]
> = [
  ["ioredis", (url) => Effect.map(ioredisOn(url), RedisClient.ioredis)],
  ["node-redis", (url) => Effect.map(nodeRedisOn(url), RedisClient.nodeRedis)],
  ["a pool of node-redis", (url) => Effect.map(nodeRedisPoolOn(url), RedisClient.nodeRedis)]
]

/** A primary and its replica, and an address that leads to the primary. */
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
    it.scopedLive(`${name}: the store connects anew and goes on with the new primary within two seconds`, () =>
      Effect.gen(function*() {
        const { first, second, url, proxy } = yield* pair
        const store = yield* Effect.flatMap(on(url), (client) => storeOn(client, { durableDestroy: false }))
        const one = yield* stored(store)
        yield* untilReplicated(first, second)
        // The connections that are there stay, and lead to what is a replica from now on.
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

    it.scopedLive(`${name}: no call is answered by a replica; when the address leads on, all of them are`, () =>
      Effect.gen(function*() {
        const { first, second, url, proxy } = yield* pair
        const store = yield* Effect.flatMap(on(url), (client) => storeOn(client, { durableDestroy: false }))
        const one = yield* furnish(store)
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
        // Nothing of what was refused has been done.
        yield* isAlive(store, one, start)
        yield* works(store)
      }))
  }
})

describe("a server that hangs", () => {
  for (const [name, on] of clients) {
    it.scopedLive(`${name}: is given a thousand commands at the most; further calls fail; then the store goes on`, () =>
      Effect.gen(function*() {
        const server = yield* Server.make()
        const real = yield* on(server.url)
        let kept = 0
        let mostKept = 0
        // What the client was given and has not settled.
        const client: Client = {
          ...real,
          send: (key, command) => {
            mostKept = Math.max(mostKept, ++kept)
            return real.send(key, command).finally(() => kept--)
          }
        }
        const store = yield* storeOn(client, { durableDestroy: false })
        const one = yield* stored(store)
        yield* server.signal("SIGSTOP")
        // Requests that are given up, as an engine does: their commands stay with the client.
        const given = yield* Effect.forEach(
          range(1500),
          () => Effect.flip(Effect.timeout(Effect.disconnect(store.load(one.key, start)), "300 millis")),
          { concurrency: "unbounded" }
        )
        assert.isTrue(given.every(({ _tag }) => _tag === "TimeoutException"))
        assert.deepStrictEqual([kept, mostKept], [1000, 1000])
        const [waited, late] = yield* activeMillis(Effect.flip(store.load(one.key, start)))
        assert.instanceOf(late, SessionStoreError)
        assert.strictEqual(late.reason, "unavailable")
        // A pool gives up what it keeps by itself.
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
        assert.isAtMost(mostKept, 1000)
        yield* server.signal("SIGCONT")
        yield* until(Effect.either(store.load(freshKey(), start)), ({ _tag }) => _tag === "Right")
        yield* isAlive(store, one, start)
        // More than that at once are no fault of the server: they wait for each other. A pool has a limit of its own.
        if (!name.includes("pool")) {
          const burst = yield* Effect.forEach(range(1500), () => store.load(one.key, start), {
            concurrency: "unbounded"
          })
          assert.isTrue(burst.every(Option.isSome))
        }
        assert.strictEqual(mostKept, 1000)
        yield* works(store)
      }))
  }
})
