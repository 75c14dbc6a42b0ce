/**
 * Clients of the servers that tests share. A file that imports this module is no part of `npm run test:fast`.
 */
import * as MysqlClient from "@effect/sql-mysql2/MysqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Layer, Redacted } from "effect"
import * as RedisClient from "effect-session/RedisClient"
import * as RedisStore from "effect-session/RedisStore"
import { Cluster, Redis } from "ioredis"
import { freshPrefix, type Named, sqlStore } from "./localStores.js"
import { advice, leftOut, mariadb, type Part, redis, valkey } from "./parts.js"
import { clusterReady } from "./servers/redis.js"
import * as servers from "./sharedServers.js"

/** A Postgres client with its own pool. */
export const postgresClient = (options: { readonly maxConnections?: number } = {}) =>
  PgClient.layer({ url: Redacted.make(servers.postgres()), maxConnections: 10, ...options })

/** The URL of one of the databases of the run's Postgres. */
export const postgresUrl = (database: string): string => {
  const url = new URL(servers.postgres())
  url.pathname = database
  return url.href
}

/** The URL of the run's MariaDB, or of one of its databases. */
export const mariadbUrl = (database?: string): string => {
  const there = servers.mariadb()
  if (there === "") throw new Error(advice(mariadb))
  const url = new URL(there)
  if (database !== undefined) url.pathname = database
  return url.href
}

/** A MariaDB client with its own pool. */
export const mysqlClient = (options: { readonly maxConnections?: number } = {}) =>
  Layer.suspend(() => MysqlClient.layer({ url: Redacted.make(mariadbUrl()), maxConnections: 10, ...options }))

/** Returns its arguments, or nothing if the run leaves MariaDB out. */
export const ofMariadb = <A>(...all: ReadonlyArray<A>): ReadonlyArray<A> => leftOut().includes(mariadb) ? [] : all

/** A client of a server of the run, whose URL is "" if the part is missing. */
const clientOf = (part: Part, url: () => string) =>
  Layer.scoped(
    RedisClient.RedisClient,
    Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => {
          if (url() === "") throw new Error(advice(part))
          return new Redis(url())
        }),
        (client) => Effect.sync(() => client.disconnect())
      ),
      RedisClient.ioredis
    )
  )

/** A client of the run's Redis. */
export const redisClient = clientOf(redis, servers.redis)

/** A client of the run's Valkey. */
export const valkeyClient = clientOf(valkey, servers.valkey)

/** A client of the run's Redis Cluster. */
export const redisClusterClient = Layer.scoped(
  RedisClient.RedisClient,
  Effect.gen(function*() {
    const ports = servers.redisCluster()
    if (ports.length === 0) throw new Error(advice(redis))
    yield* clusterReady(ports)
    const client = yield* Effect.acquireRelease(
      Effect.sync(() =>
        new Cluster(ports.map((port) => ({ host: "127.0.0.1", port })), { enableAutoPipelining: true })
      ),
      (client) => Effect.sync(() => client.disconnect())
    )
    return RedisClient.ioredis(client)
  })
)

/** A Redis store with a new prefix. The layer also provides the client, to inspect the keys. */
export const redisStore = <E>(client: Layer.Layer<RedisClient.RedisClient, E>, prefix = freshPrefix()) =>
  Layer.provideMerge(RedisStore.layerWith({ prefix }), client)

/** Returns its arguments, or nothing if the run leaves Redis out. */
export const ofRedis = <A>(...all: ReadonlyArray<A>): ReadonlyArray<A> => leftOut().includes(redis) ? [] : all

/** A partitioned table of sessions, in its own schema. */
export const partitioned: Named = [
  "postgres, 16 partitions",
  () => sqlStore(postgresClient(), freshPrefix(), { schema: "sessions", partitions: 16 })
]
