/**
 * Interception: runs code before, after or in place of every call of a store.
 */
import * as Effect from "effect/Effect"
import type { Operation, SessionStoreError, Store } from "../../SessionStore.js"

/** Wraps one call. */
export type Interception = <A>(
  operation: Operation,
  call: Effect.Effect<A, SessionStoreError>,
  args: ReadonlyArray<unknown>
) => Effect.Effect<A, SessionStoreError>

/** Wraps every function of a store; listed by name, so that the compiler finds a missing one. A store throws when the call is run. */
export const intercepted = (store: Store, wrap: Interception, remote = store.capabilities.remote): Store => ({
  capabilities: { ...store.capabilities, remote },
  create: (...args) => wrap("create", Effect.suspend(() => store.create(...args)), args),
  load: (...args) => wrap("load", Effect.suspend(() => store.load(...args)), args),
  save: (...args) => wrap("save", Effect.suspend(() => store.save(...args)), args),
  touch: (...args) => wrap("touch", Effect.suspend(() => store.touch(...args)), args),
  rotate: (...args) => wrap("rotate", Effect.suspend(() => store.rotate(...args)), args),
  destroy: (...args) => wrap("destroy", Effect.suspend(() => store.destroy(...args)), args),
  removeExpired: (...args) => wrap("removeExpired", Effect.suspend(() => store.removeExpired(...args)), args),
  count: (...args) => wrap("count", Effect.suspend(() => store.count(...args)), args),
  list: (...args) => wrap("list", Effect.suspend(() => store.list(...args)), args),
  find: (...args) => wrap("find", Effect.suspend(() => store.find(...args)), args),
  scan: (...args) => wrap("scan", Effect.suspend(() => store.scan(...args)), args),
  revoke: (...args) => wrap("revoke", Effect.suspend(() => store.revoke(...args)), args),
  revokeSubject: (...args) => wrap("revokeSubject", Effect.suspend(() => store.revokeSubject(...args)), args),
  revokeAll: (...args) => wrap("revokeAll", Effect.suspend(() => store.revokeAll(...args)), args),
  endReason: (...args) => wrap("endReason", Effect.suspend(() => store.endReason(...args)), args)
})
