/**
 * A store that notes its calls, and can be told to fail, to hang and to wait.
 */
import { Effect } from "effect"
import { SessionStoreError } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { intercepted } from "../../src/internal/store/intercepted.js"
import type { Operation } from "../../src/SessionStore.js"

export const watched = (store: Store, remote = true) => {
  const calls: Array<Operation> = []
  const nothing = (_: Operation): Effect.Effect<void> => Effect.void
  const state = {
    down: false,
    hangs: false,
    /** What a call fails with, if it is none that is down. */
    fails: undefined as SessionStoreError["reason"] | undefined,
    before: nothing,
    after: nothing
  }
  return {
    calls,
    state,
    store: intercepted(store, (operation, call) =>
      Effect.suspend(() => {
        calls.push(operation)
        if (state.hangs) return Effect.never
        const reason = state.down ? "unavailable" as const : state.fails
        return reason === undefined
          ? Effect.zipLeft(Effect.zipRight(state.before(operation), call), Effect.suspend(() => state.after(operation)))
          : Effect.fail(new SessionStoreError({ operation, reason }))
      }), remote)
  }
}
