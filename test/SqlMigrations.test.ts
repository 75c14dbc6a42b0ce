import * as MysqlClient from "@effect/sql-mysql2/MysqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Deferred, Effect, Either, Layer, Redacted } from "effect"
import { aRecord, freshKey, isAlive, isDead, start, stored } from "effect-session/Fixtures"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import { inspect } from "node:util"
import { assert, describe } from "vitest"
import { range, together } from "./support/concurrency.js"
import { mysqlDatabase, postgresDatabase, untilWaiting } from "./support/databases.js"
import { freshPrefix, sqliteClient } from "./support/localStores.js"
import { mariadbUrl, mysqlClient, ofMariadb, postgresClient, postgresUrl } from "./support/serverClients.js"
import { works } from "./support/storeCalls.js"

const databases: ReadonlyArray<
  readonly [dialect: "mysql" | "pg" | "sqlite", database: () => Layer.Layer<SqlClient, unknown>, schema: string]
> = [
  [
    "pg",
    postgresDatabase,
    `SELECT c.table_name AS name, string_agg(concat_ws(' ', c.column_name, c.data_type, c.collation_name, c.is_nullable,
        c.column_default), ', ' ORDER BY c.ordinal_position) AS text
      FROM information_schema.columns c WHERE c.table_schema = 'public' GROUP BY 1
     UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2`
  ],
  ["sqlite", () => sqliteClient, "SELECT name, sql AS text FROM sqlite_master ORDER BY 1"],
  ...ofMariadb(
    [
      "mysql",
      mysqlDatabase,
      `SELECT c.table_name AS name, GROUP_CONCAT(CONCAT_WS(' ', c.column_name, c.column_type, c.collation_name,
          c.is_nullable, c.column_default, t.engine, t.row_format) ORDER BY c.ordinal_position) AS text
        FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
        WHERE c.table_schema = DATABASE() GROUP BY 1
       UNION ALL SELECT index_name, CONCAT_WS(' ', table_name, non_unique, GROUP_CONCAT(column_name ORDER BY seq_in_index))
        FROM information_schema.statistics WHERE table_schema = DATABASE() GROUP BY table_name, index_name, non_unique
       ORDER BY 1, 2`
    ] as const
  )
]

const applied: ReadonlyArray<readonly [number, string]> = [[1, "sessions"]]

/** Stores 100 sessions, half of them of a subject that is revoked. */
const hundredSessions = Effect.gen(function*() {
  const store = yield* SqlStore.make()
  const records = yield* Effect.forEach(
    range(100),
    (i) => stored(store, { subject: i % 2 === 0 ? "ann" : "bob", data: `{"i":${i}}` })
  )
  yield* store.revokeSubject("laws", "bob")
  return records
})

/** A new role, which is dropped with its objects. */
const freshRole = Effect.flatMap(SqlClient, (sql) => {
  const role = `r${freshPrefix()}`
  const statements = ["RESET ROLE", `DROP OWNED BY ${role}`, `DROP ROLE ${role}`]
  return Effect.acquireRelease(
    Effect.as(sql.unsafe(`CREATE ROLE ${role}`), role),
    () => Effect.orDie(Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true }))
  )
})

/** The tables and indexes of the store, without the note of what was run. */
const schemaOf = (query: string) =>
  Effect.flatMap(SqlClient, (sql) =>
    Effect.map(
      sql.unsafe<{ readonly name: string; readonly text: string }>(query),
      (rows) => rows.filter(({ name, text }) => !`${name} ${text}`.includes("session_migrations"))
    ))

/** Another pool of the database of a client. */
const sameDatabase = (sql: SqlClient) =>
  Layer.unwrapEffect(Effect.map(
    sql.unsafe<{ readonly name: string }>("SELECT current_database() AS name"),
    (rows) => PgClient.layer({ url: Redacted.make(postgresUrl(rows[0]?.name ?? "")) })
  ))

/** Executes a script as the shell of the database does. */
const executed = (script: string) =>
  Effect.flatMap(SqlClient, (sql) =>
    Effect.forEach(
      script.split(/;$/m).filter((statement) => statement.trim() !== ""),
      (statement) => sql.unsafe(statement)
    ))

for (const [dialect, database, schema] of databases) {
  describe(`migrations of ${dialect}`, () => {
    for (const prefix of ["effect_", "app_1_", ""]) {
      it.live(`with the prefix "${prefix}": a second run applies nothing and keeps the sessions`, () =>
        Effect.gen(function*() {
          assert.deepStrictEqual(yield* SqlMigrations.run({ prefix }), applied)
          const store = yield* SqlStore.make({ prefix })
          const one = yield* stored(store)
          const before = yield* schemaOf(schema)
          assert.deepStrictEqual(yield* SqlMigrations.run({ prefix }), [])
          assert.deepStrictEqual(yield* schemaOf(schema), before)
          yield* isAlive(store, one, start)
        }).pipe(Effect.provide(database())))
    }

    it.live("the printed SQL, executed by hand, creates the same tables as a run, and a store works on them", () =>
      Effect.gen(function*() {
        const byHand = yield* Effect.gen(function*() {
          yield* executed(yield* SqlMigrations.print(dialect))
          yield* Effect.flatMap(SqlStore.make(), works)
          return yield* schemaOf(schema)
        }).pipe(Effect.provide(database()))
        const byRun = yield* Effect.zipRight(SqlMigrations.run(), schemaOf(schema)).pipe(Effect.provide(database()))
        // Two empty lists would be equal, too.
        assert.isTrue(byHand.some(({ name }) => name === "effect_sessions_by_expiry"))
        assert.deepStrictEqual(byHand, byRun)
      }))

    it.live("a run on tables created by hand keeps their sessions", () =>
      Effect.gen(function*() {
        yield* executed(yield* SqlMigrations.print(dialect))
        const store = yield* SqlStore.make()
        const one = yield* stored(store)
        yield* SqlMigrations.run()
        yield* isAlive(store, one, start)
      }).pipe(Effect.provide(database())))

    it.effect("the printed SQL uses no table name without the prefix", () =>
      Effect.gen(function*() {
        const script = yield* SqlMigrations.print(dialect, { prefix: "mine_" })
        const names = [...script.matchAll(/(?:(?:TABLE|INDEX) IF NOT EXISTS|^ +(?:UNIQUE )?INDEX|ALTER TABLE) (\S+)/gm)]
        assert.isTrue(names.length >= 5)
        for (const [, name] of names) assert.match(name ?? "", /^mine_session/)
        assert.notInclude(script, "effect_")
      }))

    it.live("the layer creates the tables that a store needs", () =>
      Effect.flatMap(SqlStore.make(), works).pipe(
        Effect.provide(Layer.provideMerge(SqlMigrations.layer, database()))
      ))
  })
}

describe("partitions", () => {
  const partitions = Effect.flatMap(SqlClient, (sql) =>
    Effect.map(
      sql.unsafe<{ readonly part: string; readonly rows: string }>(
        "SELECT tableoid::regclass::text AS part, count(*) AS rows FROM effect_sessions GROUP BY 1 ORDER BY 1"
      ),
      (rows) => rows.map(({ part, rows }) => ({ part, rows: Number(rows) }))
    ))

  it.live("the sessions of a table are spread over 16 partitions, then over 4, and stay alive with their grants", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      yield* SqlMigrations.run()
      const records = yield* hundredSessions
      const role = yield* freshRole
      yield* sql.unsafe(`GRANT SELECT, INSERT, UPDATE, DELETE ON effect_sessions TO ${role}, PUBLIC`)
      for (const number of [16, 16, 4]) {
        assert.deepStrictEqual(yield* SqlMigrations.run({ partitions: number }), [])
        const found = yield* partitions
        assert.strictEqual(found.reduce((sum, { rows }) => sum + rows, 0), records.length)
        assert.isTrue(found.every(({ part }) => part.startsWith(`effect_sessions_${number}_`)))
        assert.isAbove(found.length, 1)
        const store = yield* SqlStore.make()
        for (const one of records) {
          yield* one.record.subject === "ann" ? isAlive(store, one, start) : isDead(store, one, start)
        }
        const [one] = records
        if (one === undefined) return assert.fail()
        const taken = aRecord({ id: one.record.id })
        assert.strictEqual(yield* store.create(freshKey(), taken, start), "exists", "an id of before")
        for (const table of ["effect_sessions", "effect_session_ids"]) {
          const [grants] = yield* sql.unsafe<{ readonly number: string }>(
            "SELECT count(*) AS number FROM information_schema.role_table_grants WHERE table_name = $1 AND " +
              "grantee IN ($2, 'PUBLIC')",
            [table, role]
          )
          assert.strictEqual(Number(grants?.number), 8, table)
        }
      }
      yield* SqlMigrations.run()
      assert.isAtMost((yield* partitions).length, 4)
    }).pipe(Effect.scoped, Effect.provide(postgresDatabase())))

  it.live("a TRUNCATE of the sessions also removes their ids", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      yield* SqlMigrations.run({ partitions: 2 })
      const store = yield* SqlStore.make()
      const { key, record } = yield* stored(store)
      yield* sql`TRUNCATE effect_sessions`
      assert.strictEqual(yield* store.create(key, record, start), "created")
      yield* isAlive(store, { key, record }, start)
    }).pipe(Effect.provide(postgresDatabase())))

  it.live("the printed SQL, executed as one script once or twice, creates tables on which a store works, and a run leaves them", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const script = yield* SqlMigrations.print("pg", { schema: "sessions", partitions: 3 })
      yield* sql.unsafe(script)
      const store = yield* SqlStore.make({ schema: "sessions" })
      yield* works(store)
      yield* sql.unsafe(script)
      assert.deepStrictEqual(yield* SqlMigrations.run({ schema: "sessions" }), applied)
      yield* works(store)
    }).pipe(Effect.provide(postgresDatabase())))

  it.live("with one snapshot per transaction by default, partitioning copies sessions that were committed while it waited for the lock", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      yield* SqlMigrations.run()
      const one = yield* Effect.flatMap(SqlStore.make(), stored)
      // The connections of the pool keep the default with which they were opened.
      yield* sql.unsafe("SET default_transaction_isolation TO 'repeatable read'")
      const writer = yield* Effect.provide(SqlClient, yield* Layer.build(Layer.fresh(sameDatabase(sql))))
      const [written, isWaiting] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const writing = yield* Effect.fork(writer.withTransaction(
        writer.unsafe("UPDATE effect_sessions SET data = '\"new\"'").pipe(
          Effect.zipRight(Deferred.succeed(written, undefined)),
          Effect.zipRight(Deferred.await(isWaiting))
        )
      ))
      yield* Deferred.await(written)
      const run = yield* Effect.fork(SqlMigrations.run({ partitions: 3 }))
      yield* untilWaiting(writer, "postgres", "effect_", 1)
      yield* Deferred.succeed(isWaiting, undefined)
      yield* writing
      yield* run
      yield* isAlive(yield* SqlStore.make(), { ...one, record: { ...one.record, data: `"new"` } }, start)
      // The printed script cannot read the settings of the transaction, so it fails.
      const script = yield* SqlMigrations.print("pg", { partitions: 5 })
      assert.include(String((yield* Effect.flip(sql.unsafe(script))).cause), "would lose sessions")
    }).pipe(Effect.scoped, Effect.provide(postgresDatabase({ maxConnections: 1 }))))

  it.live("made by another role belong to the owner of the table, who can use, upgrade and partition it as before", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const role = yield* freshRole
      yield* sql.unsafe(`CREATE SCHEMA mine AUTHORIZATION ${role}`)
      yield* sql.unsafe(`SET ROLE ${role}`)
      yield* SqlMigrations.run({ schema: "mine" })
      const store = yield* SqlStore.make({ schema: "mine" })
      const one = yield* stored(store)
      yield* sql.unsafe("RESET ROLE")
      yield* SqlMigrations.run({ schema: "mine", partitions: 2 })
      yield* sql.unsafe(`SET ROLE ${role}`)
      yield* isAlive(store, one, start)
      yield* works(store)
      yield* sql.unsafe("ALTER TABLE mine.effect_sessions ADD COLUMN later text")
      yield* SqlMigrations.run({ schema: "mine", partitions: 3 })
      yield* works(store)
    }).pipe(Effect.scoped, Effect.provide(postgresDatabase({ maxConnections: 1 }))))

  it.live("made where search_path leads to the tables work for a store that names their schema", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      yield* sql.unsafe("CREATE SCHEMA one")
      yield* sql.unsafe("SET search_path TO one")
      yield* SqlMigrations.run({ partitions: 2 })
      yield* sql.unsafe("SET search_path TO public")
      yield* Effect.flatMap(SqlStore.make({ schema: "one" }), works)
    }).pipe(Effect.scoped, Effect.provide(postgresDatabase({ maxConnections: 1 }))))

  for (
    const [dialect, options] of [
      ["pg", { partitions: 1 }],
      ["pg", { partitions: 2.5 }],
      ["pg", { schema: "No; DROP" }],
      ["sqlite", { partitions: 4 }],
      ["mysql", { schema: "sessions" }]
    ] as const
  ) {
    it.effect(`${inspect(options)} is a configuration error for ${dialect}`, () =>
      Effect.map(
        Effect.flip(SqlMigrations.print(dialect, options)),
        (error) => assert.strictEqual(error._tag, "SessionConfigError")
      ))
  }
})

describe("a schema", () => {
  it.live("stores in two schemas of one database do not see each other, and search_path selects one without the option", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      yield* SqlMigrations.run({ schema: "one" })
      yield* SqlMigrations.run({ schema: "other" })
      const one = yield* SqlStore.make({ schema: "one" })
      const other = yield* SqlStore.make({ schema: "other" })
      const session = yield* stored(one)
      yield* isAlive(one, session, start)
      yield* isDead(other, session, start)
      yield* works(other)
      assert.include(inspect(yield* Effect.flip(SqlStore.make())), "missing")
      yield* sql.unsafe("SET search_path TO one")
      yield* Effect.flatMap(SqlStore.make(), (store) => isAlive(store, session, start))
    }).pipe(Effect.provide(postgresDatabase({ maxConnections: 1 }))))

  it.live("that exists needs no privilege to create schemas", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const role = yield* freshRole
      yield* sql.unsafe(`CREATE SCHEMA mine AUTHORIZATION ${role}`)
      yield* sql.unsafe(`SET ROLE ${role}`)
      assert.deepStrictEqual(yield* SqlMigrations.run({ schema: "mine", partitions: 2 }), applied)
      yield* Effect.flatMap(SqlStore.make({ schema: "mine" }), works)
    }).pipe(Effect.scoped, Effect.provide(postgresDatabase({ maxConnections: 1 }))))
})

for (
  const [name, client] of [
    ["postgres", postgresClient],
    ...ofMariadb(["mariadb", mysqlClient] as const)
  ] as const
) {
  it.live(`${name}: concurrent migrations all succeed, and one of them applies the migration`, () =>
    Effect.gen(function*() {
      yield* Effect.forEach(range(10), () =>
        Effect.gen(function*() {
          const prefix = freshPrefix()
          const process = Effect.provide(SqlMigrations.run({ prefix }), client({ maxConnections: 1 }))
          const outcomes = yield* together(range(4).map(() => Effect.either(process)))
          assert.deepStrictEqual(
            outcomes.flatMap((outcome) => Either.isLeft(outcome) ? [inspect(outcome.left)] : []),
            []
          )
          assert.deepStrictEqual(outcomes.flatMap(Either.getOrElse(() => [])), applied)
          yield* Effect.flatMap(SqlStore.make({ prefix }), works)
        }))
    }).pipe(Effect.provide(client())))
}

for (const name of ofMariadb("mariadb")) {
  it.live(`${name}: a migration that failed half way is not recorded, and the next run applies it`, () =>
    Effect.gen(function*() {
      const admin = yield* SqlClient
      const [row] = yield* admin.unsafe<{ readonly name: string }>("SELECT DATABASE() AS name")
      const database = row?.name ?? ""
      const url = new URL(mariadbUrl(database))
      url.username = database.slice(0, 10)
      yield* Effect.acquireRelease(
        admin.unsafe(`CREATE USER ${url.username}`),
        () => Effect.orDie(admin.unsafe(`DROP USER ${url.username}`))
      )
      const may = (what: string) => admin.unsafe(`GRANT ALL ON ${database}.${what} TO ${url.username}`)
      yield* Effect.forEach(["effect_session_migrations", "effect_sessions"], may)
      const run = Effect.provide(SqlMigrations.run(), MysqlClient.layer({ url: Redacted.make(url.href) }))
      assert.include(inspect(yield* Effect.flip(run)), "effect_session_epochs")
      yield* may("*")
      assert.deepStrictEqual(yield* run, applied)
      yield* Effect.flatMap(SqlStore.make(), works)
    }).pipe(Effect.scoped, Effect.provide(mysqlDatabase())))
}
