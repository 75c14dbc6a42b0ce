/**
 * Encoding of a record in Redis: the metadata is a JSON list of texts, and the data a separate field, so that a touch does not rewrite
 * the data.
 */
import type { Lifetime } from "../../Lifetime.js"
import type { SessionInfo, SessionRecord } from "../../SessionRecord.js"
import { decodeInfo as decodeFields, fieldNames, fields, valuesOf } from "../record.js"

/** The positions of the fields in the list, from one as in Lua, by the names of their constants in the scripts. */
export const positions: ReadonlyMap<string, number> = new Map(
  fieldNames.map((name, i) => [fields[name].constant, i + 1])
)

/** The number of fields up to `lifetime`, the last one that earlier versions write. */
const minimumLength = fieldNames.indexOf("lifetime") + 1

/** Numbers are encoded as texts, because Redis scripts lose precision when they format numbers. */
export const encodeMetadata = (record: SessionRecord): string => {
  const values = valuesOf(record)
  const metadata = fieldNames.map((name) => {
    const value = values[name]
    return value === undefined ? null : typeof value === "object" ? encodeLifetime(value) : encodeText(String(value))
  })
  // Without later fields the list is the one that earlier versions write.
  while (metadata.length > minimumLength && metadata.at(-1) === null) metadata.pop()
  return JSON.stringify(metadata)
}

/** Equal lifetimes have equal texts: the scripts compare them. */
const encodeLifetime = ({ _tag, ...rest }: Lifetime): string => [_tag, ...Object.values(rest)].join(" ")

/** Parses a lifetime; `undefined` if the text is not one. The decoder picks the property that belongs to the tag. */
const parseLifetime = (text: string): unknown => {
  const [_tag, number, ...more] = text.split(" ")
  if (more.length > 0 || number === "" || (_tag === "Browser" && number !== undefined)) return undefined
  const value = number === undefined ? undefined : Number(number)
  return { _tag, millis: value, at: value }
}

/** Throws an error that names the field, and never contains its value. */
export const decodeInfo = (metadata: string): SessionInfo => {
  const list = parseJson(metadata)
  if (!Array.isArray(list)) throw new TypeError("the metadata is not a list")
  return decodeFields("field", (field) => {
    const value: unknown = list[(positions.get(field.constant) ?? 0) - 1]
    if (value === undefined && field === fields.attributes) return null
    if (typeof value !== "string") return value === null ? null : undefined
    return field === fields.lifetime ? parseLifetime(value) : decodeText(value)
  })
}

/** Throws as `decodeInfo` does. */
export const decodeRecord = (metadata: string, data: string): SessionRecord =>
  Object.assign(decodeInfo(metadata), { data: decodeText(data) })

// The message of JSON.parse would quote a piece of the text.
const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const escapeChar = "\u{10ffff}"
const toEscape = /[\u{10ffff}\p{Cs}]/u

/** Escapes lone surrogates, which UTF-8 cannot encode, as an escape character and four hex digits. */
export const encodeText = (text: string): string =>
  toEscape.test(text)
    ? text.replaceAll(
      /[\u{10ffff}\p{Cs}]/gu,
      (unit) => escapeChar + (unit === escapeChar ? "0000" : unit.charCodeAt(0).toString(16))
    )
    : text

const decodeText = (text: string): string =>
  text.includes(escapeChar)
    ? text.replaceAll(
      /\u{10ffff}([\da-f]{4})/gu,
      (_, unit: string) => unit === "0000" ? escapeChar : String.fromCharCode(Number.parseInt(unit, 16))
    )
    : text
