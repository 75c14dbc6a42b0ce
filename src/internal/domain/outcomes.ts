/**
 * Values of the metrics' frequencies.
 */
import type { EndReason } from "../../SessionStore.js"

/** Outcomes of loading a session. All but `loaded`, `unavailable` and `undecodable` make the request anonymous. */
export const loadOutcomes = [
  "loaded",
  "no_cookie",
  "malformed",
  "unknown",
  "expired",
  "logged_out",
  "rotated",
  "revoked",
  "subject_revoked",
  "all_revoked",
  "limit",
  "ambiguous",
  "undecodable",
  "unavailable"
] as const

/** Reasons why a session has ended. A reason that is missing here does not compile: see `EndReason`. */
const byReason: { readonly [R in EndReason]: R } = {
  expired: "expired",
  loggedOut: "loggedOut",
  rotated: "rotated",
  revoked: "revoked",
  subjectRevoked: "subjectRevoked",
  allRevoked: "allRevoked",
  limit: "limit"
}

/** The reasons, for schemas and tables. */
export const endReasons = Object.values(byReason)

/** Outcomes of a commit. */
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
  "limit",
  "unavailable"
] as const

/** Reasons why a sealed or signed cookie value was rejected. */
export const rejectionReasons = [
  "malformed",
  "unknown_key",
  "forged",
  "expired",
  "premature",
  "unreadable",
  "ended"
] as const

/** Reasons why a request was refused that may be forged. */
export const forgeryReasons = ["crossSite", "origin", "missingOrigin", "missingToken", "token"] as const

/** Outcomes of a read of the cache of a tiered store. */
export const cacheAnswers = ["hit", "miss", "bypass"] as const

/** Outcomes of filling the cache of a tiered store. */
export const fillOutcomes = ["filled", "rejected", "failed"] as const

/** Outcomes of invalidating a session in the cache of a tiered store. */
export const invalidationOutcomes = ["confirmed", "unconfirmed"] as const

export type LoadOutcome = typeof loadOutcomes[number]

export type FillOutcome = typeof fillOutcomes[number]

export type CacheAnswer = typeof cacheAnswers[number]

export type InvalidationOutcome = typeof invalidationOutcomes[number]

export type RejectionReason = typeof rejectionReasons[number]

export type ForgeryReason = typeof forgeryReasons[number]
