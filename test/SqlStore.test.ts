import { Reactivity } from "@effect/experimental"
import * as LibsqlClient from "@effect/sql-libsql/LibsqlClient"
import * as SqlClient from "@effect/sql/SqlClient"
import * as Statement from "@effect/sql/Statement"
import { it } from "@effect/vitest"
import { Deferred, Effect, Layer, String } from "effect"
import { freshKey, isAlive, isKeyDead, loaded, namespace, start, stored } from "effect-session/Fixtures"
import { SessionConfigError } from "effect-session/SessionConfigError"
import type { RotateOutcome, SessionStoreError } from "effect-session/SessionStore"
import { SessionStore } from "effect-session/SessionStore"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import * as Path from "node:path"
import { assert, describe } from "vitest"
import { range, together } from "./support/concurrency.js"
import { mysqlDatabase, postgresDatabase, untilWaiting } from "./support/databases.js"
import { freshPrefix, sqliteClient, sqlStore } from "./support/localStores.js"
import { mysqlClient, ofMariadb, postgresClient } from "./support/serverClients.js"
import { works } from "./support/storeCalls.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

describe("a session that a revocation of its subject spares", () => {
  for (
    const [name, client] of [
      ["postgres", postgresClient],
      ...ofMariadb(["mariadb", mysqlClient] as const)
    ] as const
  ) {
    for (const operation of ["save", "touch", "rotate"] as const) {
      it.live(`${name}: its ${operation} succeeds after it waited for the revocation`, () => {
        const prefix = freshPrefix()
        return Effect.gen(function*() {
          const store = yield* SessionStore
          const sql = yield* SqlClient.SqlClient
          const { key, record } = yield* stored(store)
          const write = {
            save: store.save(key, record, { expectedVersion: 1, now: start }),
            touch: store.touch(key, { lastSeenAt: start + 1, expiresAt: start, now: start }),
            rotate: store.rotate(key, freshKey(), record, { expectedVersion: 1, now: start })
          }[operation]
          // The row is locked, so that the revocation waits for it first, and the write after that.
          const held = yield* Deferred.make<void>()
          const release = yield* Deferred.make<void>()
          const holder = yield* Effect.fork(sql.withTransaction(
            sql.unsafe(`SELECT id FROM ${prefix}sessions FOR UPDATE`).pipe(
              Effect.zipRight(Deferred.succeed(held, undefined)),
              Effect.zipRight(Deferred.await(release))
            )
          ))
          yield* Deferred.await(held)
          const revocation = yield* Effect.fork(store.revokeSubject(namespace, "ann", record.id))
          yield* untilWaiting(sql, name, prefix, 1)
          const outcome = yield* Effect.fork<"touched" | "gone" | RotateOutcome, SessionStoreError, never>(write)
          yield* untilWaiting(sql, name, prefix, 2)
          yield* Deferred.succeed(release, undefined)
          yield* holder
          yield* revocation
          assert.strictEqual(yield* outcome, operation === "touch" ? "touched" : "saved")
        }).pipe(Effect.provide(sqlStore<unknown>(client(), prefix)))
      })
    }
  }
})

describe("prefixes", () => {
  const hostile = [
    "1a_",
    // Postgres folds an unquoted name to lower case, so the table would have another name.
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

  it.live("invalid prefixes are rejected before a statement is sent", () =>
    Effect.forEach(hostile, (prefix) =>
      Effect.gen(function*() {
        const uses = [
          Effect.asVoid(SqlStore.make({ prefix })),
          Effect.asVoid(SqlMigrations.run({ prefix })),
          Effect.asVoid(SqlMigrations.print("pg", { prefix }))
        ]
        for (const use of uses) assert.instanceOf(yield* Effect.flip(use), SessionConfigError, JSON.stringify(prefix))
      })).pipe(Effect.provide(otherDialect("sqlite"))))

  for (
    const [name, client] of [
      ["sqlite", () => sqliteClient],
      ["postgres", postgresDatabase],
      ...ofMariadb(["mariadb", mysqlDatabase] as const)
    ] as const
  ) {
    for (const prefix of [undefined, "", "_", "a", "app_", "x1_".padEnd(31, "y")]) {
      it.live(`${name}: "${prefix ?? "the default"}" works next to another prefix`, () =>
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
  for (const dialect of ["mssql", "clickhouse"] as const) {
    it.live(`a client of ${dialect} is rejected before a statement is sent`, () =>
      Effect.gen(function*() {
        const uses = [
          Effect.asVoid(SqlStore.make()),
          Effect.asVoid(SqlMigrations.run()),
          Effect.asVoid(Effect.scoped(Layer.build(SqlStore.layer)))
        ]
        for (const use of uses) {
          const error = yield* Effect.flip(use)
          assert.instanceOf(error, SessionConfigError)
          assert.strictEqual(
            error.message,
            "SqlStore: The SqlClient must be one of Postgres, MySQL, MariaDB, SQLite or libSQL. (help: database-unsupported)"
          )
        }
      }).pipe(Effect.provide(otherDialect(dialect))))
  }

  it.live("a libSQL client with an embedded replica is rejected, because reads of the replica are stale", () =>
    Effect.gen(function*() {
      // The client connects when a statement is sent, so none of these sends one.
      for (const use of [Effect.asVoid(SqlStore.make()), Effect.asVoid(SqlMigrations.run())]) {
        const error = yield* Effect.flip(use)
        assert.instanceOf(error, SessionConfigError)
        assert.match(error.message, /embedded replica/)
      }
    }).pipe(Effect.provide(embeddedReplica)))

  const toUpper = (name: string) => name.toUpperCase()
  for (
    const [what, options] of [
      ["camel case in and out", {
        transformQueryNames: String.camelToSnake,
        transformResultNames: String.snakeToCamel
      }],
      ["results only", { transformResultNames: String.snakeToCamel }],
      ["queries only", { transformQueryNames: String.camelToSnake }],
      ["everything in capitals", { transformQueryNames: toUpper, transformResultNames: toUpper, transformJson: true }]
    ] as const
  ) {
    it.live(`a client that transforms names does not rename the columns of the store: ${what}`, () =>
      Effect.gen(function*() {
        yield* SqlMigrations.run()
        yield* SqlMigrations.run()
        yield* Effect.flatMap(SqlStore.make(), works)
      }).pipe(Effect.provide(postgresDatabase(options))))
  }

  for (const name of ofMariadb("mariadb")) {
    it.live(`${name}: a client that transforms names does not rename the columns of the store`, () =>
      Effect.gen(function*() {
        yield* SqlMigrations.run()
        assert.deepStrictEqual(yield* SqlMigrations.run(), [])
        yield* Effect.flatMap(SqlStore.make(), works)
      }).pipe(Effect.provide(mysqlDatabase({ transformQueryNames: toUpper, transformResultNames: toUpper }))))
  }

  for (
    const [name, client] of [
      ["postgres", () => postgresClient({ maxConnections: 1 })],
      ...ofMariadb(["mariadb", () => mysqlClient({ maxConnections: 1 })] as const)
    ] as const
  ) {
    it.live(`${name}: a pool of one connection serves any number of concurrent calls`, () =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        const all = yield* together(range(50).map(() => stored(store)))
        yield* together(all.map(({ key }) =>
          Effect.flatMap(loaded(store, key, start), (record) =>
            store.rotate(key, freshKey(), record, { expectedVersion: 1, now: start }))
        ))
        yield* Effect.forEach(all, (one) =>
          isKeyDead(store, one, start))
        assert.lengthOf(yield* store.list(namespace, "ann", start), 50)
      }).pipe(Effect.provide(sqlStore<unknown>(client()))))
  }
})

/** A client that has only a dialect. */
const embeddedReplica = Layer.unwrapScoped(Effect.map(
  temporaryDirectory("libsql"),
  (directory) =>
    LibsqlClient.layer({ url: `file:${Path.join(directory, "replica.db")}`, syncUrl: "http://127.0.0.1:1" })
))

const otherDialect = (dialect: "clickhouse" | "mssql" | "sqlite") =>
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
