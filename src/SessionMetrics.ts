/**
 * Metrics. No label contains an id or a token.
 *
 * @since 0.1.0
 */
import * as Metric from "effect/Metric"
import * as Outcomes from "./internal/domain/outcomes.js"

/**
 * `session_loads`, by outcome. `expired`, `logged_out`, `rotated`, `revoked`, `subject_revoked`, `all_revoked` and `limit` are the reasons
 * why a session has ended, as far as the store knows. `unknown` covers invented tokens, and sessions of which the reason is no longer stored.
 *
 * @example
 * ```ts
 * import { Effect, Metric } from "effect"
 * import { SessionMetrics } from "effect-session"
 *
 * export const anonymous = Effect.map(
 *   Metric.value(SessionMetrics.loads),
 *   ({ occurrences }) => occurrences.get("no_cookie") ?? 0
 * )
 * ```
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
  description: "Commits of sessions, by outcome",
  preregisteredWords: Outcomes.commitOutcomes
})

/**
 * `session_rejections`, by reason: sealed or signed cookies, and records of a `SealedStore`, that were rejected. Clients cannot
 * distinguish the reasons.
 *
 * - `malformed`: it does not have the format of this keyring. `unknown_key`: it names a key that the ring does not have.
 * - `forged`: its seal or signature is wrong, or was made for another use. `unreadable`: it is authentic, but its content cannot
 *   be decoded by this version.
 * - `expired`, `premature` (issued by a clock that is ahead), `ended` (by a logout, or a newer generation).
 *
 * @since 0.5.0
 * @category metrics
 */
export const rejections: Metric.Metric.Frequency<string> = Metric.frequency("session_rejections", {
  description: "Sealed or signed sessions that were rejected, by reason",
  preregisteredWords: Outcomes.rejectionReasons
})

/**
 * `session_csrf_rejections`, by reason: requests that `Csrf` has refused. `CsrfRejected` explains the reasons.
 *
 * @since 0.6.0
 * @category metrics
 */
export const csrfRejections: Metric.Metric.Frequency<string> = Metric.frequency("session_csrf_rejections", {
  description: "Requests that were refused because they may be forged, by reason",
  preregisteredWords: Outcomes.forgeryReasons
})

/**
 * `session_cache_reads`, by outcome: reads of the caches of this process's tiered stores. The share of `hit` is the hit rate.
 *
 * - `hit`: a trusted entry. `miss`: no entry, or its lease has expired: the origin is read, and the cache filled.
 * - `bypass`: a tombstone, a cache that fails, or a distrust window: the origin is read, and the cache is not filled.
 *
 * @since 0.5.0
 * @category metrics
 */
export const cacheReads: Metric.Metric.Frequency<string> = Metric.frequency("session_cache_reads", {
  description: "Reads of the caches of tiered stores, by outcome",
  preregisteredWords: Outcomes.cacheAnswers
})

/**
 * `session_cache_fills`, by outcome: entries written to the caches of this process's tiered stores.
 *
 * - `rejected`: a write or a revocation came while the origin was read, or another entry was written first.
 * - `failed`: the cache was down or slow, or the session did not fit.
 *
 * @since 0.5.0
 * @category metrics
 */
export const cacheFills: Metric.Metric.Frequency<string> = Metric.frequency("session_cache_fills", {
  description: "Fills of the caches of tiered stores, by outcome",
  preregisteredWords: Outcomes.fillOutcomes
})

/**
 * `session_cache_invalidations`, by outcome: invalidations of writes and revocations in the caches of this process's tiered
 * stores.
 *
 * - `unconfirmed`: the cache failed, or did not answer within `invalidationTimeout`: other processes that share it may read the
 *   old session until the lease has expired.
 *
 * @since 0.6.0
 * @category metrics
 */
export const cacheInvalidations: Metric.Metric.Frequency<string> = Metric.frequency("session_cache_invalidations", {
  description: "Invalidations in the caches of tiered stores, by outcome",
  preregisteredWords: Outcomes.invalidationOutcomes
})

/**
 * `session_events_dropped`: events that a subscriber of `SessionEvents` lost because it was too slow, counted once for each subscriber.
 *
 * @since 0.6.0
 * @category metrics
 */
export const droppedEvents: Metric.Metric.Counter<number> = Metric.counter("session_events_dropped", {
  description: "Session events that a slow subscriber lost",
  incremental: true
})
