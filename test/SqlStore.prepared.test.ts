/**
 * Statements that Postgres has prepared, and what becomes of them.
 */
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SessionStore } from "effect-session"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import { assert } from "vitest"
import { aRecord, freshKey, isAlive, start, stored } from "../src/internal/testing/records.js"
import { postgresDatabase, works } from "./support/databases.js"

/** A store on a database of its own and with one connection, so that its statements can be looked at. */
const store = SqlStore.layer().pipe(
  Layer.provideMerge(SqlMigrations.layer()),
  Layer.provideMerge(postgresDatabase({ maxConnections: 1 }))
)

/** What the connection has prepared, by name. */
const prepared = Effect.flatMap(
  SqlClient,
  (sql) =>
    sql<{ readonly name: string; readonly statement: string }>`SELECT name, statement FROM pg_prepared_statements
      WHERE NOT from_sql ORDER BY statement`
)

/** The store, which has prepared what it was asked about one session. */
const asked = Effect.gen(function*() {
  const store = yield* SessionStore
  const one = yield* stored(store)
  yield* isAlive(store, one, start)
  return { one, sql: yield* SqlClient, store }
})

it.scopedLive("what a request asks is prepared once, under a name that only its text has", () =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const day = Effect.gen(function*() {
      yield* works(store)
      yield* store.save(freshKey(), aRecord(), 1, start)
      yield* store.destroy(freshKey())
    })
    yield* day
    const before = yield* prepared
    // A save that met nothing has asked whether there is something.
    const verbs = ["DELETE", "INSERT", "SELECT", "SELECT", "UPDATE", "UPDATE", "UPDATE"]
    assert.deepStrictEqual(before.map(({ statement }) => statement.split(" ")[0]), verbs)
    assert.strictEqual(new Set(before.map(({ name }) => name)).size, before.length)
    yield* day
    assert.deepStrictEqual(yield* prepared, before)
  }).pipe(Effect.provide(store)))

it.scopedLive("a pooler that hands the connection on and clears it: the store goes on without names", () =>
  Effect.gen(function*() {
    const { one, sql, store } = yield* asked
    yield* sql`DISCARD ALL`
    yield* isAlive(store, one, start)
    yield* works(store)
    assert.deepStrictEqual(yield* prepared, [])
  }).pipe(Effect.provide(store)))

it.scopedLive("a write on a connection that was cleared is done once", () =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const sql = yield* SqlClient
    const one = yield* stored(store)
    const saved = { ...one.record, version: 2, data: "{}" }
    assert.strictEqual(yield* store.save(one.key, saved, 1, start), "saved")
    yield* sql`DISCARD ALL`
    assert.strictEqual(yield* store.save(one.key, { ...saved, version: 3 }, 2, start), "saved")
    yield* isAlive(store, { ...one, record: { ...saved, version: 3 } }, start)
  }).pipe(Effect.provide(store)))

it.scopedLive("a pooler whose connection has the name from somebody else: the store goes on without names", () =>
  Effect.gen(function*() {
    const names = yield* Effect.provide(
      Effect.gen(function*() {
        yield* works(yield* SessionStore)
        return (yield* prepared).map(({ name }) => name)
      }),
      store
    )
    assert.isAbove(names.length, 3)
    yield* Effect.provide(
      Effect.gen(function*() {
        const sql = yield* SqlClient
        yield* Effect.forEach(names, (name) => sql.unsafe(`PREPARE "${name}" AS SELECT 1 AS wrong`))
        yield* works(yield* SessionStore)
        assert.deepStrictEqual(yield* prepared, [])
      }),
      store
    )
  }))

it.scopedLive("a column that becomes another while the application runs: the store goes on", () =>
  Effect.gen(function*() {
    const { one, sql, store } = yield* asked
    yield* sql`ALTER TABLE effect_sessions ALTER COLUMN write_id TYPE varchar(99)`
    yield* isAlive(store, one, start)
    yield* works(store)
  }).pipe(Effect.provide(store)))

it.scopedLive("inside a transaction of the application nothing is named: its failure would be the application's", () =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const sql = yield* SqlClient
    const one = yield* stored(store)
    const before = yield* prepared
    yield* sql.withTransaction(isAlive(store, one, start))
    assert.deepStrictEqual(yield* prepared, before)
  }).pipe(Effect.provide(store)))
