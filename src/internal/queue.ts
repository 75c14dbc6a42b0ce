/**
 * One at a time, by name.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/** Runs effects of one name one after another, in the order of their arrival; those of other names side by side. */
export type Queue = <A, E, R>(name: string, effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Makes a queue. A name that nobody waits for takes no memory. */
export const make = (): Queue => {
  const tails = new Map<string, Deferred.Deferred<void>>()
  return (name, effect) =>
    Effect.withFiberRuntime((fiber) => {
      const before = tails.get(name)
      const mine = Deferred.unsafeMake<void>(fiber.id())
      tails.set(name, mine)
      const turn = before === undefined ? effect : Effect.zipRight(Deferred.await(before), effect)
      return Effect.ensuring(
        turn,
        Effect.sync(() => {
          if (tails.get(name) === mine) tails.delete(name)
          Deferred.unsafeDone(mine, Exit.void)
        })
      )
    })
}
