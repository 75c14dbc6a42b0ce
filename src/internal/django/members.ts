/**
 * The members of the JSON object of a session, each with the text that Python has written.
 *
 * JSON of JavaScript is not that of Python: `12345678901234567890` would come back as `12345678901234567000`, and `1.0` as `1`. So each
 * member keeps its text, and only members that have changed are encoded again.
 */
import type { Json, JsonRecord } from "../../Json.js"
import { equals, isHostileKey, isRecord, problemOf } from "../json.js"

/** The sources of the values, by name, in their order. */
export type Members = ReadonlyMap<string, string>

const quote = "\"".charCodeAt(0)
const backslash = "\\".charCodeAt(0)

/**
 * The position behind the string that begins at `start`. Takes linear time for any text. A regular expression for strings takes quadratic
 * time for some texts, and its stack overflows for long ones.
 */
const endOfString = (json: string, start: number): number => {
  for (let at = start + 1; at < json.length; at++) {
    const code = json.charCodeAt(at)
    if (code === quote) return at + 1
    if (code === backslash) at++
  }
  return json.length
}

/** Replaces the strings of a JSON text, and what is between them. */
const replaced = (json: string, string: (text: string) => string, between: (text: string) => string): string => {
  const parts: Array<string> = []
  let index = 0
  for (let start = json.indexOf("\""); start >= 0; start = json.indexOf("\"", index)) {
    parts.push(between(json.slice(index, start)))
    index = endOfString(json, start)
    parts.push(string(json.slice(start, index)))
  }
  parts.push(between(json.slice(index)))
  return parts.join("")
}

/** Parses JSON of Python, which has names for numbers that JSON does not have. */
const parsePython = (json: string): unknown =>
  parse(json) ?? parse(replaced(json, (text) => text, (text) => text.replaceAll(/-?Infinity|NaN/g, "null")))

/**
 * Splits the text of a JSON object into its members. Of members with the same name the last value counts, as in Python. `undefined` if the
 * text is not a JSON object.
 */
export const split = (json: string): Members | undefined => {
  if (!isRecord(parsePython(json))) return undefined
  const members = new Map<string, string>()
  let depth = 0
  let name = ""
  /** The position at which the value of the member begins; absent before its colon. */
  let start: number | undefined
  for (let at = 0; at < json.length; at++) {
    const character = json[at]
    if (character === "\"") {
      const end = endOfString(json, at)
      if (depth === 1 && start === undefined) name = json.slice(at, end)
      at = end - 1
    } else if (depth === 1 && character === ":") {
      start = at + 1
    } else if (depth === 1 && (character === "," || character === "}") && start !== undefined) {
      members.set(String(parse(name)), json.slice(start, at).trim())
      start = undefined
    }
    if (character === "{" || character === "[") depth++
    if (character === "}" || character === "]") depth--
  }
  return members
}

const parse = (json: string): unknown => {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

/** Joins members to the text of a JSON object. */
export const join = (members: Members): string =>
  `{${Array.from(members, ([name, source]) => `${encode(name)}:${source}`).join(",")}}`

/** Encodes a value as Python's `json.dumps` does: in ASCII, without spaces. */
export const encode = (value: Json): string =>
  JSON.stringify(value).replaceAll(
    /[\u007F-\uFFFF]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`
  )

/**
 * Decodes a value; `undefined` if JavaScript cannot hold it: an integer beyond 2^53, `NaN`, or more levels or fields than a session may
 * have.
 */
export const decode = (source: string): Json | undefined => {
  const value = parse(source)
  return value === undefined || hasUnsafeInteger(source) || problemOf(value, 1) !== undefined
    ? undefined
    : value as Json
}

/** Whether a valid JSON text has an integer beyond 2^53, which has 16 digits or more. */
const hasUnsafeInteger = (source: string): boolean =>
  /\d{16}/.test(source) &&
  (replaced(source, () => "\"\"", (text) => text).match(/-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g) ?? [])
    .some((number) => !/[.eE]/.test(number) && !Number.isSafeInteger(Number(number)))

/** Names that begin with an underscore belong to Django, and to this library. */
export const isReserved = (name: string): boolean => name.startsWith("_")

/**
 * Returns the value that stands for one that JavaScript cannot hold. It fits no field of a schema but one that accepts any value. It has
 * the source, so that the value is not lost when the session moves to another engine.
 */
const placeholderOf = (source: string): JsonRecord => ({ "effect-session/unreadable": source })

/** The members that are the application's data. */
const isData = (name: string): boolean => !isReserved(name) && !isHostileKey(name)

/** Returns the data of a session. */
export const dataOf = (members: Members): JsonRecord =>
  Object.fromEntries(
    Array.from(members).filter(([name]) => isData(name)).map((
      [name, source]
    ) => [name, decode(source) ?? placeholderOf(source)])
  )

/**
 * Writes data into the members of a session. Members that have not changed keep their source, and all keep their order; new ones follow.
 * Reserved members stay as they are.
 */
export const withData = (members: Members, data: JsonRecord): Members => {
  const next = new Map<string, string>()
  for (const [name, source] of members) {
    const value = Object.hasOwn(data, name) ? data[name] : undefined
    if (!isData(name)) next.set(name, source)
    else if (value !== undefined) {
      next.set(name, equals(value, decode(source) ?? placeholderOf(source)) ? source : encode(value))
    }
  }
  for (const [name, value] of Object.entries(data)) {
    if (value !== undefined && !next.has(name)) next.set(name, encode(value))
  }
  return next
}
