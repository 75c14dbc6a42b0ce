/**
 * A Cluster of which a node stops, or dies and comes back, with visitors on all of them.
 */
import { it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import type { Client } from "effect-session/RedisClient"
import * as RedisClient from "effect-session/RedisClient"
import { assert, describe } from "vitest"
import { slotOf } from "../src/internal/redis/slots.js"
import { together } from "../src/internal/testing/law.js"
import type { Shops, Tally } from "./support/outages.js"
import { countIsPlausible, failsInTime, increment, shopsOn, succeedsInTime } from "./support/outages.js"
import { clusterOn, nodeRedisClusterOn, storeOn } from "./support/redisClients.js"
import * as Server from "./support/servers/redis.js"
import type * as Shop from "./support/shop.js"
import { begin, ok, ShopSession, valueOf } from "./support/shop.js"

interface Visitor extends Tally {
  /** Which node has the session. */
  readonly node: number
}

/** A visitor, whose session is where its key says. */
const arrive = (shop: Shop.Shop) =>
  Effect.map(begin(shop), (cookie): Visitor => {
    const key = shop.keys.at(-1) ?? assert.fail("nothing was kept")
    return { cookie, done: 0, refused: 0, node: Math.floor((slotOf(`{${key.charAt(0)}}`) * 3) / 16_384) }
  })

/** Visitors, until every node has so many of their sessions. */
const arriveOnAll = (shop: Shop.Shop, each: number) =>
  Effect.iterate([] as ReadonlyArray<Visitor>, {
    while: (all) => nodeNumbers.some((node) => all.filter((one) => one.node === node).length < each),
    body: (all) => Effect.map(arrive(shop), (one) => [...all, one])
  })

const nodeNumbers = [0, 1, 2]

/** All visit at once: those of this node are refused in time, and the others are served. */
const visitWithout = ({ calm, shop }: Shops, visitors: ReadonlyArray<Visitor>, node: number) =>
  together(visitors.map((told) =>
    told.node === node
      ? Effect.map(failsInTime(shop.request(increment, told.cookie)), () => void told.refused++)
      : Effect.map(succeedsInTime(calm.request(increment, told.cookie)), () => void told.done++)
  ))

/** It works again for everybody, before anybody is asked to count. */
const back = ({ shop }: Shops, visitors: ReadonlyArray<Visitor>) =>
  together(visitors.map((told) =>
    Effect.repeat(
      Effect.flatMap(shop.request(increment, told.cookie), ({ status }) => {
        if (status === 200) return Effect.sync(() => ++told.done > 0)
        told.refused++
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

describe("a node of a Cluster, with clients as they come", () => {
  for (const [name, on] of clients) {
    it.scopedLive(
      `${name}: stopped, then killed and started again: its sessions are 503, the others go on`,
      () =>
        Effect.gen(function*() {
          const nodes = yield* Server.makeCluster({
            settings: { appendonly: "yes", appendfsync: "always", "cluster-require-full-coverage": "no" }
          })
          const ports = nodes.map(({ port }) => port)
          yield* Server.clusterReady(ports)
          const store = yield* Effect.flatMap(on(ports), (client) => storeOn(client))
          const shops = yield* shopsOn(store)
          const { calm } = shops
          const visitors = yield* arriveOnAll(calm, 6)
          const gone = yield* arriveOnAll(calm, 2)
          yield* Effect.forEach(gone, ({ cookie }) => calm.request(Effect.zipRight(ShopSession.destroy, ok), cookie))

          yield* nodes[0].signal("SIGSTOP")
          yield* visitWithout(shops, visitors, 0)
          yield* nodes[0].signal("SIGCONT")
          yield* back(shops, visitors)

          yield* nodes[1].signal("SIGKILL")
          yield* visitWithout(shops, visitors, 1)
          yield* nodes[1].again
          yield* back(shops, visitors)

          yield* Effect.forEach(visitors, (told) => countIsPlausible(shops, told))
          for (const { cookie } of gone) assert.isUndefined((yield* valueOf(calm, cookie)).user)
        })
    )
  }
})
