/**
 * Time limits and retries for calls of a remote store, with resolution of unknown write outcomes.
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
   * The limit holds inside uninterruptible regions, and does not wait for a driver that cannot be interrupted. Inside a
   * commit it is shorter where the commit has less time left.
   */
  readonly limited: <A>(
    operation: string,
    effect: Effect.Effect<A, SessionStoreError>
  ) => Effect.Effect<A, SessionStoreError>
  /** Runs a write; if its reply is lost, runs it again and lets `second` tell what the second answer means. */
  readonly settled: <A, B>(
    operation: string,
    write: Effect.Effect<A, SessionStoreError>,
    first: (outcome: A) => Effect.Effect<B, SessionStoreError>,
    second: (outcome: A, error: SessionStoreError) => Effect.Effect<B, SessionStoreError>
  ) => Effect.Effect<B, SessionStoreError>
}

/**
 * What a call may take of the time that a commit has left. Two tries and the question what became of them fit into it, with a
 * rest in which to report that they did not.
 */
const shares = { first: 0.4, second: 0.6, question: 0.9 }

/** Calls that stay in the process can neither hang nor lose a reply. */
const local: StoreCalls = {
  limited: (_, effect) => effect,
  settled: (_, write, first) => Done.flatMap(write, first)
}

export const make = ({ remote }: Store["capabilities"], timeout: Duration.Duration): StoreCalls => {
  if (!remote) return local
  const within = <A>(operation: string, effect: Effect.Effect<A, SessionStoreError>, fraction: number) =>
    Effect.flatMap(
      Deadline.share(Duration.toMillis(timeout), fraction),
      (millis) => Limit.within(effect, millis, () => new SessionStoreError({ operation, reason: "timeout" }))
    )
  return {
    limited: (operation, effect) => within(operation, effect, shares.question),
    settled: (operation, write, first, second) =>
      Effect.matchEffect(within(operation, write, shares.first), {
        onSuccess: first,
        onFailure: (error) =>
          (error.reason === "unavailable" || error.reason === "timeout")
            ? Effect.flatMap(within(operation, write, shares.second), (outcome) => second(outcome, error))
            : Effect.fail(error)
      })
  }
}
