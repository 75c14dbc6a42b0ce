/**
 * The tables of the SQL store. Nothing here runs by itself: a deployment calls {@link run} (or applies the plain SQL of
 * {@link print}) before the server starts.
 *
 * @since 0.1.0
 */
import * as Migrator from "@effect/sql/Migrator"
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Dialect } from "./internal/sqlStatements.js"
import { migrations } from "./internal/sqlStatements.js"
import type { SessionConfigError } from "./SessionConfigError.js"
import { clientOf, prefixOf } from "./SqlStore.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Put before the names of all tables and indexes. Default `"effect_"`. */
  readonly prefix?: string
}

/**
 * Creates or upgrades the tables. Safe to run again, and by several processes at once. Returns what was applied.
 *
 * @since 0.1.0
 * @category migrations
 */
export const run = (
  options: Options = {}
): Effect.Effect<
  ReadonlyArray<readonly [id: number, name: string]>,
  Migrator.MigrationError | SqlError | SessionConfigError,
  SqlClient.SqlClient
> =>
  Effect.gen(function*() {
    const prefix = yield* prefixOf(options.prefix)
    const [sql, dialect] = yield* clientOf
    const loader = Migrator.fromRecord(Object.fromEntries(
      migrations(dialect, prefix).map(([name, statements]) => [
        name,
        Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true })
      ])
    ))
    // A table of its own for each prefix: migration ids are global in one table.
    const table = `${prefix}session_migrations`
    if (dialect === "pg") yield* sql.unsafe(createMigrationsTable(table))
    return yield* Migrator.make({})({ loader, table }).pipe(
      Effect.provideService(SqlClient.SqlClient, sql)
    )
  })

/**
 * The migrator's own table, made by one process at a time: in Postgres two `CREATE TABLE IF NOT EXISTS` at once fail. From
 * then on the migrator's lock on that table keeps processes apart.
 */
const createMigrationsTable = (table: string): string =>
  `DO $$ BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('${table}'));
  CREATE TABLE IF NOT EXISTS ${table} (
    migration_id integer PRIMARY KEY,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    name text NOT NULL
  );
END $$`

/**
 * The same as plain SQL, for those who apply migrations by their own means.
 *
 * @since 0.1.0
 * @category migrations
 */
export const print = (
  dialect: Dialect,
  options: Options = {}
): Effect.Effect<string, SessionConfigError> =>
  Effect.map(prefixOf(options.prefix), (prefix) =>
    migrations(dialect, prefix)
      .map(([name, statements]) => [`-- ${name}`, ...statements.map((statement) => `${statement};`)].join("\n"))
      .join("\n\n") + "\n")

/**
 * Runs the migrations when the layer is built, for tests, examples and servers that are their own deployment.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options = {}
): Layer.Layer<never, Migrator.MigrationError | SqlError | SessionConfigError, SqlClient.SqlClient> =>
  Layer.effectDiscard(run(options))
