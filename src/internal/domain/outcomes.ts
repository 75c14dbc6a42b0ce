/**
 * The words that metrics count by.
 */

/** Opening a session ended in one of these ways. All but `loaded`, `unavailable` and `undecodable` are anonymous. */
export const loadOutcomes = [
  "loaded",
  "no_cookie",
  "malformed",
  "unknown",
  "ambiguous",
  "undecodable",
  "unavailable"
] as const

/** A commit ended in one of these ways. */
export const commitOutcomes = [
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

/** What was presented as sealed or signed was refused for one of these reasons. */
export const rejectionReasons = [
  "malformed",
  "unknown_key",
  "forged",
  "expired",
  "premature",
  "unreadable",
  "ended"
] as const

/** The front of a tiered store was asked, and answered so. */
export const cacheAnswers = ["copy", "nothing", "closed"] as const

/** A copy for the front of a tiered store ended in one of these ways. */
export const fillOutcomes = ["filled", "refused", "failed"] as const

/** The front of a tiered store was told that what it holds of a session is no longer true. */
export const invalidationOutcomes = ["confirmed", "unconfirmed"] as const

export type LoadOutcome = typeof loadOutcomes[number]

export type FillOutcome = typeof fillOutcomes[number]

export type CacheAnswer = typeof cacheAnswers[number]

export type InvalidationOutcome = typeof invalidationOutcomes[number]

export type RejectionReason = typeof rejectionReasons[number]
