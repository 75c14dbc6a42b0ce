import * as MysqlClient from "@effect/sql-mysql2/MysqlClient"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Effect, Either, Layer, Redacted } from "effect"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import { inspect } from "node:util"
import { assert, describe } from "vitest"
import { range, together } from "../src/internal/testing/law.js"
import { isAlive, start, stored } from "../src/internal/testing/records.js"
import { mysqlDatabase, postgresDatabase, works } from "./support/databases.js"
import { freshPrefix, mariadbUrl, mysqlClient, ofMariadb, postgresClient, sqliteClient } from "./support/stores.js"

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

/** The tables and indexes of the store, without the note of what was run. */
const schemaOf = (query: string) =>
  Effect.flatMap(SqlClient, (sql) =>
    Effect.map(
      sql.unsafe<{ readonly name: string; readonly text: string }>(query),
      (rows) => rows.filter(({ name, text }) => !`${name} ${text}`.includes("session_migrations"))
    ))

/** As somebody would with a database's own shell. */
const executed = (script: string) =>
  Effect.flatMap(SqlClient, (sql) =>
    Effect.forEach(
      script.split(";").filter((statement) => statement.trim() !== ""),
      (statement) => sql.unsafe(statement)
    ))

for (const [dialect, database, schema] of databases) {
  describe(`migrations of ${dialect}`, () => {
    for (const prefix of ["effect_", "app_1_", ""]) {
      it.live(`with the prefix "${prefix}", run twice, they are done once, and sessions stay`, () =>
        Effect.gen(function*() {
          assert.deepStrictEqual(yield* SqlMigrations.run({ prefix }), [[1, "sessions"]])
          const store = yield* SqlStore.make({ prefix })
          const one = yield* stored(store)
          const before = yield* schemaOf(schema)
          assert.deepStrictEqual(yield* SqlMigrations.run({ prefix }), [])
          assert.deepStrictEqual(yield* schemaOf(schema), before)
          yield* isAlive(store, one, start)
        }).pipe(Effect.provide(database())))
    }

    it.live("what is printed, executed by hand, gives the same tables as a run, and a store that works", () =>
      Effect.gen(function*() {
        const byHand = yield* Effect.gen(function*() {
          yield* executed(yield* SqlMigrations.print(dialect))
          yield* Effect.flatMap(SqlStore.make(), works)
          return yield* schemaOf(schema)
        }).pipe(Effect.provide(database()))
        const byRun = yield* Effect.zipRight(SqlMigrations.run(), schemaOf(schema)).pipe(Effect.provide(database()))
        // Equal and empty would prove nothing.
        assert.isTrue(byHand.some(({ name }) => name === "effect_sessions_by_expiry"))
        assert.deepStrictEqual(byHand, byRun)
      }))

    it.live("a run on tables made by hand leaves their sessions", () =>
      Effect.gen(function*() {
        yield* executed(yield* SqlMigrations.print(dialect))
        const store = yield* SqlStore.make()
        const one = yield* stored(store)
        yield* SqlMigrations.run()
        yield* isAlive(store, one, start)
      }).pipe(Effect.provide(database())))

    it.effect("what is printed names the tables by the prefix, and nothing else", () =>
      Effect.gen(function*() {
        const script = yield* SqlMigrations.print(dialect, { prefix: "mine_" })
        const names = [...script.matchAll(/(?:IF NOT EXISTS|^ +(?:UNIQUE )?INDEX) (\S+)/gm)]
        assert.isTrue(names.length >= 5)
        for (const [, name] of names) assert.match(name ?? "", /^mine_session/)
        assert.notInclude(script, "effect_")
      }))

    it.live("the layer makes the tables, so that a store over it works", () =>
      Effect.flatMap(SqlStore.make(), works).pipe(
        Effect.provide(Layer.provideMerge(SqlMigrations.layer(), database()))
      ))
  })
}

for (
  const [name, client] of [
    ["postgres", postgresClient],
    ...ofMariadb(["mariadb", mysqlClient] as const)
  ] as const
) {
  it.live(`${name}: several processes that migrate at once all succeed, and one of them does it`, () =>
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
          assert.deepStrictEqual(outcomes.flatMap(Either.getOrElse(() => [])), [[1, "sessions"]])
          yield* Effect.flatMap(SqlStore.make({ prefix }), works)
        }))
    }).pipe(Effect.provide(client())))
}

for (const name of ofMariadb("mariadb")) {
  it.live(`${name}: a migration that failed half way is not noted, and is done by the next run`, () =>
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
      assert.deepStrictEqual(yield* run, [[1, "sessions"]])
      yield* Effect.flatMap(SqlStore.make(), works)
    }).pipe(Effect.scoped, Effect.provide(mysqlDatabase())))
}
