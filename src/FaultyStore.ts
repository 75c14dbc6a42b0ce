/**
 * Fault injection: a store whose calls fail as calls over a network do, for tests of applications and engines.
 *
 * Also exported by `effect-session/testing`.
 *
 * @since 0.4.0
 */
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import { intercepted } from "./internal/store/intercepted.js"
import type { Operation, Store } from "./SessionStore.js"
import { SessionStore, SessionStoreError } from "./SessionStore.js"

/**
 * A fault of one call.
 *
 * - `failsBefore`: the call fails with `unavailable` and is not executed.
 * - `failsAfter`: the call is executed, and then fails with `unavailable`.
 * - `hangs`: the call is not executed, and never returns.
 * - `losesReply`: the call is executed, and never returns.
 * - `duplicates`: the call is executed twice, and returns the first result.
 *
 * @since 0.4.0
 * @category models
 */
export type Fault = "failsBefore" | "failsAfter" | "hangs" | "losesReply" | "duplicates"

/**
 * All faults.
 *
 * @since 0.4.0
 * @category models
 */
export const faults: ReadonlyArray<Fault> = ["failsBefore", "failsAfter", "hangs", "losesReply", "duplicates"]

/**
 * Returns the fault of a call, or `undefined` for none. `count` is the number of earlier calls of this operation.
 *
 * @since 0.4.0
 * @category models
 */
export type Plan = (operation: Operation, count: number) => Fault | undefined

/**
 * A plan that gives the first calls of an operation these faults in order. Later calls have none.
 *
 * @since 0.4.0
 * @category plans
 */
export const schedule = (script: { readonly [K in Operation]?: ReadonlyArray<Fault> }): Plan => (operation, count) =>
  script[operation]?.[count]

/**
 * A plan of random faults for a fraction `rate` of the calls, from 0 to 1. The same seed and the same calls give the same faults.
 *
 * @since 0.4.0
 * @category plans
 */
export const random = (options: { readonly seed: number; readonly rate: number }): Plan => {
  let state = options.seed >>> 0
  // The linear congruential generator of Numerical Recipes.
  const next = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32
  return () => {
    const isFaulty = next() < options.rate
    const fault = faults[Math.floor(next() * faults.length)]
    return isFaulty ? fault : undefined
  }
}

/**
 * Makes a store whose calls fail as planned. It declares `remote`, so that timeouts and retries apply to it.
 *
 * @example
 * ```ts
 * import { pipe } from "effect"
 * import { FaultyStore, MemoryStore } from "effect-session"
 *
 * // The first load hangs, the second works.
 * export const store = pipe(MemoryStore.make(), FaultyStore.make(FaultyStore.schedule({ load: ["hangs"] })))
 * ```
 *
 * @since 0.4.0
 * @category constructors
 */
export const make: {
  (plan: Plan): (store: Store) => Store
  (store: Store, plan: Plan): Store
} = dual(2, (store: Store, plan: Plan): Store => {
  const counts = new Map<Operation, number>()
  return intercepted(store, (operation, call) =>
    Effect.suspend(() => {
      const count = counts.get(operation) ?? 0
      counts.set(operation, count + 1)
      const failure = Effect.fail(new SessionStoreError({ operation, reason: "unavailable" }))
      switch (plan(operation, count)) {
        case undefined:
          return call
        case "failsBefore":
          return failure
        case "failsAfter":
          return Effect.zipRight(call, failure)
        case "hangs":
          return Effect.never
        case "losesReply":
          return Effect.zipRight(call, Effect.never)
        case "duplicates":
          return Effect.zipLeft(call, Effect.either(call))
      }
    }), true)
})

/**
 * A faulty store over another store.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { MemoryStore, StoredEngine } from "effect-session"
 * import * as FaultyStore from "effect-session/FaultyStore"
 *
 * export const engine = StoredEngine.layer.pipe(
 *   Layer.provide(FaultyStore.layer(FaultyStore.schedule({ save: ["losesReply"] }))),
 *   Layer.provide(MemoryStore.layer)
 * )
 * ```
 *
 * @since 0.4.0
 * @category layers
 */
export const layer = (plan: Plan): Layer.Layer<SessionStore, never, SessionStore> =>
  Layer.effect(SessionStore, Effect.map(SessionStore, (store) => make(store, plan)))
