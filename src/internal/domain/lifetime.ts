/**
 * Rules for the lifetimes of single sessions.
 */
import * as Either from "effect/Either"
import type { Lifetime, LifetimeInput } from "../../Lifetime.js"

/**
 * Resolves a lifetime that is set at `now`. The error is a sentence.
 */
export const resolve = (input: LifetimeInput, now: number): Either.Either<Lifetime | undefined, string> => {
  const amount = input._tag === "Until"
    ? input.at
    : input._tag === "Policy" || input._tag === "Browser"
    ? 0
    : input.millis
  if (!Number.isFinite(amount)) return Either.left("a lifetime must be finite")
  switch (input._tag) {
    case "Policy":
      return Either.right(undefined)
    case "Lasting":
      return Either.right({ _tag: "Until", at: now + input.millis })
    default:
      return Either.right(input)
  }
}

/**
 * Explains in one sentence why a session cannot be given a lifetime, or returns `undefined`. A number in place of a lifetime, which
 * only untyped code can pass, has no unit. A length between zero and one second is a number of seconds where Effect counts
 * milliseconds.
 */
export const validate = (input: LifetimeInput): string | undefined => {
  if (typeof input !== "object" || input === null) {
    return "a lifetime is not a bare number or text: write Lifetime.inactivity(\"5 minutes\"), Lifetime.browser for Django's 0, " +
      "or Lifetime.byPolicy for its None"
  }
  if (input._tag !== "Inactivity" && input._tag !== "Lasting") return undefined
  return input.millis > 0 && input.millis < minimum
    ? `a lifetime of ${input.millis} milliseconds is under one second. A number means milliseconds: ` +
      "write \"5 minutes\" or Duration.seconds(300)"
    : undefined
}

/** The shortest lifetime, in milliseconds. */
const minimum = 1000

/**
 * Returns whether two lifetimes are equal.
 */
export const equals = (a: Lifetime | undefined, b: Lifetime | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && JSON.stringify(a) === JSON.stringify(b))
