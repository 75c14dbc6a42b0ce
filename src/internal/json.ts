/**
 * Validation, comparison and copies of JSON values, which encoded session data consists of.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Equal from "effect/Equal"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Json, JsonRecord } from "../Json.js"

/** The maximum nesting of encoded data: recursive consumers overflow their stack long before `JSON.parse` does. */
export const maxDepth = 64

/**
 * The maximum nesting of a value before it is encoded, which may have more levels than its encoding. A recursive schema overflows the stack
 * only at some thousand levels.
 */
const maxValueDepth = 2 * maxDepth

/** The maximum number of fields of one object. */
export const maxFields = 4096

/** The maximum number of values in one field, counted as they are written: a shared value counts once for each place. */
export const maxValues = 1_000_000

// A copy by assignment would turn these keys into a change of prototype.
const hostileKeys = new Set(["__proto__", "constructor", "prototype"])

/** Returns whether a field name is not allowed. */
export const isHostileKey = (key: string): boolean => hostileKeys.has(key)

/** A problem of a value, and its path. */
export interface JsonProblem {
  readonly path: ReadonlyArray<string | number>
  readonly message: string
}

/**
 * Returns why a value cannot be stored as JSON, or `undefined` if it can. `depth` is the nesting of the value in the record. An undefined
 * field counts as absent. The message never contains the value itself. Takes linear time, even for cyclic values and for values with shared
 * parts.
 */
export const problemOf = (value: unknown, depth = 0): JsonProblem | undefined => {
  budget = cheapValues
  return isFine(value, depth) ? undefined : explain(value, jsonParts, maxDepth, depth)
}

/**
 * Returns why a value must not be encoded, or `undefined` if it may: it is cyclic, nested too deeply or too large, or has a field name that
 * encoding would drop silently. Checks plain objects, arrays, collections and instances of a `Schema.Class`.
 */
export const problemOfValue = (value: unknown): JsonProblem | undefined => {
  if (typeof value !== "object" || value === null) return undefined
  budget = cheapValues
  return isHarmless(value, 0) ? undefined : explain(value, valueParts, maxValueDepth, 0)
}

/** The number of values that are visited without remembering them. Limited, because shared parts are visited repeatedly. */
const cheapValues = 10_000

/** The rest of `cheapValues` for the current visit, which is synchronous. */
let budget = 0

/** Returns whether `problemOf` finds nothing, without tracking paths. Also `false` if the budget is spent before the end. */
const isFine = (value: unknown, depth: number): boolean => {
  if (typeof value === "string" || typeof value === "boolean" || value === null) return true
  if (typeof value === "number") return Number.isFinite(value)
  if (typeof value !== "object" || depth >= maxDepth || budget-- <= 0) return false
  if (Array.isArray(value)) {
    // Not `every`, which skips holes.
    for (const item of value) if (!isFine(item, depth + 1)) return false
    return true
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return false
  const keys = Object.keys(value)
  if (keys.length > maxFields) return false
  for (const key of keys) {
    const child = (value as JsonRecord)[key]
    if (hostileKeys.has(key) || (child !== undefined && !isFine(child, depth + 1))) return false
  }
  return true
}

/** Returns whether `problemOfValue` finds nothing, in the same way. */
const isHarmless = (value: unknown, depth: number): boolean => {
  if (typeof value !== "object" || value === null) return true
  if (depth >= maxValueDepth || budget-- <= 0) return false
  if (Array.isArray(value)) {
    for (const item of value) if (!isHarmless(item, depth + 1)) return false
    return true
  }
  if (isPlain(value)) {
    for (const key of Object.keys(value)) {
      if (hostileKeys.has(key) || !isHarmless((value as JsonRecord)[key], depth + 1)) return false
    }
    return true
  }
  const parts = partsOfInstance(value)
  if (parts === undefined) return true
  for (const part of parts) if (!isHarmless(part[1], depth + 1)) return false
  return true
}

const isPlain = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** A part of a value, with its field name or index. */
type Part = readonly [step: string | number, value: unknown]

/** Returns the parts of a value, `undefined` for a leaf, or a problem of the value itself. */
type Parts = (value: unknown) => Iterable<Part> | undefined | { readonly message: string }

const jsonParts: Parts = (value) => {
  switch (typeof value) {
    case "string":
    case "boolean":
      return undefined
    case "number":
      return Number.isFinite(value) ? undefined : { message: "a number that is not finite cannot be stored as JSON" }
    case "object": {
      if (value === null) return undefined
      if (Array.isArray(value)) return value.entries()
      if (!isPlain(value)) {
        return { message: "an instance of a class cannot be stored as JSON; encode it in the schema" }
      }
      const entries = Object.entries(value).filter(([, child]) => child !== undefined)
      return entries.length > maxFields ? { message: `more than ${maxFields} fields in one object` } : named(entries)
    }
    default:
      return { message: `a value of type ${typeof value} cannot be stored as JSON` }
  }
}

const valueParts: Parts = (value) => {
  if (typeof value !== "object" || value === null) return undefined
  if (Array.isArray(value)) return value.entries()
  return isPlain(value) ? named(Object.entries(value)) : partsOfInstance(value)
}

const named = (entries: ReadonlyArray<readonly [string, unknown]>): Iterable<Part> | { readonly message: string } => {
  const hostile = entries.find(([key]) => hostileKeys.has(key))
  return hostile === undefined ? entries : { message: `the field name "${hostile[0]}" is not allowed` }
}

/** Returns the parts of an instance that a schema encodes, if they are known. Other instances may refer to half of the program. */
const partsOfInstance = (value: object): ReadonlyArray<Part> | undefined => {
  if (value instanceof Map) return [...value].flat().map(numbered)
  if (value instanceof Set) return [...value].map(numbered)
  if (Option.isOption(value)) return Option.isSome(value) ? [["value", value.value]] : undefined
  if (Either.isEither(value)) return Either.isRight(value) ? [["right", value.right]] : [["left", value.left]]
  // Effect's collections implement Equal and iterate over their elements. Effects do not.
  if (Equal.isEqual(value) && isIterable(value) && !Effect.isEffect(value)) return [...value].map(numbered)
  const { constructor } = value
  if (Schema.isSchema(constructor) && "fields" in constructor && isRecord(constructor.fields)) {
    const { fields } = constructor
    return Object.entries(value).filter(([key]) => Object.hasOwn(fields, key))
  }
  return isPlain(Object.getPrototypeOf(value)) ? Object.entries(value) : undefined
}

const numbered = (value: unknown, index: number): Part => [index, value]

const isIterable = (value: object): value is Iterable<unknown> => Symbol.iterator in value

/** The size of a visited part: its levels and its values. Values of shared parts count once for each place. */
interface Extent {
  readonly levels: number
  readonly values: number
}

const leaf: Extent = { levels: 0, values: 1 }

/** Returns the first problem of a value, with its path. Visits each part once, and recurses no deeper than `levels`. */
const explain = (root: unknown, parts: Parts, levels: number, depth: number): JsonProblem | undefined => {
  const known = new Map<unknown, Extent | "under way">()
  const path: Array<string | number> = []
  const problem = (message: string): JsonProblem => ({ path: path.slice(0, 8), message })
  const visit = (value: unknown): Extent | JsonProblem => {
    const found = known.get(value)
    if (found === "under way") return problem("it contains itself")
    if (found !== undefined) {
      return depth + path.length + found.levels > levels ? problem(`nested deeper than ${levels} levels`) : found
    }
    const inside = parts(value)
    if (inside === undefined) return leaf
    if ("message" in inside) return problem(inside.message)
    if (depth + path.length >= levels) return problem(`nested deeper than ${levels} levels`)
    known.set(value, "under way")
    let extent = { levels: 1, values: 1 }
    for (const [step, part] of inside) {
      path.push(step)
      const next = visit(part)
      if ("message" in next) return next
      path.pop()
      extent = { levels: Math.max(extent.levels, 1 + next.levels), values: extent.values + next.values }
      if (extent.values > maxValues) return problem(`more than ${maxValues} values`)
    }
    known.set(value, extent)
    return extent
  }
  const result = visit(root)
  return "message" in result ? result : undefined
}

/** Returns whether a value is a JSON object: not an array, not null. */
export const isRecord = (value: unknown): value is JsonRecord =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Compares JSON values deeply; the order of fields does not matter. An undefined field counts as absent, which differs from null. */
export const equals = (a: Json | undefined, b: Json | undefined): boolean => {
  if (a === b) return true
  if (Array.isArray(a)) {
    return Array.isArray(b) && a.length === b.length && a.every((item, i) => equals(item, b[i]))
  }
  if (!isRecord(a) || !isRecord(b)) return false
  return Object.keys(a).every((key) => equals(a[key], Object.hasOwn(b, key) ? b[key] : undefined)) &&
    Object.keys(b).every((key) => b[key] === undefined || Object.hasOwn(a, key))
}

/** Copies a JSON value whose nesting was checked. */
export const copyOf = (value: Json): Json => {
  if (Array.isArray(value)) return value.map(copyOf)
  if (!isRecord(value)) return value
  const copy: Record<string, Json> = {}
  for (const [key, part] of Object.entries(value)) if (part !== undefined) copy[key] = copyOf(part)
  return copy
}

/** Returns a deep copy. */
export const clone = <J extends Json>(value: J): J => structuredClone(value)

/** Freezes plain objects and arrays deeply. */
export const freeze = (value: unknown): void => {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return
  if (!Array.isArray(value) && !isPlain(value)) return
  Object.freeze(value)
  for (const part of Object.values(value)) freeze(part)
}
