/**
 * A store in this process's memory: for tests, for one-process servers that may forget, and as the executable
 * specification of the contract: what a function means is what it does here.
 *
 * @since 0.1.0
 */
import * as Layer from "effect/Layer"
import type { Entry } from "./internal/memoryTable.js"
import * as MemoryTable from "./internal/memoryTable.js"
import type { Shape } from "./SessionStore.js"
import { SessionStore } from "./SessionStore.js"
import type { StoreKey } from "./StoreKey.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The most records that are kept. When it is reached, expired records are dropped first, then the oldest ones: their
   * owners are logged out. Default 100,000.
   */
  readonly capacity?: number
}

/**
 * Makes a store. Every function is one synchronous step, so it is atomic.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Shape =>
  MemoryTable.make((forget) => {
    const capacity = options.capacity ?? 100_000
    const entries = new Map<StoreKey, Entry>()
    // Looking for what has expired takes time, and where there was nothing a moment ago there will be little now.
    let inVain = -Infinity
    return Object.assign(entries, {
      makeRoom: (now: number, removeExpired: (now: number, limit: number) => number) => {
        if (entries.size < capacity) return
        if (now > inVain + 1000) {
          if (removeExpired(now, capacity) > 0) return
          inVain = now
        }
        for (const [oldest, entry] of entries) {
          entries.delete(oldest)
          forget(entry)
          break
        }
      }
    })
  })

/**
 * A store of its own for each build of the layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<SessionStore> => Layer.sync(SessionStore, () => make(options))
