/**
 * Clients of Redis servers, and stores on them.
 */
import { Effect, type Scope } from "effect"
import type { Client as Client } from "effect-session/RedisClient"
import * as RedisClient from "effect-session/RedisClient"
import * as RedisStore from "effect-session/RedisStore"
import { Cluster, type ClusterOptions, Redis, type RedisOptions } from "ioredis"
import { once } from "node:events"
import { createClient, createClientPool, createCluster, type RedisClientOptions } from "redis"
import { freshPrefix } from "./localStores.js"

/** A client of ioredis. Waits for the connection if the client has no offline queue. */
export const ioredisOn = (url: string, options: RedisOptions = {}): Effect.Effect<Redis, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const client = new Redis(url, options)
      // Without a listener, the client prints connection errors. The calls fail with them anyway.
      client.on("error", () => {})
      if (options.enableOfflineQueue === false) await once(client, "ready")
      return client
    }),
    (client) => Effect.sync(() => client.disconnect())
  )

/** A client of node-redis, connected. */
export const nodeRedisOn = (url: string, options: RedisClientOptions = {}) =>
  Effect.acquireRelease(
    Effect.promise(() => {
      const client = createClient({ ...options, url })
      client.on("error", () => {})
      return client.connect()
    }),
    (client) => Effect.sync(() => client.destroy())
  )

/** A pool of node-redis, connected. */
export const nodeRedisPoolOn = (url: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const pool = createClientPool({ url }, { minimum: 2 })
      pool.on("error", () => {})
      await pool.connect()
      return pool
    }),
    (pool) => Effect.sync(() => pool.destroy())
  )

/** A Cluster of ioredis. */
export const clusterOn = (ports: ReadonlyArray<number>, options: ClusterOptions = {}) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const cluster = new Cluster(ports.map((port) => ({ host: "127.0.0.1", port })), options)
      cluster.on("error", () => {})
      return cluster
    }),
    (cluster) => Effect.sync(() => cluster.disconnect())
  )

/** A cluster of node-redis, connected. */
export const nodeRedisClusterOn = (ports: ReadonlyArray<number>) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const cluster = createCluster({ rootNodes: ports.map((port) => ({ url: `redis://127.0.0.1:${port}` })) })
      cluster.on("error", () => {})
      await cluster.connect()
      return cluster
    }),
    (cluster) => Effect.sync(() => cluster.destroy())
  )

/** A store on a client, by default with a new prefix. */
export const storeOn = (client: Client, options: RedisStore.RedisStoreOptions = {}) =>
  Effect.provideService(
    RedisStore.make({ prefix: freshPrefix(), ...options }),
    RedisClient.RedisClient,
    client
  )

/** A store on a server, with ioredis. */
export const storeAt = (url: string, options: RedisStore.RedisStoreOptions = {}, client: RedisOptions = {}) =>
  Effect.flatMap(ioredisOn(url, client), (client) => storeOn(RedisClient.ioredis(client), options))

/** A client that records the commands that are sent. */
export const recordingClient = (
  client: Client
): { readonly client: Client; readonly sent: Array<ReadonlyArray<string>> } => {
  const sent: Array<ReadonlyArray<string>> = []
  return {
    sent,
    client: {
      cluster: client.cluster,
      send: (key, command) => {
        sent.push(command)
        return client.send(key, command)
      },
      sendToAll: (command) => client.sendToAll(command)
    }
  }
}
