/**
 * Waiters, in this process, for the end of a session.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { CookieValue } from "../../SessionEngine.js"
import { keepsRequestsApart } from "../store/isolates.js"

/**
 * Connections that outlive their request, by cookie value. To be woken is a hint to look again, never a verdict: what the store says
 * counts.
 */
export class Watchers {
  readonly #waiting = new Map<string, Set<Effect.Latch>>()

  /** Runs with a latch that opens whenever something has happened to the session of this value. */
  watch<B, E>(value: CookieValue, f: (latch: Effect.Latch) => Effect.Effect<B, E>): Effect.Effect<B, E> {
    const key = Redacted.value(value)
    return Effect.acquireUseRelease(
      Effect.sync(() => {
        const latch = Effect.unsafeMakeLatch(false)
        const latches = this.#waiting.get(key) ?? new Set()
        this.#waiting.set(key, latches.add(latch))
        return latch
      }),
      f,
      (latch) =>
        Effect.sync(() => {
          const latches = this.#waiting.get(key)
          if (latches?.delete(latch) && latches.size === 0) this.#waiting.delete(key)
        })
    )
  }

  /**
   * The session of this value has ended, or moved to another. Where requests are kept apart this does nothing, because the one
   * that waits must not be resumed by this one: it looks by its own timer.
   */
  wake(value: CookieValue): Effect.Effect<void> {
    return Effect.suspend(() => openAll(this.#waiting.get(Redacted.value(value))))
  }

  /** Sessions have ended whose values are not known. */
  readonly wakeAll: Effect.Effect<void> = Effect.suspend(() =>
    Effect.forEach([...this.#waiting.values()], openAll, { discard: true })
  )
}

const openAll = (latches: ReadonlySet<Effect.Latch> | undefined): Effect.Effect<void> =>
  latches === undefined || keepsRequestsApart()
    ? Effect.void
    : Effect.forEach([...latches], (latch) => latch.open, { discard: true })
