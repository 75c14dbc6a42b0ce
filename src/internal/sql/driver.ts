/**
 * How each database is spoken to through its driver: what the drivers, and the servers behind them, do in different ways.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Statement from "@effect/sql/Statement"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import { sha256 } from "../crypto/primitives.js"
import { isTraced } from "../done.js"
import { integer } from "../record.js"
import { inTransaction, onConnection } from "./connection.js"
import * as Leases from "./leases.js"
import type { Parameters, Row } from "./rows.js"
import { column } from "./rows.js"
import type { Prepared } from "./statements.js"
import type { Dialect } from "./tables.js"
import { mysqlNameBytes } from "./tables.js"

/** Sends statements. */
interface Driver {
  /** Reads rows inside a transaction of the application. */
  readonly inside: Rows
  /** Reads rows outside of any transaction. */
  readonly rows: Rows
  /** The number of rows that a write has changed. */
  readonly changed: (prepared: Prepared, parameters: Parameters) => Effect.Effect<number, SqlError>
  /** Executes all statements or none. */
  readonly together: (prepared: ReadonlyArray<Prepared>, parameters: Parameters) => Effect.Effect<void, SqlError>
}

type Rows = (prepared: Prepared, parameters: Parameters) => Effect.Effect<ReadonlyArray<Row>, SqlError>

/** The driver of a client. Postgres sends the `frequent` statements by name. */
export const make = (sql: SqlClient.SqlClient, dialect: Dialect, frequent: ReadonlyArray<Prepared>): Driver => {
  switch (dialect) {
    case "mysql":
      return mysql(sql)
    case "pg":
      return pg(sql, frequent)
    case "sqlite":
      return isD1(sql) ? d1(sql) : returning(sql)
  }
}

/** Rows by the statements of the client. */
const rowsOf = (sql: SqlClient.SqlClient): Rows => ({ names, text }, parameters) =>
  sql.unsafe<Row>(text, names.map((name) => parameters[name]))

/** SQLite: a write returns the rows that it has changed, whatever the driver. */
const returning = (sql: SqlClient.SqlClient): Driver => {
  const rows = rowsOf(sql)
  return {
    inside: rows,
    rows,
    changed: (prepared, parameters) => Effect.map(rows(prepared, parameters), (rows) => rows.length),
    together: (prepared, parameters) =>
      // A connection that is lost cannot be rolled back either, which the client takes for a defect.
      Effect.catchSomeDefect(
        sql.withTransaction(inOrder(rows, prepared, parameters)),
        (defect) => defect instanceof SqlError ? Option.some(Effect.fail(defect)) : Option.none()
      )
  }
}

/** Runs statements one after another. */
const inOrder = (rows: Rows, prepared: ReadonlyArray<Prepared>, parameters: Parameters) =>
  Effect.forEach(prepared, (one) => rows(one, parameters), { discard: true })

// MySQL and MariaDB

const mysql = (sql: SqlClient.SqlClient): Driver => {
  const statement = ({ names, text }: Prepared, parameters: Parameters) =>
    sql.unsafe<Row>(
      text,
      // A number is sent as a double, which MySQL does not take for a limit.
      names.map((name) => name === "limit" ? String(parameters[name]) : parameters[name])
    )
  const inside: Rows = (prepared, parameters) =>
    fitting(parameters, Effect.map(statement(prepared, parameters), (rows) => rows.map(readable)))
  return {
    inside,
    rows: (prepared, parameters) => onConnection(sql, inside(prepared, parameters)),
    changed: (prepared, parameters) =>
      onConnection(sql, fitting(parameters, Effect.flatMap(statement(prepared, parameters).raw, affectedRows))),
    together: (prepared, parameters) => onConnection(sql, inTransaction(sql, inOrder(inside, prepared, parameters)))
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

// Postgres

const pg = (sql: SqlClient.SqlClient, frequent: ReadonlyArray<Prepared>): Driver => {
  const query = Leases.make(sql, new Map(frequent.map(({ text }) => [text, nameOf(text)])))
  const inside = rowsOf(sql)
  const leased = connectionOf(query)
  const rows: Rows = (prepared, parameters) =>
    Effect.withFiberRuntime((fiber) =>
      isTraced(fiber) || Option.isSome(fiber.getFiberRef(Statement.currentTransformer))
        ? Effect.provideService(inside(prepared, parameters), SqlClient.TransactionConnection, [leased, 0])
        : query(prepared.text, prepared.names.map((name) => parameters[name]))
    )
  return {
    inside,
    rows,
    changed: (prepared, parameters) =>
      Effect.map(
        rows(prepared, parameters),
        // A statement that may change many rows returns their number instead.
        (rows) => rows[0] !== undefined && "removed" in rows[0] ? column(rows[0], "removed", integer) : rows.length
      ),
    together: (prepared, parameters) => onConnection(sql, inTransaction(sql, inOrder(inside, prepared, parameters)))
  }
}

/** A leased connection for the statements of the client, which create spans and apply the transformer of the application. */
const connectionOf = (query: Leases.Query): Connection => {
  const execute: Connection["execute"] = (text, values) => query(text, values)
  return {
    execute,
    executeRaw: query,
    executeUnprepared: execute,
    executeStream: (text, values) => Stream.fromIterableEffect(query(text, values)),
    executeValues: (text, values) => Effect.map(query(text, values), (rows) => rows.map((row) => Object.values(row)))
  }
}

/**
 * The name of a prepared statement. It is a hash of the text, because behind a pooler several processes share the names of one server
 * connection. It is short, because each execution sends it.
 */
const nameOf = (text: string): string => `effect_session_${sha256(new TextEncoder().encode(text)).slice(0, 22)}`

// Cloudflare D1: it speaks as SQLite does, is reached over a network, and has batches in place of transactions

/** What is asked of the client of `@effect/sql-d1`. */
interface D1Client extends SqlClient.SqlClient {
  readonly config: { readonly db: Database }
}

/** A binding to a database. */
interface Database {
  readonly prepare: (text: string) => { readonly bind: (...values: ReadonlyArray<unknown>) => unknown }
  readonly batch: (statements: ReadonlyArray<unknown>) => Promise<unknown>
}

/** Whether this is a client of D1. */
export const isD1 = (sql: SqlClient.SqlClient): sql is D1Client =>
  Predicate.hasProperty(sql, Symbol.for("@effect/sql-d1/D1Client"))

const d1 = (sql: D1Client): Driver => ({
  ...returning(sql),
  together: (prepared, parameters) =>
    Effect.tryPromise({
      try: () => {
        const { db } = sql.config
        return db.batch(
          prepared.map(({ names, text }) => db.prepare(text).bind(...names.map((name) => parameters[name])))
        )
      },
      catch: (cause) => new SqlError({ cause, message: "Failed to execute a batch" })
    })
})
