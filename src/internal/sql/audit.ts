/**
 * The audit table of a SQL database: one row for each event of a session.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Arr from "effect/Array"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { SessionEvent } from "../../SessionEvents.js"
import type { SessionId } from "../../SessionId.js"
import { configError } from "../configError.js"
import { randomBytes } from "../crypto/primitives.js"
import { withHelp } from "../help.js"
import { filled } from "../store/corrupt.js"
import { isD1 } from "./driver.js"
import { codeOf, isUnmigrated } from "./errors.js"
import type { Row } from "./rows.js"
import type { Dialect, Tables } from "./tables.js"

type TableNames = Pick<Tables, "prefix" | "schema">

const nameOf = ({ prefix, schema }: TableNames): string =>
  `${schema === undefined ? "" : `${schema}.`}${prefix}session_events`

/** The statements that create the table. Each may run again, and by several processes at once. */
export const migration = (dialect: Dialect, tables: TableNames): ReadonlyArray<string> => {
  const table = nameOf(tables)
  const index = `${tables.prefix}session_events`
  const indexes = [
    `CREATE INDEX IF NOT EXISTS ${index}_by_id ON ${table} (namespace, id)`,
    `CREATE INDEX IF NOT EXISTS ${index}_by_subject ON ${table} (namespace, subject, at)`
  ]
  const standard = (text: string, bigint: string) =>
    `CREATE TABLE IF NOT EXISTS ${table} (
  event_key ${text} NOT NULL PRIMARY KEY,
  at ${bigint} NOT NULL,
  session ${text} NOT NULL,
  namespace ${text} NOT NULL,
  id ${text},
  subject ${text},
  event ${text} NOT NULL,
  details text NOT NULL
)`
  switch (dialect) {
    case "pg":
      // Under a lock, because concurrent CREATE TABLE IF NOT EXISTS fail.
      return [
        `DO $$ BEGIN
PERFORM pg_advisory_xact_lock(hashtext('${table}'));
${[standard(`text COLLATE "C"`, "bigint"), ...indexes].map((statement) => `${statement};`).join("\n")}
END $$`
      ]
    case "sqlite":
      return [standard("text", "integer"), ...indexes]
    case "mysql":
      // Binary, because text is compared without trailing spaces, and without a limit of the length, because no event may be rejected.
      return [
        `CREATE TABLE IF NOT EXISTS ${table} (
  event_key varbinary(64) NOT NULL PRIMARY KEY,
  at bigint NOT NULL,
  session longblob NOT NULL,
  namespace longblob NOT NULL,
  id varbinary(22),
  subject longblob,
  event varbinary(32) NOT NULL,
  details longtext NOT NULL,
  INDEX ${index}_by_id (namespace(255), id),
  INDEX ${index}_by_subject (namespace(255), subject(255), at)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`
      ]
  }
}

/** An event with its key: rows in the order of their keys are in the order of their times. */
export interface Entry {
  readonly key: string
  readonly event: SessionEvent
}

/** A page of entries. */
export interface Page {
  readonly after?: string | undefined
  readonly limit?: number | undefined
}

/** The number of rows that one statement deletes. */
const batch = 1000

const encode = Schema.encodeSync(SessionEvent)
const decode = Schema.decodeUnknownOption(SessionEvent)
const parse = Schema.decodeUnknownOption(Schema.parseJson(Schema.Record({ key: Schema.String, value: Schema.Unknown })))

/** Reads and writes the table. */
export const make = (sql: SqlClient.SqlClient, dialect: Dialect, tables: TableNames) => {
  const name = nameOf(tables)
  const table = sql.literal(name)
  const text = (column: string) => dialect === "mysql" ? `CONVERT(${column} USING utf8mb4) AS ${column}` : column
  const columns = sql.literal(
    ["event_key", "session", "namespace", "id", "subject", "event", "details"].map(text).join(", ")
  )
  // Each row has eight parameters. D1 allows 100 in a statement, the other databases more than 30,000.
  const rowsPerInsert = isD1(sql) ? 12 : 1000
  const orIgnore = sql.literal(
    dialect === "mysql" ? "ON DUPLICATE KEY UPDATE event_key = event_key" : "ON CONFLICT DO NOTHING"
  )
  // The key of a row: its time, then this writer and its count. So a write that is repeated, because its reply was lost, adds no rows.
  const writer = Encoding.encodeHex(randomBytes(8))
  let written = 0

  const decoded = (row: Row): Option.Option<Entry> =>
    Option.flatMap(parse(row.details), (details) =>
      Option.map(
        decode({
          ...details,
          _tag: row.event,
          session: row.session,
          namespace: row.namespace,
          ...row.id === null ? {} : { id: row.id },
          ...row.subject === null ? {} : { subject: row.subject }
        }),
        (event) => ({ key: String(row.event_key), event })
      ))

  return {
    /** Fails if the table is missing. A database that does not answer is no error here. */
    // The text is unique each time, because the client of SQLite caches texts, including those that it could not prepare.
    check: Effect.suspend(() =>
      sql`SELECT /* ${sql.literal(Encoding.encodeHex(randomBytes(8)))} */ ${columns} FROM ${table} WHERE 1 = 0`
    ).pipe(
      Effect.asVoid,
      Effect.catchAll((error) =>
        isUnmigrated(codeOf(error), error.cause instanceof Error ? error.cause.message : "")
          ? configError(
            "SqlAudit",
            `The audit table ${name} is missing: run "effect-session migrate --audit" with the same --prefix and ` +
              "--schema, or SqlMigrations with the option audit.",
            "audit-table-missing"
          )
          : Effect.void
      ),
      Effect.disconnect,
      Effect.timeoutOption("10 seconds"),
      Effect.asVoid
    ),

    keyed: (events: ReadonlyArray<SessionEvent>): ReadonlyArray<Entry> =>
      events.map((event) => ({ key: `${timeKey(event.at)}.${writer}.${padded(written++, 12)}`, event })),

    insert: (entries: ReadonlyArray<Entry>): Effect.Effect<void, SqlError> =>
      Effect.forEach(
        Arr.chunksOf(entries, rowsPerInsert),
        (rows) => sql`INSERT INTO ${table} ${sql.insert(rows.map(rowOf))} ${orIgnore}`,
        { discard: true }
      ),

    /** The events of a session, and the ends of its subject and of all sessions since it was created, in order. */
    explain: (
      namespace: string,
      id: SessionId,
      { after = "", limit = 100 }: Page = {}
    ): Effect.Effect<ReadonlyArray<Entry>, SqlError> => {
      const ours = sql`namespace = ${storable(namespace)}`
      const mine = sql`${ours} AND id = ${id}`
      const select = sql`SELECT ${columns} FROM ${table}`
      const ends = sql`${ours} AND id IS NULL AND event = 'Ended'
        AND at >= (SELECT MIN(at) FROM ${table} WHERE ${mine}) AND event_key > ${after}`
      const read = (limit: number) =>
        sql<Row>`${select} WHERE ${mine} AND event_key > ${after}
          UNION ALL ${select} WHERE subject IN (SELECT subject FROM ${table} WHERE ${mine} AND subject IS NOT NULL) AND ${ends}
          UNION ALL ${select} WHERE subject IS NULL AND ${ends}
          ORDER BY event_key LIMIT ${sql.literal(String(limit))}`
      return Effect.flatMap(filled(limit, read, (row) => Option.isSome(decoded(row))), (rows) => {
        const entries = rows.flatMap((row) => Option.toArray(decoded(row)))
        return Effect.as(
          entries.length === rows.length ? Effect.void : Effect.logWarning(
            withHelp(
              `The audit table ${name} has ${
                rows.length - entries.length
              } events of the session ${id} that this version cannot read. ` +
                "They are omitted.",
              "audit-event-unreadable"
            )
          ),
          Arr.take(entries, limit)
        )
      })
    },

    /** Deletes the events before a time, in batches, and returns their number. */
    removeBefore: (before: DateTime.Utc): Effect.Effect<number, SqlError> => {
      const bound = timeKey(before)
      const removeFrom = (removed: number): Effect.Effect<number, SqlError> =>
        Effect.flatMap(
          sql<Row>`SELECT ${sql.literal(text("event_key"))} FROM ${table} WHERE ${table}.event_key < ${bound}
            ORDER BY ${table}.event_key LIMIT ${sql.literal(String(batch))}`,
          (rows) => {
            const last = rows.at(-1)
            if (last === undefined) return Effect.succeed(removed)
            return Effect.flatMap(
              sql`DELETE FROM ${table} WHERE event_key <= ${String(last.event_key)}`,
              () => rows.length < batch ? Effect.succeed(removed + rows.length) : removeFrom(removed + rows.length)
            )
          }
        )
      return removeFrom(0)
    }
  }
}

const rowOf = ({ event, key }: Entry) => {
  const { _tag, at, id, namespace, session, subject, ...details } = encode(event)
  return {
    event_key: key,
    at: DateTime.toEpochMillis(event.at),
    session: storable(session),
    namespace: storable(namespace),
    id: id ?? null,
    subject: subject === undefined ? null : storable(subject),
    event: _tag,
    // The time again, as text: so the details and the other columns are the whole event.
    details: JSON.stringify({ at, ...details })
  }
}

/** Postgres rejects U+0000 in text. */
const storable = (text: string): string => text.replaceAll("\u0000", "\ufffd")

const padded = (number: number, digits: number): string => String(number).padStart(digits, "0")

/** A time as text whose order is that of the times. */
const timeKey = (at: DateTime.Utc): string => padded(Math.max(DateTime.toEpochMillis(at), 0), 16)
