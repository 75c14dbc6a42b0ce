/**
 * The layer of a SQL store fails with a helpful message if the database cannot store sessions.
 */
import * as MysqlClient from "@effect/sql-mysql2/MysqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Effect, Layer, Redacted, type Scope } from "effect"
import { isAlive, start, stored } from "effect-session/Fixtures"
import { SessionConfigError } from "effect-session/SessionConfigError"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import * as Path from "node:path"
import { assert, describe } from "vitest"
import { mysqlDatabase, postgresDatabase } from "./support/databases.js"
import { freshPrefix, sqliteClient } from "./support/localStores.js"
import { mariadbUrl, ofMariadb, postgresUrl } from "./support/serverClients.js"
import { works } from "./support/storeCalls.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

/** Returns the problem with which the store fails to start. */
const problem = (options: SqlStore.SqlStoreOptions = {}) =>
  Effect.map(Effect.flip(SqlStore.make({ durableDestroy: false, ...options })), (error) => {
    assert.instanceOf(error, SessionConfigError)
    assert.strictEqual(error.subject, "SqlStore")
    return error.problem
  })

/** The number of rows of each table. */
const rows = Effect.flatMap(SqlClient, (sql) =>
  Effect.map(
    sql.unsafe<{ readonly count: unknown }>(
      "SELECT count(*) AS count FROM effect_sessions UNION ALL SELECT count(*) FROM effect_session_epochs " +
        "UNION ALL SELECT count(*) FROM effect_session_ends"
    ),
    (all) => all.map(({ count }) => Number(count))
  ))

const databases: ReadonlyArray<readonly [name: string, database: () => Layer.Layer<SqlClient, unknown>]> = [
  ["postgres", postgresDatabase],
  ["sqlite", () => sqliteClient],
  ...ofMariadb(["mariadb", mysqlDatabase] as const)
]

describe.each(databases)("%s", (_, database) => {
  const run = <A, E>(title: string, test: Effect.Effect<A, E, SqlClient | Scope.Scope>) =>
    it.scopedLive(title, () => Effect.provide(test, database()))

  run(
    "without tables, the layer fails and names both ways to create them",
    Effect.gen(function*() {
      const error = yield* Effect.flip(Layer.build(SqlStore.layerWith({ durableDestroy: false })))
      assert.instanceOf(error, SessionConfigError)
      assert.include(
        error.message,
        "The tables effect_sessions, effect_session_epochs and effect_session_ends are missing or out of date"
      )
      assert.include(error.message, `"npx effect-session migrate --database-url <url>"`)
      assert.include(error.message, "provide SqlMigrations.layer to this layer")
      assert.include(yield* problem({ prefix: "app_" }), `--database-url <url> --prefix "app_"`)
      assert.include(yield* problem({ prefix: "app_" }), `SqlMigrations.layerWith({ prefix: "app_" })`)
    })
  )

  run(
    "a table or a column that is missing fails the layer",
    Effect.gen(function*() {
      const sql = yield* SqlClient
      yield* SqlMigrations.run()
      const one = yield* stored(yield* SqlStore.make())
      for (const table of ["effect_session_epochs", "effect_session_ends"]) {
        yield* sql.unsafe(`ALTER TABLE ${table} RENAME TO older`)
        assert.include(yield* problem(), "missing or out of date")
        assert.include(yield* problem(), table)
        yield* sql.unsafe(`ALTER TABLE older RENAME TO ${table}`)
      }
      yield* isAlive(yield* SqlStore.make(), one, start)
      // Each column is used by one of the statements that the check explains.
      for (
        const column of [
          "data",
          "lifetime",
          "attributes",
          "write_id",
          "deadline",
          "namespace_epoch",
          "subject_epoch",
          "authenticated_at"
        ]
      ) {
        yield* sql.unsafe(`ALTER TABLE effect_sessions RENAME COLUMN ${column} TO older`)
        assert.include(yield* problem(), "missing or out of date", column)
        yield* sql.unsafe(`ALTER TABLE effect_sessions RENAME COLUMN older TO ${column}`)
      }
      yield* isAlive(yield* SqlStore.make(), one, start)
    })
  )

  run(
    "with its tables, the layer succeeds and changes nothing in them",
    Effect.gen(function*() {
      yield* SqlMigrations.run()
      yield* stored(yield* SqlStore.make())
      const before = yield* rows
      assert.strictEqual(before[0], 1)
      yield* SqlStore.make()
      assert.deepStrictEqual(yield* rows, before)
    })
  )
})

/** Grants privileges on the tables to a new user, and returns a client of that user. */
interface Granted {
  readonly granted: (privileges: string) => Effect.Effect<Layer.Layer<SqlClient, unknown>, unknown, Scope.Scope>
}

const currentDatabase = (sql: SqlClient, call: string) =>
  Effect.map(sql.unsafe<{ readonly name: string }>(`SELECT ${call} AS name`), ([row]) => row?.name ?? "")

const onPostgres = Effect.map(SqlClient, (sql): Granted => ({
  granted: (privileges) =>
    Effect.gen(function*() {
      const database = yield* currentDatabase(sql, "current_database()")
      const user = freshPrefix()
      yield* Effect.acquireRelease(
        sql.unsafe(`CREATE ROLE ${user} LOGIN PASSWORD 'secret'`),
        () =>
          Effect.orDie(Effect.zipRight(sql.unsafe(`DROP OWNED BY ${user} CASCADE`), sql.unsafe(`DROP ROLE ${user}`)))
      )
      if (privileges !== "") {
        yield* sql.unsafe(
          `GRANT ${privileges} ON effect_sessions, effect_session_epochs, effect_session_ends TO ${user}`
        )
      }
      const url = new URL(postgresUrl(database))
      url.username = user
      url.password = "secret"
      return PgClient.layer({ url: Redacted.make(url.href) })
    })
}))

const onMariadb = Effect.map(SqlClient, (sql): Granted => ({
  granted: (privileges) =>
    Effect.gen(function*() {
      const database = yield* currentDatabase(sql, "DATABASE()")
      const user = freshPrefix()
      yield* Effect.acquireRelease(
        sql.unsafe(`CREATE USER ${user}`),
        () => Effect.orDie(sql.unsafe(`DROP USER ${user}`))
      )
      for (const table of ["effect_sessions", "effect_session_epochs", "effect_session_ends"]) {
        // Without any privilege a user cannot select the database.
        yield* sql.unsafe(`GRANT ${privileges === "" ? "DROP" : privileges} ON ${database}.${table} TO ${user}`)
      }
      const url = new URL(mariadbUrl(database))
      url.username = user
      return MysqlClient.layer({ url: Redacted.make(url.href) })
    })
}))

for (
  const [name, database, access] of [
    ["postgres", postgresDatabase, onPostgres],
    ...ofMariadb(["mariadb", mysqlDatabase, onMariadb] as const)
  ] as const
) {
  describe(`${name}: privileges`, () => {
    const all = ["SELECT", "INSERT", "UPDATE", "DELETE"]
    for (const missing of [...all, "all"]) {
      it.scopedLive(`a user without ${missing} fails the layer`, () =>
        Effect.gen(function*() {
          yield* SqlMigrations.run()
          const { granted } = yield* access
          const rest = missing === "all" ? [] : all.filter((privilege) => privilege !== missing)
          const text = yield* Effect.provide(problem(), yield* granted(rest.join(", ")))
          assert.include(
            text,
            "The tables effect_sessions, effect_session_epochs and effect_session_ends may not be used by this user"
          )
          assert.include(text, "Grant the user SELECT, INSERT, UPDATE and DELETE on all of them.")
          assert.notInclude(text, "secret")
        }).pipe(Effect.scoped, Effect.provide<SqlClient, unknown, never>(database())))
    }

    it.scopedLive("a user with exactly these four privileges works", () =>
      Effect.gen(function*() {
        yield* SqlMigrations.run()
        const { granted } = yield* access
        yield* Effect.provide(Effect.flatMap(SqlStore.make(), works), yield* granted(all.join(", ")))
      }).pipe(Effect.scoped, Effect.provide<SqlClient, unknown, never>(database())))
  })
}

describe("a database that is read-only fails the layer", () => {
  it.scopedLive("postgres", () =>
    Effect.gen(function*() {
      yield* SqlMigrations.run()
      const sql = yield* SqlClient
      const database = yield* currentDatabase(sql, "current_database()")
      yield* sql.unsafe(`ALTER DATABASE ${database} SET default_transaction_read_only = on`)
      const client = PgClient.layer({ url: Redacted.make(postgresUrl(database)) })
      assert.include(yield* Effect.provide(problem(), client), "The database is read-only")
    }).pipe(Effect.provide(postgresDatabase())))

  for (const name of ofMariadb("mariadb")) {
    it.scopedLive(name, () =>
      Effect.gen(function*() {
        yield* SqlMigrations.run()
        const sql = yield* SqlClient
        yield* sql.unsafe("SET SESSION TRANSACTION READ ONLY")
        assert.include(yield* problem(), "The database is read-only")
      }).pipe(Effect.provide(mysqlDatabase({ maxConnections: 1 }))))
  }

  it.scopedLive("sqlite", () =>
    Effect.gen(function*() {
      const filename = Path.join(yield* temporaryDirectory("sqlite"), "sessions.sqlite")
      yield* Effect.provide(SqlMigrations.run(), SqliteClient.layer({ filename, disableWAL: true }))
      const client = SqliteClient.layer({ filename, disableWAL: true, readonly: true })
      assert.include(yield* Effect.provide(problem(), client), "The database is read-only")
    }))
})

/** A record whose text fields need a Unicode encoding. */
const anyText = "a\u00e9\u6f22\u{1f600}\u{10ffff}"

const keepsAnyText = Effect.gen(function*() {
  const store = yield* SqlStore.make()
  const one = yield* stored(store, {
    namespace: anyText,
    subject: anyText,
    data: JSON.stringify({ text: `${anyText}\u0000\ud800` })
  })
  yield* isAlive(store, one, start)
  assert.lengthOf(yield* store.list(anyText, anyText, start), 1)
})

describe("an encoding that cannot store every character fails the layer", () => {
  const database = (encoding: string) => postgresDatabase({}, `ENCODING '${encoding}' LC_COLLATE 'C' LC_CTYPE 'C'`)

  for (const encoding of ["LATIN1", "WIN1252", "EUC_JP"]) {
    it.scopedLive(`postgres: ${encoding}, with and without tables`, () =>
      Effect.gen(function*() {
        const before = yield* problem()
        assert.match(before, new RegExp(`^The database d[0-9a-f]+ has the encoding ${encoding} \\(client: UTF8\\)`))
        assert.include(before, "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0")
        yield* SqlMigrations.run()
        assert.strictEqual(yield* problem(), before)
      }).pipe(Effect.provide(database(encoding))))
  }

  // SQL_ASCII stores bytes unchanged.
  for (const encoding of ["UTF8", "SQL_ASCII"]) {
    it.scopedLive(`postgres: ${encoding} stores every character`, () =>
      Effect.zipRight(SqlMigrations.run(), keepsAnyText).pipe(Effect.provide(database(encoding))))
  }

  for (const name of ofMariadb("mariadb")) {
    const connectedWith = (charset: string) =>
      Effect.gen(function*() {
        yield* SqlMigrations.run()
        const url = new URL(mariadbUrl(yield* currentDatabase(yield* SqlClient, "DATABASE()")))
        url.searchParams.set("charset", charset)
        return MysqlClient.layer({ url: Redacted.make(url.href) })
      })

    for (const charset of ["LATIN1_SWEDISH_CI", "SJIS_JAPANESE_CI", "UTF8_GENERAL_CI"]) {
      it.scopedLive(`${name}: a connection with ${charset}`, () =>
        Effect.gen(function*() {
          const text = yield* Effect.provide(problem(), yield* connectedWith(charset))
          assert.match(
            text,
            /^The connection has the encoding (?:latin1|sjis|utf8mb3), which cannot store every/
          )
          assert.include(text, "Set it to utf8mb4.")
        }).pipe(Effect.provide(mysqlDatabase())))
    }

    it.scopedLive(`${name}: a connection with UTF8MB4_BIN stores every character`, () =>
      Effect.gen(function*() {
        yield* Effect.provide(keepsAnyText, yield* connectedWith("UTF8MB4_BIN"))
      }).pipe(Effect.provide(mysqlDatabase())))

    it.scopedLive(`${name}: a column with another encoding`, () =>
      Effect.gen(function*() {
        yield* SqlMigrations.run()
        yield* keepsAnyText
        const sql = yield* SqlClient
        yield* sql.unsafe("ALTER TABLE effect_sessions MODIFY lifetime longtext CHARACTER SET utf8mb3")
        assert.match(yield* problem(), /^The column effect_sessions\.lifetime has the encoding utf8(?:mb3)?, which/)
      }).pipe(Effect.provide(mysqlDatabase())))
  }

  for (const encoding of ["UTF-8", "UTF-16le", "UTF-16be"]) {
    it.scopedLive(`sqlite: ${encoding} stores every character`, () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient
        yield* sql.unsafe(`PRAGMA encoding = '${encoding}'`)
        yield* SqlMigrations.run()
        assert.deepStrictEqual(yield* sql.unsafe("PRAGMA encoding"), [{ encoding }])
        yield* keepsAnyText
      }).pipe(Effect.provide(SqliteClient.layer({ filename: ":memory:" }))))
  }
})

it.scopedLive("the layer succeeds if the database is down", () =>
  Effect.gen(function*() {
    // The client is closed, so the database does not answer.
    const sql = yield* Effect.provide(SqlClient, sqliteClient)
    const store = yield* Effect.provideService(SqlStore.make({ durableDestroy: false }), SqlClient, sql)
    assert.isFalse(store.capabilities.durableDestroy)
  }))
