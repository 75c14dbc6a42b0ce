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
import { isD1 } from "./internal/sql/driver.js"
import { migrations } from "./internal/sql/tables.js"
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
 * The dialects of SQL. MariaDB speaks that of MySQL.
 *
 * @since 0.6.0
 * @category models
 */
export type Dialect = "mysql" | "pg" | "sqlite"

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
    // A table of its own for each prefix: migration ids are global in one table.
    const table = `${prefix}session_migrations`
    if (dialect === "mysql") return yield* runOnMysql(sql, table, migrations(dialect, prefix))
    if (isD1(sql)) return yield* runOnD1(sql, table, migrations(dialect, prefix))
    const loader = Migrator.fromRecord(Object.fromEntries(
      migrations(dialect, prefix).map(([name, statements]) => [
        name,
        Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true })
      ])
    ))
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
 * MySQL ends every transaction at a `CREATE TABLE`, so a migration is noted when it is done, and not before: one that
 * fails is run again. A lock of the connection keeps processes apart, so all of it is on one connection.
 */
const runOnMysql = (sql: SqlClient.SqlClient, table: string, all: ReturnType<typeof migrations>) =>
  locked(sql, table, oneByOne(sql, table, " ENGINE=InnoDB", "INSERT", all))

/** D1 has neither transactions nor locks. Its migrations can run twice, and several processes can run them at once. */
const runOnD1 = (sql: SqlClient.SqlClient, table: string, all: ReturnType<typeof migrations>) =>
  oneByOne(sql, table, "", "INSERT OR IGNORE", all)

const oneByOne = (
  sql: SqlClient.SqlClient,
  table: string,
  options: string,
  insert: string,
  all: ReturnType<typeof migrations>
) =>
  Effect.gen(function*() {
    yield* sql.unsafe(`CREATE TABLE IF NOT EXISTS ${table} (
  migration_id integer NOT NULL PRIMARY KEY,
  created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  name varchar(255) NOT NULL
)${options}`)
    const done = yield* sql.unsafe<{ readonly migration_id: number }>(`SELECT migration_id FROM ${table}`)
    return yield* Effect.forEach(
      all.map(([name, statements]) => ({ id: Number.parseInt(name), name: name.replace(/^\d+_/, ""), statements }))
        .filter(({ id }) => !done.some(({ migration_id }) => migration_id === id)),
      ({ id, name, statements }) =>
        Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true }).pipe(
          Effect.zipRight(sql.unsafe(`${insert} INTO ${table} (migration_id, name) VALUES (?, ?)`, [id, name])),
          Effect.as([id, name] as const)
        )
    )
  })

/** One at a time, on this server, for these tables of this database. */
const locked = <A, E>(sql: SqlClient.SqlClient, table: string, run: Effect.Effect<A, E>) =>
  Effect.scoped(Effect.flatMap(sql.reserve, (connection) => {
    const lock = `SHA1(CONCAT_WS('.', DATABASE(), '${table}'))`
    const taken = Effect.filterOrFail(
      sql.unsafe<{ readonly taken: unknown }>(`SELECT GET_LOCK(${lock}, 60) AS taken`),
      ([row]) => row?.taken === 1,
      () =>
        new Migrator.MigrationError({ reason: "locked", message: "Another process has been migrating for a minute" })
    )
    return Effect.acquireUseRelease(taken, () => run, () => Effect.ignore(sql.unsafe(`DO RELEASE_LOCK(${lock})`))).pipe(
      Effect.provideService(SqlClient.TransactionConnection, [connection, 0])
    )
  }))

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
