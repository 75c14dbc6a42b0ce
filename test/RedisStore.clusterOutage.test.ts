/**
 * Outages of one node of a Cluster, with visitors whose sessions are on all nodes.
 */
import { it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import type { Client } from "effect-session/RedisClient"
import * as RedisClient from "effect-session/RedisClient"
import { assert, describe } from "vitest"
import { slotOf } from "../src/internal/redis/slots.js"
import { together } from "./support/concurrency.js"
import type { Shops, Tally } from "./support/outages.js"
import { countIsPlausible, failsInTime, increment, shopsOn, succeedsInTime } from "./support/outages.js"
import { clusterOn, nodeRedisClusterOn, storeOn } from "./support/redisClients.js"
import * as Server from "./support/servers/redis.js"
import type * as Shop from "./support/shop.js"
import { begin, ok, ShopSession, valueOf } from "./support/shop.js"

interface Visitor extends Tally {
  /** The number of the node with the session. */
  readonly node: number
}

/** Begins a session, and computes its node from its key. */
const arrive = (shop: Shop.Shop) =>
  Effect.map(begin(shop), (cookie): Visitor => {
    const key = shop.keys.at(-1) ?? assert.fail("no session was stored")
    return { cookie, done: 0, refused: 0, node: Math.floor((slotOf(`{${key.charAt(0)}}`) * 3) / 16_384) }
  })

/** Begins sessions until every node has this number of them. */
const arriveOnAll = (shop: Shop.Shop, each: number) =>
  Effect.iterate([] as ReadonlyArray<Visitor>, {
    while: (all) => nodeNumbers.some((node) => all.filter((one) => one.node === node).length < each),
    body: (all) => Effect.map(arrive(shop), (one) => [...all, one])
  })

const nodeNumbers = [0, 1, 2]

/** Concurrent requests of all visitors: those with sessions on this node get 503 in time, and the others 200. */
const requestWithout = ({ lenient, shop }: Shops, visitors: ReadonlyArray<Visitor>, node: number) =>
  together(visitors.map((visitor) =>
    visitor.node === node
      ? Effect.map(failsInTime(shop.request(increment, visitor.cookie)), () => void visitor.refused++)
      : Effect.map(succeedsInTime(lenient.request(increment, visitor.cookie)), () => void visitor.done++)
  ))

/** Repeats the requests until each visitor gets 200. */
const untilServed = ({ shop }: Shops, visitors: ReadonlyArray<Visitor>) =>
  together(visitors.map((visitor) =>
    Effect.repeat(
      Effect.flatMap(shop.request(increment, visitor.cookie), ({ status }) => {
        if (status === 200) return Effect.sync(() => ++visitor.done > 0)
        visitor.refused++
        return Effect.delay(Effect.succeed(false), "10 millis")
      }),
      { until: (done) => done }
    )
  )).pipe(Effect.timeout("1 minute"))

const clients: ReadonlyArray<
  readonly [name: string, on: (ports: ReadonlyArray<number>) => Effect.Effect<Client, never, Scope.Scope>]
> = [
  ["ioredis", (ports) => Effect.map(clusterOn(ports), RedisClient.ioredis)],
  ["node-redis", (ports) => Effect.map(nodeRedisClusterOn(ports), RedisClient.nodeRedis)]
]

describe("an outage of a node of a Cluster, with default client options", () => {
  for (const [name, on] of clients) {
    it.scopedLive(
      `${name}: while a node is stopped or killed, its sessions get 503, and all others work`,
      () =>
        Effect.gen(function*() {
          const nodes = yield* Server.makeCluster({
            settings: { appendonly: "yes", appendfsync: "always", "cluster-require-full-coverage": "no" }
          })
          const ports = nodes.map(({ port }) => port)
          yield* Server.clusterReady(ports)
          const store = yield* Effect.flatMap(on(ports), (client) => storeOn(client))
          const shops = yield* shopsOn(store)
          const { lenient } = shops
          const visitors = yield* arriveOnAll(lenient, 6)
          const gone = yield* arriveOnAll(lenient, 2)
          yield* Effect.forEach(gone, ({ cookie }) => lenient.request(Effect.zipRight(ShopSession.destroy, ok), cookie))

          yield* nodes[0].signal("SIGSTOP")
          yield* requestWithout(shops, visitors, 0)
          yield* nodes[0].signal("SIGCONT")
          yield* untilServed(shops, visitors)

          yield* nodes[1].signal("SIGKILL")
          yield* requestWithout(shops, visitors, 1)
          yield* nodes[1].again
          yield* untilServed(shops, visitors)

          yield* Effect.forEach(visitors, (visitor) => countIsPlausible(shops, visitor))
          for (const { cookie } of gone) assert.isUndefined((yield* valueOf(lenient, cookie)).user)
        })
    )
  }
})
