import { Reactivity } from "@effect/experimental"
import * as SqlClient from "@effect/sql/SqlClient"
import * as Statement from "@effect/sql/Statement"
import { it } from "@effect/vitest"
import { Deferred, Effect, Exit, Layer, String } from "effect"
import { SessionConfigError, SessionStore, SessionStoreError } from "effect-session"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import { assert, describe } from "vitest"
import { range, together } from "./laws/law.js"
import { freshKey, isAlive, isKeyDead, loaded, namespace, start, stored } from "./laws/records.js"
import { dump, furnish, postgresDatabase, reads, works, writes } from "./support/databases.js"
import { freshPrefix, postgresClient, sqliteClient, sqlStore } from "./support/stores.js"

// A pool of one connection: whoever asks for a second one while the first is held waits for ever.
const clients: ReadonlyArray<readonly [name: string, client: () => Layer.Layer<SqlClient.SqlClient, unknown>]> = [
  ["sqlite", () => sqliteClient],
  ["postgres", () => postgresClient({ maxConnections: 1 })]
]

describe("inside the application's transaction", () => {
  for (const [name, client] of clients) {
    for (const [write, run] of writes) {
      it.live(`${name}: ${write} is refused, and changes nothing`, () => {
        const prefix = freshPrefix()
        return Effect.gen(function*() {
          const store = yield* SessionStore
          const sql = yield* SqlClient.SqlClient
          const one = yield* furnish(store)
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

    it.live(`${name}: reads join it, and see what it has not yet committed`, () => {
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

describe("with a pool of its own", () => {
  /** The store on one client, the application on another, both on the same database. */
  const ownPool = (prefix: string) =>
    Layer.merge(
      SqlStore.layer({ prefix, ownPool: true }).pipe(
        Layer.provide(SqlMigrations.layer({ prefix })),
        Layer.provide(postgresClient({ maxConnections: 2 }))
      ),
      postgresClient({ maxConnections: 1 })
    )

  for (const [write, run] of writes) {
    it.live(`${write} inside the application's transaction outlives its rollback`, () => {
      const prefix = freshPrefix()
      return Effect.gen(function*() {
        const store = yield* SessionStore
        const sql = yield* SqlClient.SqlClient
        const one = yield* furnish(store)
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
    it.live(`${read} inside the application's transaction does not see what that has not committed`, () => {
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

  it.live("it works as without", () => Effect.flatMap(SessionStore, works).pipe(Effect.provide(ownPool(freshPrefix()))))
})

describe("a session that is spared", () => {
  /** How many statements on these tables wait for a lock. */
  const waiting = (sql: SqlClient.SqlClient, prefix: string) =>
    Effect.map(
      sql.unsafe(`SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%${prefix}%'`),
      (rows) => rows.length
    )

  for (const operation of ["save", "touch", "rotate"] as const) {
    it.live(`postgres: its ${operation}, waiting for the revocation that spares it, is done`, () => {
      const prefix = freshPrefix()
      return Effect.gen(function*() {
        const store = yield* SessionStore
        const sql = yield* SqlClient.SqlClient
        const { key, record } = yield* stored(store)
        const until = (count: number) => Effect.repeat(waiting(sql, prefix), { until: (n) => n === count })
        const write = {
          save: store.save(key, record, 1, start),
          touch: store.touch(key, start + 1, start, start),
          rotate: store.rotate(key, freshKey(), record, 1, start)
        }[operation]
        // The row is held, so that both come to wait for it: the revocation first, and the write behind it.
        const held = yield* Deferred.make<void>()
        const release = yield* Deferred.make<void>()
        const holder = yield* Effect.fork(sql.withTransaction(
          sql.unsafe(`SELECT key FROM ${prefix}sessions FOR UPDATE`).pipe(
            Effect.zipRight(Deferred.succeed(held, undefined)),
            Effect.zipRight(Deferred.await(release))
          )
        ))
        yield* Deferred.await(held)
        const revocation = yield* Effect.fork(store.revokeSubject(namespace, "ann", record.id))
        yield* until(1)
        const outcome = yield* Effect.fork(write)
        yield* until(2)
        yield* Deferred.succeed(release, undefined)
        yield* holder
        yield* revocation
        assert.strictEqual(yield* outcome, operation === "touch" ? "touched" : "saved")
      }).pipe(Effect.provide(sqlStore(postgresClient(), prefix)))
    })
  }
})

describe("prefixes", () => {
  const hostile = [
    "1a_",
    // Postgres folds an unquoted name to small letters, so that it is not the name that was given.
    "A",
    "App_",
    "appTables_",
    "a-b",
    "a b",
    "a.b",
    "public.",
    "a;",
    `a"`,
    "a'",
    "`",
    `x"; DROP TABLE users; --`,
    "a/*",
    "--",
    "$1",
    ":key",
    "?",
    "\u00e9_",
    "\uff41_",
    "a\n",
    "\na",
    "a\u0000",
    "a".repeat(32)
  ]

  it.live("hostile ones are refused before a statement is sent", () =>
    Effect.forEach(hostile, (prefix) =>
      Effect.gen(function*() {
        const uses = [
          Effect.asVoid(SqlStore.make({ prefix })),
          Effect.asVoid(SqlMigrations.run({ prefix })),
          Effect.asVoid(SqlMigrations.print("pg", { prefix }))
        ]
        for (const use of uses) assert.instanceOf(yield* Effect.flip(use), SessionConfigError, JSON.stringify(prefix))
      })).pipe(Effect.provide(otherDialect("sqlite"))))

  for (const [name, client] of [["sqlite", () => sqliteClient], ["postgres", postgresDatabase]] as const) {
    for (const prefix of [undefined, "", "_", "a", "app_", "x1_".padEnd(31, "y")]) {
      it.live(`${name}: "${prefix ?? "the default"}" works, beside another`, () =>
        Effect.gen(function*() {
          const options = prefix === undefined ? {} : { prefix }
          yield* SqlMigrations.run(options)
          yield* SqlMigrations.run({ prefix: "another_" })
          const other = yield* SqlStore.make({ prefix: "another_" })
          const one = yield* stored(other)
          yield* Effect.flatMap(SqlStore.make(options), works)
          yield* isAlive(other, one, start)
        }).pipe(Effect.provide<SqlClient.SqlClient, unknown, never>(client())))
    }
  }
})

describe("clients", () => {
  for (const dialect of ["mysql", "mssql", "clickhouse"] as const) {
    it.live(`one of ${dialect} is refused before a statement is sent`, () =>
      Effect.gen(function*() {
        const uses = [
          Effect.asVoid(SqlStore.make()),
          Effect.asVoid(SqlMigrations.run()),
          Effect.asVoid(Effect.scoped(Layer.build(SqlStore.layer())))
        ]
        for (const use of uses) {
          const error = yield* Effect.flip(use)
          assert.instanceOf(error, SessionConfigError)
          assert.strictEqual(error.message, "SqlStore: The SqlClient must be one of Postgres or SQLite.")
        }
      }).pipe(Effect.provide(otherDialect(dialect))))
  }

  const shout = (name: string) => name.toUpperCase()
  for (
    const [what, options] of [
      ["camel case in and out", {
        transformQueryNames: String.camelToSnake,
        transformResultNames: String.snakeToCamel
      }],
      ["results only", { transformResultNames: String.snakeToCamel }],
      ["queries only", { transformQueryNames: String.camelToSnake }],
      ["everything in capitals", { transformQueryNames: shout, transformResultNames: shout, transformJson: true }]
    ] as const
  ) {
    it.live(`one that renames does not reach our columns: ${what}`, () =>
      Effect.gen(function*() {
        yield* SqlMigrations.run()
        yield* SqlMigrations.run()
        yield* Effect.flatMap(SqlStore.make(), works)
      }).pipe(Effect.provide(postgresDatabase(options))))
  }

  it.live("a pool of one connection serves any number of calls at once", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const all = yield* together(range(50).map(() => stored(store)))
      yield* together(all.map(({ key }) =>
        Effect.flatMap(loaded(store, key, start), (record) => store.rotate(key, freshKey(), record, 1, start))
      ))
      yield* Effect.forEach(all, (one) =>
        isKeyDead(store, one, start))
      assert.lengthOf(yield* store.list(namespace, "ann", start), 50)
    }).pipe(Effect.provide(sqlStore(postgresClient({ maxConnections: 1 })))))
})

/** A client of which only the dialect is known. */
const otherDialect = (dialect: "clickhouse" | "mssql" | "mysql" | "sqlite") =>
  Layer.scoped(
    SqlClient.SqlClient,
    SqlClient.make({
      acquirer: Effect.dieMessage("a statement was sent"),
      compiler: Statement.makeCompiler({
        dialect,
        placeholder: () => "?",
        onIdentifier: (name) => name,
        onCustom: () => ["", []],
        onRecordUpdate: () => ["", []]
      }),
      spanAttributes: []
    })
  ).pipe(Layer.provide(Reactivity.layer))
