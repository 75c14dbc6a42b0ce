/**
 * A store with something put before, after or in place of its calls.
 */
import type * as Effect from "effect/Effect"
import type { Operation, SessionStoreError, Shape } from "../SessionStore.js"

export type { Operation }

/** What becomes of a call. */
export type Interception = <A>(
  operation: Operation,
  call: Effect.Effect<A, SessionStoreError>,
  args: ReadonlyArray<unknown>
) => Effect.Effect<A, SessionStoreError>

/** Wraps every function by name, so that none is forgotten. */
export const intercepted = (store: Shape, wrap: Interception, remote = store.capabilities.remote): Shape => ({
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
