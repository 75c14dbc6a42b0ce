/**
 * One at a time, by name.
 */
import * as Effect from "effect/Effect"

/**
 * Runs effects of one name one after another; those of other names side by side. The effect is told whether others of its
 * name were there before it.
 */
export type Queue = <A, E, R>(name: string, run: (waited: boolean) => Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Makes a queue. A name that nobody uses takes no memory. */
export const make = (): Queue => {
  const turns = new Map<string, { readonly semaphore: Effect.Semaphore; users: number }>()
  return (name, run) =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        const turn = turns.get(name) ?? { semaphore: Effect.unsafeMakeSemaphore(1), users: 0 }
        turns.set(name, turn)
        return { turn, waited: turn.users++ > 0 }
      }),
      ({ turn, waited }) => turn.semaphore.withPermits(1)(Effect.suspend(() => run(waited))),
      ({ turn }) =>
        Effect.sync(() => {
          if (--turn.users === 0) turns.delete(name)
        })
    )
}
