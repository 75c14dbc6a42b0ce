/**
 * How two changes of one field become one.
 *
 * @since 0.1.0
 */
import * as Equal from "effect/Equal"
import { structuralRegion } from "effect/Utils"

/**
 * Decides what a field holds when this request set it after reading it, and another request changed it meanwhile:
 * `base` is what was read, `mine` what this request set, `theirs` what the other one left. Must be pure and must not
 * depend on the order of the two.
 *
 * @since 0.1.0
 * @category models
 */
export type Merge<A> = (base: A, mine: A, theirs: A) => A

/**
 * The larger of the two: for high-water marks and dates.
 *
 * @since 0.1.0
 * @category merges
 */
export const max = <A extends number | bigint | string | Date>(_base: A, mine: A, theirs: A): A =>
  mine > theirs ? mine : theirs

/**
 * Both differences added: for counters.
 *
 * @since 0.1.0
 * @category merges
 */
export const sum = (base: number, mine: number, theirs: number): number => theirs + (mine - base)

/**
 * Everything that either added, without what either removed, compared by `Equal` and, where they are plain
 * objects and arrays, by their content: for sets kept as arrays.
 *
 * @since 0.1.0
 * @category merges
 */
export const union = <A>(
  base: ReadonlyArray<A>,
  mine: ReadonlyArray<A>,
  theirs: ReadonlyArray<A>
): ReadonlyArray<A> => {
  const has = (items: ReadonlyArray<A>, item: A) =>
    items.some((other) => structuralRegion(() => Equal.equals(other, item)))
  const kept = theirs.filter((item) => has(mine, item) || !has(base, item))
  return [...kept, ...mine.filter((item) => !has(base, item) && !has(theirs, item))]
}
