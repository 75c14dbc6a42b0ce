/**
 * A new database for each test, and queries of its tables and locks.
 */
import * as MysqlClient from "@effect/sql-mysql2/MysqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import { Context, Effect, Layer, Redacted } from "effect"
import { randomBytes } from "node:crypto"
import { mariadbUrl, mysqlClient, postgresClient, postgresUrl } from "./serverClients.js"

/** Creates a Postgres database, and returns its name. The end of the scope removes it. */
export const newPostgresDatabase = (made = "") =>
  Effect.gen(function*() {
    const admin = Context.get(yield* Layer.build(postgresClient({ maxConnections: 1 })), SqlClient)
    const name = `d${randomBytes(6).toString("hex")}`
    yield* Effect.acquireRelease(
      admin.unsafe(`CREATE DATABASE ${name} TEMPLATE template0 ${made}`),
      () => Effect.orDie(admin.unsafe(`DROP DATABASE ${name} WITH (FORCE)`))
    )
    return name
  })

/** Creates a MariaDB database, and returns its name. The end of the scope removes it. */
export const newMysqlDatabase = (made = "") =>
  Effect.gen(function*() {
    const admin = Context.get(yield* Layer.build(mysqlClient({ maxConnections: 1 })), SqlClient)
    const name = `d${randomBytes(6).toString("hex")}`
    yield* Effect.acquireRelease(
      admin.unsafe(`CREATE DATABASE ${name} ${made}`),
      () => Effect.orDie(admin.unsafe(`DROP DATABASE ${name}`))
    )
    return name
  })

/** A Postgres client on a new database, so that any table name is free. */
export const postgresDatabase = (options: Partial<PgClient.PgClientConfig> = {}, made?: string) =>
  Layer.unwrapScoped(Effect.map(
    newPostgresDatabase(made),
    (name) => PgClient.layer({ url: Redacted.make(postgresUrl(name)), ...options })
  ))

/** A MariaDB client on a new database, so that any table name is free. */
export const mysqlDatabase = (options: Partial<MysqlClient.MysqlClientConfig> = {}) =>
  Layer.unwrapScoped(Effect.map(
    newMysqlDatabase(),
    (name) => MysqlClient.layer({ url: Redacted.make(mariadbUrl(name)), ...options })
  ))

/** All rows of the store's tables as JSON. */
export const dump = (sql: SqlClient, prefix: string) =>
  Effect.map(
    Effect.all([
      sql.unsafe<object>(`SELECT * FROM ${prefix}sessions ORDER BY namespace, id`).withoutTransform,
      sql.unsafe<object>(`SELECT * FROM ${prefix}session_epochs ORDER BY namespace, subject`).withoutTransform
    ]),
    (tables) => JSON.stringify(tables.map((rows) => rows.map(withTextColumns)), null, 1)
  )

/** Decodes binary columns as text. */
const withTextColumns = (row: object) =>
  Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name, value instanceof Uint8Array ? String(value) : value])
  )

const lockWaits = {
  postgres: "SELECT pid AS id FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query",
  mariadb: "SELECT trx_mysql_thread_id AS id FROM information_schema.innodb_trx " +
    "WHERE trx_state = 'LOCK WAIT' AND trx_query"
}

/** Waits until this number of statements on tables with a prefix wait for a lock. Returns the ids of their connections. */
export const untilWaiting = (
  sql: SqlClient,
  database: keyof typeof lockWaits,
  prefix: string,
  count: number
): Effect.Effect<ReadonlyArray<number>, SqlError> =>
  Effect.flatMap(
    sql.unsafe<{ readonly id: unknown }>(`${lockWaits[database]} LIKE '%${prefix}%'`),
    (rows) =>
      rows.length === count
        ? Effect.succeed(rows.map(({ id }) => Number(id)))
        // MariaDB caches the answer for 100 ms.
        : Effect.delay(untilWaiting(sql, database, prefix, count), "150 millis")
  )
