/**
 * A record as Redis keeps it: its metadata as a list of texts, its data apart, so that a touch need not write the data.
 */
import type { Lifetime } from "../../Lifetime.js"
import type { SessionInfo, SessionRecord } from "../../SessionRecord.js"
import { decodeInfo as decodeFields, fieldNames, fields, valuesOf } from "../record.js"

/** The positions of the fields in the list, from one as in Lua, by the names of their constants in the scripts. */
export const positions: ReadonlyMap<string, number> = new Map(
  fieldNames.map((name, i) => [fields[name].constant, i + 1])
)

/** The number of fields up to the lifetime: those of earlier versions. */
const earlier = fieldNames.indexOf("lifetime") + 1

/** Numbers are texts, because those of Redis's scripts are not exact when they are written down. */
export const encodeMetadata = (record: SessionRecord): string => {
  const values = valuesOf(record)
  const metadata = fieldNames.map((name) => {
    const value = values[name]
    return value === undefined ? null : typeof value === "object" ? encodeLifetime(value) : spell(String(value))
  })
  // Without later ones the list is that of earlier versions.
  while (metadata.length > earlier && metadata.at(-1) === null) metadata.pop()
  return JSON.stringify(metadata)
}

/** Equal lifetimes have equal texts: the scripts compare them. */
const encodeLifetime = ({ _tag, ...rest }: Lifetime): string => [_tag, ...Object.values(rest)].join(" ")

/** Parses the text of a lifetime, to `undefined` if it is none. The decoder takes the property of the tag, and ignores the other one. */
const parseLifetime = (text: string): unknown => {
  const [_tag, number, ...more] = text.split(" ")
  if (more.length > 0 || number === "" || (_tag === "Browser" && number !== undefined)) return undefined
  const value = number === undefined ? undefined : Number(number)
  return { _tag, millis: value, at: value }
}

/** Throws a sentence that names the field, and never the value. */
export const decodeInfo = (metadata: string): SessionInfo => {
  const list = parseJson(metadata)
  if (!Array.isArray(list)) throw new TypeError("the metadata is not a list")
  return decodeFields("field", (field) => {
    const value: unknown = list[(positions.get(field.constant) ?? 0) - 1]
    if (value === undefined && field === fields.attributes) return null
    if (typeof value !== "string") return value === null ? null : undefined
    return field === fields.lifetime ? parseLifetime(value) : unspell(value)
  })
}

/** Throws as `decodeInfo` does. */
export const decodeRecord = (metadata: string, data: string): SessionRecord =>
  Object.assign(decodeInfo(metadata), { data: unspell(data) })

// The message of JSON.parse would quote a piece of the text.
const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
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
