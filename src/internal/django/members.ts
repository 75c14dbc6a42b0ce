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

/** A part of a JSON text: a string with its quotation marks, or what is between two strings. */
interface Part {
  readonly text: string
  readonly index: number
  readonly isString: boolean
}

/**
 * Splits a JSON text into strings and what is between them; `undefined` if a string has no end. Takes linear time for any text. A regular
 * expression for strings takes quadratic time for some, and its stack overflows for long ones.
 */
const partsOf = (json: string): ReadonlyArray<Part> | undefined => {
  const parts: Array<Part> = []
  let index = 0
  for (let start = json.indexOf("\""); start >= 0; start = json.indexOf("\"", index)) {
    const end = endOfString(json, start)
    if (end === undefined) return undefined
    parts.push({ text: json.slice(index, start), index, isString: false })
    parts.push({ text: json.slice(start, end), index: start, isString: true })
    index = end
  }
  parts.push({ text: json.slice(index), index, isString: false })
  return parts
}

const quote = 0x22
const backslash = 0x5C

/** The position behind the string that begins at `start`; `undefined` if it has no end. */
const endOfString = (json: string, start: number): number | undefined => {
  for (let at = start + 1; at < json.length; at++) {
    const code = json.charCodeAt(at)
    if (code === quote) return at + 1
    if (code === backslash) at++
  }
  return undefined
}

/** The names of numbers that JSON does not have. */
const numberName = /-?Infinity|NaN/g

const number = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g

/**
 * Splits the text of a JSON object into its members. Of members with the same name the last value counts, as in Python. `undefined` if the
 * text is not a JSON object.
 */
export const split = (json: string): Members | undefined => {
  const parts = partsOf(json)
  const plain = parts?.map(({ isString, text }) => isString ? text : text.replaceAll(numberName, "null")).join("")
  if (parts === undefined || !isRecord(parse(plain ?? ""))) return undefined
  const members = new Map<string, string>()
  let depth = 0
  let name = ""
  /** The start of the value; absent in front of it. */
  let start: number | undefined
  for (const { index, isString, text } of parts) {
    if (isString) {
      if (depth === 1 && start === undefined) name = text
      continue
    }
    for (const { 0: mark, index: at } of text.matchAll(/[{}[\],:]/g)) {
      if (depth === 1) {
        if (mark === ":") start = index + at + 1
        if ((mark === "," || mark === "}") && start !== undefined) {
          members.set(String(parse(name)), json.slice(start, index + at).trim())
          start = undefined
        }
      }
      if (mark === "{" || mark === "[") depth++
      if (mark === "}" || mark === "]") depth--
    }
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
  const numbers = (partsOf(source) ?? []).flatMap(({ isString, text }) => isString ? [] : text.match(number) ?? [])
  const value = parse(source)
  return value === undefined || !numbers.every(fits) || problemOf(value, 1) !== undefined ? undefined : value as Json
}

const fits = (token: string): boolean =>
  /[.eE]/.test(token) ? Number.isFinite(Number(token)) : Number.isSafeInteger(Number(token))

/** Names that begin with an underscore belong to Django, and to this library. */
export const isReserved = (name: string): boolean => name.startsWith("_")

/** Takes the place of a value that JavaScript cannot hold. It fits no field of a schema but one that accepts anything. */
const unreadable: JsonRecord = { "effect-session/unreadable": true }

/** The members that are the application's data. */
const isData = (name: string): boolean => !isReserved(name) && !isHostileKey(name)

/** Returns the data of a session. */
export const dataOf = (members: Members): JsonRecord =>
  Object.fromEntries(
    Array.from(members).filter(([name]) => isData(name)).map(([name, source]) => [name, decode(source) ?? unreadable])
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
      next.set(name, equals(value, decode(source) ?? unreadable) ? source : encode(value))
    }
  }
  for (const [name, value] of Object.entries(data)) {
    if (value !== undefined && !next.has(name)) next.set(name, encode(value))
  }
  return next
}
