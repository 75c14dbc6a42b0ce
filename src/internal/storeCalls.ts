/**
 * How an engine calls a store that may be far away: no call is waited for without end, and a lost reply is settled.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Shape } from "../SessionStore.js"
import { SessionStoreError } from "../SessionStore.js"

export interface StoreCalls {
  /** The limit holds inside uninterruptible regions, and does not wait for a driver that cannot be interrupted. */
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

/** Calls that stay in the process can neither hang nor lose a reply. */
export const make = ({ remote }: Shape["capabilities"], timeout: Duration.Duration): StoreCalls => {
  const limited: StoreCalls["limited"] = (operation, effect) =>
    remote
      ? Effect.timeoutFail(Effect.interruptible(Effect.disconnect(effect)), {
        duration: timeout,
        onTimeout: () => new SessionStoreError({ operation, reason: "timeout" })
      })
      : effect
  return {
    limited,
    settled: (operation, write, first, second) =>
      Effect.matchEffect(limited(operation, write), {
        onSuccess: first,
        onFailure: (error) =>
          remote && (error.reason === "unavailable" || error.reason === "timeout")
            ? Effect.flatMap(limited(operation, write), (outcome) => second(outcome, error))
            : Effect.fail(error)
      })
  }
}
