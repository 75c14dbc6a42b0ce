/**
 * Injects faults into the calls of a store, to test how an engine or an application handles them.
 *
 * Also exported by `effect-session/testing`.
 *
 * @since 0.4.0
 */
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { filled } from "./internal/store/corrupt.js"
import { intercepted } from "./internal/store/intercepted.js"
import type { SessionId } from "./SessionId.js"
import type { SessionInfo } from "./SessionRecord.js"
import type { Operation, Store } from "./SessionStore.js"
import { pageSize, SessionStore, SessionStoreError } from "./SessionStore.js"
import type { StoreKey } from "./StoreKey.js"

/**
 * A fault of one call.
 *
 * - `failBefore`: the call is not executed; it fails with an error.
 * - `failAfter`: the call is executed, then it fails with an error.
 * - `hang`: the call is not executed and never returns.
 * - `loseReply`: the call is executed and never returns.
 * - `duplicate`: the call is executed twice and returns the first result.
 *
 * @since 0.4.0
 * @category models
 */
export type Fault = "failBefore" | "failAfter" | "hang" | "loseReply" | "duplicate"

/**
 * All faults.
 *
 * @since 0.4.0
 * @category models
 */
export const faults: ReadonlyArray<Fault> = ["failBefore", "failAfter", "hang", "loseReply", "duplicate"]

/**
 * Runs instead of a call, which it may execute, delay, change or drop. `args` are the arguments of the call.
 *
 * @since 0.6.0
 * @category models
 */
export type Interception = <A>(
  operation: Operation,
  call: Effect.Effect<A, SessionStoreError>,
  args: ReadonlyArray<unknown>
) => Effect.Effect<A, SessionStoreError>

/**
 * A call that a store has received.
 *
 * @since 0.6.0
 * @category models
 */
export interface Call {
  readonly operation: Operation
  readonly args: ReadonlyArray<unknown>
}

/**
 * Chooses the fault of a call; `undefined`: none. `count` is the number of earlier calls of the same operation.
 *
 * @since 0.4.0
 * @category models
 */
export type Plan = (operation: Operation, count: number) => Fault | undefined

/**
 * Plans these faults for the first calls of each operation, in this order. Later calls have none.
 *
 * @since 0.4.0
 * @category plans
 */
export const schedule = (script: { readonly [K in Operation]?: ReadonlyArray<Fault> }): Plan => (operation, count) =>
  script[operation]?.[count]

/**
 * Plans random faults for the share `rate` of all calls, from 0 to 1. The same seed plans the same faults for the same calls.
 *
 * @since 0.4.0
 * @category plans
 */
export const random = (options: { readonly seed: number; readonly rate: number }): Plan => {
  let state = options.seed >>> 0
  // The generator of Numerical Recipes: nothing here needs a better one.
  const next = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32
  return () => {
    const hasFault = next() < options.rate
    const fault = faults[Math.floor(next() * faults.length)]
    return hasFault ? fault : undefined
  }
}

/**
 * Runs every call of a store through `interception`. `remote` replaces the claim of the same name.
 *
 * @since 0.6.0
 * @category constructors
 */
export const intercept: (store: Store, interception: Interception, remote?: boolean) => Store = intercepted

/**
 * Turns a plan into an interception. `meanwhile` runs after the store has handled a call that has a fault, and before the
 * caller sees the fault: what another process does in between.
 *
 * @since 0.6.0
 * @category constructors
 */
export const injecting = (plan: Plan, meanwhile: Effect.Effect<unknown> = Effect.void): Interception => {
  const counts = new Map<Operation, number>()
  return (operation, call) =>
    Effect.suspend(() => {
      const count = counts.get(operation) ?? 0
      counts.set(operation, count + 1)
      const fault = plan(operation, count)
      return fault === undefined ? call : inject(fault, operation, call, "unavailable", meanwhile)
    })
}

const inject = <A>(
  fault: Fault,
  operation: Operation,
  call: Effect.Effect<A, SessionStoreError>,
  reason: SessionStoreError["reason"],
  meanwhile: Effect.Effect<unknown> = Effect.void
): Effect.Effect<A, SessionStoreError> => {
  const failure = Effect.zipRight(meanwhile, Effect.fail(new SessionStoreError({ operation, reason })))
  const silence = Effect.zipRight(meanwhile, Effect.never)
  switch (fault) {
    case "failBefore":
      return failure
    case "failAfter":
      return Effect.zipRight(call, failure)
    case "hang":
      return silence
    case "loseReply":
      return Effect.zipRight(call, silence)
    case "duplicate":
      return Effect.zipLeft(call, Effect.zipRight(meanwhile, Effect.either(call)))
  }
}

/**
 * Makes a store whose calls have the planned faults. It declares `remote`, so that timeouts and retries apply to it.
 *
 * @example
 * ```ts
 * import { pipe } from "effect"
 * import { FaultyStore, MemoryStore } from "effect-session"
 *
 * // The first load hangs, the second works.
 * export const store = pipe(MemoryStore.make(), FaultyStore.make(FaultyStore.schedule({ load: ["hang"] })))
 * ```
 *
 * @since 0.4.0
 * @category constructors
 */
export const make: {
  (plan: Plan): (store: Store) => Store
  (store: Store, plan: Plan): Store
} = dual(2, (store: Store, plan: Plan): Store => intercept(store, injecting(plan), true))

/**
 * Makes a store that records each call when it runs, before `interception` handles it.
 *
 * @since 0.6.0
 * @category constructors
 */
export const recorded = (
  store: Store,
  interception: Interception = (_, call) => call,
  remote?: boolean
): { readonly store: Store; readonly calls: ReadonlyArray<Call> } => {
  const calls: Array<Call> = []
  const recording: Interception = (operation, call, args) =>
    Effect.suspend(() => {
      calls.push({ operation, args })
      return interception(operation, call, args)
    })
  return { calls, store: intercept(store, recording, remote) }
}

/**
 * The fault that every call of a controlled store has now, and effects around its calls. A test assigns to the fields.
 *
 * @since 0.6.0
 * @category models
 */
export interface Controls {
  /** Initially `undefined`: calls work. */
  fault: Fault | undefined
  /** The reason of the error of `failBefore` and `failAfter`. Initially `unavailable`. */
  reason: SessionStoreError["reason"]
  /** Runs before each call that has no fault. */
  before: (operation: Operation) => Effect.Effect<void>
  /** Runs after each call that has no fault and that succeeded, before its caller sees the result. */
  after: (operation: Operation) => Effect.Effect<void>
}

/**
 * Makes a store with faults that a test switches on and off, and that records the operations called. `remote` default: true.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { MemoryStore } from "effect-session"
 * import * as FaultyStore from "effect-session/FaultyStore"
 *
 * const { controls, store } = FaultyStore.controlled(MemoryStore.make())
 * controls.fault = "failBefore"
 * export const failing = Effect.flip(store.count(0)) // reason: "unavailable"
 * ```
 *
 * @since 0.6.0
 * @category constructors
 */
export const controlled = (
  store: Store,
  remote = true
): { readonly store: Store; readonly calls: Array<Operation>; readonly controls: Controls } => {
  const calls: Array<Operation> = []
  const controls: Controls = {
    fault: undefined,
    reason: "unavailable",
    before: () => Effect.void,
    after: () => Effect.void
  }
  const controlling: Interception = (operation, call) =>
    Effect.suspend(() => {
      calls.push(operation)
      if (controls.fault !== undefined) return inject(controls.fault, operation, call, controls.reason)
      const after = Effect.suspend(() => controls.after(operation))
      return Effect.zipLeft(Effect.zipRight(controls.before(operation), call), after)
    })
  return { calls, controls, store: intercept(store, controlling, remote) }
}

/**
 * A store in which a test can corrupt records.
 *
 * @since 0.6.0
 * @category models
 */
export interface Corruptible {
  readonly store: Store
  /** Corrupts the record under a key. The effect that it returns repairs the record. */
  readonly corrupt: (key: StoreKey) => Effect.Effect<Effect.Effect<void>, unknown>
  /** The ids of the corrupt records. */
  readonly corruptIds: Set<SessionId>
}

/**
 * Makes a store in which records whose id is in `corruptIds` cannot be read.
 *
 * @since 0.6.0
 * @category constructors
 */
export const corruptible = (store: Store): Corruptible => {
  const corruptIds = new Set<SessionId>()
  const error = (operation: Operation) => new SessionStoreError({ operation, reason: "corrupt" })
  const unlessCorrupt = <A extends { readonly id: SessionId }>(
    operation: Operation,
    call: Effect.Effect<Option.Option<A>, SessionStoreError>
  ) =>
    Effect.filterOrFail(
      call,
      (found) => !Option.exists(found, ({ id }) => corruptIds.has(id)),
      () => error(operation)
    )
  return {
    corruptIds,
    store: {
      ...store,
      load: (...args) => unlessCorrupt("load", store.load(...args)),
      find: (...args) => unlessCorrupt("find", store.find(...args)),
      list: (namespace, subject, now, { after, limit = pageSize } = {}) => {
        const isReadable = ({ id }: SessionInfo) => !corruptIds.has(id)
        const read = (most: number) => store.list(namespace, subject, now, { after, limit: most })
        return Effect.map(filled(limit, read, isReadable), (all) => all.filter(isReadable).slice(0, Math.max(limit, 0)))
      },
      scan: (...args) =>
        Effect.map(
          store.scan(...args),
          (page) => page.map((one) => corruptIds.has(one.id) ? { id: one.id, error: error("scan") } : one)
        )
    },
    corrupt: (key) =>
      Effect.map(Effect.flatten(store.load(key, 0)), ({ id }) => {
        corruptIds.add(id)
        return Effect.sync(() => void corruptIds.delete(id))
      })
  }
}

/**
 * A store with planned faults over another store.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { MemoryStore, StoredEngine } from "effect-session"
 * import * as FaultyStore from "effect-session/FaultyStore"
 *
 * export const engine = StoredEngine.layer.pipe(
 *   Layer.provide(FaultyStore.layer(FaultyStore.schedule({ save: ["loseReply"] }))),
 *   Layer.provide(MemoryStore.layer)
 * )
 * ```
 *
 * @since 0.4.0
 * @category layers
 */
export const layer = (plan: Plan): Layer.Layer<SessionStore, never, SessionStore> =>
  Layer.effect(SessionStore, Effect.map(SessionStore, make(plan)))

/**
 * A store with intercepted calls over another store.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerIntercepted = (
  interception: Interception,
  remote?: boolean
): Layer.Layer<SessionStore, never, SessionStore> =>
  Layer.effect(SessionStore, Effect.map(SessionStore, (store) => intercept(store, interception, remote)))
