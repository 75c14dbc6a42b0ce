/**
 * What the store asks of a driver.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type { Parameters, Row } from "./rows.js"
import { integer } from "./rows.js"
import type { Prepared } from "./statements.js"

export interface Driver {
  readonly rows: (prepared: Prepared, parameters: Parameters) => Effect.Effect<ReadonlyArray<Row>, SqlError>
  /** How many rows a write has changed. */
  readonly changed: (prepared: Prepared, parameters: Parameters) => Effect.Effect<number, SqlError>
  /** Runs what is not part of a transaction of the application. */
  readonly alone: <A>(effect: Effect.Effect<A, SqlError>) => Effect.Effect<A, SqlError>
  /** Runs statements of which all are done or none, inside `alone`. */
  readonly together: (prepared: ReadonlyArray<Prepared>, parameters: Parameters) => Effect.Effect<void, SqlError>
}

/** Postgres and SQLite: a write names the rows that it has changed, whatever the driver. */
export const returning = (sql: SqlClient.SqlClient): Driver => {
  const rows: Driver["rows"] = ({ names, text }, parameters) =>
    sql.unsafe<Row>(text, names.map((name) => parameters[name]))
  return {
    rows,
    // Postgres counts for us where there may be many, so that they need not be read.
    changed: (prepared, parameters) =>
      Effect.map(
        rows(prepared, parameters),
        (rows) => rows[0] !== undefined && "removed" in rows[0] ? integer(rows[0], "removed") : rows.length
      ),
    alone: (effect) => effect,
    together: (prepared, parameters) =>
      // A connection that is lost cannot be rolled back either, which the client takes for a defect.
      Effect.catchSomeDefect(
        sql.withTransaction(inOrder(rows, prepared, parameters)),
        (defect) => defect instanceof SqlError ? Option.some(Effect.fail(defect)) : Option.none()
      )
  }
}

/** Runs statements one after another. */
export const inOrder = (rows: Driver["rows"], prepared: ReadonlyArray<Prepared>, parameters: Parameters) =>
  Effect.forEach(prepared, (one) => rows(one, parameters), { discard: true })

/** Tables or columns are missing: SQLite says it in words only. */
export const isUnmigrated = (code: string, message: string): boolean =>
  unmigrated.has(code) || /no such (?:table|column)|has no column named/.test(message)

const unmigrated = new Set(["42P01", "42703", "ER_BAD_FIELD_ERROR", "ER_NO_SUCH_TABLE"])

/** What the database itself says of an error. */
export const codeOf = (error: SqlError): string =>
  Predicate.hasProperty(error.cause, "code") ? String(error.cause.code) : ""
