/**
 * How the statements of a store are sent, and what becomes of their failures.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { SessionStoreError } from "../../SessionStore.js"
import * as Driver from "./driver.js"
import { codeOf, transient } from "./errors.js"
import type { Parameters, Row } from "./rows.js"
import type { Dialect, Prepared } from "./statements.js"

/** The statements of a store, sent. */
export interface Calls {
  /** Inside a transaction of the application it is part of that, unless the pool is our own. */
  readonly read: (
    operation: string,
    prepared: Prepared,
    parameters: Parameters
  ) => Effect.Effect<ReadonlyArray<Row>, SessionStoreError>
  /** How many rows were changed. Inside a transaction of the application it is refused, unless the pool is our own. */
  readonly write: (
    operation: string,
    prepared: Prepared,
    parameters: Parameters
  ) => Effect.Effect<number, SessionStoreError>
  /** The same for several statements, of which all are done or none. */
  readonly writeAll: (
    operation: string,
    prepared: ReadonlyArray<Prepared>,
    parameters: Parameters
  ) => Effect.Effect<void, SessionStoreError>
}

export const make = (
  sql: SqlClient.SqlClient,
  dialect: Dialect,
  frequent: ReadonlyArray<Prepared>,
  ownPool: boolean
): Calls => {
  const driver = Driver.make(sql, dialect, frequent)

  /** All clients share one tag for "inside a transaction": a pool of our own must not see that of another client. */
  const unlessInside = <A>(
    effect: Effect.Effect<A, SqlError>,
    operation: string,
    inside: Effect.Effect<A, SessionStoreError>
  ): Effect.Effect<A, SessionStoreError> => {
    const own = Effect.catchAll(retried(effect), (cause) => Effect.fail(storeError(operation)(cause)))
    return ownPool
      ? Effect.mapInputContext(
        own,
        (context: Context.Context<never>) => Context.omit(SqlClient.TransactionConnection)(context)
      )
      : Effect.contextWithEffect((context: Context.Context<never>) =>
        context.unsafeMap.has(SqlClient.TransactionConnection.key) ? inside : own
      )
  }

  const written = <A>(operation: string, effect: Effect.Effect<A, SqlError>) =>
    unlessInside(effect, operation, Effect.fail(new SessionStoreError({ operation, reason: "transaction" })))

  return {
    read: (operation, prepared, parameters) => {
      const inside = Effect.suspend(() => driver.inside(prepared, parameters))
      return unlessInside(driver.rows(prepared, parameters), operation, Effect.mapError(inside, storeError(operation)))
    },
    write: (operation, prepared, parameters) => written(operation, driver.changed(prepared, parameters)),
    writeAll: (operation, prepared, parameters) => written(operation, driver.together(prepared, parameters))
  }
}

/** Up to three retries with jittered exponential backoff. */
const retried = <A>(effect: Effect.Effect<A, SqlError>, pause = 5): Effect.Effect<A, SqlError> =>
  Effect.catchAll(effect, (error) =>
    pause <= 20 && transient.has(codeOf(error))
      ? Effect.flatMap(Random.next, (random) => Effect.delay(retried(effect, 2 * pause), (0.5 + random) * pause))
      : Effect.fail(error))

const storeError = (operation: string) => (cause: SqlError) =>
  new SessionStoreError({ operation, reason: "unavailable", cause })
