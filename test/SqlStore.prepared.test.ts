/**
 * Prepared statements of Postgres, and poolers that lose them.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { SqlClient, TransactionConnection } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Context, Effect, FastCheck, Layer, Option, Predicate, Redacted } from "effect"
import { anyRecord, aRecord, freshKey, isAlive, start, stored } from "effect-session/Fixtures"
import { SessionStore } from "effect-session/SessionStore"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import { inspect } from "node:util"
import { assert } from "vitest"
import { postgresDatabase } from "./support/databases.js"
import { freshPrefix, sqlStore } from "./support/localStores.js"
import { postgresClient } from "./support/serverClients.js"
import * as servers from "./support/sharedServers.js"
import { works } from "./support/storeCalls.js"

/** A store on a new database and with one connection, so that its prepared statements can be inspected. */
const store = SqlStore.layer.pipe(
  Layer.provideMerge(SqlMigrations.layer),
  Layer.provideMerge(postgresDatabase({ maxConnections: 1 }))
)

/** The prepared statements of the connection, with their names. */
const prepared = Effect.flatMap(
  SqlClient,
  (sql) =>
    sql<{ readonly name: string; readonly statement: string }>`SELECT name, statement FROM pg_prepared_statements
      WHERE NOT from_sql ORDER BY statement`
)

/** A store that has prepared the statements of a create and a load. */
const used = Effect.gen(function*() {
  const store = yield* SessionStore
  const one = yield* stored(store)
  yield* isAlive(store, one, start)
  return { one, sql: yield* SqlClient, store }
})

it.scopedLive("a statement of a request is prepared once, under a name derived from its text", () =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const day = Effect.gen(function*() {
      yield* works(store)
      yield* store.save(freshKey(), aRecord(), { expectedVersion: 1, now: start })
      yield* store.destroy(freshKey())
    })
    yield* day
    const before = yield* prepared
    // A save that updates no row selects whether the session exists. A destroy and a rotation also keep the reason.
    const verbs = ["INSERT", "SELECT", "SELECT", "UPDATE", "UPDATE", "WITH", "WITH"]
    assert.deepStrictEqual(before.map(({ statement }) => statement.split(" ")[0]), verbs)
    assert.strictEqual(new Set(before.map(({ name }) => name)).size, before.length)
    yield* day
    assert.deepStrictEqual(yield* prepared, before)
  }).pipe(Effect.provide(store)))

it.scopedLive("the store continues without names behind a pooler that resets connections", () =>
  Effect.gen(function*() {
    const { one, sql, store } = yield* used
    yield* sql`DISCARD ALL`
    yield* isAlive(store, one, start)
    yield* works(store)
    assert.deepStrictEqual(yield* prepared, [])
  }).pipe(Effect.provide(store)))

it.scopedLive("a write on a connection that was reset is executed once", () =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const sql = yield* SqlClient
    const one = yield* stored(store)
    const saved = { ...one.record, version: 2, data: "{}" }
    assert.strictEqual(yield* store.save(one.key, saved, { expectedVersion: 1, now: start }), "saved")
    yield* sql`DISCARD ALL`
    assert.strictEqual(
      yield* store.save(one.key, { ...saved, version: 3 }, { expectedVersion: 2, now: start }),
      "saved"
    )
    yield* isAlive(store, { ...one, record: { ...saved, version: 3 } }, start)
  }).pipe(Effect.provide(store)))

it.scopedLive("the store continues without names if another client has used a name on the connection", () =>
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

it.scopedLive("the store continues after the type of a column has changed", () =>
  Effect.gen(function*() {
    const { one, sql, store } = yield* used
    yield* sql`ALTER TABLE effect_sessions ALTER COLUMN write_id TYPE varchar(99)`
    yield* isAlive(store, one, start)
    yield* works(store)
  }).pipe(Effect.provide(store)))

it.scopedLive("statements inside a transaction of the application have no names, because a failure would abort that transaction", () =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const sql = yield* SqlClient
    const one = yield* stored(store)
    const before = yield* prepared
    yield* sql.withTransaction(isAlive(store, one, start))
    assert.deepStrictEqual(yield* prepared, before)
  }).pipe(Effect.provide(store)))

/** Records, of each statement that the only connection of the pool sends from now on, whether it is sent without a request for a description. */
const sent = Effect.gen(function*() {
  const sql = yield* SqlClient
  const undescribed: Array<boolean> = []
  yield* Effect.scoped(Effect.map(sql.reserve, (connection) => {
    const client: unknown = Predicate.hasProperty(connection, "pg") ? connection.pg : undefined
    if (!Predicate.isRecord(client) || !Predicate.isFunction(client.query)) {
      return assert.fail("the connection has no client of pg")
    }
    const query = client.query.bind(client)
    client.query = (statement: unknown, ...rest: ReadonlyArray<unknown>) => {
      undescribed.push(Predicate.hasProperty(statement, "submit"))
      return query(statement, ...rest)
    }
  }))
  return undescribed
})

it.scopedLive("from its second execution on, a statement is sent without a request for the description of its rows", () =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const undescribed = yield* sent
    for (const record of FastCheck.sample(anyRecord, { seed: 14, numRuns: 50 })) {
      const key = freshKey()
      assert.strictEqual(yield* store.create(key, record, start), "created")
      const first = Option.getOrThrow(yield* store.load(key, start))
      const second = Option.getOrThrow(yield* store.load(key, start))
      assert.deepStrictEqual(second, first)
      assert.deepStrictEqual(second, record)
    }
    // The first create and the first load are described.
    assert.deepStrictEqual(undescribed, [false, false, ...Array.from({ length: 148 }, () => true)])
  }).pipe(Effect.provide(store)))

it.scopedLive("a statement that is sent without a request for a description fails with the error of the server, and the next one works", () =>
  Effect.gen(function*() {
    const { one, sql, store } = yield* used
    const undescribed = yield* sent
    yield* isAlive(store, one, start)
    yield* sql`ALTER TABLE effect_sessions RENAME TO elsewhere`
    const again = yield* Effect.flip(store.load(one.key, start))
    assert.strictEqual(again.reason, "unavailable")
    assert.include(inspect(again.cause), "42P01")
    yield* sql`ALTER TABLE elsewhere RENAME TO effect_sessions`
    yield* isAlive(store, one, start)
    yield* works(store)
    assert.include(undescribed, true)
  }).pipe(Effect.provide(store)))

/** Runs an effect outside of the transaction of another client. */
const outside = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.mapInputContext(
    effect,
    (context: Context.Context<never>) => Context.omit(TransactionConnection)(context)
  )

it.scopedLive("the time limit for queries of the driver holds for every execution", () => {
  const prefix = freshPrefix()
  const url = Redacted.make(`${servers.postgres()}?query_timeout=3000`)
  return Effect.gen(function*() {
    const store = yield* SessionStore
    const one = yield* stored(store)
    yield* isAlive(store, one, start)
    yield* isAlive(store, one, start)
    const other = yield* Effect.map(Layer.build(postgresClient({ maxConnections: 1 })), Context.get(SqlClient))
    const error = yield* other.withTransaction(
      Effect.zipRight(
        other.unsafe(`LOCK TABLE ${prefix}sessions IN ACCESS EXCLUSIVE MODE`),
        outside(Effect.flip(store.load(one.key, start)))
      )
    )
    assert.include(inspect(error.cause), "Query read timeout")
    yield* isAlive(store, one, start)
  }).pipe(Effect.provide(sqlStore(PgClient.layer({ url, maxConnections: 2 }), prefix)))
})
