/**
 * Executes statements on the clients of `pg`.
 *
 * A statement with a name is prepared by the server once for each connection, since planning takes longer than execution. From its second
 * execution on it is sent without a request for the description of its rows: `pg` asks for that at each execution and builds its parsers
 * from it, which takes as long as everything else that it does for a load. The description of a prepared statement does not change: the
 * server rejects its execution if the columns of the result would differ.
 */
import * as Predicate from "effect/Predicate"
import { codeOf } from "./errors.js"
import type { Client, Wire } from "./leases.js"
import type { Row } from "./rows.js"

/** The client of `pg` behind a connection. */
interface PgClient extends Client {
  readonly query: (
    statement: PreparedQuery | {
      readonly name?: string
      readonly text: string
      readonly values: ReadonlyArray<unknown>
    },
    done: (
      error: unknown,
      result?: { readonly rows: ReadonlyArray<Row>; readonly fields?: ReadonlyArray<{ readonly name: string }> }
    ) => void
  ) => void
}

const isPgClient = (value: unknown): value is PgClient =>
  Predicate.isRecord(value) && ["query", "on", "off"].every((method) => Predicate.isFunction(value[method]))

/** Executes statements; `names` maps the texts of named statements to their names. */
export const wire = (names: Map<string, string>): Wire<PgClient, ReadonlyArray<Row>> => {
  /** Column names of the results, by the text of a statement that was executed before. */
  const columns = new Map<string, ReadonlyArray<string>>()
  return {
    clientOf: (connection) => {
      const client = Predicate.hasProperty(connection, "pg") ? connection.pg : undefined
      return isPgClient(client) ? client : undefined
    },
    send: (client, text, values, done) => {
      const name = names.get(text)
      const known = name === undefined ? undefined : columns.get(text)
      const protocol = known === undefined ? undefined : protocolOf(client)
      if (name !== undefined && known !== undefined && protocol?.parsedStatements[name] === text) {
        const query = new PreparedQuery(protocol, name, known, values, (error, result) => done(error, result?.rows))
        client.query(query, query.callback)
        return
      }
      client.query(name === undefined ? { text, values } : { name, text, values }, (error, result) => {
        if (result?.fields !== undefined) columns.set(text, result.fields.map(({ name }) => name))
        done(error, result?.rows)
      })
    },
    // A pooler has changed the server connection, or the table has changed: from now on all statements are sent without names.
    isResent: (text, error) => {
      const isLost = names.has(text) && notPrepared.has(codeOf(error))
      if (isLost) names.clear()
      return isLost
    },
    // An error without a severity does not come from the server; otherwise the server or its pooler closes the connection. Servers translate
    // the severity, but not the code. Poolers translate nothing.
    isClosing: (error) =>
      !Predicate.hasProperty(error.cause, "severity") || error.cause.severity === "FATAL" ||
      codeOf(error).startsWith("57P"),
    execute: (connection, text, values) => connection.execute(text, values, undefined)
  }
}

/**
 * Error codes of a named statement that was not executed: a pooler has passed on another server connection, where the name is unknown or
 * belongs to another statement, or the table has changed since.
 */
const notPrepared = new Set(["26000", "42P05", "0A000"])

/** Receives the outcome of a statement. */
type Done = (error: unknown, result?: { readonly rows: ReadonlyArray<Row> }) => void

/** The part of the protocol connection of `pg` that is used here. */
interface Protocol {
  /** The texts of the statements that the server has prepared for this connection, by name. */
  readonly parsedStatements: Readonly<Record<string, unknown>>
  readonly stream: { readonly cork: () => void; readonly uncork: () => void }
  readonly bind: (message: { readonly statement: string; readonly values: ReadonlyArray<string | null> }) => void
  readonly execute: (message: object) => void
  readonly sync: () => void
}

const isProtocol = (value: unknown): value is Protocol =>
  Predicate.isRecord(value) && Predicate.isRecord(value.parsedStatements) &&
  ["bind", "execute", "sync"].every((method) => Predicate.isFunction(value[method])) &&
  Predicate.isRecord(value.stream) && Predicate.isFunction(value.stream.cork) &&
  Predicate.isFunction(value.stream.uncork)

const protocolOf = (client: object): Protocol | undefined => {
  const protocol = Predicate.hasProperty(client, "connection") ? client.connection : undefined
  return isProtocol(protocol) ? protocol : undefined
}

/**
 * A statement for `Client.query` of `pg`, which calls these methods as it does for its own queries. Every value of a row is a text, as the
 * server sends it.
 */
class PreparedQuery {
  readonly #protocol: Protocol
  readonly #columns: ReadonlyArray<string>
  readonly #values: ReadonlyArray<string | null>
  readonly #rows: Array<Row> = []

  constructor(
    protocol: Protocol,
    /** Read by the client after an error. */
    readonly name: string,
    columns: ReadonlyArray<string>,
    values: ReadonlyArray<unknown>,
    /** The client replaces it if it has a time limit for queries. */
    public callback: Done
  ) {
    this.#protocol = protocol
    this.#columns = columns
    this.#values = values.map((value) => Predicate.isNullable(value) ? null : String(value))
  }

  submit(): null {
    const protocol = this.#protocol
    // One write to the socket.
    protocol.stream.cork()
    try {
      protocol.bind({ statement: this.name, values: this.#values })
      protocol.execute({})
      protocol.sync()
    } finally {
      protocol.stream.uncork()
    }
    return null
  }

  handleDataRow({ fields }: { readonly fields: ReadonlyArray<unknown> }): void {
    const row: Record<string, unknown> = {}
    for (let i = 0; i < this.#columns.length; i++) row[this.#columns[i] ?? ""] = fields[i]
    this.#rows.push(row)
  }

  handleError(error: unknown): void {
    this.callback(error)
  }

  handleReadyForQuery(): void {
    this.callback(null, { rows: this.#rows })
  }

  handleCommandComplete(): void {}
  handleEmptyQuery(): void {}
  handlePortalSuspended(): void {}
  handleRowDescription(): void {}
}
