/**
 * Types are behaviour: which clients of Redis are accepted. Checked by the compiler, never run.
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

// ---- neither for the other
// @ts-expect-error this is a client of node-redis
RedisClient.ioredis(createClient())
// @ts-expect-error this is a client of ioredis
RedisClient.nodeRedis(new Redis())
// @ts-expect-error its commands want to know whether they only read
RedisClient.nodeRedis(createSentinel({ name: "main", sentinelRootNodes: [] }))
// @ts-expect-error a URL is no client
RedisClient.ioredis(url)

// ---- any other client by hand
const sentinel = createSentinel({ name: "main", sentinelRootNodes: [] })
RedisClient.RedisClient.of({
  cluster: false,
  send: (_, command) => sentinel.sendCommand(false, [...command]),
  sendToAll: async (command) => [await sentinel.sendCommand(false, [...command])]
})

// ---- the layer wants a client, and gives a store
expectTypeOf(RedisStore.layer).toEqualTypeOf<
  Layer.Layer<SessionStore, SessionConfigError | SessionStoreError, RedisClient.RedisClient>
>()
expectTypeOf(
  StoredEngine.layer.pipe(
    Layer.provide(RedisStore.layerWith({ prefix: "shop:" })),
    Layer.provide(Layer.sync(RedisClient.RedisClient, () => RedisClient.ioredis(new Redis(url))))
  )
).toEqualTypeOf<Layer.Layer<StoredEngine.Provided, SessionConfigError | SessionStoreError>>()

// @ts-expect-error there is no such option
RedisStore.layerWith({ ttl: 60 })
// @ts-expect-error without a client there is no store
Effect.runPromise(RedisStore.make())
