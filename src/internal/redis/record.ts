/**
 * A record as Redis keeps it: its metadata as a list of texts, its data apart, so that a touch need not write the data.
 */
import type { Lifetime } from "../../Lifetime.js"
import type { SessionId } from "../../SessionId.js"
import type { SessionInfo, SessionRecord } from "../../SessionRecord.js"

/** Where in the metadata a field is, counted from one, as the scripts do. */
export const positions = {
  NAMESPACE: 1,
  ID: 2,
  SCHEMA: 3,
  SUBJECT: 4,
  VERSION: 5,
  WRITE: 6,
  CREATED: 7,
  AUTHENTICATED: 8,
  MODIFIED: 9,
  SEEN: 10,
  ENDS: 11,
  DEADLINE: 12,
  LIFETIME: 13
} as const

type Field = keyof typeof positions
type Metadata = ReadonlyArray<string | null>

/** Numbers are texts, because those of Redis's scripts are not exact when they are written down. */
export const encodeMetadata = ({ expiry, ...record }: SessionRecord): string => {
  const metadata: Metadata = [
    spell(record.namespace),
    record.id,
    String(record.schemaVersion),
    record.subject === undefined ? null : spell(record.subject),
    String(record.version),
    spell(record.writeId),
    String(record.createdAt),
    optional(record.authenticatedAt),
    String(record.modifiedAt),
    String(record.lastSeenAt),
    String(expiry.at),
    optional(expiry.deadline),
    expiry.lifetime === undefined ? null : encodeLifetime(expiry.lifetime)
  ]
  return JSON.stringify(metadata)
}

const optional = (value: number | undefined) => value === undefined ? null : String(value)

/** Equal lifetimes have equal spellings: the scripts compare them. */
const encodeLifetime = (lifetime: Lifetime): string => {
  switch (lifetime._tag) {
    case "Inactivity":
      return `Inactivity ${lifetime.millis}`
    case "Until":
      return `Until ${lifetime.at}`
    case "Browser":
      return "Browser"
  }
}

/** Throws a sentence that names the field, and never the value. */
export const decodeInfo = (metadata: string): SessionInfo => {
  const fields = parse(metadata)
  return {
    namespace: unspell(text(fields, "NAMESPACE")),
    id: text(fields, "ID") as SessionId,
    schemaVersion: integer(fields, "SCHEMA"),
    subject: orAbsent(fields, "SUBJECT", (...field) => unspell(text(...field))),
    version: integer(fields, "VERSION"),
    writeId: unspell(text(fields, "WRITE")),
    createdAt: integer(fields, "CREATED"),
    authenticatedAt: orAbsent(fields, "AUTHENTICATED", integer),
    modifiedAt: integer(fields, "MODIFIED"),
    lastSeenAt: integer(fields, "SEEN"),
    expiry: {
      at: integer(fields, "ENDS"),
      deadline: orAbsent(fields, "DEADLINE", integer),
      lifetime: orAbsent(fields, "LIFETIME", decodeLifetime)
    }
  }
}

/** Throws as `decodeInfo` does. */
export const decodeRecord = (metadata: string, data: string): SessionRecord => ({
  ...decodeInfo(metadata),
  data: unspell(data)
})

const parse = (metadata: string): ReadonlyArray<unknown> => {
  const fields = parseJson(metadata)
  if (Array.isArray(fields)) return fields
  throw new TypeError("the metadata is no list")
}

// The message of JSON.parse would tell a piece of what it was given.
const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const at = (fields: ReadonlyArray<unknown>, field: Field): unknown => fields[positions[field] - 1]

const text = (fields: ReadonlyArray<unknown>, field: Field): string => {
  const value = at(fields, field)
  if (typeof value !== "string") throw new TypeError(`the field ${field} does not hold text`)
  return value
}

const integer = (fields: ReadonlyArray<unknown>, field: Field): number => {
  const value = text(fields, field)
  const number = Number(value)
  if (!/^-?\d+$/.test(value) || !Number.isSafeInteger(number)) {
    throw new TypeError(`the field ${field} does not hold an integer`)
  }
  return number
}

const orAbsent = <A>(
  fields: ReadonlyArray<unknown>,
  field: Field,
  decode: (fields: ReadonlyArray<unknown>, field: Field) => A
): A | undefined => at(fields, field) === null ? undefined : decode(fields, field)

const decodeLifetime = (fields: ReadonlyArray<unknown>, field: Field): Lifetime => {
  const [tag, number, ...more] = text(fields, field).split(" ")
  if (tag === "Browser" && number === undefined) return { _tag: tag }
  const value = number === undefined || number === "" || more.length > 0 ? Number.NaN : Number(number)
  if (!Number.isNaN(value)) {
    if (tag === "Inactivity") return { _tag: tag, millis: value }
    if (tag === "Until") return { _tag: tag, at: value }
  }
  throw new TypeError(`the field ${field} does not hold a lifetime`)
}

const mark = "\u{10ffff}"
const unspeakable = /[\u{10ffff}\p{Cs}]/u

/** Text that survives UTF-8, where half a surrogate pair has no bytes: a mark and its number stand for it. */
export const spell = (text: string): string =>
  unspeakable.test(text)
    ? text.replaceAll(
      /[\u{10ffff}\p{Cs}]/gu,
      (unit) => mark + (unit === mark ? "0000" : unit.charCodeAt(0).toString(16))
    )
    : text

const unspell = (text: string): string =>
  text.includes(mark)
    ? text.replaceAll(
      /\u{10ffff}([\da-f]{4})/gu,
      (_, unit: string) => unit === "0000" ? mark : String.fromCharCode(Number.parseInt(unit, 16))
    )
    : text
