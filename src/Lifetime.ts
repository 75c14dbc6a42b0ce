/**
 * Lifetimes of single sessions, in place of the moving limit of the expiry policy.
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
  /** A fixed moment, in milliseconds since the epoch. */
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
 * The argument of `setExpiry`: a lifetime, a length that is counted from the call, or the policy of the tag.
 *
 * @since 0.2.0
 * @category models
 */
export type LifetimeInput = Lifetime | { readonly _tag: "Lasting"; readonly millis: number } | {
  readonly _tag: "Policy"
}

/**
 * Ends the session after this long without use (without a change, if the policy has no idle limit). A number means milliseconds,
 * as everywhere in Effect: write `"5 minutes"` or `Duration.seconds(300)`. Zero ends the session at once; any other length under
 * one second is rejected with `SessionInvalid` where it is set.
 *
 * @example
 * ```ts
 * import { Lifetime } from "effect-session"
 * import type { SessionHandle } from "effect-session/SessionHandle"
 *
 * declare const session: SessionHandle<object>
 *
 * // "Remember me": 30 days without use, at most as long as the policy allows.
 * export const rememberMe = session.setExpiry(Lifetime.inactivity("30 days"))
 * ```
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
 * @example
 * ```ts
 * import { DateTime } from "effect"
 * import { Lifetime } from "effect-session"
 *
 * export const endOfExam = Lifetime.until(DateTime.unsafeMake("2026-06-30T12:00:00Z"))
 * ```
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
 * Removes the session's own lifetime, so that the policy applies again.
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
