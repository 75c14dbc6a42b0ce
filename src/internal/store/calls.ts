/**
 * Timeouts and retries for calls of a remote store, with resolution of unknown write outcomes.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Store } from "../../SessionStore.js"
import { SessionStoreError } from "../../SessionStore.js"
import * as Done from "../done.js"
import * as Deadline from "./deadline.js"
import * as Limit from "./limit.js"

export interface StoreCalls {
  /**
   * Runs a call with a timeout, which also applies inside uninterruptible regions and does not wait for a driver that cannot be
   * interrupted. Inside a commit that has less time left, it is shorter.
   */
  readonly limited: <A>(
    operation: string,
    effect: Effect.Effect<A, SessionStoreError>
  ) => Effect.Effect<A, SessionStoreError>
  /** Runs a write. If its reply is lost, runs it again, and `second` resolves the outcome from the second reply. */
  readonly resolved: <A, B>(
    operation: string,
    write: Effect.Effect<A, SessionStoreError>,
    first: (outcome: A) => Effect.Effect<B, SessionStoreError>,
    second: (outcome: A, error: SessionStoreError) => Effect.Effect<B, SessionStoreError>
  ) => Effect.Effect<B, SessionStoreError>
}

/**
 * The shares of the remaining time of a commit that calls may take: two tries of a write, and the load that resolves their outcome. The
 * rest of the time is for reporting a failure.
 */
const shares = { first: 0.4, second: 0.6, load: 0.9 }

/** Calls inside the process neither hang nor lose a reply. */
const local: StoreCalls = {
  limited: (_, effect) => effect,
  resolved: (_, write, first) => Done.flatMap(write, first)
}

export const make = ({ remote }: Store["capabilities"], timeout: Duration.Duration): StoreCalls => {
  if (!remote) return local
  const within = <A>(operation: string, effect: Effect.Effect<A, SessionStoreError>, fraction: number) =>
    Effect.flatMap(
      Deadline.share(Duration.toMillis(timeout), fraction),
      (millis) => Limit.within(effect, millis, () => new SessionStoreError({ operation, reason: "timeout" }))
    )
  return {
    limited: (operation, effect) => within(operation, effect, shares.load),
    resolved: (operation, write, first, second) =>
      Effect.matchEffect(within(operation, write, shares.first), {
        onSuccess: first,
        onFailure: (error) =>
          (error.reason === "unavailable" || error.reason === "timeout")
            ? Effect.flatMap(within(operation, write, shares.second), (outcome) => second(outcome, error))
            : Effect.fail(error)
      })
  }
}
