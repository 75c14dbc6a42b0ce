/**
 * Branches of one handler that take turns.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/** One thing at a time. Whoever has it may be interrupted; the next goes on from there. */
export class Turns {
  /** Completed when what is under way has ended. */
  #busy: Deferred.Deferred<void> | undefined

  get isBusy(): boolean {
    return this.#busy !== undefined
  }

  /** Runs when nothing is under way. */
  idle<A, E>(run: () => Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.suspend(() =>
      this.#busy === undefined ? run() : Effect.zipRight(Deferred.await(this.#busy), this.idle(run))
    )
  }

  /** Keeps others out until the effect has ended, however it ends. Only within `idle`. */
  exclusively<A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.withFiberRuntime((fiber) => {
      const done = Deferred.unsafeMake<void>(fiber.id())
      this.#busy = done
      return Effect.ensuring(
        effect,
        Effect.sync(() => {
          this.#busy = undefined
          Deferred.unsafeDone(done, Exit.void)
        })
      )
    })
  }
}
