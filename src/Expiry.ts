/**
 * Expiry policies of sessions, as pure values.
 *
 * All times are milliseconds since the epoch, all lengths are milliseconds.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Predicate from "effect/Predicate"
import { earlier } from "./internal/domain/earlier.js"
import type { Lifetime } from "./Lifetime.js"

/**
 * An expiry policy. The earliest of its limits ends the session.
 *
 * `Bounded` is true when the policy has an end that no activity can move (`absolute` or `at`). A session tag accepts bounded
 * policies only, because a session that activity can prolong for ever can be used by a thief for ever, too (OWASP ASVS 5.0,
 * 7.3.2).
 *
 * @since 0.1.0
 * @category models
 */
export interface Expiry<Bounded extends boolean = boolean> {
  readonly bounded: Bounded
  /** Longest time between two uses, in milliseconds. */
  readonly idle: number | undefined
  /** Longest time since the data was last changed, in milliseconds; reading does not prolong it. */
  readonly sinceModified: number | undefined
  /** Longest time since the last authentication, or since the session was created, in milliseconds. */
  readonly absolute: number | undefined
  /** The moment at which every session ends, in milliseconds since the epoch. */
  readonly at: number | undefined
}

/**
 * A bounded policy, as settings require it. The compiler prints the sentence if a policy is not bounded.
 *
 * @since 0.6.0
 * @category models
 */
export interface Bounded<_Sentence extends string> extends Expiry<true> {}

/**
 * The times of a session that its expiry depends on, in milliseconds since the epoch.
 *
 * @since 0.1.0
 * @category models
 */
export interface Times {
  readonly createdAt: number
  readonly authenticatedAt: number | undefined
  readonly modifiedAt: number
  readonly lastSeenAt: number
}

/**
 * The computed end of one session, as stored in its record. Times are milliseconds since the epoch.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionExpiry {
  /** The session has ended from this moment on. */
  readonly at: number
  /** The end that no activity can move; absent where the policy has none. Only authenticating again moves it. */
  readonly deadline: number | undefined
  /** The session's own lifetime, where one was set. */
  readonly lifetime: Lifetime | undefined
}

const make = <Bounded extends boolean>(
  bounded: Bounded,
  limits: Partial<Omit<Expiry, "bounded">>
): Expiry<Bounded> => ({
  bounded,
  idle: limits.idle,
  sinceModified: limits.sinceModified,
  absolute: limits.absolute,
  at: limits.at
})

/**
 * Ends a session after this long without use. "Used" means that a handler read or changed it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const idle = (duration: Duration.DurationInput): Expiry<false> =>
  make(false, { idle: Duration.toMillis(duration) })

/**
 * Ends a session after this long without a change of its data.
 *
 * @since 0.1.0
 * @category constructors
 */
export const sinceModified = (duration: Duration.DurationInput): Expiry<false> =>
  make(false, { sinceModified: Duration.toMillis(duration) })

/**
 * Ends a session this long after its last authentication, or after its creation if it has none. Use does not prolong it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const absolute = (duration: Duration.DurationInput): Expiry<true> =>
  make(true, { absolute: Duration.toMillis(duration) })

/**
 * Ends every session at one moment.
 *
 * @since 0.1.0
 * @category constructors
 */
export const at = (date: DateTime.DateTime.Input): Expiry<true> =>
  make(true, { at: DateTime.toEpochMillis(DateTime.unsafeMake(date)) })

/**
 * Combines limits: the earliest one applies. Associative, commutative and idempotent; bounded if one of them is.
 *
 * @example
 * ```ts
 * import { Expiry } from "effect-session"
 *
 * export const office = Expiry.earliest(Expiry.idle("20 minutes"), Expiry.absolute("8 hours"))
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export function earliest<const Limits extends readonly [Expiry, ...ReadonlyArray<Expiry>]>(
  ...limits: Limits
): Expiry<[Extract<Limits[number], Expiry<true>>] extends [never] ? false : true>
export function earliest(first: Expiry, ...others: ReadonlyArray<Expiry>): Expiry {
  return others.reduce((a, b) => ({
    bounded: a.bounded || b.bounded,
    idle: earlier(a.idle, b.idle),
    sinceModified: earlier(a.sinceModified, b.sinceModified),
    absolute: earlier(a.absolute, b.absolute),
    at: earlier(a.at, b.at)
  }), first)
}

/**
 * Django's rule: two weeks since the last change, and no fixed end. The one policy without an absolute limit that a
 * session tag accepts; a touch never extends it.
 *
 * @since 0.1.0
 * @category presets
 */
export const django: Expiry<true> = make(true, { sinceModified: Duration.toMillis("14 days") })

/**
 * NIST SP 800-63B-4, authentication assurance level 1: at most 30 days.
 *
 * @since 0.1.0
 * @category presets
 */
export const aal1: Expiry<true> = absolute("30 days")

/**
 * NIST SP 800-63B-4, level 2: at most 24 hours, and 1 hour of inactivity.
 *
 * @since 0.1.0
 * @category presets
 */
export const aal2: Expiry<true> = earliest(idle("1 hour"), absolute("24 hours"))

/**
 * NIST SP 800-63B-4, level 3: at most 12 hours, and 15 minutes of inactivity.
 *
 * @since 0.1.0
 * @category presets
 */
export const aal3: Expiry<true> = earliest(idle("15 minutes"), absolute("12 hours"))

/**
 * The default policy of a session tag: at most two weeks of inactivity and thirty days in all.
 *
 * @since 0.1.0
 * @category presets
 */
export const standard: Expiry<true> = earliest(idle("14 days"), absolute("30 days"))

/**
 * Returns whether a value is a policy.
 *
 * @since 0.6.0
 * @category guards
 */
export const isExpiry = (value: unknown): value is Expiry =>
  Predicate.hasProperty(value, "bounded") && typeof value.bounded === "boolean" &&
  limits.every((limit) => limit in value && isLimit(Reflect.get(value, limit)))

const limits = ["idle", "sinceModified", "absolute", "at"] as const

const isLimit = (value: unknown): boolean => value === undefined || typeof value === "number"
