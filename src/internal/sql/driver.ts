/**
 * How each database is spoken to through its driver: what the drivers, and the servers behind them, do in different ways.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { sha256 } from "../crypto/primitives.js"
import { integer } from "../record.js"
import { inTransaction, onConnection } from "./connection.js"
import { codeOf } from "./errors.js"
import type { Parameters, Row } from "./rows.js"
import { column } from "./rows.js"
import type { Prepared } from "./statements.js"
import type { Dialect } from "./tables.js"
import { mysqlNameBytes } from "./tables.js"

/** Sends statements. */
interface Driver {
  readonly rows: (prepared: Prepared, parameters: Parameters) => Effect.Effect<ReadonlyArray<Row>, SqlError>
  /** How many rows a write has changed. */
  readonly changed: (prepared: Prepared, parameters: Parameters) => Effect.Effect<number, SqlError>
  /** Runs what is not part of a transaction of the application. */
  readonly alone: <A>(effect: Effect.Effect<A, SqlError>) => Effect.Effect<A, SqlError>
  /** Runs statements of which all are done or none, inside `alone`. */
  readonly together: (prepared: ReadonlyArray<Prepared>, parameters: Parameters) => Effect.Effect<void, SqlError>
}

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

/** Postgres and SQLite: a write names the rows that it has changed, whatever the driver. */
const returning = (sql: SqlClient.SqlClient): Driver => {
  const rows: Driver["rows"] = ({ names, text }, parameters) =>
    sql.unsafe<Row>(text, names.map((name) => parameters[name]))
  return {
    rows,
    // Postgres counts for us where there may be many, so that they need not be read.
    changed: (prepared, parameters) =>
      Effect.map(
        rows(prepared, parameters),
        (rows) => rows[0] !== undefined && "removed" in rows[0] ? column(rows[0], "removed", integer) : rows.length
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
const inOrder = (rows: Driver["rows"], prepared: ReadonlyArray<Prepared>, parameters: Parameters) =>
  Effect.forEach(prepared, (one) => rows(one, parameters), { discard: true })

// MySQL and MariaDB

const mysql = (sql: SqlClient.SqlClient): Driver => {
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

// Postgres

const pg = (sql: SqlClient.SqlClient, frequent: ReadonlyArray<Prepared>): Driver => {
  const names: Names = new Map(frequent.map(({ text }) => [text, nameOf(text)]))
  const driver = returning(sql)
  return {
    ...driver,
    alone: (effect) => onConnection(sql, effect, (connection) => naming(connection, names)),
    together: (prepared, parameters) => inTransaction(sql, inOrder(driver.rows, prepared, parameters))
  }
}

/** The names of statements, by their texts. */
type Names = Map<string, string>

/** A name that no other text has, whoever else speaks to the same server through the same pooler. */
const nameOf = (text: string): string => `effect_session_${sha256(new TextEncoder().encode(text))}`

/** What is asked of the driver of a connection, to which a connection of Effect tells no names. */
interface Client {
  readonly query: (
    statement: { readonly name: string; readonly text: string; readonly values: Array<unknown> },
    done: (error: Error | null, result: { readonly rows: ReadonlyArray<Row> }) => void
  ) => void
}

const isClient = (value: unknown): value is Client =>
  Predicate.hasProperty(value, "query") && Predicate.isFunction(value.query)

/**
 * A connection that sends these statements by their names: the server then plans them once for each connection, which takes
 * it longer than to do them. Where a name is not kept, nothing was done, and from then on nothing is named.
 */
const naming = (connection: Connection, names: Names): Connection => {
  const client = Predicate.hasProperty(connection, "pg") ? connection.pg : undefined
  if (!isClient(client)) return connection
  return {
    execute: (text, values, transformRows) => {
      const unnamed = connection.execute(text, values, transformRows)
      const name = names.get(text)
      if (name === undefined || transformRows !== undefined) return unnamed
      return Effect.catchIf(query(client, name, text, values), isNotKept, () => {
        names.clear()
        return unnamed
      })
    },
    executeRaw: (text, values) => connection.executeRaw(text, values),
    executeStream: (text, values, transformRows) => connection.executeStream(text, values, transformRows),
    executeValues: (text, values) => connection.executeValues(text, values),
    executeUnprepared: (text, values, transformRows) => connection.executeUnprepared(text, values, transformRows)
  }
}

const query = (client: Client, name: string, text: string, values: ReadonlyArray<unknown>) =>
  Effect.async<ReadonlyArray<Row>, SqlError>((resume) =>
    client.query({ name, text, values: [...values] }, (cause, result) =>
      resume(
        cause === null
          ? Effect.succeed(result.rows)
          : Effect.fail(new SqlError({ cause, message: "Failed to execute statement" }))
      ))
  )

/**
 * A pooler between us and the server has given us another connection, where the name is not known or is somebody else's, or
 * the table is another one since.
 */
const isNotKept = (error: SqlError): boolean => ["26000", "42P05", "0A000"].includes(codeOf(error))

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
