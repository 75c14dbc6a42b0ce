/**
 * The fields of a session record, in the order in which stores keep them, with the codec of each. Every store encodes and decodes
 * its records by this table.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import { Lifetime } from "../Lifetime.js"
import * as SessionId from "../SessionId.js"
import type { SessionInfo, SessionRecord } from "../SessionRecord.js"
import * as StoreKey from "../StoreKey.js"

/** A kind of value, with its decoder. */
export interface Kind<A> {
  /** The kind in messages, which never contain the value. */
  readonly noun: string
  /** Reads a value in any form in which a driver returns it; `undefined` if it is of another kind. */
  readonly decode: (value: unknown) => A | undefined
}

/** A field of a record: its property, its column in SQL, and its constant in the scripts of Redis. */
export interface Field<A> extends Kind<A> {
  readonly name: string
  readonly column: string
  readonly constant: string
}

export const text: Kind<string> = {
  noun: "text",
  decode: (value) => typeof value === "string" ? value : undefined
}

/** Drivers return 64-bit integers as text (pg, mysql2), as a number or as a bigint (SQLite). */
export const integer: Kind<number> = {
  noun: "an integer",
  decode: (value) => {
    const number = typeof value === "string" ? ofDigits(value) : typeof value === "bigint" ? Number(value) : value
    return typeof number === "number" && Number.isSafeInteger(number) ? number : undefined
  }
}

/** Parses a decimal integer. By hand, because a record has up to eight of them and a regular expression takes four times as long. */
const ofDigits = (text: string): number | undefined => {
  const isNegative = text.startsWith("-")
  const from = isNegative ? 1 : 0
  if (text.length === from) return undefined
  let number = 0
  for (let i = from; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48
    if (digit < 0 || digit > 9) return undefined
    number = number * 10 + digit
  }
  return isNegative ? -number : number
}

const parsed = <A>(noun: string, parse: (text: string) => Option.Option<A>): Kind<A> => ({
  noun,
  decode: (value) => typeof value === "string" ? Option.getOrUndefined(parse(value)) : undefined
})

export const id: Kind<SessionId.SessionId> = parsed("the id of a session", SessionId.parse)

export const key: Kind<StoreKey.StoreKey> = parsed("the key of a session", StoreKey.parse)

const lifetimeFromJson = Schema.decodeUnknownOption(Schema.parseJson(Lifetime))
const lifetimeFromObject = Schema.decodeUnknownOption(Lifetime)

/** A lifetime, as an object or as its JSON text. */
const lifetime: Kind<Lifetime> = {
  noun: "a lifetime",
  decode: (value) =>
    Option.getOrUndefined(typeof value === "string" ? lifetimeFromJson(value) : lifetimeFromObject(value))
}

const field = <A>({ decode, noun }: Kind<A>, name: string, column: string, constant: string): Field<A> => ({
  noun,
  decode,
  name,
  column,
  constant
})

/** The fields except the data, which lists do not return. A new one is added at the end: Redis keeps them by their positions. */
export const fields = {
  namespace: field(text, "namespace", "namespace", "NAMESPACE"),
  id: field(id, "id", "id", "ID"),
  schemaVersion: field(integer, "schemaVersion", "schema_version", "SCHEMA"),
  subject: field(text, "subject", "subject", "SUBJECT"),
  version: field(integer, "version", "version", "VERSION"),
  writeId: field(text, "writeId", "write_id", "WRITE"),
  createdAt: field(integer, "createdAt", "created_at", "CREATED"),
  authenticatedAt: field(integer, "authenticatedAt", "authenticated_at", "AUTHENTICATED"),
  modifiedAt: field(integer, "modifiedAt", "modified_at", "MODIFIED"),
  lastSeenAt: field(integer, "lastSeenAt", "last_seen_at", "SEEN"),
  expiresAt: field(integer, "expiresAt", "expires_at", "ENDS"),
  deadline: field(integer, "deadline", "deadline", "DEADLINE"),
  lifetime: field(lifetime, "lifetime", "lifetime", "LIFETIME"),
  attributes: field(text, "attributes", "attributes", "ATTRIBUTES")
} as const

export type FieldName = keyof typeof fields

/** The names of the fields, in their order. */
export const fieldNames: ReadonlyArray<FieldName> = Struct.keys(fields)

/** Returns the values of a record, except its data. */
export const valuesOf = (record: SessionRecord) => ({
  namespace: record.namespace,
  id: record.id,
  schemaVersion: record.schemaVersion,
  subject: record.subject,
  version: record.version,
  writeId: record.writeId,
  createdAt: record.createdAt,
  authenticatedAt: record.authenticatedAt,
  modifiedAt: record.modifiedAt,
  lastSeenAt: record.lastSeenAt,
  expiresAt: record.expiry.at,
  deadline: record.expiry.deadline,
  lifetime: record.expiry.lifetime,
  attributes: record.attributes
} satisfies Record<FieldName, unknown>)

/** Decodes one value of a kind. Throws a `TypeError` whose message names the place, and never the value. */
export const decode = <A>(kind: Kind<A>, value: unknown, place: string, name: string): A => {
  const decoded = kind.decode(value)
  if (decoded === undefined) throw new TypeError(`the ${place} ${name} does not hold ${kind.noun}`)
  return decoded
}

/**
 * Decodes a record without its data. `valueOf` returns the stored value of a field, `null` for an absent one. Throws as {@link decode}
 * does.
 */
export const decodeInfo = (
  place: "column" | "field",
  valueOf: (field: Field<unknown>) => unknown
): SessionInfo => {
  const read = <A>(field: Field<A>): A =>
    decode(field, valueOf(field), place, field[place === "column" ? "column" : "name"])
  const orAbsent = <A>(field: Field<A>): A | undefined => valueOf(field) === null ? undefined : read(field)
  return {
    namespace: read(fields.namespace),
    id: read(fields.id),
    schemaVersion: read(fields.schemaVersion),
    subject: orAbsent(fields.subject),
    version: read(fields.version),
    writeId: read(fields.writeId),
    createdAt: read(fields.createdAt),
    authenticatedAt: orAbsent(fields.authenticatedAt),
    modifiedAt: read(fields.modifiedAt),
    lastSeenAt: read(fields.lastSeenAt),
    expiry: {
      at: read(fields.expiresAt),
      deadline: orAbsent(fields.deadline),
      lifetime: orAbsent(fields.lifetime)
    },
    attributes: orAbsent(fields.attributes)
  }
}
