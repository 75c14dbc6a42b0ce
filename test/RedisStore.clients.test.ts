import { it } from "@effect/vitest"
import { Effect, Layer, type Scope } from "effect"
import { isAlive, start, stored } from "effect-session/Fixtures"
import type { Client } from "effect-session/RedisClient"
import * as RedisClient from "effect-session/RedisClient"
import { Cluster, type ClusterOptions } from "ioredis"
import { createClient, createClientPool, createCluster, RESP_TYPES } from "redis"
import { assert, describe } from "vitest"
import { slotOf } from "../src/internal/redis/slots.js"
import { storeLaws } from "../src/internal/testing/storeLaws.js"
import { ioredisOn, nodeRedisOn, storeOn } from "./support/redisClients.js"
import { redisStore } from "./support/serverClients.js"
import { clusterReady } from "./support/servers/redis.js"
import * as servers from "./support/sharedServers.js"
import { works } from "./support/storeCalls.js"

const url = () => servers.redis()
const ports = () => servers.redisCluster()

/** Connects a client of node-redis, and closes it with the scope. */
const connected = <C extends { connect(): Promise<unknown>; destroy(): void }>(make: () => C) =>
  Effect.acquireRelease(
    Effect.promise(() => {
      const client = make()
      return client.connect().then(() => client)
    }),
    (client) => Effect.sync(() => client.destroy())
  )

const clusterOfIoredis = (options: ClusterOptions) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => new Cluster(ports().map((port) => ({ host: "127.0.0.1", port })), options)),
      (cluster) => Effect.sync(() => cluster.disconnect())
    ),
    RedisClient.ioredis
  )

describe("a session's life cycle works with", () => {
  const clients: ReadonlyArray<readonly [name: string, make: () => Effect.Effect<Client, unknown, Scope.Scope>]> = [
    ["ioredis", () => Effect.map(ioredisOn(url()), RedisClient.ioredis)],
    [
      "ioredis with keyPrefix",
      () => Effect.map(ioredisOn(url(), { keyPrefix: "app:" }), RedisClient.ioredis)
    ],
    [
      "ioredis with enableAutoPipelining",
      () => Effect.map(ioredisOn(url(), { enableAutoPipelining: true }), RedisClient.ioredis)
    ],
    ["a Cluster of ioredis", () => clusterOfIoredis({})],
    ["a Cluster of ioredis with keyPrefix", () => clusterOfIoredis({ keyPrefix: "app:" })],
    ["a Cluster of ioredis with enableAutoPipelining", () => clusterOfIoredis({ enableAutoPipelining: true })],
    ["node-redis", () => Effect.map(nodeRedisOn(url()), RedisClient.nodeRedis)],
    [
      "node-redis with RESP2",
      () => Effect.map(connected(() => createClient({ url: url(), RESP: 2 })), RedisClient.nodeRedis)
    ],
    ["node-redis with replies as bytes", () =>
      Effect.map(
        connected(() =>
          createClient({
            url: url(),
            commandOptions: { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer, [RESP_TYPES.SIMPLE_STRING]: Buffer } }
          })
        ),
        RedisClient.nodeRedis
      )],
    [
      "a pool of node-redis",
      () => Effect.map(connected(() => createClientPool({ url: url() })), RedisClient.nodeRedis)
    ],
    ["a cluster of node-redis", () =>
      Effect.map(
        connected(() => createCluster({ rootNodes: ports().map((port) => ({ url: `redis://127.0.0.1:${port}` })) })),
        RedisClient.nodeRedis
      )]
  ]
  for (const [name, make] of clients) {
    it.scopedLive(name, () =>
      Effect.gen(function*() {
        yield* clusterReady(ports())
        const store = yield* Effect.flatMap(make(), (client) => storeOn(client))
        assert.deepStrictEqual(
          [store.capabilities.durableDestroy, store.capabilities.remote, "colocated" in store.capabilities],
          [false, true, /cluster/i.test(name)]
        )
        yield* works(store)
        const text = yield* stored(store, { data: "\ufeff\u0000\u00e9\u{1f600}", subject: "\ufeffann" })
        yield* isAlive(store, text, start)
      }))
  }
})

it("`slotOf` returns the slot that Redis assigns to a key", () => {
  for (const [key, slot] of [["somekey", 11_058], ["foo{hash_tag}", 2515], ["123456789", 12_739]] as const) {
    assert.strictEqual(slotOf(key), slot)
  }
})

describe("store laws with node-redis", () => {
  const client = Layer.scoped(
    RedisClient.RedisClient,
    Effect.suspend(() => Effect.map(nodeRedisOn(url()), RedisClient.nodeRedis))
  )
  for (const { law, name } of storeLaws) {
    it.live(name, () => Effect.provide(law, redisStore(client)))
  }
})
