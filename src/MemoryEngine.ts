/**
 * The engine on this process's memory.
 *
 * @since 0.1.0
 */
import type * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Layer from "effect/Layer"
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import * as MemoryStore from "./MemoryStore.js"
import * as StoredEngine from "./StoredEngine.js"

/**
 * The options of {@link layerWith}.
 *
 * @since 0.6.0
 * @category models
 */
export interface MemoryEngineOptions extends MemoryStore.MemoryStoreOptions, StoredEngine.StoredEngineOptions {}

/**
 * The engine in memory, with options.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWith = (options: MemoryEngineOptions): Layer.Layer<StoredEngine.Provided, never> =>
  Layer.provide(StoredEngine.layerWith(options), MemoryStore.layerWith(options))

/**
 * The engine in memory. Sessions end with the process: for tests, and for single-process servers that may lose sessions.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<StoredEngine.Provided, never> = Layer.provide(
  StoredEngine.layer,
  MemoryStore.layerWith({})
)

/**
 * The engine in memory, with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<MemoryEngineOptions>
): Layer.Layer<StoredEngine.Provided, ConfigError> => layerConfigOf(options, layerWith)
