/**
 * Wakes the fibers of this process that wait for the end of a session.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { CookieValue } from "../../SessionEngine.js"
import { keepsRequestsApart } from "../store/isolates.js"

/**
 * Latches by cookie value. A wake-up is only a hint: the waiter reads the store again, and the store decides.
 */
export class Watchers {
  readonly #waiting = new Map<string, Set<Effect.Latch>>()

  /** Runs `f` with a latch that opens whenever this process ends or moves the session of the value. */
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
   * Wakes the waiters of a session that has ended or moved to another value. Does nothing on runtimes that isolate requests,
   * where a request must not resume the fiber of another one: there each waiter polls.
   */
  wake(value: CookieValue): Effect.Effect<void> {
    return Effect.suspend(() => openAll(this.#waiting.get(Redacted.value(value))))
  }

  /** Wakes all waiters: sessions have ended whose values are not known. */
  readonly wakeAll: Effect.Effect<void> = Effect.suspend(() =>
    Effect.forEach([...this.#waiting.values()], openAll, { discard: true })
  )
}

const openAll = (latches: ReadonlySet<Effect.Latch> | undefined): Effect.Effect<void> =>
  latches === undefined || keepsRequestsApart()
    ? Effect.void
    : Effect.forEach([...latches], (latch) => latch.open, { discard: true })
