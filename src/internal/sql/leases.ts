/**
 * Leases of Postgres connections: a connection executes several statements of a store before it goes back to its pool, because a
 * reservation of its own for every statement costs more than the statement.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import { type Cancellation, cancelRequest, hangUp, onConnection, patience, untilReusable } from "./connection.js"
import { codeOf, readOnly } from "./errors.js"
import { isPrepared, PreparedQuery } from "./preparedQuery.js"
import type { Row } from "./rows.js"

/** Executes one statement that is not part of a transaction. */
export type Query = (text: string, values: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<Row>, SqlError>

/** The names of prepared statements, by their texts. */
export type Names = Map<string, string>

/** The client of `pg` behind a connection. */
interface Client {
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
  readonly on: (event: "end" | "error", listener: () => void) => void
  readonly off: (event: "end" | "error", listener: () => void) => void
}

/** A statement and its caller. */
interface Job {
  readonly text: string
  readonly values: ReadonlyArray<unknown>
  /** The position in the order of all jobs. */
  readonly number: number
  readonly resume: (result: Effect.Effect<ReadonlyArray<Row>, SqlError>) => void
  /** The lease whose connection executes the statement. */
  lease: Lease | undefined
}

/** A connection that is reserved from the pool. */
interface Lease {
  readonly connection: Connection
  readonly client: Client
  /** Returns the connection to the pool once the effect has ended. */
  readonly end: (before?: Effect.Effect<void>) => void
  /** Waits until the pool knows that the connection is closed, so that it does not pass it on. */
  readonly closed: Effect.Effect<void>
  /** By `performance.now()`. A lease takes no further statement after this time. */
  readonly expiresAt: number
  /** Further statements that it takes. */
  left: number
  /** The statement that is executed. */
  job: Job | undefined
  /** Defined if the caller of the statement was interrupted. */
  cancellation: Cancellation | undefined
  /** The turn of the event loop in which the last statement ended. */
  idleSince: number
  isClosed: boolean
}

/** Statements of one lease. A reservation costs this process about as much as a statement, so that it adds little to each of them. */
const maxStatements = 100

/** Milliseconds after which a lease ends earlier, so that slow statements do not keep the application from the connection. */
const maxMillis = 20

/**
 * Reservations that wait in the pool at the same time. Few, because each that is in the queue before a query of the application delays
 * that query by one lease. More than one, because a pool opens its connections one per reservation, and one may be slow to open.
 */
const maxReservations = 2

/**
 * Executes the statements of one store on leased connections. A statement takes an idle lease or waits for the next one, in order of
 * arrival. A connection goes back to the pool after {@link maxStatements} or {@link maxMillis}, after any error, and if there is no
 * statement for it during one whole turn of the event loop. Interruption works as in `onConnection`.
 *
 * Statements with a name are prepared by the server once for each connection, since planning takes longer than execution. If the
 * server does not know a name, nothing was executed: the statement is sent again, and no names are used from then on.
 *
 * Where the connection is not one of `pg`, each statement reserves its own.
 */
export const make = (sql: SqlClient.SqlClient, names: Names): Query => {
  /** In order of arrival. */
  const waiting = new Set<Job>()
  const idle: Array<Lease> = []
  /** Column names of the results of statements that were executed before, by text. */
  const columns = new Map<string, ReadonlyArray<string>>()
  let jobs = 0
  let leases = 0
  let reservations = 0
  let turn = 0
  let isSweeping = false
  let isForeign = false

  const submit = (job: Job) => {
    const lease = idle.pop()
    if (lease === undefined) {
      waiting.add(job)
      reserve()
    } else {
      send(lease, job)
    }
  }

  const send = (lease: Lease, job: Job) => {
    lease.left--
    lease.job = job
    job.lease = lease
    const { text, values } = job
    const name = names.get(text)
    const known = name === undefined || !isPrepared(lease.client, name, text) ? undefined : columns.get(text)
    const done: Parameters<Client["query"]>[1] = (error, result) => {
      if (Predicate.isNullable(error) && result !== undefined) {
        if (result.fields !== undefined) columns.set(text, result.fields.map(({ name }) => name))
        release(lease)
        job.resume(Exit.succeed(result.rows))
        return
      }
      const failure = new SqlError({ cause: error, message: "Failed to execute statement" })
      if (name !== undefined && lease.cancellation === undefined && notKept.has(codeOf(failure))) {
        names.clear()
        send(lease, job)
        return
      }
      // The server has become a replica: a new connection may reach the new primary.
      if (readOnly.has(codeOf(failure))) hangUp(lease.connection)
      lease.job = undefined
      lease.end(
        lease.cancellation !== undefined
          ? untilReusable(lease.connection, lease.cancellation)
          : isClosing(failure, codeOf(failure))
          ? lease.closed
          : Effect.void
      )
      job.resume(Exit.fail(failure))
    }
    try {
      lease.client.query(
        name === undefined
          ? { text, values }
          : known === undefined
          ? { name, text, values }
          : new PreparedQuery(name, known, values, done),
        done
      )
    } catch (error) {
      done(error)
    }
  }

  /** Takes the next statement, or makes the lease idle, or ends it. */
  const release = (lease: Lease) => {
    lease.job = undefined
    if (lease.cancellation !== undefined) return lease.end(untilReusable(lease.connection, lease.cancellation))
    if (lease.isClosed || lease.left <= 0 || performance.now() >= lease.expiresAt) return lease.end()
    for (const job of waiting) {
      waiting.delete(job)
      return send(lease, job)
    }
    lease.idleSince = turn
    idle.push(lease)
    if (!isSweeping) {
      isSweeping = true
      setImmediate(sweep)
    }
  }

  /** Ends the leases that were idle during a whole turn of the event loop: busy turns are long, and idle ones take microseconds. */
  const sweep = () => {
    turn++
    for (let lease = idle[0]; lease !== undefined && lease.idleSince < turn - 1; lease = idle[0]) {
      idle.shift()
      lease.end()
    }
    isSweeping = idle.length > 0
    if (isSweeping) setImmediate(sweep)
  }

  const reserve = () => {
    while (reservations < Math.min(waiting.size, maxReservations)) {
      reservations++
      const newest = jobs
      let isLeased = false
      const lease = Effect.flatMap(sql.reserve, (connection) =>
        Effect.async<void>((resume) => {
          isLeased = true
          reservations--
          begin(connection, resume)
        }))
      Effect.runFork(Effect.scoped(lease)).addObserver((exit) => {
        if (isLeased) {
          leases--
        } else {
          reservations--
          if (Exit.isFailure(exit)) fail(exit.cause, newest)
        }
        reserve()
      })
    }
  }

  const begin = (connection: Connection, resume: (before: Effect.Effect<void>) => void) => {
    leases++
    const client = Predicate.hasProperty(connection, "pg") ? connection.pg : undefined
    if (!isClient(client)) {
      isForeign = true
      for (const { resume, text, values } of waiting) resume(unleased(text, values))
      waiting.clear()
    }
    // Other leases have executed all statements, or their callers were interrupted.
    if (waiting.size === 0 || !isClient(client)) return resume(Effect.void)
    const onEnd = () => {
      lease.isClosed = true
      const index = idle.indexOf(lease)
      if (index < 0) return
      idle.splice(index, 1)
      lease.end()
    }
    const lease: Lease = {
      connection,
      client,
      expiresAt: performance.now() + maxMillis,
      left: maxStatements,
      end: (before = Effect.void) =>
        resume(Effect.ensuring(
          before,
          Effect.sync(() => {
            client.off("end", onEnd)
            client.off("error", onEnd)
          })
        )),
      closed: Effect.ignore(Effect.timeout(
        Effect.async((resume) => {
          const onClosed = () => resume(Effect.void)
          client.on("end", onClosed)
          client.on("error", onClosed)
          if (lease.isClosed) onClosed()
          return Effect.sync(() => {
            client.off("end", onClosed)
            client.off("error", onClosed)
          })
        }),
        patience
      )),
      job: undefined,
      cancellation: undefined,
      idleSince: 0,
      isClosed: false
    }
    client.on("end", onEnd)
    client.on("error", onEnd)
    release(lease)
  }

  /**
   * Fails the statements that have waited for as long as the reservation did, as reservations of their own would have failed. If there
   * are other leases to execute them, it fails one.
   */
  const fail = (cause: Cause.Cause<SqlError>, newest: number) => {
    for (const job of waiting) {
      if (job.number > newest) break
      waiting.delete(job)
      job.resume(Exit.failCause(cause))
      if (leases > 0) break
    }
  }

  const abandon = (job: Job) => {
    const { lease } = job
    if (waiting.delete(job) || lease?.job !== job) return
    lease.cancellation = cancelRequest(Effect.runFork, lease.connection, () => lease.job === job)
  }

  const unleased: Query = (text, values) =>
    onConnection(
      sql,
      Effect.flatMap(SqlClient.TransactionConnection, ([connection]) => connection.execute(text, values, undefined))
    )

  return (text, values) =>
    isForeign ? unleased(text, values) : Effect.async((resume) => {
      const job: Job = { text, values, number: ++jobs, resume, lease: undefined }
      submit(job)
      return Effect.sync(() => abandon(job))
    })
}

const isClient = (value: unknown): value is Client =>
  Predicate.isRecord(value) && ["query", "on", "off"].every((method) => Predicate.isFunction(value[method]))

/**
 * Whether a connection closes with an error: the server has not reported it, or the server or its pooler closes the connection, or it is
 * read-only, in which case this process has closed the connection.
 */
const isClosing = ({ cause }: SqlError, code: string): boolean =>
  // Servers translate the severity, but not the code. Poolers translate nothing.
  !Predicate.hasProperty(cause, "severity") || cause.severity === "FATAL" || code.startsWith("57P") ||
  readOnly.has(code)

/**
 * Error codes of a named statement that was not executed: a pooler has passed on another server connection, where the name is unknown or
 * belongs to another statement, or the table has changed since.
 */
const notKept = new Set(["26000", "42P05", "0A000"])
