/**
 * Databases that Django and Effect share: each is new, has Django's tables and the user of `servers/django.ts`.
 */
import * as MysqlClient from "@effect/sql-mysql2/MysqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import type { SqlClient } from "@effect/sql/SqlClient"
import { Effect, Layer, Redacted, type Scope } from "effect"
import * as Path from "node:path"
import { newMysqlDatabase, newPostgresDatabase } from "./databases.js"
import { mariadbUrl, ofMariadb, postgresUrl } from "./serverClients.js"
import * as Django from "./servers/django.js"
import { temporaryDirectory } from "./temporaryDirectories.js"

export interface Database {
  /** For `Django.serve` and `Django.worker`. */
  readonly url: string
  /** A client with its own pool. */
  readonly client: Layer.Layer<SqlClient, unknown>
}

const migrated = <E>(database: Effect.Effect<Database, E, Scope.Scope>) =>
  Effect.orDie(Effect.tap(database, ({ url }) => Django.migrate(url)))

const postgres = migrated(Effect.map(newPostgresDatabase(), (name) => {
  const url = postgresUrl(name)
  return { url, client: PgClient.layer({ url: Redacted.make(url) }) }
}))

const mariadb = migrated(Effect.map(newMysqlDatabase("CHARACTER SET utf8mb4"), (name) => {
  const url = mariadbUrl(name)
  return { url, client: MysqlClient.layer({ url: Redacted.make(url) }) }
}))

const sqlite = migrated(Effect.map(temporaryDirectory("django"), (directory) => {
  const filename = Path.join(directory, "django.sqlite")
  return { url: `sqlite:${filename}`, client: SqliteClient.layer({ filename }) }
}))

/** The databases by name. Each open makes a new one, and the end of its scope removes it. */
export const databases: ReadonlyArray<
  readonly [name: string, open: Effect.Effect<Database, never, Scope.Scope>]
> = [
  ["postgres", postgres],
  ...ofMariadb(["mariadb", mariadb] as const),
  ["sqlite", sqlite]
]
