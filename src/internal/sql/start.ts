/**
 * Checks, when a store is made, that its database can keep sessions: every character comes back as it was sent, the tables
 * are there, and the user may read and write them. Changes nothing in the database.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import { encodeBase64Url, encodeHex } from "effect/Encoding"
import * as Option from "effect/Option"
import { SessionConfigError } from "../../SessionConfigError.js"
import { randomBytes } from "../crypto/primitives.js"
import { codeOf, denied, isUnmigrated, readOnly, refusesCharacter } from "./errors.js"
import type { Row } from "./rows.js"
import type { Prepared, Statements } from "./statements.js"
import type { Dialect, Tables } from "./tables.js"

/**
 * Fails if the database answers that it cannot keep sessions. A database that does not answer is not a wrong configuration:
 * it may be back before the first request.
 */
export const check = (
  sql: SqlClient.SqlClient,
  dialect: Dialect,
  tables: Tables,
  statement: Statements
): Effect.Effect<void, SessionConfigError> => {
  // A parameter without a value meets no row.
  const send = ({ names, text }: Prepared, before = "") => sql.unsafe(`${before}${text}`, names.map(() => null))
  return Effect.gen(function*() {
    const unstorable = yield* encodingProblem(sql, dialect, tables)
    if (unstorable !== undefined) return unstorable
    // To explain a statement, a database resolves its names and the user's privileges, and does not run it. The text is a new
    // one each time: the client of SQLite caches texts, also those that it could not prepare.
    const explain = `EXPLAIN /* ${encodeBase64Url(randomBytes(9))} */ `
    for (const name of ["load", "create", "rotate", "raiseEpoch"] as const) yield* send(statement[name], explain)
    // It deletes nothing; a database that is read-only refuses to run it.
    yield* send(statement.destroy)
    return undefined
  }).pipe(
    Effect.catchAll((error) => Effect.succeed(problemOf(error, tables))),
    Effect.disconnect,
    Effect.timeoutOption("10 seconds"),
    Effect.flatMap(Option.match({
      onNone: () => Effect.void,
      onSome: (problem) =>
        problem === undefined ? Effect.void : Effect.fail(new SessionConfigError({ subject: "SqlStore", problem }))
    }))
  )
}

/** The sentence for an answer that every request would get. */
const problemOf = (error: SqlError, { epochs, prefix, schema, sessions }: Tables): string | undefined => {
  const [code, message] = [codeOf(error), messageOf(error)]
  const tables = `The tables ${sessions} and ${epochs}`
  if (isUnmigrated(code, message)) {
    const names = [
      ...prefix === "effect_" ? [] : [["prefix", `"${prefix}"`]],
      ...schema === undefined ? [] : [["schema", schema]]
    ]
    const option = names.map(([name, value]) => ` --${name} ${value}`).join("")
    const argument = names.length === 0 ? "" : `{ ${names.map(([name, value]) => `${name}: ${value}`).join(", ")} }`
    return `${tables} are missing or out of date (${message}). Run "npx effect-session migrate --database-url ` +
      `<url>${option}" before the server starts, or provide SqlMigrations.layerWith(${argument}) to this layer.`
  }
  if (denied.has(code)) {
    return `${tables} may not be used by this user of the database (${message}). Grant it SELECT, INSERT, UPDATE and ` +
      `DELETE on both.`
  }
  return readOnly.has(code) || code.startsWith("SQLITE_READONLY")
    ? `The database is read-only (${message}). Connect to one that can be written: not a replica; with SQLite, a file and ` +
      `a directory that this process may write.`
    : undefined
}

const messageOf = ({ cause }: SqlError): string => cause instanceof Error ? cause.message.split("\n", 1).join("") : ""

/** A character of each length that UTF-8 has, from one byte to four. */
const everyLength = "a\u00e9\u6f22\u{1f600}"

/** What does not keep every character: the database, the connection, or a column. */
const encodingProblem = (
  sql: SqlClient.SqlClient,
  dialect: Dialect,
  tables: Tables
): Effect.Effect<string | undefined, SqlError> =>
  Effect.gen(function*() {
    const { advice, columns, echo, where } = encodings[dialect]
    const [echoed] = yield* Effect.catchIf(
      sql.unsafe<Row>(echo, [everyLength]),
      (error) => refusesCharacter.has(codeOf(error)),
      () => Effect.succeed([])
    )
    const narrow = echoed?.echo !== everyLength
      ? yield* sql.unsafe<Row>(where)
      : columns === undefined
      ? []
      : yield* sql.unsafe<Row>(columns, [tables.sessions, tables.epochs])
    return narrow.length === 0
      ? undefined
      : `${narrow.map(({ encoding, name }) => `${String(name)} has the encoding ${String(encoding)}`).join(", ")}, ` +
        `which cannot hold every character: some sessions could never be saved. ${advice}`
  })

interface Encoding {
  /** Gives back its parameter, after the way that text takes into a column. */
  readonly echo: string
  /** Names the encoding that does not hold what was to be given back. */
  readonly where: string
  /** Names the columns of two tables whose encoding does not hold everything, where they have their own. */
  readonly columns?: string
  readonly advice: string
}

const hex = (text: string) => encodeHex(text).toUpperCase()

const encodings: Record<Dialect, Encoding> = {
  pg: {
    echo: "SELECT $1::text AS echo",
    where: "SELECT 'The database ' || current_database() AS name, current_setting('server_encoding') || " +
      "' (client: ' || current_setting('client_encoding') || ')' AS encoding",
    advice: "Make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0."
  },
  mysql: {
    // Its bytes, too: the columns of names hold bytes, and a driver that speaks utf8mb3 spells four bytes as six.
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
    advice: "Make one whose encoding is UTF-8."
  }
}
