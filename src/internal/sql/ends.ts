/**
 * Ends sessions of a SQL store, and keeps the reason. The reason is best-effort: a session ends even if its reason cannot be kept.
 *
 * Postgres does both in one statement. MySQL and SQLite keep the reason first: as long as a session has its key, the reason is not read.
 */
import { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import type { EndReason, SessionStoreError } from "../../SessionStore.js"
import { endReasons } from "../domain/outcomes.js"
import type { Kind } from "../record.js"
import type { Calls } from "./calls.js"
import { codeOf, isRejected } from "./errors.js"
import type { Parameters, Row } from "./rows.js"
import { column } from "./rows.js"
import type { Prepared, Statements } from "./statements.js"

/** Writes that end sessions, and keep the reason. */
export const ending = ({ write }: Calls, statement: Statements) => {
  const { atOnce } = statement

  const bestEffort = (operation: string, prepared: Prepared, parameters: Parameters): Effect.Effect<void> =>
    Effect.catchAll(write(operation, prepared, parameters), (error) => Effect.logDebug(error.message, error))

  const note = (operation: string, name: keyof Statements["note"], parameters: Parameters): Effect.Effect<void> =>
    bestEffort(operation, statement.note[name], parameters)

  /** Writes in one statement; without the reason if the server rejects that. */
  const inOne = (
    operation: string,
    name: "destroy" | "revoke" | "revokeOwn" | "rotate",
    parameters: Parameters
  ): Effect.Effect<number, SessionStoreError> | undefined =>
    atOnce && Effect.catchIf(
      write(operation, atOnce[name], parameters),
      ({ cause }) => cause instanceof SqlError && isRejected(codeOf(cause)),
      () => write(operation, statement[name], parameters)
    )

  return {
    /** Deletes sessions, and returns their number. */
    end: (
      operation: string,
      name: "destroy" | "revoke" | "revokeOwn",
      parameters: Parameters
    ): Effect.Effect<number, SessionStoreError> =>
      inOne(operation, name, parameters) ??
        Effect.zipRight(note(operation, name, parameters), write(operation, statement[name], parameters)),

    /** Moves a session to its new key, and returns whether it did as 1 or 0. */
    rotate: (parameters: Parameters): Effect.Effect<number, SessionStoreError> =>
      inOne("rotate", "rotate", parameters) ??
        Effect.zipRight(note("rotate", "rotate", parameters), write("rotate", statement.rotate, parameters)),

    /** Keeps the reason of a rotation that another transaction is to do, unless that keeps it by itself. */
    noteRotation: (parameters: Parameters): Effect.Effect<void> =>
      atOnce === undefined ? note("rotate", "rotate", parameters) : Effect.void,

    /**
     * Deletes the reasons of earlier sessions with the keys of the sessions that `removeExpired` is to delete. As long as these are there,
     * the reasons are not read.
     */
    forget: (parameters: Parameters): Effect.Effect<void> =>
      bestEffort("removeExpired", statement.forgetReasons, parameters)
  }
}

const words = [...endReasons, "alive"] as const

const reason: Kind<EndReason | "alive"> = {
  noun: "the reason of an end",
  decode: (value) => words.find((word) => word === value)
}

/** Decodes the row of a reason; `undefined` if the session is alive, or nothing is known. Throws as `rows.column` does. */
export const decodeReason = (row: Row): EndReason | undefined => {
  const found = row.reason === null ? "alive" : column(row, "reason", reason)
  return found === "alive" ? undefined : found
}
