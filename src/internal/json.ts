/**
 * JSON values: what session data is when it is encoded.
 */

/** A JSON value. */
export type Json = null | boolean | number | string | ReadonlyArray<Json> | JsonRecord

/** A JSON object. */
export interface JsonRecord {
  readonly [key: string]: Json
}

/** Nesting deeper than this is refused: recursive consumers overflow their stack long before `JSON.parse` does. */
export const maxDepth = 64

/** Objects with more fields than this are refused. */
export const maxFields = 4096

// A copy by assignment would turn these keys into a change of prototype.
const hostileKeys = new Set(["__proto__", "constructor", "prototype"])

/** What is wrong with a value that should be JSON, and where. */
export interface JsonProblem {
  readonly path: ReadonlyArray<string | number>
  readonly message: string
}

/**
 * Says why a value cannot be kept as JSON, or `undefined` when it can. Works without recursion, so that no
 * input can overflow the stack. The message never contains the value itself.
 */
export const problemOf = (root: unknown): JsonProblem | undefined => {
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
        if (path.length >= maxDepth) {
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
          stack.push([child, [...path, key]])
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

/** Deep equality of JSON values; the order of an object's fields does not matter. Absent is not equal to null. */
export const equals = (a: Json | undefined, b: Json | undefined): boolean => {
  if (a === b) return true
  if (Array.isArray(a)) {
    return Array.isArray(b) && a.length === b.length && a.every((item, i) => equals(item, b[i]))
  }
  if (!isRecord(a) || !isRecord(b)) return false
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && equals(a[key], b[key]))
}
