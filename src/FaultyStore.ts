/**
 * A store whose calls go wrong, as calls over a network do: for testing what an application, or an engine, makes of it.
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
 * One way in which a call goes wrong.
 *
 * - `failsBefore`: it never arrives, and that is known.
 * - `failsAfter`: it is done, and then an error is reported.
 * - `hangs`: it never arrives, and nothing is heard.
 * - `losesReply`: it is done, and nothing is heard.
 * - `duplicates`: it is done twice, and the first answer is given.
 *
 * @since 0.4.0
 * @category models
 */
export type Fault = "failsBefore" | "failsAfter" | "hangs" | "losesReply" | "duplicates"

/**
 * @since 0.4.0
 * @category models
 */
export const faults: ReadonlyArray<Fault> = ["failsBefore", "failsAfter", "hangs", "losesReply", "duplicates"]

/**
 * Says what goes wrong with a call; nothing: it works. `count` is how many calls of this operation came before.
 *
 * @since 0.4.0
 * @category models
 */
export type Plan = (operation: Operation, count: number) => Fault | undefined

/**
 * The first calls of an operation go wrong in this order; later ones work.
 *
 * @since 0.4.0
 * @category plans
 */
export const schedule = (script: { readonly [K in Operation]?: ReadonlyArray<Fault> }): Plan => (operation, count) =>
  script[operation]?.[count]

/**
 * Calls go wrong at random: `rate` of them, from 0 to 1. The same seed goes wrong in the same way, for the same calls.
 *
 * @since 0.4.0
 * @category plans
 */
export const random = (options: { readonly seed: number; readonly rate: number }): Plan => {
  let state = options.seed >>> 0
  // The generator of Numerical Recipes: nothing here needs a better one.
  const next = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32
  return () => {
    const goesWrong = next() < options.rate
    const fault = faults[Math.floor(next() * faults.length)]
    return goesWrong ? fault : undefined
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
 * The same as a layer over another store.
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
