/**
 * The stores that need no server: in memory, in files, and SQLite.
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as LibsqlClient from "@effect/sql-libsql/LibsqlClient"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import type * as SqlClient from "@effect/sql/SqlClient"
import { Effect, Layer } from "effect"
import { FileStore, MemoryStore } from "effect-session"
import * as CacheStore from "effect-session/CacheStore"
import type { SessionStore } from "effect-session/SessionStore"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import { randomBytes } from "node:crypto"
import * as Path from "node:path"
import { temporaryDirectory } from "./temporaryDirectories.js"

/** SQLite, in a new file. */
export const sqliteClient = Layer.unwrapScoped(Effect.map(
  temporaryDirectory("sqlite"),
  (directory) => SqliteClient.layer({ filename: Path.join(directory, "sessions.sqlite") })
))

/** libSQL, in a new file. */
export const libsqlClient = Layer.unwrapScoped(Effect.map(
  temporaryDirectory("libsql"),
  (directory) => LibsqlClient.layer({ url: `file:${Path.join(directory, "sessions.db")}` })
))

/** A file store, in a new directory. */
export const fileStore = Layer.unwrapScoped(
  Effect.map(temporaryDirectory("files"), (directory) => FileStore.layer({ directory }))
).pipe(Layer.provide(NodeContext.layer))

/** A prefix that no other test has. */
export const freshPrefix = (): string => `t${randomBytes(6).toString("hex")}_`

/** A SQL store on new tables. The layer also provides the client, to inspect the tables. */
export const sqlStore = <E>(
  client: Layer.Layer<SqlClient.SqlClient, E>,
  prefix = freshPrefix(),
  { partitions, ...names }: Omit<SqlMigrations.SqlMigrationsOptions, "prefix"> = {}
) =>
  SqlStore.layerWith({ prefix, ...names }).pipe(
    Layer.provide(SqlMigrations.layerWith({ prefix, ...names, ...(partitions === undefined ? {} : { partitions }) })),
    Layer.provideMerge(client)
  )

/** A store by name. Each call of the layer makes an empty one. */
export type Named = readonly [name: string, layer: () => Layer.Layer<SessionStore, unknown>]

/** Every store that needs no server. */
export const localStores: ReadonlyArray<Named> = [
  ["memory", () => MemoryStore.layer],
  ["cache", () => CacheStore.layer],
  ["file", () => fileStore],
  ["sqlite", () => sqlStore(sqliteClient)]
]

/** The names of the stores that know why each session has ended. They also pass `endReasonLaws`. */
export const knowsEndReasons: ReadonlySet<string> = new Set([
  "memory",
  "cache",
  "sqlite",
  "libsql",
  "postgres",
  "postgres, 16 partitions",
  "mariadb",
  "file",
  "redis",
  "redis-cluster",
  "valkey",
  "redis, postgres",
  "cached sqlite"
])

/**
 * The laws that a migrating store does not keep (see `docs/engines.md`): a rotation does not check whether its random key or id exists in
 * the old store.
 */
export const notWhileMoving = /^`rotate` never replaces|^any sequence of commands/
