/**
 * A store inside the application's own transactions.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Effect, Exit, Layer } from "effect"
import { isAlive, start, stored } from "effect-session/Fixtures"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import { assert, describe } from "vitest"
import { dump } from "./support/databases.js"
import { freshPrefix, libsqlClient, sqliteClient, sqlStore } from "./support/localStores.js"
import { mysqlClient, ofMariadb, postgresClient } from "./support/serverClients.js"
import { reads, storeTwoRecords, works, writes } from "./support/storeCalls.js"

// Pools of one connection: a caller that requests a second one while the first is reserved waits forever.
const clients: ReadonlyArray<readonly [name: string, client: () => Layer.Layer<SqlClient.SqlClient, unknown>]> = [
  ["sqlite", () => sqliteClient],
  ["libsql", () => libsqlClient],
  ["postgres", () => postgresClient({ maxConnections: 1 })],
  ...ofMariadb(["mariadb", () => mysqlClient({ maxConnections: 1 })] as const)
]

describe("inside the application's transaction", () => {
  for (const [name, client] of clients) {
    for (const [write, run] of writes) {
      it.live(`${name}: ${write} fails and changes nothing`, () => {
        const prefix = freshPrefix()
        return Effect.gen(function*() {
          const store = yield* SessionStore
          const sql = yield* SqlClient.SqlClient
          const one = yield* storeTwoRecords(store)
          const before = yield* dump(sql, prefix)
          const error = yield* sql.withTransaction(Effect.flip(run(store, one)))
          assert.instanceOf(error, SessionStoreError)
          assert.strictEqual(error.reason, "transaction")
          assert.strictEqual(error.operation, write.split(" ")[0])
          assert.strictEqual(yield* dump(sql, prefix), before)
          yield* run(store, one)
          assert.notStrictEqual(yield* dump(sql, prefix), before)
        }).pipe(Effect.provide(sqlStore(client(), prefix)))
      })
    }

    it.live(`${name}: reads join it and see its uncommitted changes`, () => {
      const prefix = freshPrefix()
      return Effect.gen(function*() {
        const store = yield* SessionStore
        const sql = yield* SqlClient.SqlClient
        const one = yield* stored(store)
        const changed = { ...one, record: { ...one.record, version: 77, data: `"uncommitted"` } }
        const transaction = sql.withTransaction(Effect.gen(function*() {
          yield* sql.unsafe(`UPDATE ${prefix}sessions SET version = 77, data = '"uncommitted"'`)
          yield* isAlive(store, changed, start)
          return yield* Effect.fail("rolled back")
        }))
        assert.strictEqual(yield* Effect.flip(transaction), "rolled back")
        yield* isAlive(store, one, start)
      }).pipe(Effect.provide(sqlStore(client(), prefix)))
    })
  }
})

describe("with `ownPool`", () => {
  const clients: ReadonlyArray<
    readonly [
      name: string,
      client: (options: { readonly maxConnections: number }) => Layer.Layer<SqlClient.SqlClient, unknown>
    ]
  > = [["postgres", postgresClient], ...ofMariadb(["mariadb", mysqlClient] as const)]

  for (const [name, client] of clients) {
    /** The store on one client, the application on another, both on the same database. */
    const ownPool = (prefix: string) =>
      Layer.merge(
        SqlStore.layerWith({ prefix, ownPool: true }).pipe(
          Layer.provide(SqlMigrations.layerWith({ prefix })),
          Layer.provide(client({ maxConnections: 2 }))
        ),
        client({ maxConnections: 1 })
      )

    for (const [write, run] of writes) {
      it.live(`${name}: ${write} inside the application's transaction survives its rollback`, () => {
        const prefix = freshPrefix()
        return Effect.gen(function*() {
          const store = yield* SessionStore
          const sql = yield* SqlClient.SqlClient
          const one = yield* storeTwoRecords(store)
          const before = yield* dump(sql, prefix)
          const exit = yield* Effect.exit(
            sql.withTransaction(Effect.zipRight(run(store, one), Effect.fail("rolled back")))
          )
          assert.deepStrictEqual(exit, Exit.fail("rolled back"))
          assert.notStrictEqual(yield* dump(sql, prefix), before)
        }).pipe(Effect.provide(ownPool(prefix)))
      })
    }

    for (const [read, run] of reads) {
      it.live(`${name}: ${read} inside the application's transaction does not see its uncommitted changes`, () => {
        const prefix = freshPrefix()
        return Effect.gen(function*() {
          const store = yield* SessionStore
          const sql = yield* SqlClient.SqlClient
          const one = yield* stored(store)
          const before = yield* run(store, one)
          const transaction = sql.withTransaction(Effect.gen(function*() {
            yield* sql.unsafe(`UPDATE ${prefix}sessions SET version = 77`)
            assert.deepStrictEqual(yield* run(store, one), before)
          }))
          yield* transaction
          assert.notDeepEqual(yield* run(store, one), before)
        }).pipe(Effect.provide(ownPool(prefix)))
      })
    }

    it.live(`${name}: the store works as without a transaction`, () =>
      Effect.flatMap(SessionStore, works).pipe(Effect.provide(ownPool(freshPrefix()))))
  }
})
