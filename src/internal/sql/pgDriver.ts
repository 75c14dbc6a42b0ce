/**
 * How statements are sent to Postgres.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import { sha256 } from "../crypto/primitives.js"
import { inTransaction, onConnection } from "./connection.js"
import type { Driver } from "./driver.js"
import { codeOf, inOrder, returning } from "./driver.js"
import type { Row } from "./rows.js"
import type { Prepared } from "./statements.js"

export const pg = (sql: SqlClient.SqlClient, frequent: ReadonlyArray<Prepared>): Driver => {
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
