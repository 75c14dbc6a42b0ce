/**
 * What is counted. Built once; no label ever holds an id or a token.
 *
 * @since 0.1.0
 */
import * as Metric from "effect/Metric"
import * as Outcomes from "./internal/domain/outcomes.js"

/**
 * `session_loads`, by outcome. `unknown` covers expired, revoked and invented tokens: a store does not tell them apart.
 *
 * @since 0.1.0
 * @category metrics
 */
export const loads: Metric.Metric.Frequency<string> = Metric.frequency("session_loads", {
  description: "Sessions opened by a request, by outcome",
  preregisteredWords: Outcomes.loadOutcomes
})

/**
 * `session_commits`, by outcome. `replayed` counts the replays of an update on a fresh record.
 *
 * @since 0.1.0
 * @category metrics
 */
export const commits: Metric.Metric.Frequency<string> = Metric.frequency("session_commits", {
  description: "What the ends of requests did to their sessions, by outcome",
  preregisteredWords: Outcomes.commitOutcomes
})

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
  preregisteredWords: Outcomes.rejectionReasons
})

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
  preregisteredWords: Outcomes.cacheAnswers
})

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
  preregisteredWords: Outcomes.fillOutcomes
})

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
  preregisteredWords: Outcomes.invalidationOutcomes
})
