/**
 * Computes the end of a session from a policy, the session's times and its lifetime. Pure; times are milliseconds since the
 * epoch, lengths are milliseconds.
 */
import type { Expiry, SessionExpiry, Times } from "../../Expiry.js"
import type { Lifetime } from "../../Lifetime.js"
import { earlier } from "./earlier.js"

/**
 * Explains in one sentence why a policy cannot be used, or returns `undefined`.
 */
export const validate = (self: Expiry): string | undefined => {
  for (
    const [name, value] of [["idle", self.idle], ["sinceModified", self.sinceModified], [
      "absolute",
      self.absolute
    ]] as const
  ) {
    if (value !== undefined && !(Number.isFinite(value) && value >= 1000)) {
      return `The ${name} limit of a session must be a finite length of at least one second, and it is ${value} milliseconds. ` +
        "A number means milliseconds: write \"20 minutes\" or Duration.minutes(20)."
    }
  }
  if (!self.bounded) {
    return "A session needs an end that activity cannot move: add Expiry.absolute(…) to the policy with Expiry.earliest."
  }
  for (const [name, value] of [["idle", self.idle], ["sinceModified", self.sinceModified]] as const) {
    if (value !== undefined && self.absolute !== undefined && value > self.absolute) {
      return `The ${name} limit of a session is longer than its absolute limit, so it would never apply.`
    }
  }
  return undefined
}

/**
 * Computes the end that activity cannot move, of a session that begins at `start`; `undefined` if the policy has none.
 */
export const deadlineFrom = (self: Pick<Expiry, "absolute" | "at">, start: number): number | undefined =>
  earlier(self.absolute === undefined ? undefined : start + self.absolute, self.at)

/**
 * Computes the end of a new or newly authenticated session: the earliest of all limits.
 */
export const initial = (self: Expiry, times: Times, lifetime: Lifetime | undefined): SessionExpiry => {
  const start = times.authenticatedAt ?? times.createdAt
  const deadline = deadlineFrom(self, start)
  // A policy that passed `validate` has at least one limit, and so has the result.
  return { at: earlier(deadline, movingEnd(self, times, lifetime)) ?? start, deadline, lifetime }
}

/**
 * Computes the end of an existing session: moving limits are computed again, the fixed end stays.
 */
export const next = (
  self: Expiry,
  previous: SessionExpiry,
  times: Times,
  lifetime: Lifetime | undefined
): SessionExpiry => ({
  at: earlier(previous.deadline, movingEnd(self, times, lifetime)) ?? previous.at,
  deadline: previous.deadline,
  lifetime
})

/**
 * Computes the end of a session that was last changed and used at `modification`, limited by its `deadline`.
 */
export const endAfter = (
  self: Expiry,
  modification: number,
  lifetime: Lifetime | undefined,
  deadline: number | undefined
): number => {
  const times = {
    createdAt: modification,
    authenticatedAt: undefined,
    modifiedAt: modification,
    lastSeenAt: modification
  }
  const begun = initial(self, times, lifetime)
  return Math.min(
    deadline ?? Infinity,
    deadline === undefined ? begun.at : movingEnd(self, times, lifetime) ?? begun.at
  )
}

const movingEnd = (self: Expiry, times: Times, lifetime: Lifetime | undefined): number | undefined => {
  switch (lifetime?._tag) {
    case "Inactivity":
      return (self.idle === undefined ? times.modifiedAt : times.lastSeenAt) + lifetime.millis
    case "Until":
      return lifetime.at
    default:
      return earlier(
        self.idle === undefined ? undefined : times.lastSeenAt + self.idle,
        self.sinceModified === undefined ? undefined : times.modifiedAt + self.sinceModified
      )
  }
}

/**
 * Returns whether a session has expired: from the moment of its end on.
 */
// Written so that an end of NaN counts as expired.
export const isExpired = (self: SessionExpiry, now: number): boolean => !(self.at > now)

/**
 * The least time between two touches: a tenth of the idle limit. A session may therefore end up to a tenth of its idle limit
 * early, and never late. `undefined` if activity does not prolong the session.
 */
export const touchWindow = (self: Expiry, lifetime: Lifetime | undefined): number | undefined => {
  if (self.idle === undefined || lifetime?._tag === "Until") return undefined
  return Math.ceil((lifetime?._tag === "Inactivity" ? lifetime.millis : self.idle) / 10)
}
