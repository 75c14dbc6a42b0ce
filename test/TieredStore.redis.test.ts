/**
 * Faults of a Redis cache in front of a database, which visitors must not notice.
 */
import { it } from "@effect/vitest"
import { Context, Effect, Layer, Logger, Scope } from "effect"
import { SessionStore } from "effect-session/SessionStore"
import * as TieredStore from "effect-session/TieredStore"
import { assert, describe } from "vitest"
import { freePort } from "../examples/shop/freePort.js"
import { activeMillis } from "./support/activeTime.js"
import { sqlStore } from "./support/localStores.js"
import { storeAt } from "./support/redisClients.js"
import { postgresClient } from "./support/serverClients.js"
import * as Redis from "./support/servers/redis.js"
import { until } from "./support/servers/server.js"
import * as Shop from "./support/shop.js"
import { begin, ShopSession, show } from "./support/shop.js"

const visitors = 5
/** Increments of each visitor on each node while the cache is disturbed. */
const rounds = 4
/** Milliseconds. */
const lease = 1000
const all = { concurrency: "unbounded" } as const

/** Two nodes that share the run's Postgres and a Redis of their own, which can be killed and restarted. */
const nodes = (settings: Redis.Options["settings"] = {}) =>
  Effect.gen(function*() {
    const start = Scope.extend(Redis.make({ port: yield* freePort, settings }), yield* Effect.scope)
    const server = yield* start
    const origin = Context.get(yield* Layer.build(sqlStore(postgresClient())), SessionStore)
    const node = Effect.gen(function*() {
      const cache = yield* storeAt(server.url, { prefix: "cache:" })
      const store = yield* TieredStore.make(cache, origin, { lease })
      return yield* Shop.make(Layer.succeed(SessionStore, store))
    }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)))
    const [a, b] = yield* Effect.all([node, node])
    return { server, start, a, b }
  })

type Nodes = Effect.Effect.Success<ReturnType<typeof nodes>>

/** Checks that visitors count on both nodes and log out without an error while `meanwhile` disturbs the cache. */
const visitorsAreUnaffected = ({ a, b }: Nodes, meanwhile: Effect.Effect<unknown> = Effect.void) =>
  Effect.gen(function*() {
    const shops = [a, b]
    const cookies = yield* Effect.replicateEffect(begin(a), visitors)
    const isAnswered = <B, E>(shop: Shop.Shop, handler: Effect.Effect<B, E, ShopSession>, cookie: string) =>
      Effect.map(shop.request(show(handler), cookie), ({ body, status }) => {
        assert.strictEqual(status, 200)
        return body
      })
    const begun = yield* Effect.makeLatch(false)
    const visit = (shop: Shop.Shop, cookie: string) =>
      Effect.gen(function*() {
        yield* isAnswered(shop, ShopSession.update("count", (n) => n + 1), cookie)
        yield* begun.open
        assert.strictEqual(yield* isAnswered(shop, ShopSession.get("user"), cookie), `"ann"`)
      })
    const round = Effect.forEach(cookies, (cookie) => Effect.forEach(shops, (shop) => visit(shop, cookie), all), all)
    yield* Effect.all([Effect.replicateEffect(round, rounds), Effect.zipRight(begun.await, meanwhile)], all)
    yield* round
    for (const cookie of cookies) {
      const count = isAnswered(a, Effect.zipRight(ShopSession.reload, ShopSession.get("count")), cookie)
      assert.strictEqual(yield* count, String((rounds + 1) * shops.length))
      yield* isAnswered(a, ShopSession.destroy, cookie)
      assert.strictEqual(yield* isAnswered(a, ShopSession.has("user"), cookie), "false")
    }
    const [waited] = yield* activeMillis(
      Effect.forEach(
        cookies,
        (cookie) => until(isAnswered(b, ShopSession.has("user"), cookie), (has) => has === "false")
      )
    )
    assert.isBelow(waited, lease + 1000)
  })

const scene = (
  title: string,
  body: (nodes: Nodes) => Effect.Effect<void, unknown, Scope.Scope>,
  settings?: Redis.Options["settings"]
) => it.scopedLive(title, () => Effect.flatMap(nodes(settings), body))

describe("TieredStore with a misbehaving cache", () => {
  scene("killed and restarted", (both) =>
    Effect.gen(function*() {
      yield* visitorsAreUnaffected(both, both.server.signal("SIGKILL"))
      yield* visitorsAreUnaffected(both, both.start)
    }))

  scene("stopped and resumed", (both) =>
    Effect.gen(function*() {
      yield* visitorsAreUnaffected(both, both.server.signal("SIGSTOP"))
      yield* visitorsAreUnaffected(both, both.server.signal("SIGCONT"))
    }))

  scene("full, and rejecting writes", (both) =>
    Effect.gen(function*() {
      const { ask } = both.server
      yield* visitorsAreUnaffected(both, ask("CONFIG", "SET", "maxmemory", "1mb"))
      assert.match(yield* ask("SET", "more", "x"), /OOM/)
      yield* visitorsAreUnaffected(both, ask("CONFIG", "SET", "maxmemory", "0"))
    }), { "maxmemory-policy": "noeviction" })

  scene("full, and evicting entries and tombstones", (both) =>
    Effect.gen(function*() {
      const { ask } = both.server
      yield* visitorsAreUnaffected(both, ask("CONFIG", "SET", "maxmemory", "1mb"))
      assert.notMatch(yield* ask("INFO", "stats"), /evicted_keys:0\s/)
      yield* visitorsAreUnaffected(both, ask("CONFIG", "SET", "maxmemory", "0"))
    }), { "maxmemory-policy": "volatile-lru" })

  scene(
    "wiped repeatedly",
    (both) =>
      visitorsAreUnaffected(both, Effect.repeatN(Effect.zipLeft(both.server.ask("FLUSHALL"), Effect.yieldNow()), 9))
  )
})
