import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Effect, Either, Layer } from "effect"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import { assert, describe } from "vitest"
import { range, together } from "./laws/law.js"
import { isAlive, start, stored } from "./laws/records.js"
import { postgresDatabase, works } from "./support/databases.js"
import { freshPrefix, postgresClient, sqliteClient } from "./support/stores.js"

const databases: ReadonlyArray<
  readonly [dialect: "pg" | "sqlite", database: () => Layer.Layer<SqlClient, unknown>, schema: string]
> = [
  [
    "pg",
    postgresDatabase,
    `SELECT c.table_name AS name, string_agg(concat_ws(' ', c.column_name, c.data_type, c.collation_name, c.is_nullable,
        c.column_default), ', ' ORDER BY c.ordinal_position) AS text
      FROM information_schema.columns c WHERE c.table_schema = 'public' GROUP BY 1
     UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2`
  ],
  ["sqlite", () => sqliteClient, "SELECT name, sql AS text FROM sqlite_master ORDER BY 1"]
]

/** The tables and indexes of the store, without the note of what was run. */
const schemaOf = (query: string) =>
  Effect.flatMap(SqlClient, (sql) =>
    Effect.map(
      sql.unsafe<{ readonly name: string; readonly text: string }>(query),
      (rows) => rows.filter(({ name }) => !name.includes("session_migrations"))
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
        const names = [...script.matchAll(/CREATE (?:UNIQUE )?(?:TABLE|INDEX) IF NOT EXISTS (\S+)/g)]
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

it.live("postgres: several processes that migrate at once all succeed, and one of them does it", () =>
  Effect.gen(function*() {
    yield* Effect.forEach(range(10), () =>
      Effect.gen(function*() {
        const prefix = freshPrefix()
        const process = Effect.provide(SqlMigrations.run({ prefix }), postgresClient({ maxConnections: 1 }))
        const outcomes = yield* together(range(4).map(() => Effect.either(process)))
        assert.deepStrictEqual(
          outcomes.flatMap((outcome) => Either.isLeft(outcome) ? [`${outcome.left} ${outcome.left.cause}`] : []),
          []
        )
        assert.deepStrictEqual(outcomes.flatMap(Either.getOrElse(() => [])), [[1, "sessions"]])
        yield* Effect.flatMap(SqlStore.make({ prefix }), works)
      }))
  }).pipe(Effect.provide(postgresClient())))
