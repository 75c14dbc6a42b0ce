/**
 * Runs effects at once.
 */
import { Effect } from "effect"

/** Runs all effects concurrently, without a limit. */
export const together = <A, E>(effects: Iterable<Effect.Effect<A, E>>): Effect.Effect<Array<A>, E> =>
  Effect.all(effects, { concurrency: "unbounded" })

/** The numbers from 0 to below `count`. */
export const range = (count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, i) => i)
