/**
 * Stores that do their work in one synchronous step. An engine over such a store needs no scheduler step for a call.
 *
 * A store is found by its identity, so a wrapped store is not synchronous.
 */
import type { Store } from "../../SessionStore.js"

const known = new WeakMap<Store, Store>()

/** Registers the synchronous variant of a store, whose functions do their work when called and return an `Exit`. */
export const register = (store: Store, synchronous: Store): Store => {
  known.set(store, synchronous)
  return store
}

/** Returns the synchronous variant of a store, if one is registered. Call its functions inside a running effect. */
export const synchronousOf = (store: Store): Store | undefined => known.get(store)
