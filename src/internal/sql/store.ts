/**
 * The functions of a store on any `SqlClient`.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SessionConfigError } from "../../SessionConfigError.js"
import type { SessionInfo } from "../../SessionRecord.js"
import type {
  Corrupt,
  CreateOutcome,
  Located,
  Page,
  RotateOutcome,
  Store,
  SubjectLimit,
  WriteOutcome
} from "../../SessionStore.js"
import { checkClock, pageSize, SessionStoreError } from "../../SessionStore.js"
import { integer } from "../record.js"
import { corrupt, filled, orCorruptEntry, orLeftOut } from "../store/corrupt.js"
import * as SqlCalls from "./calls.js"
import { clientOf, tablesFrom } from "./client.js"
import { isRemote } from "./driver.js"
import * as Durability from "./durability.js"
import { decodeReason, ending } from "./ends.js"
import { tidying } from "./epochs.js"
import { isDuplicate } from "./errors.js"
import { limiting } from "./limits.js"
import type { Parameters, Row } from "./rows.js"
import { column, decodeCount, decodeInfo, decodeLocated, decodeRecord, idIn, parametersOf } from "./rows.js"
import type { Prepared } from "./statements.js"
import { statements } from "./statements.js"

/** The same as `SqlStore.SqlStoreOptions`, whose module imports this one. */
interface Options {
  readonly prefix?: string
  readonly schema?: string
  readonly ownPool?: boolean
  readonly durableDestroy?: boolean
}

/**
 * A store without the checks at the start, for the command line: it explains the failures of calls by itself, and needs only the
 * privileges of its command.
 */
export const unchecked = (
  options: Options
): Effect.Effect<Store, SessionConfigError, SqlClient.SqlClient> =>
  Effect.gen(function*() {
    const [sql, dialect] = yield* clientOf
    const tables = yield* tablesFrom(options, dialect)
    const durableDestroy = yield* Durability.check(sql, dialect, options.durableDestroy)
    const statement = statements(dialect, tables)
    const calls = SqlCalls.make(sql, dialect, statement.frequent, options.ownPool === true)
    const { read, write, writeAll } = calls
    const tidied = tidying(calls, statement)
    const ends = ending(calls, statement)
    const limited = limiting(calls, statement)

    /** The clock of the database. */
    const clock = (operation: string) =>
      Effect.flatMap(
        read(operation, statement.clock, {}),
        ([row = {}]) =>
          Effect.try({ try: () => column(row, "clock", integer), catch: (cause) => corrupt(operation, cause) })
      )

    /** Completes a compare-and-set that has changed no row: finds whether the record has another version or is not alive. */
    const unwritten = (operation: string, parameters: Parameters) =>
      Effect.map(
        read(operation, statement.exists, parameters),
        (found): WriteOutcome => found.length > 0 ? "conflict" : "gone"
      )

    const compareAndSet = (
      operation: string,
      write: Effect.Effect<number, SessionStoreError>,
      parameters: Parameters
    ): Effect.Effect<WriteOutcome, SessionStoreError> =>
      Effect.flatMap(write, (changed) => changed > 0 ? Effect.succeed("saved") : unwritten(operation, parameters))

    const create = (parameters: Parameters, limit: SubjectLimit | undefined) =>
      limit === undefined || parameters.subject === null
        ? Effect.map(
          write("create", statement.create, parameters),
          (changed): CreateOutcome => changed > 0 ? "created" : "exists"
        )
        : Effect.map(
          limited("create", parameters, limit),
          (outcome): CreateOutcome => outcome === "written" ? "created" : outcome === "none" ? "exists" : outcome
        )

    const rotate = (
      parameters: Parameters,
      limit: SubjectLimit | undefined
    ): Effect.Effect<RotateOutcome, SessionStoreError> =>
      limit === undefined || parameters.subject === null
        ? compareAndSet("rotate", ends.rotate(parameters), parameters)
        : Effect.flatMap(
          Effect.zipRight(ends.noteRotation(parameters), limited("rotate", parameters, limit)),
          (outcome): Effect.Effect<RotateOutcome, SessionStoreError> =>
            outcome === "none"
              ? unwritten("rotate", parameters)
              : Effect.succeed(outcome === "written" ? "saved" : outcome)
        )

    const one = <A>(operation: string, prepared: Prepared, parameters: Parameters, decode: (row: Row) => A) =>
      Effect.flatMap(read(operation, prepared, parameters), ([row]) =>
        row === undefined ? Effect.succeedNone : decoded(operation, decode, row))

    const list = (
      namespace: string,
      subject: string,
      now: number,
      after: Page["after"],
      limit: number
    ): Effect.Effect<ReadonlyArray<SessionInfo>, SessionStoreError> => {
      const rows = (limit: number) =>
        read("list", statement.list, {
          namespace,
          subject,
          now,
          createdAt: after?.createdAt ?? Number.MIN_SAFE_INTEGER,
          after: after?.id ?? "",
          limit
        })
      const page = filled(limit, rows, (row) =>
        canDecode(decodeInfo, row))
      return Effect.map(
        Effect.flatMap(page, each((row) => orLeftOut(namespace, idIn(row))(decoded("list", decodeInfo, row)))),
        Arr.take(limit)
      )
    }

    const scan = (
      namespace: string,
      after: string | undefined,
      limit: number,
      now: number
    ): Effect.Effect<ReadonlyArray<Located | Corrupt>, SessionStoreError> => {
      const rows = (limit: number) => read("scan", statement.scan, { namespace, after: after ?? "", limit, now })
      // A corrupt row is an entry of the page if its id can be decoded.
      const page = filled(limit, rows, (row) => idIn(row) !== undefined)
      return Effect.map(
        Effect.flatMap(
          page,
          each((row) => {
            const [id, located] = [idIn(row), decoded("scan", decodeLocated, row)]
            return id === undefined ? orLeftOut(namespace)(located) : orCorruptEntry(id)(located)
          })
        ),
        Arr.take(limit)
      )
    }

    const revoke = (
      name: "revoke" | "revokeOwn",
      parameters: Parameters,
      tries = 3
    ): Effect.Effect<boolean, SessionStoreError> =>
      Effect.flatMap(ends.end("revoke", name, parameters), (changed) => {
        if (changed > 0 || statement.missed === undefined) return Effect.succeed(changed > 0)
        return Effect.flatMap(read("revoke", statement.missed[name], parameters), (rows) =>
          rows.length === 0
            ? Effect.succeed(false)
            : tries > 0
            ? revoke(name, parameters, tries - 1)
            : Effect.fail(new SessionStoreError({ operation: "revoke", reason: "unavailable" })))
      })

    return {
      capabilities: { durableDestroy, remote: isRemote(sql, dialect), limitsSubjects: true },
      create: (key, record, now, limit) =>
        Effect.catchIf(
          create(parametersOf(record, { key, now }), limit),
          isDuplicate,
          () => Effect.succeed("exists" as const)
        ),
      load: (key, now) => one("load", statement.load, { key, now }, decodeRecord),
      save: (key, record, { expectedVersion: expected, now }) => {
        const parameters = parametersOf(record, { key, expected, now })
        return compareAndSet("save", write("save", statement.save, parameters), parameters)
      },
      touch: (key, { expiresAt, lastSeenAt, now }) =>
        Effect.map(
          write("touch", statement.touch, { key, lastSeenAt, expiresAt, now }),
          (changed) => changed > 0 ? "touched" : "gone"
        ),
      rotate: (key, newKey, record, { expectedVersion: expected, limit, now }) =>
        Effect.catchIf(
          rotate(parametersOf(record, { key, newKey, expected, now }), limit),
          // Another rotation took the key, or the id, in the same moment.
          isDuplicate,
          () => Effect.succeed<RotateOutcome>("conflict")
        ),
      destroy: (key) => Effect.asVoid(ends.end("destroy", "destroy", { key })),
      removeExpired: ({ limit, now }) =>
        Effect.zipRight(
          Effect.flatMap(clock("removeExpired"), (clock) => checkClock(now, clock)),
          Effect.tap(
            Effect.zipRight(
              ends.forget({ now, limit }),
              write("removeExpired", statement.removeExpired, { now, limit })
            ),
            // The records are deleted already, so a failure of this additional clean-up is only logged.
            (removed) =>
              removed >= limit
                ? Effect.void
                : Effect.catchAll(
                  Effect.zipRight(write("removeExpired", statement.removeReasons, { now, limit }), tidied),
                  (error) => Effect.logDebug(error.message, error)
                )
          )
        ),
      count: (now) =>
        Effect.map(
          one("count", statement.count, { now }, decodeCount),
          Option.getOrElse(() => ({ current: 0, expired: 0 }))
        ),
      list: (namespace, subject, now, { after, limit = pageSize } = {}) =>
        list(namespace, subject, now, after, Math.max(limit, 0)),
      find: (namespace, id, now) => one("find", statement.find, { namespace, id, now }, decodeRecord),
      scan: (namespace, { after, limit, now }) => scan(namespace, after, limit, now),
      revoke: (namespace, id, subject) =>
        subject === undefined
          ? revoke("revoke", { namespace, id })
          : revoke("revokeOwn", { namespace, id, subject }),
      revokeSubject: (namespace, subject, except) => {
        const whose = { namespace, kind: "subject", subject }
        return except === undefined
          ? Effect.asVoid(write("revokeSubject", statement.raiseEpoch, whose))
          : Effect.flatMap(
            clock("revokeSubject"),
            (now) => Effect.asVoid(writeAll("revokeSubject", statement.sparing, { ...whose, id: except, now }))
          )
      },
      revokeAll: (namespace) =>
        Effect.asVoid(write("revokeAll", statement.raiseEpoch, { namespace, kind: "all", subject: "" })),
      endReason: (key, now) =>
        Effect.map(
          one("endReason", statement.endReason, { key, now }, decodeReason),
          Option.flatMap(Option.fromNullable)
        )
    }
  })

const decoded = <A>(
  operation: string,
  decode: (row: Row) => A,
  row: Row
): Effect.Effect<Option.Option<A>, SessionStoreError> => {
  try {
    return Effect.succeedSome(decode(row))
  } catch (cause) {
    return Effect.fail(corrupt(operation, cause))
  }
}

const canDecode = (decode: (row: Row) => unknown, row: Row): boolean => {
  try {
    decode(row)
    return true
  } catch {
    return false
  }
}

const each =
  <A>(read: (row: Row) => Effect.Effect<Option.Option<A>, SessionStoreError>) => (rows: ReadonlyArray<Row>) =>
    Effect.map(Effect.forEach(rows, read), Arr.getSomes)
