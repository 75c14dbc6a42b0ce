/**
 * The client and the table names of a SQL store.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type { SessionConfigError } from "../../SessionConfigError.js"
import { configError } from "../configError.js"
import { isLibsql } from "./driver.js"
import type { Dialect, Tables } from "./tables.js"
import { tablesOf } from "./tables.js"

/** Validates the prefix and the schema. */
export const tablesFrom = (
  { prefix = "effect_", schema }: { readonly prefix?: string; readonly schema?: string },
  dialect: Dialect
): Effect.Effect<Tables, SessionConfigError> => {
  const problem = !/^[a-z_][a-z0-9_]{0,30}$|^$/.test(prefix)
    ? "A table prefix may hold at most 31 small letters, digits and underscores, and must not begin with a digit."
    : schema === undefined
    ? undefined
    : dialect !== "pg"
    ? "Only Postgres supports the option schema. Leave it out, and connect to the database that is to hold the tables."
    : !/^[a-z_][a-z0-9_]{0,62}$/.test(schema)
    ? "The name of a schema may hold at most 63 small letters, digits and underscores, and must not begin with a digit."
    : undefined
  return problem === undefined
    ? Effect.succeed(tablesOf(prefix, schema))
    : Effect.fail(configError("SqlStore", problem, "table-names-invalid"))
}

/** The `SqlClient` without the transformations of names, and its dialect. */
export const clientOf: Effect.Effect<
  readonly [SqlClient.SqlClient, Dialect],
  SessionConfigError,
  SqlClient.SqlClient
> = Effect.flatMap(SqlClient.SqlClient, (sql) => {
  const dialect = sql.onDialectOrElse({
    mysql: (): Dialect | undefined => "mysql",
    pg: (): Dialect | undefined => "pg",
    sqlite: (): Dialect | undefined => "sqlite",
    orElse: () => undefined
  })
  if (isLibsql(sql) && Predicate.hasProperty(sql.config, "syncUrl") && sql.config.syncUrl !== undefined) {
    return unsupported(
      "An embedded replica of libSQL reads a local copy, in which a session that has ended elsewhere is still alive. " +
        "Leave the option syncUrl out, and give its value as url."
    )
  }
  return dialect === undefined
    ? unsupported("The SqlClient must be one of Postgres, MySQL, MariaDB, SQLite or libSQL.")
    // The application's own transformations of names must not reach our columns.
    : Effect.succeed([sql.withoutTransforms(), dialect] as const)
})

const unsupported = (problem: string) => Effect.fail(configError("SqlStore", problem, "database-unsupported"))
