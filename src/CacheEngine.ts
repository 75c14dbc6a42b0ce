/**
 * Sessions in a bounded cache in this process's memory.
 *
 * @since 0.4.0
 */
import * as Layer from "effect/Layer"
import * as CacheStore from "./CacheStore.js"
import type { SessionConfigError } from "./SessionConfigError.js"
import * as StoredEngine from "./StoredEngine.js"

/**
 * Sessions that live as long as the process, and as long as there is room: for one-process servers that may forget.
 *
 * @since 0.4.0
 * @category layers
 */
export const layer = (
  options: CacheStore.Options = {}
): Layer.Layer<StoredEngine.Provided, SessionConfigError> =>
  Layer.provide(StoredEngine.layer(), CacheStore.layer(options))
