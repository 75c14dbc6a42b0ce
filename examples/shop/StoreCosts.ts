/**
 * What each request costs: a store that notes its calls, and a middleware that says which request they are made for.
 */
import { type HttpApp, HttpServerRequest } from "@effect/platform"
import { Context, Effect, FiberRef, Layer, Ref } from "effect"
import { SessionStore, type SessionStoreError } from "effect-session/SessionStore"

type Store = Context.Tag.Service<SessionStore>
type Operation = Exclude<keyof Store, "capabilities">

/** A request that has been answered, and the calls of the store that it caused, in order. */
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

const kept = 15

/** The calls of the request that a fiber works for. In a FiberRef, so that fibers which a request starts share it. */
const currentCalls = FiberRef.unsafeMake<Array<Operation> | undefined>(undefined)

/**
 * For `HttpServer.serve`, and not for the router: the session is written after the handler has made its page, and that
 * belongs to the request too. For the same reason a page can show only requests before its own.
 */
export const middleware = <E, R>(app: HttpApp.Default<E, R>): HttpApp.Default<E, R | StoreCosts> =>
  Effect.gen(function*() {
    const { method, url } = yield* HttpServerRequest.HttpServerRequest
    const costs = yield* StoreCosts
    const calls: Array<Operation> = []
    const cost: RequestCost = { method, path: url.replace(/\?.*/s, ""), calls }
    return yield* Effect.locally(app, currentCalls, calls).pipe(
      Effect.ensuring(Ref.update(costs, (latest) => [cost, ...latest].slice(0, kept)))
    )
  })

/** Every function is named, so that none can be forgotten. */
const noting = (store: Store): Store => {
  const noted = <A>(operation: Operation, call: Effect.Effect<A, SessionStoreError>) =>
    Effect.flatMap(FiberRef.get(currentCalls), (calls) => {
      calls?.push(operation)
      return call
    })
  return {
    capabilities: store.capabilities,
    create: (...args) => noted("create", store.create(...args)),
    load: (...args) => noted("load", store.load(...args)),
    save: (...args) => noted("save", store.save(...args)),
    touch: (...args) => noted("touch", store.touch(...args)),
    rotate: (...args) => noted("rotate", store.rotate(...args)),
    destroy: (...args) => noted("destroy", store.destroy(...args)),
    removeExpired: (...args) => noted("removeExpired", store.removeExpired(...args)),
    count: (...args) => noted("count", store.count(...args)),
    list: (...args) => noted("list", store.list(...args)),
    find: (...args) => noted("find", store.find(...args)),
    scan: (...args) => noted("scan", store.scan(...args)),
    revoke: (...args) => noted("revoke", store.revoke(...args)),
    revokeSubject: (...args) => noted("revokeSubject", store.revokeSubject(...args)),
    revokeAll: (...args) => noted("revokeAll", store.revokeAll(...args))
  }
}

/** No request has been answered yet. An engine without a store costs none, and this stays empty of calls. */
export const none: Layer.Layer<StoreCosts> = Layer.effect(StoreCosts, Ref.make<ReadonlyArray<RequestCost>>([]))

/** A store over the store that is provided, and the costs. */
export const layer: Layer.Layer<SessionStore | StoreCosts, never, SessionStore> = Layer.merge(
  Layer.effect(SessionStore, Effect.map(SessionStore, noting)),
  none
)
