/**
 * What is counted. Built once; no label ever holds an id or a token.
 *
 * @since 0.1.0
 */
import * as Metric from "effect/Metric"

/** Opening a session ended in one of these ways. All but `loaded`, `unavailable` and `undecodable` are anonymous. */
const loadOutcomes = ["loaded", "no_cookie", "malformed", "unknown", "ambiguous", "undecodable", "unavailable"] as const

/** A commit ended in one of these ways. */
const commitOutcomes = [
  "Keep",
  "Destroy",
  "Replace",
  "Create",
  "Rotate",
  "Save",
  "Touch",
  "Reseal",
  "replayed",
  "conflict",
  "gone",
  "unavailable"
] as const

/**
 * `session_loads`, by outcome. `unknown` covers expired, revoked and invented tokens: a store does not tell them apart.
 *
 * @since 0.1.0
 * @category metrics
 */
export const loads: Metric.Metric.Frequency<string> = Metric.frequency("session_loads", {
  description: "Sessions opened by a request, by outcome",
  preregisteredWords: loadOutcomes
})

/**
 * `session_commits`, by outcome. `replayed` counts the replays of an update on a fresh record.
 *
 * @since 0.1.0
 * @category metrics
 */
export const commits: Metric.Metric.Frequency<string> = Metric.frequency("session_commits", {
  description: "What the ends of requests did to their sessions, by outcome",
  preregisteredWords: commitOutcomes
})

/** What was presented as sealed or signed was refused for one of these reasons. */
const rejectionReasons = ["malformed", "unknown_key", "forged", "expired", "premature", "unreadable", "ended"] as const

/**
 * `session_rejections`, by reason: sealed or signed cookies, and records of a `SealedStore`, that were refused. Outside all
 * look alike.
 *
 * - `malformed`: it does not look like what this ring makes. `unknown_key`: it names a key that the ring does not have.
 * - `forged`: it is not what that key has made for this use. `unreadable`: it is, by a version that made it otherwise.
 * - `expired`, `premature` (it was made by a clock that is ahead), `ended` (by a logout, or a newer generation).
 *
 * @since 0.5.0
 * @category metrics
 */
export const rejections: Metric.Metric.Frequency<string> = Metric.frequency("session_rejections", {
  description: "Sealed or signed sessions that were refused, by reason",
  preregisteredWords: rejectionReasons
})

/** The front of a tiered store was asked, and answered so. */
const frontAnswers = ["copy", "nothing", "closed"] as const

/**
 * `session_cache_reads`, by answer: what the fronts of this process's tiered stores said of the sessions they were asked for.
 * `copy` of all is the hit rate.
 *
 * - `copy`: a copy that may be believed. `nothing`: none, or one whose lease has passed: the back was read, for a new one.
 * - `closed`: a fence, a front that fails, or one that is not believed for a while: the back was read, for no copy.
 *
 * @since 0.5.0
 * @category metrics
 */
export const cacheReads: Metric.Metric.Frequency<string> = Metric.frequency("session_cache_reads", {
  description: "Sessions asked for in the fronts of tiered stores, by answer",
  preregisteredWords: frontAnswers
})

/** A copy for the front of a tiered store ended in one of these ways. */
const fillOutcomes = ["filled", "refused", "failed"] as const

/**
 * `session_cache_fills`, by outcome: what became of copies for the fronts of this process's tiered stores.
 *
 * - `refused`: a write or a revocation came while the back was read, or another copy was first.
 * - `failed`: the front was down, slow, or the session did not fit.
 *
 * @since 0.5.0
 * @category metrics
 */
export const cacheFills: Metric.Metric.Frequency<string> = Metric.frequency("session_cache_fills", {
  description: "Copies for the fronts of tiered stores, by outcome",
  preregisteredWords: fillOutcomes
})

/** The front of a tiered store was told that what it holds of a session is no longer true. */
const invalidationOutcomes = ["confirmed", "unconfirmed"] as const

/**
 * `session_cache_invalidations`, by outcome: what became of the news of writes and revocations for the fronts of this process's
 * tiered stores.
 *
 * - `unconfirmed`: the front failed, or did not answer within `invalidationTimeout`: other processes that share it may read the
 *   session as it was before until the lease has passed.
 *
 * @since 0.6.0
 * @category metrics
 */
export const cacheInvalidations: Metric.Metric.Frequency<string> = Metric.frequency("session_cache_invalidations", {
  description: "Invalidations of sessions in the fronts of tiered stores, by outcome",
  preregisteredWords: invalidationOutcomes
})

/** @internal */
export const countInvalidation = (outcome: typeof invalidationOutcomes[number]) =>
  Metric.update(cacheInvalidations, outcome)

/** @internal */
export const countCacheRead = (answer: typeof frontAnswers[number]) => Metric.update(cacheReads, answer)

/** @internal */
export type FillOutcome = typeof fillOutcomes[number]

/** @internal */
export const countFill = (outcome: FillOutcome) => Metric.update(cacheFills, outcome)

/** @internal */
export const countRejection = (reason: typeof rejectionReasons[number]): void => rejections.unsafeUpdate(reason, [])

/** @internal */
export type LoadOutcome = typeof loadOutcomes[number]

/** @internal */
export type CommitOutcome = typeof commitOutcomes[number]
