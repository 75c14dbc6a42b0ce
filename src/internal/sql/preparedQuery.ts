/**
 * Executes prepared statements of Postgres without a description of their rows. `pg` asks for a description of the rows at each execution, and builds
 * its parsers from it, which takes as long as everything else that it does for a load. The description of a prepared statement does not
 * change: the server refuses to execute it when its result would be another.
 */
import * as Predicate from "effect/Predicate"
import type { Row } from "./rows.js"

/** Receives the outcome of a statement. */
export type Done = (error: unknown, result?: { readonly rows: ReadonlyArray<Row> }) => void

/** What is needed of the protocol of `pg`. */
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

/** Whether a client of `pg` has prepared a statement. */
export const isPrepared = (client: object, name: string, text: string): boolean => {
  const protocol = Predicate.hasProperty(client, "connection") ? client.connection : undefined
  return isProtocol(protocol) && protocol.parsedStatements[name] === text
}

/**
 * A statement for `Client.query` of `pg`, which calls these methods as it does for its own queries. Every value of a row is a text, as the
 * server sends it.
 */
export class PreparedQuery {
  readonly #columns: ReadonlyArray<string>
  readonly #values: ReadonlyArray<string | null>
  readonly #rows: Array<Row> = []

  constructor(
    /** Read by the client after an error. */
    readonly name: string,
    columns: ReadonlyArray<string>,
    values: ReadonlyArray<unknown>,
    /** The client replaces it if it has a time limit for queries. */
    public callback: Done
  ) {
    this.#columns = columns
    this.#values = values.map((value) => Predicate.isNullable(value) ? null : String(value))
  }

  submit(protocol: unknown): Error | null {
    if (!isProtocol(protocol)) return new TypeError("the connection does not speak the protocol of pg")
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
