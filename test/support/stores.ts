/**
 * The stores that the laws are run on, each real and empty.
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as MysqlClient from "@effect/sql-mysql2/MysqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import type * as SqlClient from "@effect/sql/SqlClient"
import { Context, Effect, Layer, Redacted } from "effect"
import { FileStore, MemoryStore } from "effect-session"
import * as CacheStore from "effect-session/CacheStore"
import * as MigratingStore from "effect-session/MigratingStore"
import * as RedisClient from "effect-session/RedisClient"
import * as RedisStore from "effect-session/RedisStore"
import { SessionStore } from "effect-session/SessionStore"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import * as TieredStore from "effect-session/TieredStore"
import { Cluster, Redis } from "ioredis"
import { randomBytes } from "node:crypto"
import * as Path from "node:path"
import { advice, leftOut, mariadb, redis } from "./parts.js"
import { clusterReady } from "./servers/redis.js"
import * as servers from "./sharedServers.js"
import { temporaryDirectory } from "./temporaryDirectories.js"

/** Postgres, with a pool of its own. */
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

/** MariaDB, with a pool of its own. */
export const mysqlClient = (options: { readonly maxConnections?: number } = {}) =>
  Layer.suspend(() => MysqlClient.layer({ url: Redacted.make(mariadbUrl()), maxConnections: 10, ...options }))

/** What a run has of MariaDB: everything, or nothing where it was told to leave that out. */
export const ofMariadb = <A>(...all: ReadonlyArray<A>): ReadonlyArray<A> => leftOut().includes(mariadb) ? [] : all

/** A client of the run's Redis. */
export const redisClient = Layer.scoped(
  RedisClient.RedisClient,
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        if (servers.redis() === "") throw new Error(advice(redis))
        return new Redis(servers.redis())
      }),
      (client) => Effect.sync(() => client.disconnect())
    ),
    RedisClient.ioredis
  )
)

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

/** A Redis store with keys of its own; the client stays visible, for looking at the keys. */
export const redisStore = <E>(client: Layer.Layer<RedisClient.RedisClient, E>, prefix = freshPrefix()) =>
  Layer.provideMerge(RedisStore.layerWith({ prefix }), client)

/** What a run has of Redis: everything, or nothing where it was told to leave that out. */
export const ofRedis = <A>(...all: ReadonlyArray<A>): ReadonlyArray<A> => leftOut().includes(redis) ? [] : all

/** SQLite, in a file of its own. */
export const sqliteClient = Layer.unwrapScoped(Effect.map(
  temporaryDirectory("sqlite"),
  (directory) => SqliteClient.layer({ filename: Path.join(directory, "sessions.sqlite") })
))

/** A file store, in a directory of its own. */
export const fileStore = Layer.unwrapScoped(
  Effect.map(temporaryDirectory("files"), (directory) => FileStore.layer({ directory }))
).pipe(Layer.provide(NodeContext.layer))

/** A prefix that no other test has. */
export const freshPrefix = (): string => `t${randomBytes(6).toString("hex")}_`

/** A SQL store on tables of its own; the client stays visible, for looking at the tables. */
export const sqlStore = <E>(
  client: Layer.Layer<SqlClient.SqlClient, E>,
  prefix = freshPrefix(),
  { partitions, ...names }: Omit<SqlMigrations.SqlMigrationsOptions, "prefix"> = {}
) =>
  SqlStore.layerWith({ prefix, ...names }).pipe(
    Layer.provide(SqlMigrations.layerWith({ prefix, ...names, ...(partitions === undefined ? {} : { partitions }) })),
    Layer.provideMerge(client)
  )

type Named = readonly [name: string, layer: () => Layer.Layer<SessionStore, unknown>]

/**
 * What cannot hold while each session moves, as `docs/engines.md` says: a rotation does not ask the old store whether its
 * key or id is taken there, as both are drawn at random.
 */
export const notWhileMoving = /^rotate never replaces|^any sequence of commands/

/** Two stores, with sessions that begin in the old one, so that each of them moves when it is used. */
const moving = <E1, E2>(before: Layer.Layer<SessionStore, E1>, after: Layer.Layer<SessionStore, E2>) =>
  Layer.scoped(
    SessionStore,
    Effect.map(Effect.all([Layer.build(before), Layer.build(after)]), (contexts) => {
      const [from, to] = [Context.get(contexts[0], SessionStore), Context.get(contexts[1], SessionStore)]
      const create: typeof from.create = (key, record, now) =>
        // A move takes two versions more, for a moment.
        (record.version < Number.MAX_SAFE_INTEGER - 2 ? from : to).create(key, record, now)
      return { ...MigratingStore.make(from, to, { phase: "move" }), create }
    })
  )

/** Stores made of stores, by name. Each call of the layer makes an empty one. */
export const combined: ReadonlyArray<Named> = [
  ["cached sqlite", () => TieredStore.layer(CacheStore.layer, sqlStore(sqliteClient), { lease: "5 seconds" })],
  ...ofRedis(
    ["redis, postgres", () =>
      TieredStore.layer(redisStore(redisClient), sqlStore(postgresClient()), {
        lease: "5 seconds",
        cacheTimeout: "5 seconds"
      })] as const,
    [
      "sqlite to redis",
      () => moving(sqlStore(sqliteClient), redisStore(redisClient))
    ] as const
  )
]

/** A table of sessions that is partitioned, in a schema of its own. */
export const partitioned: Named = [
  "postgres, 16 partitions",
  () => sqlStore(postgresClient(), freshPrefix(), { schema: "sessions", partitions: 16 })
]

/** Every store, by name. Each call of the layer makes an empty one. */
export const stores: ReadonlyArray<Named> = [
  ["memory", () => MemoryStore.layer],
  ["cache", () => CacheStore.layer],
  ["file", () => fileStore],
  ["sqlite", () => sqlStore(sqliteClient)],
  ["postgres", () => sqlStore(postgresClient())],
  ...ofMariadb(["mariadb", () => sqlStore(mysqlClient())] as const),
  ...ofRedis(
    ["redis", () => redisStore(redisClient)] as const,
    ["redis-cluster", () => redisStore(redisClusterClient)] as const
  )
]
