/**
 * Deterministic scheduler for concurrent requests on one store. It suspends each request before every store call and resumes one at a
 * time, so that a test can run every order of the calls.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import type { Interception } from "../store/intercepted.js"
import { range } from "./law.js"

/** The requests, each of which runs its store calls through the given interception, and a check that runs after they have ended. */
export interface Scene<E> {
  readonly requests: ReadonlyArray<(suspendCall: Interception) => Effect.Effect<unknown, E>>
  readonly check: Effect.Effect<void, E>
}

/** A decision of the scheduler: the index of the resumed request, and the number of suspended ones. */
interface Choice {
  readonly chosen: number
  readonly of: number
}

/** Runs a scene once, with the decisions in `decided`, and then those of `choose`. Returns all decisions. */
const runOnce = <E>(
  { check, requests }: Scene<E>,
  decided: ReadonlyArray<number>,
  choose: (of: number) => number
): Effect.Effect<ReadonlyArray<Choice>, E> =>
  Effect.gen(function*() {
    const changed = yield* Queue.unbounded<void>()
    const suspended = new Map<number, Deferred.Deferred<void>>()
    let running = requests.length
    const fibers = yield* Effect.forEach(requests, (request, index) => {
      const suspendCall: Interception = (_, call) =>
        Effect.flatMap(Deferred.make<void>(), (go) =>
          Effect.suspend(() => {
            suspended.set(index, go)
            running--
            return Queue.offer(changed, undefined).pipe(Effect.zipRight(Deferred.await(go)), Effect.zipRight(call))
          }))
      return Effect.fork(Effect.ensuring(
        request(suspendCall),
        Effect.suspend(() => {
          running--
          return Queue.offer(changed, undefined)
        })
      ))
    })
    const choices: Array<Choice> = []
    while (true) {
      while (running > 0) yield* Queue.take(changed)
      const waiting = [...suspended].sort(([a], [b]) => a - b)
      if (waiting.length === 0) break
      const chosen = decided[choices.length] ?? choose(waiting.length)
      choices.push({ chosen, of: waiting.length })
      const next = waiting[chosen]
      if (next === undefined) return yield* Effect.dieMessage("the store calls of a scene must be the same in each run")
      suspended.delete(next[0])
      running++
      yield* Deferred.succeed(next[1], undefined)
    }
    yield* Fiber.joinAll(fibers)
    yield* check
    return choices
  })

/** The decisions of the next run, depth first: increments the last decision that has an alternative. `undefined` after the last run. */
const following = (choices: ReadonlyArray<Choice>): ReadonlyArray<number> | undefined => {
  const last = choices.at(-1)
  if (last === undefined) return undefined
  const before = choices.slice(0, -1)
  return last.chosen + 1 < last.of ? [...before.map(({ chosen }) => chosen), last.chosen + 1] : following(before)
}

/** Runs a scene in every order of its store calls. Returns the number of orders. */
export const everyOrder = <E>(scene: Effect.Effect<Scene<E>, E>): Effect.Effect<number, E> =>
  Effect.gen(function*() {
    let orders = 0
    let decided: ReadonlyArray<number> | undefined = []
    while (decided !== undefined) {
      const choices: ReadonlyArray<Choice> = yield* runOnce(yield* scene, decided, () => 0)
      decided = following(choices)
      orders++
    }
    return orders
  })

/** Runs a scene in `orders` random orders. The same seed gives the same orders. */
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
  return Effect.forEach(range(orders), () => Effect.flatMap(scene, (scene) => runOnce(scene, [], below)), {
    discard: true
  })
}
