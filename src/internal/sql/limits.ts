/**
 * Writes of a SQL store within a limit of the live sessions of one subject: the check and the write are one atomic step.
 *
 * Postgres and MySQL lock the subject, count, and write, in one transaction; others who write within a limit of the same subject wait.
 * SQLite executes one transaction at a time, so the condition is part of its statements. They are also a batch of D1, which has no
 * other transactions.
 */
import { SqlError } from "@effect/sql/SqlError"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SessionId } from "../../SessionId.js"
import { byAge } from "../../SessionRecord.js"
import type { Evicted, SessionStoreError, SubjectLimit } from "../../SessionStore.js"
import type { Calls } from "./calls.js"
import type { Statements as InTransaction } from "./driver.js"
import { isUnwritable } from "./errors.js"
import type { Parameters, Row } from "./rows.js"
import { idIn } from "./rows.js"
import type { Statements } from "./statements.js"

/** The outcome of a write: `none` if it has changed nothing, and not because of the limit. */
type Outcome = "written" | "none" | "full" | Evicted

/** Writes within a limit. */
export const limiting = ({ read, transaction, write, writeAll }: Calls, statement: Statements) => {
  /** Writes by statements that contain the check. */
  const byCondition = (
    operation: "create" | "rotate",
    parameters: Parameters,
    onFull: SubjectLimit["onFull"],
    keepsReasons: boolean
  ): Effect.Effect<Outcome, SessionStoreError> =>
    onFull === "oldest"
      ? Effect.map(
        writeAll(
          operation,
          [
            ...keepsReasons ? [statement.noteSurplus[operation]] : [],
            statement.endSurplus[operation],
            statement[operation]
          ],
          parameters
        ),
        (results) => {
          const [ended = [], written = []] = results.slice(-2)
          return outcome(written.length, [...ended].sort(byRowAge).map(idIn))
        }
      )
      : Effect.flatMap(
        write(operation, statement.unlessFull[operation], parameters),
        (changed): Effect.Effect<Outcome, SessionStoreError> =>
          changed > 0
            ? Effect.succeed("written")
            : Effect.map(
              read(operation, statement.writable[operation], parameters),
              (rows) => isWritable(rows) ? "full" : "none"
            )
      )

  /** Writes while the subject is locked. */
  const locked = (
    operation: "create" | "rotate",
    parameters: Parameters,
    onFull: SubjectLimit["onFull"],
    keepsReasons: boolean,
    { changed, rows }: InTransaction
  ): Effect.Effect<Outcome, SqlError> => {
    const atOnce = keepsReasons ? statement.atOnce : undefined
    const notesFirst = keepsReasons && atOnce === undefined
    const end = ({ key }: Row) => {
      const ended = { key: typeof key === "string" ? key : "" }
      const deleted = Effect.zipRight(
        notesFirst ? changed(statement.note.evict, ended) : Effect.void,
        changed(atOnce?.evict ?? statement.destroy, ended)
      )
      return Effect.filterOrFail(deleted, (count) => count === 1, raced)
    }
    const prepared = operation === "rotate" ? atOnce?.rotate ?? statement.rotate : statement.create
    return Effect.gen(function*() {
      yield* rows(statement.lockSubject, parameters)
      const surplus = Arr.reverse(yield* rows(statement.surplus, parameters))
      if (surplus.length > 0) {
        if (!isWritable(yield* rows(statement.writable[operation], parameters))) return "none"
        if (onFull === "deny") return "full"
        yield* Effect.forEach(surplus, end, { discard: true })
      }
      const count = yield* changed(prepared, parameters)
      return count === 0 && surplus.length > 0 ? yield* Effect.fail(raced()) : outcome(count, surplus.map(idIn))
    })
  }

  return (
    operation: "create" | "rotate",
    own: Parameters,
    { max, onFull }: SubjectLimit
  ): Effect.Effect<Outcome, SessionStoreError> => {
    const parameters = { ...own, keep: max - 1 }
    const attempt = (keepsReasons: boolean) =>
      transaction === undefined
        ? byCondition(operation, parameters, onFull, keepsReasons)
        : transaction(operation, (statements) => locked(operation, parameters, onFull, keepsReasons, statements))
    // A session is written even if the reasons of those that it ends cannot be kept.
    return Effect.catchIf(
      attempt(true),
      ({ cause }) => cause instanceof SqlError && isUnwritable(cause),
      () => attempt(false)
    )
  }
}

/** The ids of ended sessions that cannot be decoded are left out. */
const outcome = (written: number, ended: ReadonlyArray<SessionId | undefined>): Outcome => {
  if (written === 0) return "none"
  const ids = Arr.filterMap(ended, Option.fromNullable)
  return ids.length === 0 ? "written" : { _tag: "Evicted", ids }
}

const isWritable = ([row]: ReadonlyArray<Row>): boolean => Number(row?.writable) === 1

const byRowAge = (a: Row, b: Row): number =>
  byAge({ createdAt: Number(a.created_at), id: String(a.id) }, { createdAt: Number(b.created_at), id: String(b.id) })

/** A session was moved or deleted between the statements of a transaction, which is undone and repeated. */
const raced = (): SqlError =>
  new SqlError({
    message: "A session changed meanwhile",
    cause: Object.assign(new Error("another write changed it first"), { code: "40001" })
  })
