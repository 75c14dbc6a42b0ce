/**
 * Executes the statements of a store, retries transient conflicts, and maps driver errors to store errors.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { SessionStoreError } from "../../SessionStore.js"
import * as Driver from "./driver.js"
import { codeOf, transient } from "./errors.js"
import type { Parameters, Row } from "./rows.js"
import type { Prepared } from "./statements.js"
import type { Dialect } from "./tables.js"

/** Executes the statements of a store. */
export interface Calls {
  /** Returns rows. It joins a transaction of the application, unless the store has its own pool. */
  readonly read: (
    operation: string,
    prepared: Prepared,
    parameters: Parameters
  ) => Effect.Effect<ReadonlyArray<Row>, SessionStoreError>
  /**
   * Returns the number of changed rows. Inside a transaction of the application it fails with reason `transaction`, unless the store has
   * its own pool.
   */
  readonly write: (
    operation: string,
    prepared: Prepared,
    parameters: Parameters
  ) => Effect.Effect<number, SessionStoreError>
  /** Executes all statements or none, with the same rule for transactions, and returns the rows of each. */
  readonly writeAll: (
    operation: string,
    prepared: ReadonlyArray<Prepared>,
    parameters: Parameters
  ) => Effect.Effect<ReadonlyArray<ReadonlyArray<Row>>, SessionStoreError>
  /** Runs statements in a transaction of the store, with the same rule. Absent in SQLite. */
  readonly transaction:
    | (<A>(
      operation: string,
      run: (statements: Driver.Statements) => Effect.Effect<A, SqlError>
    ) => Effect.Effect<A, SessionStoreError>)
    | undefined
}

export const make = (
  sql: SqlClient.SqlClient,
  dialect: Dialect,
  frequent: ReadonlyArray<Prepared>,
  ownPool: boolean
): Calls => {
  const driver = Driver.make(sql, dialect, frequent)
  const { transaction } = driver
  const tags = Driver.transactionTags(sql)

  /** All clients share one tag for "inside a transaction", so a store with its own pool must ignore the transaction of another client. */
  const unlessInside = <A>(
    effect: Effect.Effect<A, SqlError>,
    operation: string,
    inside: () => Effect.Effect<A, SessionStoreError>
  ): Effect.Effect<A, SessionStoreError> => {
    const own = retried(effect, operation)
    return ownPool
      ? Effect.mapInputContext(
        own,
        (context: Context.Context<never>) => Context.omit(...tags)(context)
      )
      : Effect.withFiberRuntime((fiber) =>
        tags.some(({ key }) => fiber.currentContext.unsafeMap.has(key)) ? inside() : own
      )
  }

  const written = <A>(operation: string, effect: Effect.Effect<A, SqlError>) =>
    // Lazy, because creating an error costs more than the rest of a call.
    unlessInside(effect, operation, () => Effect.fail(new SessionStoreError({ operation, reason: "transaction" })))

  return {
    read: (operation, prepared, parameters) =>
      unlessInside(
        driver.rows(prepared, parameters),
        operation,
        () => Effect.mapError(driver.inside(prepared, parameters), storeError(operation))
      ),
    write: (operation, prepared, parameters) => written(operation, driver.changed(prepared, parameters)),
    writeAll: (operation, prepared, parameters) => written(operation, driver.together(prepared, parameters)),
    transaction: transaction && ((operation, run) => written(operation, transaction(run)))
  }
}

/** Up to three retries with jittered exponential backoff. */
const retried = <A>(
  effect: Effect.Effect<A, SqlError>,
  operation: string,
  pause = 5
): Effect.Effect<A, SessionStoreError> =>
  Effect.catchAll(effect, (error) =>
    pause <= 20 && transient.has(codeOf(error))
      ? Effect.flatMap(
        Random.next,
        (random) => Effect.delay(retried(effect, operation, 2 * pause), (0.5 + random) * pause)
      )
      : Effect.fail(storeError(operation)(error)))

const storeError = (operation: string) => (cause: SqlError) =>
  new SessionStoreError({ operation, reason: "unavailable", cause })
