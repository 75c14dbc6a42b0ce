/**
 * A store in this process's memory: for tests, for single-process servers that may lose sessions, and as the executable specification of the
 * store contract.
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
 * The options of {@link make} and {@link layerWith}.
 *
 * @since 0.1.0
 * @category models
 */
export interface MemoryStoreOptions {
  /**
   * The maximum number of records. Beyond it, expired records are evicted first, then the oldest ones, whose users are logged out. Default
   * 100,000.
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
    // One iterator for all evictions, because a new one would visit every entry that was deleted before the oldest.
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
 * A store in memory with options. Each build of the layer has its own.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWith = (options: MemoryStoreOptions): Layer.Layer<SessionStore, never> =>
  Layer.sync(SessionStore, () => make(options))

/**
 * A store in memory. A program that mentions the value several times has one store; each run of a program has its own.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { MemoryStore, StoredEngine } from "effect-session"
 *
 * export const engine = StoredEngine.layer.pipe(Layer.provide(MemoryStore.layer))
 * ```
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
