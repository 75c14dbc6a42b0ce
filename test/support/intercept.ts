/**
 * A store with something put before, after or in place of its calls.
 */
import { type Context, Effect, Layer } from "effect"
import { SessionStore, type SessionStoreError } from "effect-session"

type Store = Context.Tag.Service<SessionStore>

/** The functions of a store. */
export type Operation = Exclude<keyof Store, "capabilities">

/** What becomes of a call. */
export type Interception = <A>(
  operation: Operation,
  call: Effect.Effect<A, SessionStoreError>,
  args: ReadonlyArray<unknown>
) => Effect.Effect<A, SessionStoreError>

/** Wraps every function by name, so that none is forgotten. */
export const intercepted = (store: Store, wrap: Interception, remote = store.capabilities.remote): Store => ({
  capabilities: { ...store.capabilities, remote },
  create: (...args) => wrap("create", store.create(...args), args),
  load: (...args) => wrap("load", store.load(...args), args),
  save: (...args) => wrap("save", store.save(...args), args),
  touch: (...args) => wrap("touch", store.touch(...args), args),
  rotate: (...args) => wrap("rotate", store.rotate(...args), args),
  destroy: (...args) => wrap("destroy", store.destroy(...args), args),
  removeExpired: (...args) => wrap("removeExpired", store.removeExpired(...args), args),
  count: (...args) => wrap("count", store.count(...args), args),
  list: (...args) => wrap("list", store.list(...args), args),
  find: (...args) => wrap("find", store.find(...args), args),
  scan: (...args) => wrap("scan", store.scan(...args), args),
  revoke: (...args) => wrap("revoke", store.revoke(...args), args),
  revokeSubject: (...args) => wrap("revokeSubject", store.revokeSubject(...args), args),
  revokeAll: (...args) => wrap("revokeAll", store.revokeAll(...args), args)
})

/** The same as a layer over a store. */
export const layer = (wrap: Interception, remote?: boolean): Layer.Layer<SessionStore, never, SessionStore> =>
  Layer.effect(SessionStore, Effect.map(SessionStore, (store) => intercepted(store, wrap, remote)))
