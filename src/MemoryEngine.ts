/**
 * Sessions in this process's memory.
 *
 * @since 0.1.0
 */
import * as Layer from "effect/Layer"
import * as MemoryStore from "./MemoryStore.js"
import * as StoredEngine from "./StoredEngine.js"

/**
 * Sessions that live as long as the process: for tests and for one-process servers that may forget.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: MemoryStore.MemoryStoreOptions & StoredEngine.StoredEngineOptions = {}
): Layer.Layer<StoredEngine.Provided> => Layer.provide(StoredEngine.layer(options), MemoryStore.layer(options))
