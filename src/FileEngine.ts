/**
 * The engine on files.
 *
 * @since 0.4.0
 */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import type * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Layer from "effect/Layer"
import * as FileStore from "./FileStore.js"
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import type { SessionConfigError } from "./SessionConfigError.js"
import * as StoredEngine from "./StoredEngine.js"

/**
 * The options of {@link layer}.
 *
 * @since 0.4.0
 * @category models
 */
export interface FileEngineOptions extends FileStore.FileStoreOptions, StoredEngine.StoredEngineOptions {}

/**
 * The engine on files below a directory, shared by all processes of one machine.
 *
 * @example
 * ```ts
 * import { NodeContext } from "@effect/platform-node"
 * import { Layer } from "effect"
 * import { FileEngine } from "effect-session"
 *
 * export const sessions = FileEngine.layer({ directory: "/var/lib/shop/sessions" }).pipe(
 *   Layer.provide(NodeContext.layer)
 * )
 * ```
 *
 * @since 0.4.0
 * @category layers
 */
export const layer = (
  options: FileEngineOptions
): Layer.Layer<
  StoredEngine.Provided,
  SessionConfigError | PlatformError,
  FileSystem.FileSystem | Path.Path
> => Layer.provide(StoredEngine.layerWith(options), FileStore.layer(options))

/**
 * The engine on files, with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<FileEngineOptions>
): Layer.Layer<
  StoredEngine.Provided,
  SessionConfigError | PlatformError | ConfigError,
  FileSystem.FileSystem | Path.Path
> => layerConfigOf(options, layer)
