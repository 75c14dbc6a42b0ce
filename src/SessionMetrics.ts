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

const counters = <const Name extends string>(metric: string, description: string, outcomes: ReadonlyArray<Name>) => {
  const all = Metric.counter(metric, { description, incremental: true })
  return Object.fromEntries(outcomes.map((outcome) => [outcome, Metric.tagged(all, "outcome", outcome)])) as Record<
    Name,
    typeof all
  >
}

/**
 * `session_loads`, by outcome. `unknown` covers expired, revoked and invented tokens: a store does not tell them apart.
 *
 * @since 0.1.0
 * @category metrics
 */
export const loads = counters("session_loads", "Sessions opened by a request, by outcome", loadOutcomes)

/**
 * `session_commits`, by outcome. `replayed` counts the replays of an update on a fresh record.
 *
 * @since 0.1.0
 * @category metrics
 */
export const commits = counters(
  "session_commits",
  "Sessions written at the end of a request, by outcome",
  commitOutcomes
)
