/**
 * The store on any `SqlClient`: Postgres and SQLite.
 *
 * Each function is one statement (`revokeSubject` with an exception is a transaction of two), so compare-and-set is
 * atomic without locks held between round trips. Data is kept as text, never as `jsonb`, which refuses U+0000 and
 * reorders keys.
 *
 * @since 0.1.0
 */
import * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type { Dialect, Prepared } from "./internal/sqlStatements.js"
import { statements } from "./internal/sqlStatements.js"
import type { Lifetime } from "./Lifetime.js"
import { SessionConfigError } from "./SessionConfigError.js"
import type { SessionId } from "./SessionId.js"
import type { SessionInfo, SessionRecord } from "./SessionRecord.js"
import type { Shape, WriteOutcome } from "./SessionStore.js"
import { SessionStore, SessionStoreError } from "./SessionStore.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Put before the names of all tables and indexes. Default `"effect_"`. */
  readonly prefix?: string
  /**
   * The `SqlClient` is used for sessions only, so its connections are never inside the application's transactions.
   * Writes are then possible while a handler holds a transaction of its own. Default `false`: such a write is refused,
   * because a rollback would undo it.
   */
  readonly ownPool?: boolean
}

type Row = Readonly<Record<string, unknown>>
type Parameters = Readonly<Record<string, string | number | null>>

/**
 * Makes a store.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options = {}
): Effect.Effect<Shape, SessionConfigError, SqlClient.SqlClient> =>
  Effect.gen(function*() {
    const prefix = yield* prefixOf(options.prefix)
    const [sql, dialect] = yield* clientOf
    const statement = statements(dialect, prefix)

    /** All clients share one tag for "inside a transaction": a pool of our own must not see that of another client. */
    const apart = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
      options.ownPool === true
        ? Effect.mapInputContext(
          effect,
          (context: Context.Context<never>) => Context.omit(SqlClient.TransactionConnection)(context)
        )
        : effect

    const execute = (operation: string, prepared: Prepared, parameters: Parameters) =>
      Effect.mapError(
        sql.unsafe<Row>(prepared.text, prepared.names.map((name) => parameters[name])),
        storeError(operation)
      )

    const read = (operation: string, prepared: Prepared, parameters: Parameters) =>
      apart(execute(operation, prepared, parameters))

    const outsideTransaction = <A>(operation: string, effect: Effect.Effect<A, SessionStoreError>) =>
      options.ownPool === true
        ? apart(effect)
        : Effect.contextWithEffect((context: Context.Context<never>) =>
          context.unsafeMap.has(SqlClient.TransactionConnection.key)
            ? Effect.fail(new SessionStoreError({ operation, reason: "transaction" }))
            : effect
        )

    const write = (operation: string, prepared: Prepared, parameters: Parameters) =>
      outsideTransaction(operation, execute(operation, prepared, parameters))

    /** A compare-and-set that changed no row met another version, or nothing alive: only then is it asked which. */
    const compareAndSet = (operation: string, prepared: Prepared, parameters: Parameters) =>
      Effect.flatMap(write(operation, prepared, parameters), (rows) =>
        rows.length > 0
          ? Effect.succeed<WriteOutcome>("saved")
          : Effect.map(
            read(operation, statement.exists, parameters),
            (found): WriteOutcome => found.length > 0 ? "conflict" : "gone"
          ))

    const decodeAll = <A>(operation: string, decode: (row: Row) => A) => (rows: ReadonlyArray<Row>) =>
      Effect.try({ try: () => rows.map(decode), catch: (cause) => corrupt(operation, cause) })

    const one = (operation: string, prepared: Prepared, parameters: Parameters) =>
      Effect.flatMap(
        read(operation, prepared, parameters),
        (rows) => Effect.map(decodeAll(operation, decodeRecord)(rows), (records) => Option.fromNullable(records[0]))
      )

    return {
      capabilities: { durableDestroy: true, remote: dialect === "pg" },
      create: (key, record) =>
        Effect.map(
          write("create", statement.create, { key, ...parametersOf(record) }),
          (rows) => rows.length > 0 ? "created" : "exists"
        ),
      load: (key, now) => one("load", statement.load, { key, now }),
      save: (key, record, expected, now) =>
        compareAndSet("save", statement.save, { key, expected, now, ...parametersOf(record) }),
      touch: (key, lastSeenAt, expiresAt, now) =>
        Effect.map(
          write("touch", statement.touch, { key, lastSeenAt, expiresAt, now }),
          (rows) => rows.length > 0 ? "touched" : "gone"
        ),
      rotate: (key, newKey, record, expected, now) =>
        Effect.catchIf(
          compareAndSet("rotate", statement.rotate, { key, newKey, expected, now, ...parametersOf(record) }),
          // Another rotation took the key, or the id, in the same moment.
          isDuplicate,
          () => Effect.succeed<WriteOutcome>("conflict")
        ),
      destroy: (key) => Effect.asVoid(write("destroy", statement.destroy, { key })),
      removeExpired: (now, limit) =>
        Effect.flatMap(
          write("removeExpired", statement.removeExpired, { now, limit }),
          // Postgres counts for us, so that a thousand rows need not be read; SQLite can only name them.
          ([first, ...others]) =>
            first === undefined || !("removed" in first)
              ? Effect.succeed(first === undefined ? 0 : 1 + others.length)
              : Effect.map(
                decodeAll("removeExpired", (row) => integer(row, "removed"))([first]),
                ([removed = 0]) => removed
              )
        ),
      count: (now) =>
        Effect.flatMap(
          read("count", statement.count, { now }),
          (rows) =>
            Effect.map(
              decodeAll("count", (row) => ({
                current: integer(row, "current_records"),
                expired: integer(row, "expired_records")
              }))(rows),
              ([count]) => count ?? { current: 0, expired: 0 }
            )
        ),
      list: (namespace, subject, now) =>
        Effect.flatMap(read("list", statement.list, { namespace, subject, now }), decodeAll("list", decodeInfo)),
      find: (namespace, id, now) => one("find", statement.find, { namespace, id, now }),
      scan: (namespace, after, limit, now) =>
        Effect.flatMap(
          read("scan", statement.scan, { namespace, after: after ?? "", limit, now }),
          decodeAll("scan", decodeRecord)
        ),
      revoke: (namespace, id) =>
        Effect.map(write("revoke", statement.revoke, { namespace, id }), (rows) => rows.length > 0),
      revokeSubject: (namespace, subject, except) => {
        const raise = write("revokeSubject", statement.raiseEpoch, { namespace, kind: "subject", subject })
        if (except === undefined) return Effect.asVoid(raise)
        const both = Effect.zipRight(
          execute("revokeSubject", statement.raiseEpoch, { namespace, kind: "subject", subject }),
          execute("revokeSubject", statement.spare, { namespace, subject, id: except })
        )
        return outsideTransaction(
          "revokeSubject",
          Effect.mapError(
            sql.withTransaction(both),
            (error) => error._tag === "SqlError" ? storeError("revokeSubject")(error) : error
          )
        )
      },
      revokeAll: (namespace) =>
        Effect.asVoid(write("revokeAll", statement.raiseEpoch, { namespace, kind: "all", subject: "" }))
    }
  })

/**
 * The store as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options = {}
): Layer.Layer<SessionStore, SessionConfigError, SqlClient.SqlClient> => Layer.effect(SessionStore, make(options))

/** @internal */
export const prefixOf = (prefix = "effect_"): Effect.Effect<string, SessionConfigError> =>
  /^[a-z_][a-z0-9_]{0,30}$|^$/.test(prefix)
    ? Effect.succeed(prefix)
    : Effect.fail(
      new SessionConfigError({
        subject: "SqlStore",
        problem:
          "A table prefix may hold at most 31 small letters, digits and underscores, and must not begin with a digit."
      })
    )

/** @internal */
export const clientOf: Effect.Effect<
  readonly [SqlClient.SqlClient, Dialect],
  SessionConfigError,
  SqlClient.SqlClient
> = Effect.flatMap(SqlClient.SqlClient, (sql) => {
  const dialect = sql.onDialectOrElse({
    pg: (): Dialect | undefined => "pg",
    sqlite: (): Dialect | undefined => "sqlite",
    orElse: () => undefined
  })
  return dialect === undefined
    ? Effect.fail(
      new SessionConfigError({ subject: "SqlStore", problem: "The SqlClient must be one of Postgres or SQLite." })
    )
    // The application's own transformations of names must not reach our columns.
    : Effect.succeed([sql.withoutTransforms(), dialect] as const)
})

const storeError = (operation: string) => (cause: SqlError) =>
  new SessionStoreError({ operation, reason: "unavailable", cause })

const corrupt = (operation: string, cause: unknown) => new SessionStoreError({ operation, reason: "corrupt", cause })

const parametersOf = (record: SessionRecord): Parameters => ({
  namespace: record.namespace,
  id: record.id,
  data: record.data,
  schemaVersion: record.schemaVersion,
  subject: record.subject ?? null,
  version: record.version,
  writeId: record.writeId,
  createdAt: record.createdAt,
  authenticatedAt: record.authenticatedAt ?? null,
  modifiedAt: record.modifiedAt,
  lastSeenAt: record.lastSeenAt,
  expiresAt: record.expiry.at,
  deadline: record.expiry.deadline ?? null,
  lifetime: record.expiry.lifetime === undefined ? null : JSON.stringify(record.expiry.lifetime)
})

const lifetimeSchema = Schema.parseJson(Schema.Union(
  Schema.TaggedStruct("Inactivity", { millis: Schema.Number }),
  Schema.TaggedStruct("Until", { at: Schema.Number }),
  Schema.TaggedStruct("Browser", {})
))

const decodeLifetime = (value: unknown): Lifetime =>
  Either.getOrThrowWith(
    Schema.decodeUnknownEither(lifetimeSchema)(value),
    () => new TypeError("the column lifetime does not hold a lifetime")
  )

/** A row that must be unique was there already: 23505 in Postgres, a constraint of SQLite. */
const isDuplicate = (error: SessionStoreError): boolean => {
  const driver: unknown = error.cause instanceof SqlError ? error.cause.cause : undefined
  return Predicate.hasProperty(driver, "code") &&
    ["23505", "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE"].includes(String(driver.code))
}

const decodeInfo = (row: Row): SessionInfo => ({
  namespace: text(row, "namespace"),
  id: text(row, "id") as SessionId,
  schemaVersion: integer(row, "schema_version"),
  subject: row.subject === null ? undefined : text(row, "subject"),
  version: integer(row, "version"),
  writeId: text(row, "write_id"),
  createdAt: integer(row, "created_at"),
  authenticatedAt: row.authenticated_at === null ? undefined : integer(row, "authenticated_at"),
  modifiedAt: integer(row, "modified_at"),
  lastSeenAt: integer(row, "last_seen_at"),
  expiry: {
    at: integer(row, "expires_at"),
    deadline: row.deadline === null ? undefined : integer(row, "deadline"),
    lifetime: row.lifetime === null ? undefined : decodeLifetime(row.lifetime)
  }
})

const decodeRecord = (row: Row): SessionRecord => ({ ...decodeInfo(row), data: text(row, "data") })

// The message names the column and never the value.
const text = (row: Row, column: string): string => {
  const value = row[column]
  if (typeof value !== "string") throw new TypeError(`the column ${column} does not hold text`)
  return value
}

// Drivers return 64-bit integers as text (pg), as a number or as a bigint (SQLite).
const integer = (row: Row, column: string): number => {
  const value = row[column]
  const number = typeof value === "bigint" || (typeof value === "string" && /^-?\d+$/.test(value))
    ? Number(value)
    : value
  if (typeof number !== "number" || !Number.isSafeInteger(number)) {
    throw new TypeError(`the column ${column} does not hold an integer`)
  }
  return number
}
