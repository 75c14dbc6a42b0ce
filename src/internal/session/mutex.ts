/**
 * Mutual exclusion for the branches of one handler. A semaphore of Effect 3 is not enough: a fiber that is interrupted in the moment in
 * which it has taken its permit never gives it back.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { RuntimeFiber } from "../done.js"

/** One effect at a time. Whichever runs may be interrupted; the next one goes on from there. */
export class Mutex {
  /** Completed when what runs has ended; absent while nothing does. */
  busy: Deferred.Deferred<void> | undefined

  /** Waits for what runs, then runs this beside others. */
  whenIdle<A, E>(run: (fiber: RuntimeFiber) => Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.withFiberRuntime((fiber) =>
      this.busy === undefined ? run(fiber) : Effect.zipRight(Deferred.await(this.busy), this.whenIdle(run))
    )
  }

  /** Waits for what runs, then runs this alone. */
  exclusively<A, E>(run: () => Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.withFiberRuntime<A, E>((fiber) => {
        if (this.busy !== undefined) {
          return Effect.zipRight(restore(Deferred.await(this.busy)), this.exclusively(run))
        }
        const done = Deferred.unsafeMake<void>(fiber.id())
        this.busy = done
        return Effect.ensuring(
          restore(Effect.suspend(run)),
          Effect.sync(() => {
            this.busy = undefined
            Deferred.unsafeDone(done, Exit.void)
          })
        )
      })
    )
  }
}
