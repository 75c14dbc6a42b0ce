/**
 * Mutual exclusion for the branches of one handler. A semaphore of Effect 3 cannot be used: a fiber that is interrupted right
 * after it has acquired a permit never releases it.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { RuntimeFiber } from "../done.js"

/** Runs one effect at a time. If it is interrupted, the next waiting effect runs. */
export class Mutex {
  /** Completes when the running effect has ended; absent while none runs. */
  busy: Deferred.Deferred<void> | undefined

  /** Waits for the running effect, then runs `run` without acquiring the mutex. */
  whenIdle<A, E>(run: (fiber: RuntimeFiber) => Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.withFiberRuntime((fiber) =>
      this.busy === undefined ? run(fiber) : Effect.zipRight(Deferred.await(this.busy), this.whenIdle(run))
    )
  }

  /** Waits for the running effect, then runs `run` exclusively. */
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
