/**
 * The statements on Django's table of sessions. Each is atomic, and none changes the table itself: it belongs to Django's migrations.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type { Count, SessionStoreError } from "../../SessionStore.js"
import { checkClock } from "../../SessionStore.js"
import { integer, text as textKind } from "../record.js"
import type { Calls } from "../sql/calls.js"
import { isDuplicate } from "../sql/errors.js"
import type { Row } from "../sql/rows.js"
import { column, decodeCount } from "../sql/rows.js"
import type { Prepared } from "../sql/statements.js"
import { clockOf, prepare } from "../sql/statements.js"
import type { Dialect } from "../sql/tables.js"
import { corrupt } from "../store/corrupt.js"
import type { Dates } from "./content.js"
import { localText, momentOf } from "./content.js"

interface Syntax {
  readonly quote: string
  /** A moment, given as text. */
  readonly moment: (text: string) => string
  /** The text of a moment: `2026-01-15 09:30:00.250000`. */
  readonly text: (column: string) => string
  /** Compares texts byte by byte. */
  readonly equals: (column: string, value: string) => string
  /** The last 43 characters of a text. */
  readonly signature: string
  /** The end of a write that makes it return the rows that it has changed; "" if the driver counts them. */
  readonly changed: string
  readonly removeExpired: (table: string, isDue: string) => string
}

const returning = " RETURNING session_key"

const bounded = (lock: string) => (table: string, isDue: string) =>
  `DELETE FROM ${table} WHERE session_key IN (SELECT session_key FROM ${table} WHERE ${isDue} ORDER BY expire_date ` +
  `LIMIT :limit${lock}) AND ${isDue}${returning}`

const equal = (column: string, value: string) => `${column} = ${value}`

const syntaxes: Record<Dialect, Syntax> = {
  pg: {
    quote: "\"",
    moment: (text) => `CAST(${text} AS timestamptz)`,
    text: (column) => `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24":"MI":"SS.US')`,
    equals: equal,
    signature: "right(session_data, 43)",
    changed: returning,
    removeExpired: bounded(" FOR UPDATE SKIP LOCKED")
  },
  sqlite: {
    quote: "\"",
    moment: (text) => text,
    text: (column) => `CAST(${column} AS TEXT)`,
    equals: equal,
    signature: "substr(session_data, -43)",
    changed: returning,
    removeExpired: bounded("")
  },
  mysql: {
    quote: "`",
    moment: (text) => `CAST(${text} AS DATETIME(6))`,
    text: (column) => `DATE_FORMAT(${column}, '%Y-%m-%d %H:%i:%s.%f')`,
    // A collation that folds case makes two keys one. The first condition uses the index.
    equals: (column, value) => `${column} = ${value} AND CAST(${column} AS BINARY) = CAST(${value} AS BINARY)`,
    signature: "right(session_data, 43)",
    changed: "",
    removeExpired: (table, isDue) => `DELETE FROM ${table} WHERE ${isDue} ORDER BY expire_date LIMIT :limit`
  }
}

/** A name, or a schema and a name. */
const namePattern = /^[A-Za-z_][A-Za-z0-9_]{0,62}(?:\.[A-Za-z_][A-Za-z0-9_]{0,62})?$/

/** Returns whether a name of a table can be used. */
export const isName = (name: string): boolean => namePattern.test(name)

const quoted = (dialect: Dialect, name: string): string => {
  const { quote } = syntaxes[dialect]
  return name.split(".").map((part) => `${quote}${part}${quote}`).join(".")
}

/** The statements on a table. */
export const statements = (dialect: Dialect, name: string) => {
  const table = quoted(dialect, name)
  const { changed, equals, moment, removeExpired, signature, text } = syntaxes[dialect]
  const isKey = equals("session_key", ":key")
  const isAlive = `expire_date > ${moment(":now")}`
  const isDue = `expire_date <= ${moment(":now")}`
  const isExpected = `${isKey} AND ${isAlive} AND ${equals(signature, ":signature")}`
  const made = (text: string): Prepared => prepare(dialect, text)
  const columns = `session_key, session_data, ${text("expire_date")} AS expires`
  return {
    clock: clockOf(dialect),
    load: made(`SELECT ${columns} FROM ${table} WHERE ${isKey} AND ${isAlive}`),
    /** The row of a session, or the row of its move. */
    loadMoved: made(
      `SELECT ${columns} FROM ${table} WHERE (${isKey} OR ${equals("session_key", ":moved")}) AND ${isAlive}`
    ),
    exists: made(`SELECT session_key FROM ${table} WHERE ${isKey}`),
    create: made(
      `INSERT INTO ${table} (session_key, session_data, expire_date) VALUES (:key, :data, ${
        moment(":expires")
      })${changed}`
    ),
    /** Inserts no row, but needs the privilege to insert one. */
    createNone: made(
      `INSERT INTO ${table} (session_key, session_data, expire_date) ` +
        `SELECT session_key, session_data, expire_date FROM ${table} WHERE 1 = 0${changed}`
    ),
    /** A save, and with another key a rotation. */
    replace: made(
      `UPDATE ${table} SET session_key = :newKey, session_data = :data, expire_date = ${moment(":expires")} ` +
        `WHERE ${isExpected}${changed}`
    ),
    end: made(`DELETE FROM ${table} WHERE ${isExpected}${changed}`),
    destroy: made(`DELETE FROM ${table} WHERE ${isKey}${changed}`),
    removeExpired: made(removeExpired(table, isDue)),
    count: made(
      `SELECT count(CASE WHEN ${isAlive} THEN 1 END) AS current_records, ` +
        `count(CASE WHEN ${isDue} THEN 1 END) AS expired_records FROM ${table}`
    ),
    /** The rows that end last. */
    sample: made(`SELECT ${columns} FROM ${table} WHERE ${isAlive} ORDER BY expire_date DESC LIMIT :limit`)
  }
}

/** The password of an active user, from the table of Django's own user model. */
export const passwordStatement = (dialect: Dialect): Prepared =>
  prepare(dialect, `SELECT password FROM ${quoted(dialect, "auth_user")} WHERE id = :id AND is_active`)

/** A row of a session. `expiresAt` in milliseconds since the epoch. */
export interface SessionRow {
  readonly key: string
  readonly text: string
  readonly expiresAt: number
}

/** A row as the database returns it. `expires` without an offset: in UTC on Postgres, else in the zone of Django. */
interface SampledRow {
  readonly key: string
  readonly text: string
  readonly expires: string
}

/** The condition of a write: the row is alive at `now`, and its text has this signature. */
export interface Expected {
  readonly key: string
  readonly signature: string
  readonly now: number
}

/** The functions of a table. Writes return whether they have changed a row. */
export interface Table {
  /** Fails if rows may not be read, inserted, updated or deleted. Changes none. */
  readonly check: Effect.Effect<void, SessionStoreError>
  readonly load: (
    key: string,
    now: number,
    operation?: string
  ) => Effect.Effect<SessionRow | undefined, SessionStoreError>
  /** The row of a key, or else the row with the key `moved`. */
  readonly loadMoved: (
    key: string,
    moved: string,
    now: number
  ) => Effect.Effect<SessionRow | undefined, SessionStoreError>
  readonly exists: (key: string) => Effect.Effect<boolean, SessionStoreError>
  /** `false`: the key is taken. */
  readonly create: (row: SessionRow) => Effect.Effect<boolean, SessionStoreError>
  /** `taken`: the new key is. */
  readonly replace: (
    operation: string,
    expected: Expected,
    row: SessionRow
  ) => Effect.Effect<boolean | "taken", SessionStoreError>
  readonly end: (expected: Expected) => Effect.Effect<boolean, SessionStoreError>
  readonly destroy: (key: string) => Effect.Effect<boolean, SessionStoreError>
  readonly removeExpired: (
    options: { readonly now: number; readonly limit: number }
  ) => Effect.Effect<number, SessionStoreError>
  readonly count: (now: number) => Effect.Effect<Count, SessionStoreError>
  /** The rows that end last. */
  readonly sample: (now: number, limit: number) => Effect.Effect<ReadonlyArray<SampledRow>, SessionStoreError>
}

/** The zone of `expire_date`: Postgres keeps moments, the others dates of the zone of Django. */
export const zoneOf = (dialect: Dialect, { zone }: Dates): DateTime.TimeZone => dialect === "pg" ? utc : zone

/** UTC, which is the zone of dates that are read from Postgres. */
export const utc: DateTime.TimeZone = DateTime.zoneMakeOffset(0)

export const make = (calls: Calls, dialect: Dialect, statement: ReturnType<typeof statements>, dates: Dates): Table => {
  const local = zoneOf(dialect, dates)
  const sampled = (row: Row): SampledRow => ({
    key: column(row, "session_key", textKind),
    text: column(row, "session_data", textKind),
    expires: column(row, "expires", textKind)
  })
  const parameter = (at: number): string => `${localText(at, local)}${dialect === "pg" ? "+00" : ""}`
  const rowOf = (row: Row): SessionRow => {
    const { expires, key, text } = sampled(row)
    const expiresAt = momentOf(expires, local)
    if (expiresAt === undefined) throw new TypeError("the column expire_date does not hold a date")
    return { key, text, expiresAt }
  }
  const decoded = <A>(operation: string, decode: () => A): Effect.Effect<A, SessionStoreError> =>
    Effect.try({ try: decode, catch: (cause) => corrupt(operation, cause) })
  const written = (row: SessionRow) => ({ data: row.text, expires: parameter(row.expiresAt) })
  // No row has an empty key or signature.
  const none = { key: "", signature: "", now: parameter(0) }
  return {
    check: Effect.all([
      calls.read("load", statement.load, none),
      calls.write("create", statement.createNone, {}),
      calls.write("save", statement.replace, { ...none, newKey: "", ...written({ key: "", text: "", expiresAt: 0 }) }),
      calls.write("destroy", statement.end, none)
    ], { discard: true }),
    load: (key, now, operation = "load") =>
      Effect.flatMap(
        calls.read(operation, statement.load, { key, now: parameter(now) }),
        ([row]) => row === undefined ? Effect.succeed(undefined) : decoded(operation, () => rowOf(row))
      ),
    loadMoved: (key, moved, now) =>
      Effect.flatMap(
        calls.read("load", statement.loadMoved, { key, moved, now: parameter(now) }),
        (rows) =>
          decoded("load", () => {
            const found = rows.map(rowOf)
            return found.find((row) => row.key === key) ?? found[0]
          })
      ),
    exists: (key) => Effect.map(calls.read("endReason", statement.exists, { key }), (rows) => rows.length > 0),
    create: (row) =>
      Effect.catchIf(
        Effect.map(
          calls.write("create", statement.create, { key: row.key, ...written(row) }),
          (changed) => changed > 0
        ),
        isDuplicate,
        () => Effect.succeed(false)
      ),
    replace: (operation, { key, now, signature }, row) =>
      Effect.catchIf(
        Effect.map(
          calls.write(operation, statement.replace, {
            key,
            signature,
            now: parameter(now),
            newKey: row.key,
            ...written(row)
          }),
          (changed): boolean | "taken" => changed > 0
        ),
        isDuplicate,
        () => Effect.succeed("taken" as const)
      ),
    end: ({ key, now, signature }) =>
      Effect.map(
        calls.write("rotate", statement.end, { key, signature, now: parameter(now) }),
        (changed) => changed > 0
      ),
    destroy: (key) => Effect.map(calls.write("destroy", statement.destroy, { key }), (changed) => changed > 0),
    removeExpired: ({ limit, now }) =>
      Effect.flatMap(
        calls.read("removeExpired", statement.clock, {}),
        ([row = {}]) =>
          Effect.flatMap(decoded("removeExpired", () => column(row, "clock", integer)), (clock) =>
            Effect.zipRight(
              checkClock(now, clock),
              calls.write("removeExpired", statement.removeExpired, { now: parameter(now), limit })
            ))
      ),
    count: (now) =>
      Effect.flatMap(
        calls.read("count", statement.count, { now: parameter(now) }),
        ([row = {}]) => decoded("count", () => decodeCount(row))
      ),
    sample: (now, limit) =>
      Effect.flatMap(
        calls.read("list", statement.sample, { now: parameter(now), limit }),
        (rows) => decoded("list", () => rows.map(sampled))
      )
  }
}
