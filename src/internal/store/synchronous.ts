/**
 * Stores that do their work in one synchronous step. An engine over such a store takes no turn of a scheduler for a call.
 *
 * A store is known by its identity: what is wrapped around one has a store of its own, and goes the way of effects.
 */
import type { Store } from "../../SessionStore.js"

const known = new WeakMap<Store, Store>()

/** Notes how a store does its work when it is called, and answers with an `Exit`. */
export const register = (store: Store, synchronous: Store): Store => {
  known.set(store, synchronous)
  return store
}

/** The store whose functions work when they are called, if this is known to have one. Call them inside a running effect. */
export const synchronousOf = (store: Store): Store | undefined => known.get(store)
