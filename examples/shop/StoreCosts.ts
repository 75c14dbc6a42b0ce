/**
 * Store calls per request: a store that records its calls, and a middleware that assigns them to requests.
 */
import { type HttpApp, HttpServerRequest } from "@effect/platform"
import { Context, Effect, FiberRef, Layer, Ref } from "effect"
import { SessionStore, type SessionStoreError } from "effect-session/SessionStore"

type Store = Context.Tag.Service<SessionStore>
type Operation = Exclude<keyof Store, "capabilities">

/** An answered request and its store calls, in order. */
export interface RequestCost {
  readonly method: string
  readonly path: string
  readonly calls: ReadonlyArray<Operation>
}

/** The latest requests, newest first. */
export class StoreCosts extends Context.Tag("shop/StoreCosts")<
  StoreCosts,
  Ref.Ref<ReadonlyArray<RequestCost>>
>() {}

const limit = 15

/** The store calls of the current request. A FiberRef, so that fibers forked by a request share it. */
const currentCalls = FiberRef.unsafeMake<Array<Operation> | undefined>(undefined)

/**
 * Records the store calls of each request. Use it with `HttpServer.serve`, not with the router, to include the save after the
 * handler. For the same reason a page can show only earlier requests.
 */
export const middleware = <E, R>(app: HttpApp.Default<E, R>): HttpApp.Default<E, R | StoreCosts> =>
  Effect.gen(function*() {
    const { method, url } = yield* HttpServerRequest.HttpServerRequest
    const costs = yield* StoreCosts
    const calls: Array<Operation> = []
    const cost: RequestCost = { method, path: url.replace(/\?.*/s, ""), calls }
    return yield* Effect.locally(app, currentCalls, calls).pipe(
      Effect.ensuring(Ref.update(costs, (latest) => [cost, ...latest].slice(0, limit)))
    )
  })

/** Lists every operation, so that the compiler reports a missing one. */
const recording = (store: Store): Store => {
  const recorded = <A>(operation: Operation, call: Effect.Effect<A, SessionStoreError>) =>
    Effect.flatMap(FiberRef.get(currentCalls), (calls) => {
      calls?.push(operation)
      return call
    })
  return {
    capabilities: store.capabilities,
    create: (...args) => recorded("create", store.create(...args)),
    load: (...args) => recorded("load", store.load(...args)),
    save: (...args) => recorded("save", store.save(...args)),
    touch: (...args) => recorded("touch", store.touch(...args)),
    rotate: (...args) => recorded("rotate", store.rotate(...args)),
    destroy: (...args) => recorded("destroy", store.destroy(...args)),
    removeExpired: (...args) => recorded("removeExpired", store.removeExpired(...args)),
    count: (...args) => recorded("count", store.count(...args)),
    list: (...args) => recorded("list", store.list(...args)),
    find: (...args) => recorded("find", store.find(...args)),
    scan: (...args) => recorded("scan", store.scan(...args)),
    revoke: (...args) => recorded("revoke", store.revoke(...args)),
    revokeSubject: (...args) => recorded("revokeSubject", store.revokeSubject(...args)),
    revokeAll: (...args) => recorded("revokeAll", store.revokeAll(...args)),
    endReason: (...args) => recorded("endReason", store.endReason(...args))
  }
}

/** An empty list, for engines without a store. */
export const none: Layer.Layer<StoreCosts> = Layer.effect(StoreCosts, Ref.make<ReadonlyArray<RequestCost>>([]))

/** Wraps the provided store and provides the costs. */
export const layer: Layer.Layer<SessionStore | StoreCosts, never, SessionStore> = Layer.merge(
  Layer.effect(SessionStore, Effect.map(SessionStore, recording)),
  none
)
