/**
 * Databases to look into, and what can be seen there.
 */
import * as MysqlClient from "@effect/sql-mysql2/MysqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import { Effect, Layer, Redacted } from "effect"
import type { SessionStoreError, Store } from "effect-session/SessionStore"
import { randomBytes } from "node:crypto"
import type { Stored } from "../../src/internal/testing/records.js"
import {
  aRecord,
  freshId,
  freshKey,
  hour,
  isAlive,
  isDead,
  minute,
  namespace,
  start,
  stored
} from "../../src/internal/testing/records.js"
import { mariadbUrl, mysqlClient, postgresClient, postgresUrl } from "./stores.js"

/** A Postgres client with a database of its own, so that any name of a table is free. */
export const postgresDatabase = (options: Partial<PgClient.PgClientConfig> = {}, made = "") =>
  Layer.unwrapScoped(
    Effect.gen(function*() {
      const admin = yield* SqlClient
      const name = `d${randomBytes(6).toString("hex")}`
      yield* Effect.acquireRelease(
        admin.unsafe(`CREATE DATABASE ${name} TEMPLATE template0 ${made}`),
        () => Effect.orDie(admin.unsafe(`DROP DATABASE ${name} WITH (FORCE)`))
      )
      return PgClient.layer({ url: Redacted.make(postgresUrl(name)), ...options })
    })
  ).pipe(Layer.provide(postgresClient({ maxConnections: 1 })))

/** A MariaDB client with a database of its own, so that any name of a table is free. */
export const mysqlDatabase = (options: Partial<MysqlClient.MysqlClientConfig> = {}) =>
  Layer.unwrapScoped(
    Effect.gen(function*() {
      const admin = yield* SqlClient
      const name = `d${randomBytes(6).toString("hex")}`
      yield* Effect.acquireRelease(
        admin.unsafe(`CREATE DATABASE ${name}`),
        () => Effect.orDie(admin.unsafe(`DROP DATABASE ${name}`))
      )
      return MysqlClient.layer({ url: Redacted.make(mariadbUrl(name)), ...options })
    })
  ).pipe(Layer.provide(mysqlClient({ maxConnections: 1 })))

/** All rows of the store's tables, as text. */
export const dump = (sql: SqlClient, prefix: string) =>
  Effect.map(
    Effect.all([
      sql.unsafe<object>(`SELECT * FROM ${prefix}sessions ORDER BY namespace, id`).withoutTransform,
      sql.unsafe<object>(`SELECT * FROM ${prefix}session_epochs ORDER BY namespace, subject`).withoutTransform
    ]),
    (tables) => JSON.stringify(tables.map((rows) => rows.map(legible)), null, 1)
  )

/** Bytes as the text that they spell. */
const legible = (row: object) =>
  Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name, value instanceof Uint8Array ? String(value) : value])
  )

const lockWaits = {
  postgres: "SELECT pid AS id FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query",
  mariadb: "SELECT trx_mysql_thread_id AS id FROM information_schema.innodb_trx " +
    "WHERE trx_state = 'LOCK WAIT' AND trx_query"
}

/** Waits for so many statements on tables of a prefix to wait for a lock, and gives the connections they are on. */
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
        // Asked more often, MariaDB repeats what it said before.
        : Effect.delay(untilWaiting(sql, database, prefix, count), "150 millis")
  )

/** What the writes below find: a live record, and one that has expired. */
export const furnish = (store: Store) =>
  Effect.gen(function*() {
    yield* stored(store, { expiry: { at: start, deadline: undefined, lifetime: undefined } })
    return yield* stored(store)
  })

/** Every write of a store, each of which changes a row. */
export const writes: ReadonlyArray<
  readonly [name: string, run: (store: Store, one: Stored) => Effect.Effect<unknown, SessionStoreError>]
> = [
  ["create", (store) => store.create(freshKey(), aRecord(), start)],
  ["save", (store, { key, record }) => store.save(key, record, { expectedVersion: 1, now: start })],
  [
    "touch",
    (store, { key }) => store.touch(key, { lastSeenAt: start + minute, expiresAt: start + 2 * hour, now: start })
  ],
  ["rotate", (store, { key, record }) => store.rotate(key, freshKey(), record, { expectedVersion: 1, now: start })],
  ["destroy", (store, { key }) => store.destroy(key)],
  ["removeExpired", (store) => store.removeExpired({ now: start, limit: 10 })],
  ["revoke", (store, { record }) => store.revoke(namespace, record.id)],
  ["revokeSubject", (store) => store.revokeSubject(namespace, "ann")],
  ["revokeSubject with an exception", (store, { record }) => store.revokeSubject(namespace, "ann", record.id)],
  ["revokeAll", (store) => store.revokeAll(namespace)]
]

/** Every read of a store. */
export const reads: ReadonlyArray<
  readonly [name: string, run: (store: Store, one: Stored) => Effect.Effect<unknown, SessionStoreError>]
> = [
  ["load", (store, { key }) => store.load(key, start)],
  ["find", (store, { record }) => store.find(namespace, record.id, start)],
  ["list", (store) => store.list(namespace, "ann", start)],
  ["scan", (store) => store.scan(namespace, { limit: 10, now: start })]
]

/** One session's life through every function: enough to tell a store that works from one that does not. */
export const works = (store: Store) =>
  Effect.gen(function*() {
    const { key, record } = yield* stored(store)
    const expired = yield* stored(store, { expiry: { at: start, deadline: undefined, lifetime: undefined } })
    const ended = yield* stored(store)
    yield* isAlive(store, { key, record }, start)
    yield* store.touch(key, { lastSeenAt: start + minute, expiresAt: start + 2 * hour, now: start })
    const expiry = { ...record.expiry, at: start + 3 * hour, lifetime: { _tag: "Inactivity", millis: hour } } as const
    const saved = { ...record, data: `"saved"`, version: 2, lastSeenAt: start + minute, expiry }
    yield* store.save(key, saved, { expectedVersion: 1, now: start })
    yield* isAlive(store, { key, record: saved }, start)
    const rotated = { key: freshKey(), record: { ...saved, id: freshId(), version: 3 } }
    yield* store.rotate(key, rotated.key, rotated.record, { expectedVersion: 2, now: start })
    yield* isDead(store, { key, record }, start)
    yield* store.revokeSubject(namespace, "ann", rotated.record.id)
    yield* isDead(store, ended, start)
    yield* isAlive(store, rotated, start)
    yield* store.removeExpired({ now: start, limit: 10 })
    yield* stored(store, { subject: "bob" }, expired.key)
    yield* store.revokeAll(namespace)
    yield* isDead(store, rotated, start)
  })
