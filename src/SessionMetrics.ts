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

/** @internal */
export const countRejection = (reason: typeof rejectionReasons[number]): void => rejections.unsafeUpdate(reason, [])

/** @internal */
export const countLoad = (outcome: typeof loadOutcomes[number]) => Metric.update(loads, outcome)

/** @internal */
export const countCommit = (outcome: typeof commitOutcomes[number]) => Metric.update(commits, outcome)
