/**
 * A scheduler for requests that share a store: each is parked before every call, and one at a time goes on, so that
 * every order of the calls can be tried.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import type { Interception } from "../store/intercepted.js"
import { range } from "./law.js"

/** Requests, each with what is to be put around its calls, and what must hold when they have ended. */
export interface Scene<E> {
  readonly requests: ReadonlyArray<(parking: Interception) => Effect.Effect<unknown, E>>
  readonly check: Effect.Effect<void, E>
}

/** A decision: which of so many parked requests goes on. */
interface Choice {
  readonly chosen: number
  readonly of: number
}

/** Plays a scene once. Beyond the given decisions, `choose` decides. */
const play = <E>(
  { check, requests }: Scene<E>,
  decided: ReadonlyArray<number>,
  choose: (of: number) => number
): Effect.Effect<ReadonlyArray<Choice>, E> =>
  Effect.gen(function*() {
    const changed = yield* Queue.unbounded<void>()
    const parked = new Map<number, Deferred.Deferred<void>>()
    let running = requests.length
    const fibers = yield* Effect.forEach(requests, (request, index) => {
      const parking: Interception = (_, call) =>
        Effect.flatMap(Deferred.make<void>(), (go) =>
          Effect.suspend(() => {
            parked.set(index, go)
            running--
            return Queue.offer(changed, undefined).pipe(Effect.zipRight(Deferred.await(go)), Effect.zipRight(call))
          }))
      return Effect.fork(Effect.ensuring(
        request(parking),
        Effect.suspend(() => {
          running--
          return Queue.offer(changed, undefined)
        })
      ))
    })
    const choices: Array<Choice> = []
    while (true) {
      while (running > 0) yield* Queue.take(changed)
      const waiting = [...parked].sort(([a], [b]) => a - b)
      if (waiting.length === 0) break
      const chosen = decided[choices.length] ?? choose(waiting.length)
      choices.push({ chosen, of: waiting.length })
      const next = waiting[chosen]
      if (next === undefined) return yield* Effect.dieMessage("a scene must play the same way each time")
      parked.delete(next[0])
      running++
      yield* Deferred.succeed(next[1], undefined)
    }
    yield* Fiber.joinAll(fibers)
    yield* check
    return choices
  })

/** The decisions that come next, depth first: the last one that can still be made in another way. */
const following = (choices: ReadonlyArray<Choice>): ReadonlyArray<number> | undefined => {
  const last = choices.at(-1)
  if (last === undefined) return undefined
  const before = choices.slice(0, -1)
  return last.chosen + 1 < last.of ? [...before.map(({ chosen }) => chosen), last.chosen + 1] : following(before)
}

/** Plays a scene in every order of its calls. Gives how many there are. */
export const everyOrder = <E>(scene: Effect.Effect<Scene<E>, E>): Effect.Effect<number, E> =>
  Effect.gen(function*() {
    let orders = 0
    let decided: ReadonlyArray<number> | undefined = []
    while (decided !== undefined) {
      const choices: ReadonlyArray<Choice> = yield* play(yield* scene, decided, () => 0)
      decided = following(choices)
      orders++
    }
    return orders
  })

/** Plays a scene in so many orders, drawn by chance. The same seed draws the same ones. */
export const someOrders = <E>(
  scene: Effect.Effect<Scene<E>, E>,
  orders: number,
  seed: number
): Effect.Effect<void, E> => {
  let state = seed >>> 0
  const below = (of: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * of)
  }
  return Effect.forEach(range(orders), () => Effect.flatMap(scene, (scene) => play(scene, [], below)), {
    discard: true
  })
}
