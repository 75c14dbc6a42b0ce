/**
 * A session's own lifetime, in place of the policy's moving limit.
 *
 * @since 0.2.0
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
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
 * Returns whether a value is a lifetime.
 *
 * @since 0.6.0
 * @category guards
 */
export const isLifetime: (value: unknown) => value is Lifetime = Schema.is(Lifetime)
