/**
 * Records as rows: what a statement is told of a record, and the record that a row holds.
 */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { Lifetime } from "../../Lifetime.js"
import type { SessionId } from "../../SessionId.js"
import type { SessionInfo, SessionRecord } from "../../SessionRecord.js"
import type { Count, Located } from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"

/** A row as a driver gives it. */
export type Row = Readonly<Record<string, unknown>>

/** What a statement is told, by name. */
export type Parameters = Readonly<Record<string, string | number | null>>

/** What a statement is told of a record. */
export const parametersOf = (record: SessionRecord): Parameters => ({
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

const lifetimeFromJson = Schema.decodeUnknownEither(Schema.parseJson(Lifetime))

const decodeLifetime = (value: unknown): Lifetime =>
  Either.getOrThrowWith(
    lifetimeFromJson(value),
    () => new TypeError("the column lifetime does not hold a lifetime")
  )

/** A record without its data. Throws if the row does not hold one. */
export const decodeInfo = (row: Row): SessionInfo => ({
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

/** A record and its key. Throws if the row does not hold them. */
export const decodeLocated = (row: Row): Located => ({ ...decodeRecord(row), key: text(row, "key") as StoreKey })

/** A record. Throws if the row does not hold one. */
export const decodeRecord = (row: Row): SessionRecord => ({ ...decodeInfo(row), data: text(row, "data") })

/** The id of a row that may hold no record. */
export const idIn = ({ id }: Row): SessionId | undefined => typeof id === "string" ? id as SessionId : undefined

/** The numbers of a count. */
export const decodeCount = (row: Row): Count => ({
  current: integer(row, "current_records"),
  expired: integer(row, "expired_records")
})

/** A column that holds text. The message names the column and never the value. */
export const text = (row: Row, column: string): string => {
  const value = row[column]
  if (typeof value !== "string") throw new TypeError(`the column ${column} does not hold text`)
  return value
}

/** A column that holds a whole number. Drivers return 64-bit ones as text (pg, mysql2), as number or bigint (SQLite). */
export const integer = (row: Row, column: string): number => {
  const value = row[column]
  const number = typeof value === "bigint" || (typeof value === "string" && /^-?\d+$/.test(value))
    ? Number(value)
    : value
  if (typeof number !== "number" || !Number.isSafeInteger(number)) {
    throw new TypeError(`the column ${column} does not hold an integer`)
  }
  return number
}
