/**
 * Executes prepared statements by the driver of each dialect: MySQL and MariaDB, Postgres, SQLite, Cloudflare D1, libSQL.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Statement from "@effect/sql/Statement"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import { sha256 } from "../crypto/primitives.js"
import { isTraced } from "../done.js"
import { integer } from "../record.js"
import { inTransaction, onConnection } from "./connection.js"
import * as Leases from "./leases.js"
import * as PgWire from "./pgWire.js"
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
  readonly changed: Changed
  /** Executes all statements or none, and returns the rows of each. */
  readonly together: (
    prepared: ReadonlyArray<Prepared>,
    parameters: Parameters
  ) => Effect.Effect<ReadonlyArray<ReadonlyArray<Row>>, SqlError>
  /**
   * Runs statements in a transaction, in which each sees what was committed before the first one that reads rows. Absent in SQLite.
   */
  readonly transaction?: <A>(run: (statements: Statements) => Effect.Effect<A, SqlError>) => Effect.Effect<A, SqlError>
}

/** Executes statements inside a transaction of the store. */
export interface Statements {
  readonly rows: Rows
  readonly changed: Changed
}

type Changed = (prepared: Prepared, parameters: Parameters) => Effect.Effect<number, SqlError>

type Rows = (prepared: Prepared, parameters: Parameters) => Effect.Effect<ReadonlyArray<Row>, SqlError>

/** The driver of a client. Postgres sends the `frequent` statements by name. */
export const make = (sql: SqlClient.SqlClient, dialect: Dialect, frequent: ReadonlyArray<Prepared>): Driver => {
  switch (dialect) {
    case "mysql":
      return mysql(sql)
    case "pg":
      return pg(sql, frequent)
    case "sqlite":
      return isD1(sql) ? d1(sql) : isLibsql(sql) ? libsql(sql) : returning(sql)
  }
}

/** Whether statements go over a network: their outcome can be unknown. */
export const isRemote = (sql: SqlClient.SqlClient, dialect: Dialect): boolean =>
  dialect !== "sqlite" || isD1(sql) || (isLibsql(sql) && sql.sdk.protocol !== "file")

/** The tags with which a client executes a statement inside a transaction of the application. */
export const transactionTags = (sql: SqlClient.SqlClient): ReadonlyArray<Context.Tag<unknown, unknown>> =>
  isLibsql(sql) ? [commonTag, libsqlTag] : [commonTag]

const commonTag = Context.GenericTag<unknown, unknown>(SqlClient.TransactionConnection.key)

/** Returns the rows of a statement of the client. */
const rowsOf = (sql: SqlClient.SqlClient): Rows => ({ names, text }, parameters) =>
  sql.unsafe<Row>(text, names.map((name) => parameters[name]))

/** SQLite: a write returns the rows that it has changed, because not every driver counts them. */
const returning = (sql: SqlClient.SqlClient): Driver => {
  const rows = rowsOf(sql)
  return {
    inside: rows,
    rows,
    changed: (prepared, parameters) => Effect.map(rows(prepared, parameters), (rows) => rows.length),
    together: (prepared, parameters) =>
      // The client reports a ROLLBACK that fails on a lost connection as a defect.
      Effect.catchSomeDefect(
        sql.withTransaction(inOrder(rows, prepared, parameters)),
        (defect) => defect instanceof SqlError ? Option.some(Effect.fail(defect)) : Option.none()
      )
  }
}

/** Runs statements one after another. */
const inOrder = (rows: Rows, prepared: ReadonlyArray<Prepared>, parameters: Parameters) =>
  Effect.forEach(prepared, (one) => rows(one, parameters))

/** Runs statements in a transaction on one reserved connection. */
const onOneConnection = (sql: SqlClient.SqlClient, rows: Rows): Driver["together"] => (prepared, parameters) =>
  onConnection(sql, inTransaction(sql, inOrder(rows, prepared, parameters)))

// MySQL and MariaDB

/** The client of `mysql2` behind a connection. */
interface Mysql2Client extends Leases.Client {
  readonly execute: (
    statement: { readonly sql: string; readonly values: ReadonlyArray<unknown> },
    done: (error: unknown, result?: unknown) => void
  ) => void
}

const isMysql2Client = (value: unknown): value is Mysql2Client =>
  Predicate.isRecord(value) && ["execute", "on", "off"].every((method) => Predicate.isFunction(value[method]))

const mysqlWire: Leases.Wire<Mysql2Client, unknown> = {
  clientOf: (connection) => {
    const client = Predicate.hasProperty(connection, "conn") ? connection.conn : undefined
    return isMysql2Client(client) ? client : undefined
  },
  send: (client, text, values, done) => client.execute({ sql: text, values }, done),
  isResent: () => false,
  // An error that the server reports for a statement has `sqlState`; without it the connection is unusable.
  isClosing: ({ cause }) =>
    !Predicate.hasProperty(cause, "sqlState") || (Predicate.hasProperty(cause, "fatal") && cause.fatal === true),
  execute: (connection, text, values) => connection.executeRaw(text, values)
}

const mysql = (sql: SqlClient.SqlClient): Driver => {
  const lease = leasing(sql, mysqlWire, rowsIn)
  const valuesOf = ({ names }: Prepared, parameters: Parameters) =>
    // The driver sends a number as a double, which MySQL rejects as a LIMIT.
    names.map((name) => name === "limit" || name === "keep" ? String(parameters[name]) : parameters[name])
  const inside: Rows = (prepared, parameters) =>
    fitting(
      parameters,
      Effect.map(sql.unsafe<Row>(prepared.text, valuesOf(prepared, parameters)), (rows) => rows.map(readable))
    )
  return {
    inside,
    rows: (prepared, parameters) =>
      fitting(
        parameters,
        Effect.map(
          lease(prepared.text, valuesOf(prepared, parameters), (statement) => statement),
          (result) => rowsIn(result).map(readable)
        )
      ),
    changed: (prepared, parameters) =>
      fitting(
        parameters,
        Effect.flatMap(lease(prepared.text, valuesOf(prepared, parameters), ({ raw }) => raw), affectedRows)
      ),
    together: onOneConnection(sql, inside),
    transaction: (run) =>
      onConnection(
        sql,
        inTransaction(
          sql,
          run({
            rows: inside,
            changed: (prepared, parameters) =>
              fitting(
                parameters,
                Effect.flatMap(sql.unsafe(prepared.text, valuesOf(prepared, parameters)).raw, affectedRows)
              )
          })
        )
      )
  }
}

/** The rows in a result; empty for a write. */
const rowsIn = (result: unknown): ReadonlyArray<Row> => Array.isArray(result) ? result : []

/** Rejects names that are too long: a server without strict mode truncates them, so that different names become equal. */
const fitting = <A>(parameters: Parameters, effect: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
  isTooLong(parameters.namespace) || isTooLong(parameters.subject)
    ? Effect.fail(
      new SqlError({
        message: "The statement was not sent",
        cause: new RangeError("MySQL stores at most 255 characters of a namespace or a subject")
      })
    )
    : effect

// A code unit of UTF-16 becomes at most three bytes of UTF-8.
const isTooLong = (name: string | number | null | undefined): boolean =>
  typeof name === "string" && 3 * name.length > mysqlNameBytes && new TextEncoder().encode(name).length > mysqlNameBytes

/** Decodes the binary columns of names. A value that is not UTF-8 is returned as it is, so that decoding the row reports it. */
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
  const lease = leasing(sql, PgWire.wire(new Map(frequent.map(({ text }) => [text, nameOf(text)]))), (rows) => rows)
  const inside = rowsOf(sql)
  const rows: Rows = ({ names, text }, parameters) =>
    lease(text, names.map((name) => parameters[name]), (statement) => statement)
  return {
    inside,
    rows,
    transaction: (run) =>
      onConnection(
        sql,
        inTransaction(
          sql,
          run({
            rows: inside,
            changed: (prepared, parameters) => Effect.map(inside(prepared, parameters), (rows) => rows.length)
          }),
          // With one snapshot for all statements, those after a lock would not see what was written before it was free.
          " ISOLATION LEVEL READ COMMITTED"
        )
      ),
    changed: (prepared, parameters) =>
      Effect.map(
        rows(prepared, parameters),
        // A statement that may change many rows returns their number instead.
        (rows) => rows[0] !== undefined && "removed" in rows[0] ? column(rows[0], "removed", integer) : rows.length
      ),
    together: onOneConnection(sql, inside)
  }
}

/**
 * Executes statements on leased connections. With a tracer, or a transformer of the application, a statement goes through the client,
 * which creates spans and applies the transformer; `resultOf` chooses what it returns.
 */
const leasing = <C extends Leases.Client, R>(
  sql: SqlClient.SqlClient,
  wire: Leases.Wire<C, R>,
  rowsOf: (result: R) => ReadonlyArray<Row>
) => {
  const query = Leases.make(sql, wire)
  const execute: Connection["execute"] = (text, values) => Effect.map(query(text, values), rowsOf)
  const leased: Connection = {
    execute,
    executeRaw: query,
    executeUnprepared: execute,
    executeStream: (text, values) => Stream.fromIterableEffect(execute(text, values, undefined)),
    executeValues: (text, values) =>
      Effect.map(execute(text, values, undefined), (rows) => rows.map((row) => Object.values(row)))
  }
  return <A>(
    text: string,
    values: ReadonlyArray<unknown>,
    resultOf: (statement: Statement.Statement<Row>) => Effect.Effect<A, SqlError>
  ): Effect.Effect<A | R, SqlError> =>
    Effect.withFiberRuntime((fiber) =>
      isTraced(fiber) || Option.isSome(fiber.getFiberRef(Statement.currentTransformer))
        ? Effect.provideService(resultOf(sql.unsafe<Row>(text, values)), SqlClient.TransactionConnection, [leased, 0])
        : query(text, values)
    )
}

/**
 * The name of a prepared statement. It is a hash of the text, because behind a pooler several processes share the names of one server
 * connection. It is short, because each execution sends it.
 */
const nameOf = (text: string): string => `effect_session_${sha256(new TextEncoder().encode(text)).slice(0, 22)}`

// Cloudflare D1: the SQL of SQLite, over a network, with batches in place of transactions

/** The part of the client of `@effect/sql-d1` that is used here. */
interface D1Client extends SqlClient.SqlClient {
  readonly config: { readonly db: Database }
}

/** The binding of a Worker to a database. */
interface Database {
  readonly prepare: (text: string) => { readonly bind: (...values: ReadonlyArray<unknown>) => unknown }
  readonly batch: (
    statements: ReadonlyArray<unknown>
  ) => Promise<ReadonlyArray<{ readonly results: ReadonlyArray<Row> }>>
}

/** Whether this is a client of `@effect/sql-d1`. */
export const isD1 = (sql: SqlClient.SqlClient): sql is D1Client =>
  Predicate.hasProperty(sql, Symbol.for("@effect/sql-d1/D1Client"))

const d1 = (sql: D1Client): Driver => ({
  ...returning(sql),
  together: (prepared, parameters) =>
    batch(() => {
      const { db } = sql.config
      return db.batch(
        prepared.map(({ names, text }) => db.prepare(text).bind(...names.map((name) => parameters[name])))
      ).then((results) => results.map(({ results }) => results))
    })
})

const batch = (
  run: () => Promise<ReadonlyArray<ReadonlyArray<Row>>>
): Effect.Effect<ReadonlyArray<ReadonlyArray<Row>>, SqlError> =>
  Effect.tryPromise({
    try: run,
    catch: (cause) => new SqlError({ cause, message: "Failed to execute a batch" })
  })

// libSQL: the SQL of SQLite, in a local file or on a server

/** The part of the client of `@effect/sql-libsql` that is used here. */
interface LibsqlClient extends SqlClient.SqlClient {
  readonly config: object
  readonly sdk: {
    /** `file`, or that of a server. */
    readonly protocol: string
    readonly batch: (
      statements: ReadonlyArray<{ readonly sql: string; readonly args: ReadonlyArray<unknown> }>,
      mode: "write"
    ) => Promise<ReadonlyArray<{ readonly rows: ReadonlyArray<Row> }>>
    readonly executeMultiple: (text: string) => Promise<void>
  }
}

/** Whether this is a client of `@effect/sql-libsql`. */
export const isLibsql = (sql: SqlClient.SqlClient): sql is LibsqlClient =>
  Predicate.hasProperty(sql, Symbol.for("@effect/sql-libsql/LibsqlClient"))

/** This client has a tag of its own for its transactions. */
const libsqlTag = Context.GenericTag<unknown, unknown>("@effect/sql-libsql/LibsqlClient/LibsqlTransaction")

// A batch, because a transaction of this client leaves its connection open, and takes a round trip for each statement.
const libsql = (sql: LibsqlClient): Driver => ({
  ...returning(sql),
  together: (prepared, parameters) =>
    // Waits for a transaction of the application, which locks a local file.
    Effect.scoped(Effect.zipRight(
      sql.reserve,
      batch(() =>
        sql.sdk.batch(
          prepared.map(({ names, text }) => ({ sql: text, args: names.map((name) => parameters[name]) })),
          "write"
        ).then((results) => results.map(({ rows }) => rows))
      )
    ))
})

/** Executes a statement of libSQL with null parameters. */
export const executeWithoutRows = (sql: LibsqlClient, text: string): Effect.Effect<void, SqlError> =>
  Effect.tryPromise({
    try: () => sql.sdk.executeMultiple(text),
    catch: (cause) => new SqlError({ cause, message: "Failed to execute statement" })
  })
