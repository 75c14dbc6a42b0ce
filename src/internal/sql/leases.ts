/**
 * Leases of the connections of MySQL and Postgres: a connection executes several statements of a store before it goes back to its pool,
 * because one reservation per statement costs more than the statement.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import { type Cancellation, cancelRequest, cancelTimeout, hangUp, onConnection, untilReusable } from "./connection.js"
import { codeOf, readOnly } from "./errors.js"

/** Executes one statement that is not part of a transaction. */
export type Query<R> = (text: string, values: ReadonlyArray<unknown>) => Effect.Effect<R, SqlError>

/** The client of a driver behind a connection of Effect. */
export interface Client {
  readonly on: (event: "end" | "error", listener: () => void) => void
  readonly off: (event: "end" | "error", listener: () => void) => void
}

/** Executes statements on a client of a driver. `C` is the client, `R` what a statement returns. */
export interface Wire<C extends Client, R> {
  /** The client behind a connection; `undefined` if the connection does not belong to the driver. */
  readonly clientOf: (connection: Connection) => C | undefined
  /** Calls `done` once, with an error or with a result. */
  readonly send: (
    client: C,
    text: string,
    values: ReadonlyArray<unknown>,
    done: (error: unknown, result?: R) => void
  ) => void
  /** Whether the statement was not executed. It is then sent again. */
  readonly isResent: (text: string, error: SqlError) => boolean
  /** Whether the connection closes because of an error. */
  readonly isClosing: (error: SqlError) => boolean
  /** Executes on a connection that does not belong to the driver. */
  readonly execute: (connection: Connection, text: string, values: ReadonlyArray<unknown>) => Effect.Effect<R, SqlError>
}

/** A statement and its caller. */
interface Job<C, R> {
  readonly text: string
  readonly values: ReadonlyArray<unknown>
  /** The sequence number of the job. */
  readonly number: number
  readonly resume: (result: Effect.Effect<R, SqlError>) => void
  /** The lease whose connection executes the statement. */
  lease: Lease<C, R> | undefined
}

/** A connection that is reserved from the pool. */
interface Lease<C, R> {
  readonly connection: Connection
  readonly client: C
  /** Returns the connection to the pool once the effect has ended. */
  readonly end: (before?: Effect.Effect<void>) => void
  /** Waits until the pool knows that the connection is closed, so that it does not pass it on. */
  readonly closed: Effect.Effect<void>
  /** By `performance.now()`. A lease takes no further statement after this time. */
  readonly expiresAt: number
  /** The number of statements that it may still execute. */
  left: number
  /** The statement that is executed. */
  job: Job<C, R> | undefined
  /** Defined if the caller of the statement was interrupted. */
  cancellation: Cancellation | undefined
  /** The turn of the event loop in which the last statement ended. */
  idleSince: number
  isClosed: boolean
}

/** Statements of one lease. A reservation costs about as much CPU time as a statement, so this many make its share of each small. */
const maxStatements = 100

/** Milliseconds after which a lease takes no further statement, so that slow statements do not keep the connection from the application. */
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
 * If the connection does not belong to the driver, each statement reserves its own connection.
 */
export const make = <C extends Client, R>(sql: SqlClient.SqlClient, wire: Wire<C, R>): Query<R> => {
  /** The jobs without a lease, in order of arrival. */
  const waiting = new Set<Job<C, R>>()
  const idle: Array<Lease<C, R>> = []
  let jobs = 0
  let leases = 0
  let reservations = 0
  let turn = 0
  let isSweeping = false
  let isForeign = false

  const submit = (job: Job<C, R>) => {
    const lease = idle.pop()
    if (lease === undefined) {
      waiting.add(job)
      reserve()
    } else {
      send(lease, job)
    }
  }

  const send = (lease: Lease<C, R>, job: Job<C, R>) => {
    lease.left--
    lease.job = job
    job.lease = lease
    const { text, values } = job
    const done = (error: unknown, result?: R) => {
      if (Predicate.isNullable(error) && result !== undefined) {
        release(lease)
        job.resume(Exit.succeed(result))
        return
      }
      const failure = new SqlError({ cause: error, message: "Failed to execute statement" })
      if (lease.cancellation === undefined && wire.isResent(text, failure)) {
        send(lease, job)
        return
      }
      const isClosing = readOnly.has(codeOf(failure)) || wire.isClosing(failure)
      // If the server has become a replica, a new connection may reach the new primary. If the driver has timed out, the server still
      // executes the statement.
      if (isClosing) hangUp(lease.connection)
      lease.job = undefined
      lease.end(
        lease.cancellation !== undefined
          ? untilReusable(lease.connection, lease.cancellation)
          : isClosing
          ? lease.closed
          : Effect.void
      )
      job.resume(Exit.fail(failure))
    }
    try {
      wire.send(lease.client, text, values, done)
    } catch (error) {
      done(error)
    }
  }

  /** Takes the next statement, or makes the lease idle, or ends it. */
  const release = (lease: Lease<C, R>) => {
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
    const client = wire.clientOf(connection)
    if (client === undefined) {
      isForeign = true
      for (const { resume, text, values } of waiting) resume(unleased(text, values))
      waiting.clear()
    }
    // No statement waits: other leases have executed them, or their callers were interrupted.
    if (waiting.size === 0 || client === undefined) return resume(Effect.void)
    const onEnd = () => {
      lease.isClosed = true
      const index = idle.indexOf(lease)
      if (index < 0) return
      idle.splice(index, 1)
      lease.end()
    }
    const lease: Lease<C, R> = {
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
        cancelTimeout
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
   * Fails the statements that were submitted before the reservation, as reservations of their own would have failed. If other leases can
   * execute them, it fails only one.
   */
  const fail = (cause: Cause.Cause<SqlError>, newest: number) => {
    for (const job of waiting) {
      if (job.number > newest) break
      waiting.delete(job)
      job.resume(Exit.failCause(cause))
      if (leases > 0) break
    }
  }

  const abandon = (job: Job<C, R>) => {
    const { lease } = job
    if (waiting.delete(job) || lease?.job !== job) return
    lease.cancellation = cancelRequest(Effect.runFork, lease.connection, () => lease.job === job)
  }

  const unleased: Query<R> = (text, values) =>
    onConnection(
      sql,
      Effect.flatMap(SqlClient.TransactionConnection, ([connection]) => wire.execute(connection, text, values))
    )

  return (text, values) =>
    isForeign ? unleased(text, values) : Effect.async((resume) => {
      const job: Job<C, R> = { text, values, number: ++jobs, resume, lease: undefined }
      submit(job)
      return Effect.sync(() => abandon(job))
    })
}
