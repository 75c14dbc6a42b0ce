/**
 * Reserved connections of the pools of MySQL and Postgres, and the cancellation of statements whose caller is interrupted.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Runtime from "effect/Runtime"
import { cancel } from "./cancel.js"
import { codeOf, readOnly } from "./errors.js"

/**
 * Runs an effect on one reserved connection. Interruption returns at once; afterwards:
 * - a statement that was waiting for a connection is never sent: a late rotation would log out a visitor whose request has failed;
 * - a statement that was sent is cancelled on the server, and the rest of its transaction is not sent;
 * - the connection is kept until the statement has ended and the server has answered the request to cancel, so that the request cannot
 *   cancel a later statement of another caller on the same connection. After {@link cancelTimeout} it is closed instead, because a pool
 *   never drops a connection without an answer. The request to cancel continues: the server executes a statement even if its connection is
 *   closed, and a busy server accepts new connections late.
 */
export const onConnection = <A>(
  sql: SqlClient.SqlClient,
  effect: Effect.Effect<A, SqlError, SqlClient.TransactionConnection>
): Effect.Effect<A, SqlError> =>
  Effect.flatMap(Effect.runtime<never>(), (runtime) =>
    Effect.async<A, SqlError>((resume) => {
      const run = Runtime.runFork(runtime)
      let busy: Connection | undefined
      let isInterrupted = false
      let cancellation: Cancellation | undefined
      const use = (connection: Connection): Effect.Effect<A, SqlError> => {
        if (isInterrupted) return Effect.interrupt
        busy = connection
        return effect.pipe(
          Effect.provideService(SqlClient.TransactionConnection, [unless(() => isInterrupted, connection), 0]),
          // The server may have become a replica: a new connection may reach the new primary.
          Effect.tapError((error) => Effect.sync(() => readOnly.has(codeOf(error)) && hangUp(connection))),
          Effect.ensuring(
            Effect.suspend(() => cancellation === undefined ? Effect.void : untilReusable(connection, cancellation))
          ),
          // The connection goes back to the pool: an interruption from here on must not cancel the statement of another caller.
          Effect.ensuring(Effect.sync(() => void (busy = undefined)))
        )
      }
      // Reserved in a fiber of its own: a fiber that is interrupted while it waits for the pool would never return the connection.
      run(Effect.scoped(Effect.flatMap(sql.reserve, use))).addObserver((exit) => {
        busy = undefined
        resume(exit)
      })
      return Effect.sync(() => {
        isInterrupted = true
        if (busy !== undefined) cancellation = cancelRequest(run, busy, () => busy !== undefined)
      })
    }))

/**
 * Completes when the connection may be used or closed: with `true` if the request to cancel was sent and answered, with `false` if it was
 * not sent, with `undefined` if that is not known.
 */
export type Cancellation = Effect.Effect<boolean | undefined>

/** Cancels the statement of a connection, and closes the connection if it is still busy after {@link cancelTimeout}. */
export const cancelRequest = (
  run: <A>(effect: Effect.Effect<A>) => Fiber.RuntimeFiber<A>,
  connection: Connection,
  isBusy: () => boolean
): Cancellation => {
  const requested = run(Effect.exit(Effect.timeoutOption(cancel(connection), requestTimeout)))
  const timedOut = run(Effect.delay(Effect.sync(() => isBusy() && hangUp(connection)), cancelTimeout))
  return Effect.raceFirst(
    Effect.map(
      Fiber.join(requested),
      (exit) => Exit.isSuccess(exit) ? Option.getOrUndefined(exit.value) : undefined
    ),
    Effect.as(Fiber.await(timedOut), undefined)
  )
}

/** Waits until nothing can cancel the next statement of the connection, which is closed if that is not certain. */
export const untilReusable = (connection: Connection, cancellation: Cancellation): Effect.Effect<void> =>
  Effect.flatMap(cancellation, (isRequested) => {
    if (isRequested === false) return Effect.void
    const close = Effect.sync(() => hangUp(connection))
    const execute = (statement: string) => connection.executeUnprepared(statement, [], undefined)
    // This statement absorbs a cancellation that arrives after the cancelled statement has ended, and ends a transaction whose COMMIT or
    // ROLLBACK was cancelled. If the connection is closed, the pool has noticed it by the time this fails.
    const last = "pg" in connection ? Effect.orElse(execute("SELECT 1"), () => execute(rollback)) : execute(rollback)
    return Effect.zipRight(isRequested === undefined ? close : Effect.void, Effect.catchAll(last, () => close))
  })

/** A connection that executes nothing but ROLLBACK once its caller was interrupted. */
const unless = (isInterrupted: () => boolean, connection: Connection): Connection => {
  const guarded = <A>(text: string, effect: Effect.Effect<A, SqlError>) =>
    Effect.suspend(() => isInterrupted() && text !== rollback ? Effect.fail(notSent()) : effect)
  return {
    execute: (text, ...rest) => guarded(text, connection.execute(text, ...rest)),
    executeRaw: (text, ...rest) => guarded(text, connection.executeRaw(text, ...rest)),
    executeStream: (...all) => connection.executeStream(...all),
    executeValues: (text, ...rest) => guarded(text, connection.executeValues(text, ...rest)),
    executeUnprepared: (text, ...rest) => guarded(text, connection.executeUnprepared(text, ...rest))
  }
}

const notSent = () =>
  new SqlError({ message: "The statement was not sent", cause: new Error("its caller was interrupted") })

const rollback = "ROLLBACK"

/** Time to wait for the answer to an interrupted statement before its connection is closed. */
export const cancelTimeout = "500 millis"

/** Time limit of the request to cancel. */
const requestTimeout = "10 seconds"

/** Closes the socket of a connection with an error, so that its pool drops it and pending statements fail. */
export const hangUp = (connection: Connection): void => {
  if (Predicate.hasProperty(connection, "conn")) {
    // mysql2
    destroy(connection.conn)
    hangUpOn(connection.conn)
  } else if (Predicate.hasProperty(connection, "pg") && Predicate.hasProperty(connection.pg, "connection")) {
    hangUpOn(connection.pg.connection)
  }
}

const hangUpOn = (driver: unknown): void => {
  if (Predicate.hasProperty(driver, "stream")) destroy(driver.stream, new Error("no answer"))
}

const destroy = (resource: unknown, ...reason: ReadonlyArray<Error>): void => {
  if (Predicate.hasProperty(resource, "destroy") && Predicate.isFunction(resource.destroy)) resource.destroy(...reason)
}

/** Runs statements on one connection in a transaction. `isolation`: the clause of its isolation level; default: that of the server. */
export const inTransaction = <A>(
  sql: SqlClient.SqlClient,
  effect: Effect.Effect<A, SqlError>,
  isolation = ""
): Effect.Effect<A, SqlError> => {
  // Not `sql.withTransaction`: it sends BEGIN, which opens a block, not a transaction, in MariaDB with `sql_mode=ORACLE`.
  const execute = (statement: string) => sql.unsafe(statement).unprepared
  return execute(`START TRANSACTION${isolation}`).pipe(
    Effect.zipRight(effect),
    Effect.zipLeft(execute("COMMIT")),
    Effect.tapError(() => Effect.ignore(execute(rollback)))
  )
}
