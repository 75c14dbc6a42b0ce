/**
 * Encodes a record as the parameters of a statement, and decodes it from a row.
 */
import type { SessionId } from "../../SessionId.js"
import type { SessionInfo, SessionRecord } from "../../SessionRecord.js"
import type { Count, Located } from "../../SessionStore.js"
import type { Kind } from "../record.js"
import * as Fields from "../record.js"

/** A row as a driver returns it. */
export type Row = Readonly<Record<string, unknown>>

/** The parameters of a statement, by name. */
export type Parameters = Readonly<Record<string, string | number | null>>

/** The parameters of a statement that are not part of a record. */
interface Others {
  readonly key: string
  readonly newKey?: string
  readonly expected?: number
  readonly now: number
}

/** The parameters of a statement about a record. */
export const parametersOf = (record: SessionRecord, { expected = 0, key, newKey = "", now }: Others): Parameters => {
  const values = Fields.valuesOf(record)
  // One literal, because building the object property by property takes as long as sending the statement.
  return {
    key,
    newKey,
    expected,
    now,
    data: record.data,
    namespace: values.namespace,
    id: values.id,
    schemaVersion: values.schemaVersion,
    subject: values.subject ?? null,
    version: values.version,
    writeId: values.writeId,
    createdAt: values.createdAt,
    authenticatedAt: values.authenticatedAt ?? null,
    modifiedAt: values.modifiedAt,
    lastSeenAt: values.lastSeenAt,
    expiresAt: values.expiresAt,
    deadline: values.deadline ?? null,
    lifetime: values.lifetime === undefined ? null : JSON.stringify(values.lifetime),
    attributes: values.attributes ?? null
  } satisfies Parameters & Record<Fields.FieldName, unknown>
}

/** Decodes a column. Throws an error that names the column, and never its value. */
export const column = <A>(row: Row, name: string, kind: Kind<A>): A => Fields.decode(kind, row[name], "column", name)

/** Decodes a record without its data. Throws as {@link column} does. */
export const decodeInfo = (row: Row): SessionInfo => Fields.decodeInfo("column", ({ column }) => row[column])

/** Decodes a record. Throws as {@link column} does. */
export const decodeRecord = (row: Row): SessionRecord =>
  // `Object.assign`, because a spread takes longer than the decoding.
  Object.assign(decodeInfo(row), { data: column(row, "data", Fields.text) })

/** Decodes a record and its key. Throws as {@link column} does. */
export const decodeLocated = (row: Row): Located =>
  Object.assign(decodeRecord(row), { key: column(row, "key", Fields.key) })

/** The id in a row whose record may be corrupt. */
export const idIn = ({ id }: Row): SessionId | undefined => Fields.id.decode(id)

/** Decodes the row of a count. */
export const decodeCount = (row: Row): Count => ({
  current: column(row, "current_records", Fields.integer),
  expired: column(row, "expired_records", Fields.integer)
})
