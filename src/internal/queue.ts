/**
 * One at a time, by name.
 */
import * as Effect from "effect/Effect"

/**
 * Runs effects of one name one after another; those of other names side by side. The effect is told whether others of its
 * name were there before it. `overtaken` runs each time that another one succeeds while this one waits.
 */
export type Queue = <A, E, R>(
  name: string,
  run: (waited: boolean) => Effect.Effect<A, E, R>,
  overtaken?: Effect.Effect<void>
) => Effect.Effect<A, E, R>

interface Turn {
  readonly semaphore: Effect.Semaphore
  readonly waiting: Set<{ readonly overtaken: Effect.Effect<void> }>
  users: number
}

/** Makes a queue. A name that nobody uses takes no memory. */
export const make = (): Queue => {
  const turns = new Map<string, Turn>()
  return (name, run, overtaken = Effect.void) =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        const turn = turns.get(name) ?? { semaphore: Effect.unsafeMakeSemaphore(1), waiting: new Set(), users: 0 }
        turns.set(name, turn)
        const self = { overtaken }
        turn.waiting.add(self)
        return { turn, self, waited: turn.users++ > 0 }
      }),
      ({ self, turn, waited }) =>
        turn.semaphore.withPermits(1)(Effect.suspend(() => {
          turn.waiting.delete(self)
          return Effect.tap(
            run(waited),
            () => Effect.forEach([...turn.waiting], ({ overtaken }) => overtaken, { discard: true })
          )
        })),
      ({ self, turn }) =>
        Effect.sync(() => {
          turn.waiting.delete(self)
          if (--turn.users === 0) turns.delete(name)
        })
    )
}
