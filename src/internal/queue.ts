/**
 * One at a time, by name.
 */
import * as Effect from "effect/Effect"
import { keepsRequestsApart } from "./isolates.js"

/**
 * Runs effects of one name one after another; those of other names side by side. The effect is told whether others of its
 * name were there before it.
 */
export type Queue = <A, E, R>(name: string, run: (waited: boolean) => Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Makes a queue. A name that nobody uses takes no memory. */
export const make = (apart = keepsRequestsApart()): Queue => apart ? polling() : waking()

/** Each effect wakes the one that waits behind it. */
const waking = (): Queue => {
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
          if (holder === undefined || (holder === seen && polls === mostPolls)) {
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

const mostPolls = 500
