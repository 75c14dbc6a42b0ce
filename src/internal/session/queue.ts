/**
 * Mutual exclusion by name.
 */
import * as Effect from "effect/Effect"
import { keepsRequestsApart } from "../store/isolates.js"

/**
 * Runs effects of one name one after another, and effects of different names concurrently. Passes to the effect whether it had to
 * wait. `overtaken` runs each time that another effect of the name succeeds while this one waits.
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

/** Makes a queue. A name that is not in use takes no memory. `apart`: the runtime isolates requests. */
export const make = (apart = keepsRequestsApart()): Queue => apart ? polling() : waking()

/** Each effect wakes the next one. */
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
 * Each effect polls whether the name is free, because the fiber of another request must not resume it. It waits at most one
 * second for the same holder: a cancelled request never releases the name. So two effects of one name can run at once; the
 * version check of the store keeps that safe.
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

/** Milliseconds between two polls. */
const pause = 2

const maxPolls = 500
