/**
 * The rules of expiry: from a policy, the times of a session and its lifetime to the moment at which it ends. Pure; all times are
 * milliseconds since the epoch, all lengths milliseconds.
 */
import type { Expiry, SessionExpiry, Times } from "../../Expiry.js"
import type { Lifetime } from "../../Lifetime.js"
import { earlier } from "./earlier.js"

/**
 * Says in one sentence why a policy cannot be used, or `undefined`.
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
 * Computes the end of a session that begins, or whose subject has just authenticated: the earliest of all limits.
 */
export const initial = (self: Expiry, times: Times, lifetime: Lifetime | undefined): SessionExpiry => {
  const start = times.authenticatedAt ?? times.createdAt
  const deadline = earlier(self.absolute === undefined ? undefined : start + self.absolute, self.at)
  // A policy that passed `validate` has at least one limit, and so has the result.
  return { at: earlier(deadline, movingEnd(self, times, lifetime)) ?? start, deadline, lifetime }
}

/**
 * Computes the end of a session that goes on: the moving limits anew, under the fixed end that it began with.
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
 * The moment at which a session would end if it was last changed and used at `modification`, by its lifetime and under
 * the fixed end that it has.
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
 * True from the moment of expiry on.
 */
// Asked this way round, an end that is no number has passed.
export const isExpired = (self: SessionExpiry, now: number): boolean => !(self.at > now)

/**
 * The time that must have passed since the last touch before another is worth a write: a tenth of the idle limit.
 * A session may therefore end up to a tenth of its idle limit early, and never late. `undefined` where activity does
 * not prolong the session at all.
 */
export const touchWindow = (self: Expiry, lifetime: Lifetime | undefined): number | undefined => {
  if (self.idle === undefined || lifetime?._tag === "Until") return undefined
  return Math.ceil((lifetime?._tag === "Inactivity" ? lifetime.millis : self.idle) / 10)
}
