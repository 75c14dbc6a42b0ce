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
/** How often each of them counts on each node while something is done to the front. */
const rounds = 4
/** Milliseconds. */
const lease = 1000
const all = { concurrency: "unbounded" } as const

/** Two nodes that share a Redis of their own, which can be killed and started again, and the run's Postgres. */
const nodes = (settings: Redis.Options["settings"] = {}) =>
  Effect.gen(function*() {
    const start = Scope.extend(Redis.make({ port: yield* freePort, settings }), yield* Effect.scope)
    const server = yield* start
    const back = Context.get(yield* Layer.build(sqlStore(postgresClient())), SessionStore)
    const node = Effect.gen(function*() {
      const front = yield* storeAt(server.url, { prefix: "front:" })
      const store = yield* TieredStore.make(front, back, { lease })
      return yield* Shop.make(Layer.succeed(SessionStore, store))
    }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)))
    const [a, b] = yield* Effect.all([node, node])
    return { server, start, a, b }
  })

type Nodes = Effect.Effect.Success<ReturnType<typeof nodes>>

/** Visitors count on both nodes, and log out: whatever is done to the front meanwhile is nothing to them. */
const goesOn = ({ a, b }: Nodes, meanwhile: Effect.Effect<unknown> = Effect.void) =>
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
  scene("killed, and started again", (both) =>
    Effect.gen(function*() {
      yield* goesOn(both, both.server.signal("SIGKILL"))
      yield* goesOn(both, both.start)
    }))

  scene("stopped, and awake again", (both) =>
    Effect.gen(function*() {
      yield* goesOn(both, both.server.signal("SIGSTOP"))
      yield* goesOn(both, both.server.signal("SIGCONT"))
    }))

  scene("full", (both) =>
    Effect.gen(function*() {
      const { ask } = both.server
      yield* goesOn(both, ask("CONFIG", "SET", "maxmemory", "1mb"))
      assert.match(yield* ask("SET", "more", "x"), /OOM/)
      yield* goesOn(both, ask("CONFIG", "SET", "maxmemory", "0"))
    }), { "maxmemory-policy": "noeviction" })

  scene("full, and evicting entries and tombstones", (both) =>
    Effect.gen(function*() {
      const { ask } = both.server
      yield* goesOn(both, ask("CONFIG", "SET", "maxmemory", "1mb"))
      assert.notMatch(yield* ask("INFO", "stats"), /evicted_keys:0\s/)
      yield* goesOn(both, ask("CONFIG", "SET", "maxmemory", "0"))
    }), { "maxmemory-policy": "volatile-lru" })

  scene(
    "wiped, again and again",
    (both) => goesOn(both, Effect.repeatN(Effect.zipLeft(both.server.ask("FLUSHALL"), Effect.yieldNow()), 9))
  )
})
