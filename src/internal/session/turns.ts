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

  /** Runs when nothing is under way, and keeps others out until it has ended, however it ends. */
  exclusively<A, E>(run: () => Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.withFiberRuntime<A, E>((fiber) => {
        if (this.#busy !== undefined) {
          return Effect.zipRight(restore(Deferred.await(this.#busy)), this.exclusively(run))
        }
        const done = Deferred.unsafeMake<void>(fiber.id())
        this.#busy = done
        return Effect.ensuring(
          restore(Effect.suspend(run)),
          Effect.sync(() => {
            this.#busy = undefined
            Deferred.unsafeDone(done, Exit.void)
          })
        )
      })
    )
  }
}
