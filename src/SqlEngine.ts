/**
 * Sessions in a SQL database.
 *
 * @since 0.1.0
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Layer from "effect/Layer"
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import type { SessionConfigError } from "./SessionConfigError.js"
import * as SqlStore from "./SqlStore.js"
import * as StoredEngine from "./StoredEngine.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface SqlEngineOptions extends SqlStore.SqlStoreOptions, StoredEngine.StoredEngineOptions {}

/**
 * The engine on a SQL database with options.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWith = (
  options: SqlEngineOptions
): Layer.Layer<StoredEngine.Provided, SessionConfigError, SqlClient.SqlClient> =>
  Layer.provide(StoredEngine.layerWith(options), SqlStore.layerWith(options))

/**
 * Sessions in the database of a `SqlClient`. The tables must exist: see `SqlMigrations`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<StoredEngine.Provided, SessionConfigError, SqlClient.SqlClient> = layerWith({})

/**
 * The engine on a SQL database with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<SqlEngineOptions>
): Layer.Layer<StoredEngine.Provided, SessionConfigError | ConfigError, SqlClient.SqlClient> =>
  layerConfigOf(options, layerWith)
