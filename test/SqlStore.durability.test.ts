/**
 * A SQL store declares `durableDestroy` according to the settings of its database.
 */
import * as LibsqlClient from "@effect/sql-libsql/LibsqlClient"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Effect, Layer, Logger } from "effect"
import { SessionConfigError } from "effect-session/SessionConfigError"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import { assert, describe } from "vitest"
import { notDurable } from "../src/internal/sql/durability.js"
import { freshPrefix, libsqlClient, sqliteClient } from "./support/localStores.js"
import { mysqlClient, ofMariadb, postgresClient } from "./support/serverClients.js"

const prefix = freshPrefix()

/** A client of a database with the tables of the store. */
const migrated = <E>(client: Layer.Layer<SqlClient, E>) =>
  Layer.provideMerge(SqlMigrations.layerWith({ prefix }), client)

/** Returns the declared `durableDestroy`, or the error of the store, and the logged warnings. */
const claimed = (options: SqlStore.SqlStoreOptions = {}) =>
  Effect.gen(function*() {
    const warnings: Array<string> = []
    const log = Logger.make(({ logLevel, message }) => {
      if (logLevel._tag === "Warning") warnings.push(String(message))
    })
    const result = yield* Effect.either(SqlStore.make({ prefix, ...options })).pipe(
      Effect.provide(Logger.replace(Logger.defaultLogger, log))
    )
    return { claim: result._tag === "Right" ? result.right.capabilities.durableDestroy : result.left, warnings }
  })

/** Checks that the store claims no durability, warns unless that is the default, and rejects `durableDestroy: true`. */
const claimsNothing = (why: string, isDefault = false) =>
  Effect.gen(function*() {
    const result = yield* claimed()
    assert.isFalse(result.claim)
    assert.lengthOf(result.warnings, isDefault ? 0 : 1)
    assert.include(result.warnings[0] ?? why, why)
    assert.deepStrictEqual(yield* claimed({ durableDestroy: false }), { claim: false, warnings: [] })
    const rejected = yield* claimed({ durableDestroy: true })
    assert.instanceOf(rejected.claim, SessionConfigError)
    assert.include(String(rejected.claim), why)
  })

const claimsAll = Effect.gen(function*() {
  assert.deepStrictEqual(yield* claimed(), { claim: true, warnings: [] })
  assert.deepStrictEqual(yield* claimed({ durableDestroy: true }), { claim: true, warnings: [] })
  assert.deepStrictEqual(yield* claimed({ durableDestroy: false }), { claim: false, warnings: [] })
})

describe("`durableDestroy` of a SQL store", () => {
  it.live("postgres: follows synchronous_commit", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      yield* claimsAll
      for (const [value, waits] of [["local", true], ["remote_write", true], ["off", false]] as const) {
        yield* sql.unsafe(`SET synchronous_commit = ${value}`)
        yield* waits ? claimsAll : claimsNothing("synchronous_commit=off")
      }
    }).pipe(Effect.provide(migrated(postgresClient({ maxConnections: 1 })))))

  for (const name of ofMariadb("mariadb")) {
    it.live(`${name}: is true with the default settings`, () =>
      Effect.provide(claimsAll, migrated(mysqlClient({ maxConnections: 1 }))))
  }

  it.live("sqlite: is true with a write-ahead log only if synchronous=FULL, and with other journals by default", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      yield* claimsNothing("synchronous=1", true)
      const all = [
        ["wal", "FULL", true],
        ["wal", "OFF", false],
        ["truncate", "FULL", true],
        ["truncate", "NORMAL", false],
        ["delete", "FULL", false],
        ["delete", "EXTRA", true],
        ["memory", "EXTRA", false]
      ] as const
      for (const [journal, synchronous, waits] of all) {
        yield* sql.unsafe(`PRAGMA journal_mode = ${journal}`)
        yield* sql.unsafe(`PRAGMA synchronous = ${synchronous}`)
        yield* waits ? claimsAll : claimsNothing(journal === "memory" ? "journal_mode=memory" : "synchronous=", true)
      }
    }).pipe(Effect.provide(migrated(sqliteClient))))

  it.live("libsql: follows the journal of the file, and no `synchronous` above the default, because the client opens other connections", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      yield* claimsNothing("synchronous=2", true)
      for (
        const [journal, synchronous, waits] of [
          ["delete", "EXTRA", false],
          ["wal", "NORMAL", false],
          ["wal", "FULL", true],
          ["wal", "EXTRA", true]
        ] as const
      ) {
        yield* sql.unsafe(`PRAGMA journal_mode = ${journal}`)
        yield* sql.unsafe(`PRAGMA synchronous = ${synchronous}`)
        yield* waits ? claimsAll : claimsNothing("synchronous=", true)
      }
    }).pipe(Effect.provide(migrated(libsqlClient))))

  it.live("libsql: a transaction of the application resets `synchronous` to FULL, which is enough with a write-ahead log", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      yield* sql.unsafe("PRAGMA journal_mode = wal")
      yield* sql.unsafe("PRAGMA synchronous = EXTRA")
      yield* sql.withTransaction(sql`SELECT 1`)
      assert.deepStrictEqual(yield* sql`SELECT synchronous FROM pragma_synchronous`, [{ synchronous: 2 }])
      yield* claimsAll
    }).pipe(Effect.provide(migrated(libsqlClient))))

  it.live("libsql: is false for a server, unless the application sets it", () =>
    Effect.gen(function*() {
      // Nothing listens there, and nothing is asked.
      const { claim, warnings } = yield* claimed()
      assert.isFalse(claim)
      assert.match(warnings.join(), /could not be read/)
      assert.deepStrictEqual(yield* claimed({ durableDestroy: true }), { claim: true, warnings: [] })
    }).pipe(Effect.provide(LibsqlClient.layer({ url: "http://127.0.0.1:1" }))))

  it.live("is false if the settings cannot be read, unless the application sets it", () =>
    Effect.gen(function*() {
      // The client is closed, so the query fails.
      const sql = yield* Effect.provide(SqlClient, sqliteClient)
      const { claim, warnings } = yield* Effect.provideService(claimed(), SqlClient, sql)
      assert.isFalse(claim)
      assert.match(warnings.join(), /could not be read/)
      const stated = yield* Effect.provideService(claimed({ durableDestroy: true }), SqlClient, sql)
      assert.deepStrictEqual(stated, { claim: true, warnings: [] })
    }))
})

it("detects non-durable settings in the answer of each database", () => {
  const mysql = (flush: unknown, sync: unknown, log: unknown) =>
    notDurable("mysql", { innodb_flush_log_at_trx_commit: flush, sync_binlog: sync, log_bin: log })
  assert.deepStrictEqual(mysql(1, 0, 0), [])
  assert.deepStrictEqual(mysql("1", "1", "1"), [])
  assert.deepStrictEqual(mysql(1n, 0, 1), ["sync_binlog=0"])
  assert.deepStrictEqual(mysql(2, 1, 1), ["innodb_flush_log_at_trx_commit=2"])
  assert.deepStrictEqual(notDurable("pg", { synchronous_commit: "on", fsync: "off" }), ["fsync=off"])
})
