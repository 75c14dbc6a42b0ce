/**
 * A session's own lifetime, in place of the policy's moving limit.
 *
 * @since 0.2.0
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"

/**
 * A session's own lifetime, in place of the policy's `idle` or `sinceModified`. The policy's fixed end still caps it.
 *
 * @since 0.1.0
 * @category models
 */
export type Lifetime =
  /** A length of inactivity, in milliseconds. */
  | { readonly _tag: "Inactivity"; readonly millis: number }
  /** A fixed moment. */
  | { readonly _tag: "Until"; readonly at: number }
  /** The cookie ends with the browser; the server keeps the policy's own limits. */
  | { readonly _tag: "Browser" }

/**
 * The schema of a lifetime, for stores.
 *
 * @since 0.6.0
 * @category schemas
 */
export const Lifetime: Schema.Schema<Lifetime> = Schema.Union(
  Schema.TaggedStruct("Inactivity", { millis: Schema.Finite }),
  Schema.TaggedStruct("Until", { at: Schema.Finite }),
  Schema.TaggedStruct("Browser", {})
)

/**
 * What a session's lifetime can be set to: a lifetime, a length that is counted from the moment of setting, or the
 * policy's own rule.
 *
 * @since 0.2.0
 * @category models
 */
export type LifetimeInput = Lifetime | { readonly _tag: "Lasting"; readonly millis: number } | {
  readonly _tag: "Policy"
}

/**
 * Ends the session after this long without use; for a policy without an idle limit, without a change. A number means
 * milliseconds, as everywhere in Effect: write `"5 minutes"` or `Duration.seconds(300)`. Zero ends the session at once; any
 * other length under one second is rejected with `SessionInvalid` where it is set.
 *
 * @since 0.2.0
 * @category lifetimes
 */
export const inactivity = (duration: Duration.DurationInput): Lifetime => ({
  _tag: "Inactivity",
  millis: Duration.toMillis(duration)
})

/**
 * Ends the session at a moment.
 *
 * @since 0.2.0
 * @category lifetimes
 */
export const until = (date: DateTime.DateTime.Input): Lifetime => ({
  _tag: "Until",
  at: DateTime.toEpochMillis(DateTime.unsafeMake(date))
})

/**
 * Ends the session this long after it is set, used or not. A number means milliseconds; the same lengths are rejected as for
 * `inactivity`.
 *
 * @since 0.2.0
 * @category lifetimes
 */
export const lasting = (duration: Duration.DurationInput): LifetimeInput => ({
  _tag: "Lasting",
  millis: Duration.toMillis(duration)
})

/**
 * Ends the cookie with the browser; the server keeps the policy's limits.
 *
 * @since 0.2.0
 * @category lifetimes
 */
export const browser: Lifetime = { _tag: "Browser" }

/**
 * Back to the policy.
 *
 * @since 0.2.0
 * @category lifetimes
 */
export const byPolicy: LifetimeInput = { _tag: "Policy" }

/**
 * The lifetime that an input means when it is set now. An error is a sentence.
 *
 * @since 0.2.0
 * @category lifetimes
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
 *
 * @since 0.6.0
 * @category validation
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
 * Whether two lifetimes are the same.
 *
 * @since 0.2.0
 * @category lifetimes
 */
export const equals = (a: Lifetime | undefined, b: Lifetime | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && JSON.stringify(a) === JSON.stringify(b))
