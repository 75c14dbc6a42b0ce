/**
 * How statements are sent to MySQL and MariaDB.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type { Driver } from "./sqlDriver.js"
import { codeOf } from "./sqlDriver.js"
import type { Parameters, Row } from "./sqlRows.js"
import type { Prepared } from "./sqlStatements.js"
import { mysqlNameBytes } from "./sqlTables.js"

export const mysql = (sql: SqlClient.SqlClient): Driver => {
  const statement = ({ names, text }: Prepared, parameters: Parameters) =>
    sql.unsafe<Row>(
      text,
      // A number is sent as a double, which MySQL does not take for a limit.
      names.map((name) => name === "limit" ? String(parameters[name]) : parameters[name])
    )
  return {
    rows: (prepared, parameters) =>
      fitting(parameters, Effect.map(statement(prepared, parameters), (rows) => rows.map(readable))),
    changed: (prepared, parameters) =>
      fitting(parameters, Effect.flatMap(statement(prepared, parameters).raw, affectedRows)),
    alone: (effect) => onConnection(sql, effect),
    transaction: (effect) => {
      // Not by the client, whose "BEGIN" begins a block where MariaDB speaks as Oracle does.
      const say = (statement: string) => sql.unsafe(statement).unprepared
      return say("START TRANSACTION").pipe(
        Effect.zipRight(effect),
        Effect.zipLeft(say("COMMIT")),
        Effect.tapError(() => Effect.ignore(say("ROLLBACK")))
      )
    }
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

/**
 * Runs on one connection. Who is interrupted goes on at once; then
 * - what was still waiting for a connection is never sent: done late, a rotation would take the session from a visitor
 *   who was told that nothing was changed;
 * - what was sent keeps its connection until the answer is there, or for so long that none can be expected. Then the
 *   connection is closed: a pool keeps the ones that are silent for ever, until nothing else is left of it.
 */
const onConnection = <A>(sql: SqlClient.SqlClient, effect: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
  Effect.suspend(() => {
    let busy: Connection | undefined
    const run = Effect.scoped(Effect.flatMap(sql.reserve, (connection) => {
      busy = connection
      return effect.pipe(
        Effect.provideService(SqlClient.TransactionConnection, [connection, 0]),
        Effect.tapError((error) => Effect.sync(() => readOnly.has(codeOf(error)) && hangUp(connection))),
        Effect.ensuring(Effect.sync(() => {
          busy = undefined
        })),
        Effect.uninterruptible
      )
    }))
    const close = Effect.sync(() => busy !== undefined && hangUp(busy))
    return Effect.onInterrupt(
      Effect.disconnect(run),
      () => busy === undefined ? Effect.void : Effect.forkDaemon(Effect.delay(close, patience))
    )
  })

/** The server has become a replica of another, which a new connection may find. */
const readOnly = new Set([
  "ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION",
  "ER_OPTION_PREVENTS_STATEMENT",
  "ER_READ_ONLY_MODE"
])

const patience = "500 millis"

/** Takes the connection out of its pool, and ends its socket as a broken one ends, so that what waits for it fails. */
const hangUp = (connection: Connection): void => {
  if (!Predicate.hasProperty(connection, "conn")) return
  destroy(connection.conn)
  if (Predicate.hasProperty(connection.conn, "stream")) destroy(connection.conn.stream, new Error("no answer"))
}

const destroy = (resource: unknown, ...reason: ReadonlyArray<Error>): void => {
  if (Predicate.hasProperty(resource, "destroy") && Predicate.isFunction(resource.destroy)) resource.destroy(...reason)
}
