/**
 * How statements are sent to MySQL and MariaDB.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import { inTransaction, onConnection } from "./connection.js"
import type { Driver } from "./driver.js"
import { inOrder } from "./driver.js"
import type { Parameters, Row } from "./rows.js"
import type { Prepared } from "./statements.js"
import { mysqlNameBytes } from "./tables.js"

export const mysql = (sql: SqlClient.SqlClient): Driver => {
  const statement = ({ names, text }: Prepared, parameters: Parameters) =>
    sql.unsafe<Row>(
      text,
      // A number is sent as a double, which MySQL does not take for a limit.
      names.map((name) => name === "limit" ? String(parameters[name]) : parameters[name])
    )
  const rows: Driver["rows"] = (prepared, parameters) =>
    fitting(parameters, Effect.map(statement(prepared, parameters), (rows) => rows.map(readable)))
  return {
    rows,
    changed: (prepared, parameters) =>
      fitting(parameters, Effect.flatMap(statement(prepared, parameters).raw, affectedRows)),
    alone: (effect) => onConnection(sql, effect),
    together: (prepared, parameters) => inTransaction(sql, inOrder(rows, prepared, parameters))
  }
}

/** Where the server is not strict it would cut off a name that is too long, and take it for another. */
const fitting = <A>(parameters: Parameters, effect: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
  isTooLong(parameters.namespace) || isTooLong(parameters.subject)
    ? Effect.fail(
      new SqlError({
        message: "Nothing was sent",
        cause: new RangeError("MySQL keeps 255 characters of a namespace or a subject")
      })
    )
    : effect

// A unit of UTF-16 becomes three bytes at the most.
const isTooLong = (name: string | number | null | undefined): boolean =>
  typeof name === "string" && 3 * name.length > mysqlNameBytes && new TextEncoder().encode(name).length > mysqlNameBytes

/** Names are kept as bytes. What is no text stays what it is, for the reader of the row to find. */
const readable = (row: Row): Row =>
  Object.fromEntries(
    Object.entries(row).map(([name, value]) => {
      if (!(value instanceof Uint8Array)) return [name, value]
      try {
        return [name, decoder.decode(value)]
      } catch {
        return [name, value]
      }
    })
  )

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

const affectedRows = (result: unknown): Effect.Effect<number, SqlError> =>
  Predicate.hasProperty(result, "affectedRows") && typeof result.affectedRows === "number"
    ? Effect.succeed(result.affectedRows)
    : Effect.fail(new SqlError({ message: "The driver does not count rows", cause: new TypeError() }))
