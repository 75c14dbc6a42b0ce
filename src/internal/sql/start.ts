/**
 * Checks, when the layer of a store is built, that its database can store sessions: the encoding holds every character, the tables exist,
 * and the user may read and write them. It changes nothing in the database.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import { encodeBase64Url, encodeHex } from "effect/Encoding"
import * as Option from "effect/Option"
import type { SessionConfigError } from "../../SessionConfigError.js"
import { configError, type Problem } from "../configError.js"
import { randomBytes } from "../crypto/primitives.js"
import { executeWithoutRows, isLibsql } from "./driver.js"
import { accessProblem, codeOf, unencodable } from "./errors.js"
import type { Row } from "./rows.js"
import type { Prepared, Statements } from "./statements.js"
import type { Dialect, Tables } from "./tables.js"

/**
 * Fails if the database reports that it cannot store sessions. A database that does not answer is not a configuration error: it may be
 * reachable before the first request.
 */
export const check = (
  sql: SqlClient.SqlClient,
  dialect: Dialect,
  tables: Tables,
  statement: Statements
): Effect.Effect<void, SessionConfigError> => {
  return Effect.gen(function*() {
    const unstorable = yield* encodingProblem(sql, dialect, tables)
    if (unstorable !== undefined) return unstorable
    for (const name of ["load", "create", "rotate", "raiseEpoch", "endReason"] as const) {
      yield* explain(sql, statement[name])
    }
    yield* explain(sql, statement.note.destroy)
    // It deletes nothing, and fails if the database is read-only.
    yield* sql.unsafe(statement.destroy.text, nulls(statement.destroy))
    return undefined
  }).pipe(
    Effect.catchAll((error) => Effect.succeed(problemOf(error, tables))),
    Effect.disconnect,
    Effect.timeoutOption("10 seconds"),
    Effect.flatMap(Option.match({
      onNone: () => Effect.void,
      onSome: (problem) => problem === undefined ? Effect.void : Effect.fail(configError("SqlStore", ...problem))
    }))
  )
}

/** With null parameters a statement matches no row. */
const nulls = ({ names }: Prepared) => names.map(() => null)

/**
 * Lets the database resolve names and check privileges, without executing the statement. The text is unique each time, because the client
 * of SQLite caches texts, including those that it could not prepare.
 */
const explain = (sql: SqlClient.SqlClient, prepared: Prepared): Effect.Effect<unknown, SqlError> => {
  const text = `EXPLAIN /* ${encodeBase64Url(randomBytes(9))} */ ${prepared.text}`
  // libSQL leaves an EXPLAIN of a write open if it returns the rows, and then commits no transaction on that connection.
  return isLibsql(sql) ? executeWithoutRows(sql, text) : sql.unsafe(text, nulls(prepared))
}

/** Describes an error that every request would fail with; `undefined` for an error that may pass. */
const problemOf = (error: SqlError, { ends, epochs, prefix, schema, sessions }: Tables): Problem | undefined => {
  const found = accessProblem(error)
  if (found === undefined) return undefined
  const { kind, message } = found
  const tables = `The tables ${sessions}, ${epochs} and ${ends}`
  if (kind === "missing") {
    const names = [
      ...prefix === "effect_" ? [] : [["prefix", `"${prefix}"`]],
      ...schema === undefined ? [] : [["schema", schema]]
    ]
    const option = names.map(([name, value]) => ` --${name} ${value}`).join("")
    const layer = names.length === 0
      ? "layer"
      : `layerWith({ ${names.map(([name, value]) => `${name}: ${value}`).join(", ")} })`
    return [
      `${tables} are missing or out of date (${message}). Run "npx effect-session migrate --database-url ` +
      `<url>${option}" before the server starts, or provide SqlMigrations.${layer} to this layer.`,
      "tables-missing"
    ]
  }
  return kind === "denied"
    ? [
      `${tables} may not be used by this user of the database (${message}). Grant the user SELECT, INSERT, UPDATE and ` +
      `DELETE on all of them.`,
      "database-permissions"
    ]
    : [
      `The database is read-only (${message}). Connect to the primary, not to a replica; with SQLite, let this process write the ` +
      `file and its directory.`,
      "database-read-only"
    ]
}

/** One character of each length in UTF-8, from one byte to four. */
const everyLength = "a\u00e9\u6f22\u{1f600}"

/** Describes what cannot store every character: the database, the connection, or a column. */
const encodingProblem = (
  sql: SqlClient.SqlClient,
  dialect: Dialect,
  tables: Tables
): Effect.Effect<Problem | undefined, SqlError> =>
  Effect.gen(function*() {
    const { advice, columns, echo, where } = encodings[dialect]
    const [echoed] = yield* Effect.catchIf(
      sql.unsafe<Row>(echo, [everyLength]),
      (error) => unencodable.has(codeOf(error)),
      () => Effect.succeed([])
    )
    const narrow = echoed?.echo !== everyLength
      ? yield* sql.unsafe<Row>(where)
      : columns === undefined
      ? []
      : yield* sql.unsafe<Row>(columns, [tables.sessions, tables.epochs])
    return narrow.length === 0
      ? undefined
      : [
        `${narrow.map(({ encoding, name }) => `${String(name)} has the encoding ${String(encoding)}`).join(", ")}, ` +
        `which cannot store every character: some sessions could never be saved. ${advice}`,
        "database-encoding"
      ]
  })

interface Encoding {
  /** Returns its parameter, converted as for a column. */
  readonly echo: string
  /** Returns the encoding that does not store the parameter of `echo`. */
  readonly where: string
  /** Returns the columns of two tables that have an encoding of their own which does not store every character. */
  readonly columns?: string
  readonly advice: string
}

const hex = (text: string) => encodeHex(text).toUpperCase()

const encodings: Record<Dialect, Encoding> = {
  pg: {
    echo: "SELECT $1::text AS echo",
    where: "SELECT 'The database ' || current_database() AS name, current_setting('server_encoding') || " +
      "' (client: ' || current_setting('client_encoding') || ')' AS encoding",
    advice: "Create a database with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0."
  },
  mysql: {
    // It compares the bytes too: the columns of names are binary, and a driver with utf8mb3 encodes a character of four bytes as six.
    echo: `SELECT CASE HEX(text) WHEN '${hex(everyLength)}' THEN CONVERT(text USING utf8mb4) END AS echo ` +
      "FROM (SELECT ? AS text) AS sent",
    where: "SELECT 'The connection' AS name, @@character_set_client AS encoding",
    columns: "SELECT CONCAT('The column ', table_name, '.', column_name) AS name, character_set_name AS encoding " +
      "FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name IN (?, ?) " +
      "AND character_set_name <> 'utf8mb4'",
    advice: "Set it to utf8mb4."
  },
  sqlite: {
    echo: "SELECT ? AS echo",
    where: "SELECT 'The database' AS name, encoding FROM pragma_encoding",
    advice: "Create a database with the encoding UTF-8."
  }
}
