/**
 * A store in this process's memory: for tests, for one-process servers that may forget, and as the executable
 * specification of the contract: what a function means is what it does here.
 *
 * @since 0.1.0
 */
import type * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Layer from "effect/Layer"
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import type { Entry } from "./internal/memory/table.js"
import * as MemoryTable from "./internal/memory/table.js"
import type { Store } from "./SessionStore.js"
import { SessionStore } from "./SessionStore.js"
import type { StoreKey } from "./StoreKey.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface MemoryStoreOptions {
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
export const make = (options: MemoryStoreOptions = {}): Store =>
  MemoryTable.make(() => {
    const { capacity = 100_000 } = options
    const entries = new Map<StoreKey, Entry>()
    // One iterator for all evictions: a new one would pass over each entry that was deleted before the oldest.
    let oldest = entries.keys()
    return Object.assign(entries, {
      peek: entries.get,
      isFull: (key: StoreKey) => entries.size >= capacity && !entries.has(key),
      takeOldest: () => {
        const next = oldest.next()
        if (next.done !== true) return next.value
        oldest = entries.keys()
        return oldest.next().value
      }
    })
  })

/**
 * A store in memory with options.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWith = (options: MemoryStoreOptions): Layer.Layer<SessionStore, never> =>
  Layer.sync(SessionStore, () => make(options))

/**
 * A store of its own for each build of the layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<SessionStore, never> = layerWith({})

/**
 * A store in memory with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (options: Config.Config.Wrap<MemoryStoreOptions>): Layer.Layer<SessionStore, ConfigError> =>
  layerConfigOf(options, layerWith)
