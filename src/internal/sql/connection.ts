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
 * - a statement that was waiting for a connection is never sent: a late rotation would take the session from a visitor whose request
 *   has failed;
 * - a statement that was sent is cancelled on the server, and the rest of its transaction is not sent;
 * - the connection is kept until the statement has ended and the server has answered the request to cancel, so that the request cannot
 *   cancel a later statement of somebody else on the same connection. After {@link patience} it is closed instead, because a pool never
 *   drops a connection without an answer. The request to cancel continues: the server executes a statement even if its connection is
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
      let isGone = false
      let cancellation: Cancellation | undefined
      const use = (connection: Connection): Effect.Effect<A, SqlError> => {
        if (isGone) return Effect.interrupt
        busy = connection
        return effect.pipe(
          Effect.provideService(SqlClient.TransactionConnection, [unless(() => isGone, connection), 0]),
          // It has become one: a new connection may find the other.
          Effect.tapError((error) => Effect.sync(() => readOnly.has(codeOf(error)) && hangUp(connection))),
          Effect.ensuring(
            Effect.suspend(() => cancellation === undefined ? Effect.void : untilReusable(connection, cancellation))
          ),
          // From here on it is another's: whoever goes now has nothing to cancel.
          Effect.ensuring(Effect.sync(() => void (busy = undefined)))
        )
      }
      // A pool that is asked for a connection gives it to somebody, who must be there to give it back.
      run(Effect.scoped(Effect.flatMap(sql.reserve, use))).addObserver((exit) => {
        busy = undefined
        resume(exit)
      })
      return Effect.sync(() => {
        isGone = true
        if (busy !== undefined) cancellation = cancelRequest(run, busy, () => busy !== undefined)
      })
    }))

/**
 * Completes when the connection may be used or closed: with true if the server was asked to cancel and has answered, with false if it
 * was not asked, with undefined if that is not known.
 */
export type Cancellation = Effect.Effect<boolean | undefined>

/** Asks the server to cancel what a connection executes, and closes the connection if it is still busy after {@link patience}. */
export const cancelRequest = (
  run: <A>(effect: Effect.Effect<A>) => Fiber.RuntimeFiber<A>,
  connection: Connection,
  isBusy: () => boolean
): Cancellation => {
  const asked = run(Effect.exit(Effect.timeoutOption(cancel(connection), reach)))
  const hasWaited = run(Effect.delay(Effect.sync(() => isBusy() && hangUp(connection)), patience))
  return Effect.raceFirst(
    Effect.map(
      Fiber.join(asked),
      (exit) => Exit.isSuccess(exit) ? Option.getOrUndefined(exit.value) : undefined
    ),
    Effect.as(Fiber.await(hasWaited), undefined)
  )
}

/** Waits until nothing can cancel the next statement of the connection, which is closed if that is not certain. */
export const untilReusable = (connection: Connection, cancellation: Cancellation): Effect.Effect<void> =>
  Effect.flatMap(cancellation, (isAsked) => {
    if (isAsked === false) return Effect.void
    const close = Effect.sync(() => hangUp(connection))
    const say = (statement: string) => connection.executeUnprepared(statement, [], undefined)
    // Takes upon itself a request that came after the statement had ended, and ends a transaction whose end was cancelled.
    // Where a connection is closed, its pool has heard of it when this fails.
    const last = "pg" in connection ? Effect.orElse(say("SELECT 1"), () => say(rollback)) : say(rollback)
    return Effect.zipRight(isAsked === undefined ? close : Effect.void, Effect.catchAll(last, () => close))
  })

/** A connection that says nothing more after somebody has gone, but that a transaction is given up. */
const unless = (isGone: () => boolean, connection: Connection): Connection => {
  const still = <A>(text: string, effect: Effect.Effect<A, SqlError>) =>
    Effect.suspend(() => isGone() && text !== rollback ? Effect.fail(givenUp()) : effect)
  return {
    execute: (text, ...rest) => still(text, connection.execute(text, ...rest)),
    executeRaw: (text, ...rest) => still(text, connection.executeRaw(text, ...rest)),
    executeStream: (...all) => connection.executeStream(...all),
    executeValues: (text, ...rest) => still(text, connection.executeValues(text, ...rest)),
    executeUnprepared: (text, ...rest) => still(text, connection.executeUnprepared(text, ...rest))
  }
}

const givenUp = () => new SqlError({ message: "Nothing more was sent", cause: new Error("nobody waits for it") })

const rollback = "ROLLBACK"

/** Time to wait for the answer to an interrupted statement before its connection is closed. */
export const patience = "500 millis"

/** Time limit of the request to cancel. */
const reach = "10 seconds"

/** Takes the connection out of its pool, and ends its socket as a broken one ends, so that what waits for it fails. */
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

/** Statements on one connection, of which all are done or none. */
export const inTransaction = <A>(
  sql: SqlClient.SqlClient,
  effect: Effect.Effect<A, SqlError>
): Effect.Effect<A, SqlError> => {
  // Not by the client, whose "BEGIN" begins a block where MariaDB speaks as Oracle does.
  const say = (statement: string) => sql.unsafe(statement).unprepared
  return say("START TRANSACTION").pipe(
    Effect.zipRight(effect),
    Effect.zipLeft(say("COMMIT")),
    Effect.tapError(() => Effect.ignore(say(rollback)))
  )
}
