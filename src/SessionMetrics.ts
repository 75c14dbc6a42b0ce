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

/** @internal */
export const countLoad = (outcome: typeof loadOutcomes[number]) => Metric.update(loads, outcome)

/** @internal */
export const countCommit = (outcome: typeof commitOutcomes[number]) => Metric.update(commits, outcome)
