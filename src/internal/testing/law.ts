/**
 * What a law is made of: a name, a program over a store, and expectations that fail as values. No test runner is
 * known here.
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

/** Names a program over a store. */
export const law = (
  name: string,
  body: (store: Store) => Generator<YieldWrap<Effect.Effect<unknown, unknown>>, void, never>
): Law => ({ name, law: Effect.flatMap(SessionStore, (store) => Effect.gen(() => body(store))) })

/** Deep equality. A field that is absent equals one that is `undefined`. */
export const equal = (what: string, actual: unknown, expected: unknown): Effect.Effect<void, LawBroken> =>
  isSame(actual, expected)
    ? Effect.void
    : Effect.fail(new LawBroken({ message: `${what}: ${difference(actual, expected)}` }))

/** A condition of which no more can be said than its name. */
export const holds = (what: string, condition: boolean): Effect.Effect<void, LawBroken> =>
  condition ? Effect.void : Effect.fail(new LawBroken({ message: `does not hold: ${what}` }))

/**
 * Runs what is left to chance. The seed is another one each time, or that of the variable `SESSION_LAWS_SEED`; a failure
 * names it.
 */
export const byChance = (
  run: (seed: number) => Effect.Effect<unknown, unknown>
): Effect.Effect<void, LawBroken | ConfigError> =>
  Effect.flatMap(
    Effect.suspend(() => Config.withDefault(Config.integer("SESSION_LAWS_SEED"), Date.now() | 0)),
    (seed) =>
      Effect.asVoid(Effect.mapError(run(seed), (cause) => {
        const sentence = cause instanceof Error ? cause.message : String(cause)
        return new LawBroken({ message: `${sentence}\nthe same again: SESSION_LAWS_SEED=${seed}`, cause })
      }))
  )

/** Runs a check on random values, and reports the smallest one that breaks it. */
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

/** Runs programs at once, as far as the store lets them. */
export const together = <A, E>(effects: Iterable<Effect.Effect<A, E>>): Effect.Effect<Array<A>, E> =>
  Effect.all(effects, { concurrency: "unbounded" })

/** The numbers from 0 to below `count`. */
export const range = (count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, i) => i)

/** How many of the outcomes are this one. */
export const count = <A>(outcomes: ReadonlyArray<A>, outcome: A): number =>
  outcomes.filter((other) => other === outcome).length

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null

const isSame = (a: unknown, b: unknown): boolean => {
  if (Object.is(a, b)) return true
  if (!isObject(a) || !isObject(b) || Array.isArray(a) !== Array.isArray(b)) return false
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].every((name) => isSame(a[name], b[name]))
}

/** The first place in which two values differ, and what is there. */
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
