/**
 * Merge functions, which combine concurrent changes of one field.
 *
 * @since 0.1.0
 */
import * as Equal from "effect/Equal"
import { structuralRegion } from "effect/Utils"

/**
 * Merges a field that this request has read and set while another request has changed it: `base` is the value that was read,
 * `mine` the value that this request has set, `theirs` the value that the other request has written. Must be pure and must not
 * depend on the order of the two requests.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Merge, Session } from "effect-session"
 *
 * export class AppSession extends Session.Tag<AppSession>()("app/Session", {
 *   schema: Schema.Struct({
 *     visits: Schema.optionalWith(Schema.Number, { default: () => 0 }),
 *     seen: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] }),
 *     draft: Schema.optionalWith(Schema.String, { default: () => "" })
 *   }),
 *   // The longer draft wins; the commit no longer fails with SessionConflict.
 *   merge: { visits: Merge.sum, seen: Merge.union, draft: (_base, mine, theirs) => mine.length > theirs.length ? mine : theirs }
 * }) {}
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type Merge<A> = (base: A, mine: A, theirs: A) => A

/**
 * Takes the larger value, for high-water marks and dates.
 *
 * @since 0.1.0
 * @category merges
 */
export const max = <A extends number | bigint | string | Date>(_base: A, mine: A, theirs: A): A =>
  mine > theirs ? mine : theirs

/**
 * Adds both differences, for counters.
 *
 * @since 0.1.0
 * @category merges
 */
export const sum = (base: number, mine: number, theirs: number): number => theirs + (mine - base)

/**
 * Takes all items that either request has added, without those that either has removed, for sets stored as arrays. Compares items
 * by `Equal`, plain objects and arrays by their content.
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
  const remaining = theirs.filter((item) => has(mine, item) || !has(base, item))
  return [...remaining, ...mine.filter((item) => !has(base, item) && !has(theirs, item))]
}
