/**
 * Migrations of the tables of the SQL store. The store never runs them: a deployment calls {@link run}, or applies the SQL of
 * {@link print}, before the server starts.
 *
 * @since 0.1.0
 */
import * as Migrator from "@effect/sql/Migrator"
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { configError } from "./internal/configError.js"
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import { migration as auditMigration } from "./internal/sql/audit.js"
import { clientOf, tablesFrom } from "./internal/sql/client.js"
import { isD1 } from "./internal/sql/driver.js"
import type { Tables } from "./internal/sql/tables.js"
import { migrations, partitioning } from "./internal/sql/tables.js"
import type { SessionConfigError } from "./SessionConfigError.js"
import type { TableNames } from "./SqlStore.js"

/**
 * The options of {@link run}, {@link print} and {@link layerWith}.
 *
 * @since 0.1.0
 * @category models
 */
export interface SqlMigrationsOptions extends TableNames {
  /**
   * The number of partitions of the table of sessions, in Postgres only: from 2 to 1024. An existing table with another number of
   * partitions, or none, is copied by the next run, and is locked meanwhile. Default: an existing table stays as it is, and a new one is
   * not partitioned.
   *
   * @since 0.6.0
   */
  readonly partitions?: number
  /**
   * Also create the audit table of `SqlAudit`. Default `false`.
   *
   * @since 0.6.0
   */
  readonly audit?: boolean
}

/**
 * A SQL dialect. `"mysql"` is also that of MariaDB.
 *
 * @since 0.6.0
 * @category models
 */
export type Dialect = "mysql" | "pg" | "sqlite"

/**
 * Creates or upgrades the tables, and returns the migrations that were applied. Safe to run again, and by several processes at once. Fails
 * with `SessionConfigError` if an option is invalid.
 *
 * @example
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { Config, Effect } from "effect"
 * import * as SqlMigrations from "effect-session/SqlMigrations"
 *
 * export const deploy = SqlMigrations.run().pipe(
 *   Effect.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
 * )
 * ```
 *
 * @since 0.1.0
 * @category migrations
 */
export const run = (
  options: SqlMigrationsOptions = {}
): Effect.Effect<
  ReadonlyArray<readonly [id: number, name: string]>,
  Migrator.MigrationError | SqlError | SessionConfigError,
  SqlClient.SqlClient
> => Effect.tap(runStore(options), () => options.audit === true ? createAuditTable(options) : Effect.void)

/** The audit table is optional, so it has no number among the migrations. */
const createAuditTable = (options: SqlMigrationsOptions) =>
  Effect.gen(function*() {
    const [sql, dialect] = yield* clientOf
    const statements = auditMigration(dialect, yield* tablesFrom(options, dialect))
    yield* Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true })
  })

const runStore = (options: SqlMigrationsOptions) =>
  Effect.gen(function*() {
    const [sql, dialect] = yield* clientOf
    const tables = yield* tablesFrom(options, dialect)
    const partitions = yield* partitionsOf(options, dialect)
    // Each prefix has its own table, because migration ids are global in one table.
    const table = tables.migrations
    if (dialect === "mysql") return yield* runOnMysql(sql, table, migrations(dialect, tables))
    if (isD1(sql)) return yield* runOnD1(sql, table, migrations(dialect, tables))
    const loader = Migrator.fromRecord(Object.fromEntries(
      migrations(dialect, tables).map(([name, statements]) => [
        name,
        applied(sql, statements)
      ])
    ))
    if (dialect === "pg") yield* sql.unsafe(createMigrationsTable(tables))
    const ran = yield* Migrator.make({})({ loader, table: table.replaceAll("\"", "") }).pipe(
      Effect.provideService(SqlClient.SqlClient, sql)
    )
    if (partitions !== undefined) {
      yield* sql.withTransaction(Effect.zipRight(
        // The default may be different. Fails inside a transaction of the caller, where the isolation level cannot be changed.
        sql.unsafe("SET TRANSACTION ISOLATION LEVEL READ COMMITTED"),
        sql.unsafe(partitioning(tables, partitions))
      ))
    }
    return ran
  })

/** Runs the statements of a migration. */
const applied = (sql: SqlClient.SqlClient, statements: ReadonlyArray<string>) =>
  Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true })

/** Validates the number of partitions. */
const partitionsOf = (
  { partitions }: SqlMigrationsOptions,
  dialect: Dialect
): Effect.Effect<number | undefined, SessionConfigError> =>
  partitions === undefined ||
    (dialect === "pg" && Number.isInteger(partitions) && partitions >= 2 && partitions <= 1024)
    ? Effect.succeed(partitions)
    : Effect.fail(
      configError(
        "SqlMigrations",
        dialect === "pg"
          ? "The number of partitions must be a whole number from 2 to 1024."
          : "Only Postgres supports the option partitions. Leave it out.",
        "partitions-invalid"
      )
    )

/**
 * Creates the migrator's own table under a lock, because concurrent `CREATE TABLE IF NOT EXISTS` fail in Postgres. Afterwards the
 * migrator's lock on that table serializes processes.
 */
const createMigrationsTable = ({ migrations, schema }: Tables): string =>
  `DO $$ BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('${migrations}'));
  ${
    schema === undefined
      ? ""
      // Even where the schema exists, IF NOT EXISTS takes the privilege to create one.
      : `IF to_regnamespace('${schema}') IS NULL THEN CREATE SCHEMA ${schema}; END IF;`
  }
  CREATE TABLE IF NOT EXISTS ${migrations} (
    migration_id integer PRIMARY KEY,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    name text NOT NULL
  );
END $$`

/**
 * MySQL commits every transaction at a `CREATE TABLE`, so a migration is recorded after it is done, and one that fails is run again. A lock
 * of the connection serializes processes, so all statements run on one connection.
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
        applied(sql, statements).pipe(
          Effect.zipRight(sql.unsafe(`${insert} INTO ${table} (migration_id, name) VALUES (?, ?)`, [id, name])),
          Effect.as([id, name] as const)
        )
    )
  })

/** Runs one process at a time on this server, for these tables of this database. */
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
 * Returns the migrations as plain SQL, for a deployment that applies them with its own tool. Fails with `SessionConfigError` if an option is
 * invalid.
 *
 * @example
 * ```ts
 * import { Console, Effect } from "effect"
 * import * as SqlMigrations from "effect-session/SqlMigrations"
 *
 * export const script = Effect.flatMap(SqlMigrations.print("pg"), Console.log)
 * ```
 *
 * @since 0.1.0
 * @category migrations
 */
export const print = (
  dialect: Dialect,
  options: SqlMigrationsOptions = {}
): Effect.Effect<string, SessionConfigError> =>
  Effect.map(
    Effect.all([tablesFrom(options, dialect), partitionsOf(options, dialect)]),
    ([tables, partitions]) =>
      [
        ...tables.schema === undefined
          ? []
          : [["the schema", [`CREATE SCHEMA IF NOT EXISTS ${tables.schema}`]] as const],
        ...migrations(dialect, tables),
        ...partitions === undefined ? [] : [["partitions", [partitioning(tables, partitions)]] as const],
        ...options.audit === true ? [["the audit table", auditMigration(dialect, tables)] as const] : []
      ].map(([name, statements]) => [`-- ${name}`, ...statements.map((statement) => `${statement};`)].join("\n"))
        .join("\n\n") + "\n"
  )

/**
 * Runs the migrations with options when the layer is built.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWith = (
  options: SqlMigrationsOptions
): Layer.Layer<never, Migrator.MigrationError | SqlError | SessionConfigError, SqlClient.SqlClient> =>
  Layer.effectDiscard(run(options))

/**
 * Runs the migrations when the layer is built, for tests, examples and servers that are their own deployment.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<never, Migrator.MigrationError | SqlError | SessionConfigError, SqlClient.SqlClient> =
  Layer.fresh(layerWith({}))

/**
 * Runs the migrations with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<SqlMigrationsOptions>
): Layer.Layer<never, Migrator.MigrationError | SqlError | SessionConfigError | ConfigError, SqlClient.SqlClient> =>
  layerConfigOf(options, layerWith)
