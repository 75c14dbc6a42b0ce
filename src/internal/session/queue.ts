/**
 * One at a time, by name.
 */
import * as Effect from "effect/Effect"
import { keepsRequestsApart } from "../store/isolates.js"

/**
 * Runs effects of one name one after another; those of other names side by side. The effect gets whether others of its
 * name were there before it. `overtaken` runs each time that another one succeeds while this one waits.
 */
export type Queue = <A, E, R>(
  name: string,
  run: (waited: boolean) => Effect.Effect<A, E, R>,
  overtaken?: Effect.Effect<void>
) => Effect.Effect<A, E, R>

interface Lock {
  readonly semaphore: Effect.Semaphore
  readonly waiting: Set<{ readonly overtaken: Effect.Effect<void> }>
  users: number
}

/** Makes a queue. A name that is not in use takes no memory. */
export const make = (apart = keepsRequestsApart()): Queue => apart ? polling() : waking()

/** Each effect wakes the one that waits behind it. */
const waking = (): Queue => {
  const turns = new Map<string, Lock>()
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

/**
 * Each effect looks by its own timer whether the name is free, because the fiber of another request must not resume it. It
 * waits for at most a second for the same holder, which may have been cancelled, and then never releases the name. So two
 * effects of one name can run at once, which the versions of a store allow.
 */
const polling = (): Queue => {
  const holders = new Map<string, symbol>()
  return (name, run) =>
    Effect.suspend(() => {
      const own = Symbol()
      const take = (seen?: symbol, polls = 0): Effect.Effect<boolean> =>
        Effect.suspend(() => {
          const holder = holders.get(name)
          if (holder === undefined || (holder === seen && polls === maxPolls)) {
            holders.set(name, own)
            return Effect.succeed(seen !== undefined)
          }
          return Effect.delay(holder === seen ? take(seen, polls + 1) : take(holder, 1), pause)
        })
      return Effect.ensuring(
        Effect.flatMap(take(), run),
        Effect.sync(() => {
          if (holders.get(name) === own) holders.delete(name)
        })
      )
    })
}

/** Milliseconds between two looks. */
const pause = 2

const maxPolls = 500
