/**
 * JSON values: what session data is when it is encoded.
 */

import type { Json, JsonRecord } from "../Json.js"

export type { Json, JsonRecord }

/** Nesting deeper than this is refused: recursive consumers overflow their stack long before `JSON.parse` does. */
export const maxDepth = 64

/** Objects with more fields than this are refused. */
export const maxFields = 4096

// A copy by assignment would turn these keys into a change of prototype.
const hostileKeys = new Set(["__proto__", "constructor", "prototype"])

/** Whether a field may not have this name. */
export const isHostileKey = (key: string): boolean => hostileKeys.has(key)

/** Whether such a key is anywhere in plain objects and arrays, as deep as data may be. */
export const hasHostileKey = (value: unknown, depth = 0): boolean => {
  if (typeof value !== "object" || value === null || depth > maxDepth) return false
  if (Array.isArray(value)) return value.some((item) => hasHostileKey(item, depth + 1))
  const prototype: unknown = Object.getPrototypeOf(value)
  return (prototype === Object.prototype || prototype === null) &&
    Object.keys(value).some((key) => hostileKeys.has(key) || hasHostileKey((value as JsonRecord)[key], depth + 1))
}

/** What is wrong with a value that should be JSON, and where. */
export interface JsonProblem {
  readonly path: ReadonlyArray<string | number>
  readonly message: string
}

/**
 * Says why a value cannot be kept as JSON, or `undefined` when it can. `depth`: how deep in the record it is. A field that
 * is undefined counts as absent. The message never contains the value itself.
 */
export const problemOf = (value: unknown, depth = 0): JsonProblem | undefined =>
  isFine(value, depth) ? undefined : explain(value, depth)

/** The same as a yes or no, without the cost of knowing where. Its recursion ends at the depth that it allows. */
const isFine = (value: unknown, depth: number): boolean => {
  if (typeof value === "string" || typeof value === "boolean" || value === null) return true
  if (typeof value === "number") return Number.isFinite(value)
  if (typeof value !== "object" || depth >= maxDepth) return false
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

/** Works without recursion, so that no input can overflow the stack. */
const explain = (root: unknown, depth: number): JsonProblem | undefined => {
  const stack: Array<readonly [value: unknown, path: ReadonlyArray<string | number>]> = [[root, []]]
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    const [value, path] = next
    switch (typeof value) {
      case "string":
      case "boolean":
        continue
      case "number":
        if (Number.isFinite(value)) continue
        return { path, message: "a number that is not finite cannot be kept as JSON" }
      case "object": {
        if (value === null) continue
        if (path.length + depth >= maxDepth) {
          return { path: path.slice(0, 8), message: `nested deeper than ${maxDepth} levels` }
        }
        if (Array.isArray(value)) {
          for (let i = 0; i < value.length; i++) stack.push([value[i], [...path, i]])
          continue
        }
        const prototype: unknown = Object.getPrototypeOf(value)
        if (prototype !== Object.prototype && prototype !== null) {
          return { path, message: "an instance of a class cannot be kept as JSON; encode it in the schema" }
        }
        const entries = Object.entries(value)
        if (entries.length > maxFields) return { path, message: `more than ${maxFields} fields in one object` }
        for (const [key, child] of entries) {
          if (hostileKeys.has(key)) return { path, message: `the field name "${key}" is not allowed` }
          if (child !== undefined) stack.push([child, [...path, key]])
        }
        continue
      }
      default:
        return { path, message: `a value of type ${typeof value} cannot be kept as JSON` }
    }
  }
  return undefined
}

/** True for a plain JSON object (not an array, not null). */
export const isRecord = (value: unknown): value is JsonRecord =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Deep equality of JSON values; the order of fields does not matter. Undefined is absent, and absent is not null. */
export const equals = (a: Json | undefined, b: Json | undefined): boolean => {
  if (a === b) return true
  if (Array.isArray(a)) {
    return Array.isArray(b) && a.length === b.length && a.every((item, i) => equals(item, b[i]))
  }
  if (!isRecord(a) || !isRecord(b)) return false
  return Object.keys(a).every((key) => equals(a[key], Object.hasOwn(b, key) ? b[key] : undefined)) &&
    Object.keys(b).every((key) => b[key] === undefined || Object.hasOwn(a, key))
}
