/**
 * Types of the Redis store: the clients that it accepts. Checked by the compiler, never run.
 */
import { Effect, Layer } from "effect"
import { StoredEngine } from "effect-session"
import * as RedisClient from "effect-session/RedisClient"
import * as RedisStore from "effect-session/RedisStore"
import type { SessionConfigError } from "effect-session/SessionConfigError"
import type { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import { Cluster, Redis } from "ioredis"
import { createClient, createClientPool, createCluster, createSentinel } from "redis"
import { expectTypeOf } from "vitest"

declare const url: string

// ---- ioredis: one node, Sentinel, Cluster
RedisClient.ioredis(new Redis(url))
RedisClient.ioredis(new Redis({ sentinels: [{ host: "localhost" }], name: "main" }))
RedisClient.ioredis(new Cluster([{ host: "localhost" }]))

// ---- node-redis: one node, in either protocol, a pool, Cluster
RedisClient.nodeRedis(createClient())
RedisClient.nodeRedis(createClient({ url, RESP: 2 }))
RedisClient.nodeRedis(createClient({ url, RESP: 3 }))
RedisClient.nodeRedis(createClientPool({ url }))
RedisClient.nodeRedis(createCluster({ rootNodes: [{ url }] }))
RedisClient.nodeRedis(createCluster({ rootNodes: [{ url }], RESP: 2 }))

// ---- each adapter rejects the other client
// @ts-expect-error this is a client of node-redis
RedisClient.ioredis(createClient())
// @ts-expect-error this is a client of ioredis
RedisClient.nodeRedis(new Redis())
// @ts-expect-error its `sendCommand` has another first parameter, which states whether the command only reads
RedisClient.nodeRedis(createSentinel({ name: "main", sentinelRootNodes: [] }))
// @ts-expect-error a URL is no client
RedisClient.ioredis(url)

// ---- an adapter for any other client
const sentinel = createSentinel({ name: "main", sentinelRootNodes: [] })
RedisClient.RedisClient.of({
  cluster: false,
  send: (_, command) => sentinel.sendCommand(false, [...command]),
  sendToAll: async (command) => [await sentinel.sendCommand(false, [...command])]
})

// ---- the layer requires a client and provides a store
expectTypeOf(RedisStore.layer).toEqualTypeOf<
  Layer.Layer<SessionStore, SessionConfigError | SessionStoreError, RedisClient.RedisClient>
>()
expectTypeOf(
  StoredEngine.layer.pipe(
    Layer.provide(RedisStore.layerWith({ prefix: "shop:" })),
    Layer.provide(Layer.sync(RedisClient.RedisClient, () => RedisClient.ioredis(new Redis(url))))
  )
).toEqualTypeOf<Layer.Layer<StoredEngine.Provided, SessionConfigError | SessionStoreError>>()

// @ts-expect-error unknown option
RedisStore.layerWith({ ttl: 60 })
// @ts-expect-error the client is missing
Effect.runPromise(RedisStore.make())
