/**
 * Building blocks of the laws: a law is a name and a program over a store, and an expectation that does not hold fails with
 * `LawBroken`. Independent of any test runner.
 */
import * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import type { YieldWrap } from "effect/Utils"
import type { Law } from "../../Law.js"
import { LawBroken } from "../../Law.js"
import { SessionStore } from "../../SessionStore.js"
import type { Store } from "../../SessionStore.js"

/** Makes a law of a name and a program over a store. */
export const law = (
  name: string,
  body: (store: Store) => Generator<YieldWrap<Effect.Effect<unknown, unknown>>, void, never>
): Law => ({ name, law: Effect.flatMap(SessionStore, (store) => Effect.gen(() => body(store))) })

/** Expects deep equality. An absent field equals one that is `undefined`. */
export const equal = (what: string, actual: unknown, expected: unknown): Effect.Effect<void, LawBroken> =>
  isSame(actual, expected)
    ? Effect.void
    : Effect.fail(new LawBroken({ message: `${what}: ${difference(actual, expected)}` }))

/** Expects a condition to be true. */
export const holds = (what: string, condition: boolean): Effect.Effect<void, LawBroken> =>
  condition ? Effect.void : Effect.fail(new LawBroken({ message: `expected: ${what}` }))

/**
 * Runs a randomized check. The seed is new in each run, or taken from the environment variable `SESSION_LAWS_SEED`; the
 * message of a failure ends with it.
 */
export const byChance = (
  run: (seed: number) => Effect.Effect<unknown, unknown>
): Effect.Effect<void, LawBroken | ConfigError> =>
  Effect.flatMap(
    Effect.suspend(() => Config.withDefault(Config.integer("SESSION_LAWS_SEED"), Date.now() | 0)),
    (seed) =>
      Effect.asVoid(Effect.mapError(run(seed), (cause) => {
        const sentence = cause instanceof Error ? cause.message : String(cause)
        return new LawBroken({ message: `${sentence}\nreproduce with: SESSION_LAWS_SEED=${seed}`, cause })
      }))
  )

/** Runs a check on random values and reports the smallest counterexample. */
export const forAll = <A>(
  arbitrary: FastCheck.Arbitrary<A>,
  check: (value: A) => Effect.Effect<void, unknown>,
  numRuns = 25
): Effect.Effect<void, LawBroken | ConfigError> =>
  byChance((seed) =>
    Effect.flatMap(
      Effect.promise(() =>
        FastCheck.check(
          FastCheck.asyncProperty(arbitrary, (value) => Effect.runPromise(check(value))),
          { numRuns, seed }
        )
      ),
      (result) =>
        result.failed
          ? Effect.fail(new LawBroken({ message: FastCheck.defaultReportMessage(result) ?? "a property failed" }))
          : Effect.void
    )
  )

/** Runs effects concurrently. */
export const together = <A, E>(effects: Iterable<Effect.Effect<A, E>>): Effect.Effect<Array<A>, E> =>
  Effect.all(effects, { concurrency: "unbounded" })

/** The integers from 0 to `count - 1`. */
export const range = (count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, i) => i)

/** Counts the outcomes that equal `outcome`. */
export const count = <A>(outcomes: ReadonlyArray<A>, outcome: A): number =>
  outcomes.filter((other) => other === outcome).length

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null

const isSame = (a: unknown, b: unknown): boolean => {
  if (Object.is(a, b)) return true
  if (!isObject(a) || !isObject(b) || Array.isArray(a) !== Array.isArray(b)) return false
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].every((name) => isSame(a[name], b[name]))
}

/** Describes the first place in which two values differ. */
const difference = (actual: unknown, expected: unknown, place = ""): string => {
  if (isObject(actual) && isObject(expected) && Array.isArray(actual) === Array.isArray(expected)) {
    const names = [...new Set([...Object.keys(expected), ...Object.keys(actual)])]
    const name = names.find((name) => !isSame(actual[name], expected[name]))
    if (name !== undefined) return difference(actual[name], expected[name], `${place}/${name}`)
  }
  return `${place === "" ? "" : `at ${place} `}expected ${render(expected)} but got ${render(actual)}`
}

const render = (value: unknown): string => {
  const text = JSON.stringify(value) ?? "nothing"
  return text.length > 600 ? `${text.slice(0, 600)}… (${text.length} characters)` : text
}
