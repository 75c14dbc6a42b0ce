/**
 * The engine on a SQL database.
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
 * The options of {@link layerWith}.
 *
 * @since 0.1.0
 * @category models
 */
export interface SqlEngineOptions extends SqlStore.SqlStoreOptions, StoredEngine.StoredEngineOptions {}

/**
 * The engine on a SQL database, with options.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWith = (
  options: SqlEngineOptions
): Layer.Layer<StoredEngine.Provided, SessionConfigError, SqlClient.SqlClient> =>
  Layer.provide(StoredEngine.layerWith(options), SqlStore.layerWith(options))

/**
 * The engine on the database of a `SqlClient`. The tables must exist: see `SqlMigrations`.
 *
 * @example
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { Config, Layer } from "effect"
 * import * as SqlEngine from "effect-session/SqlEngine"
 *
 * export const engine = SqlEngine.layer.pipe(
 *   Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<StoredEngine.Provided, SessionConfigError, SqlClient.SqlClient> = Layer.fresh(
  Layer.provide(StoredEngine.layer, SqlStore.layerWith({}))
)

/**
 * The engine on a SQL database, with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<SqlEngineOptions>
): Layer.Layer<StoredEngine.Provided, SessionConfigError | ConfigError, SqlClient.SqlClient> =>
  layerConfigOf(options, layerWith)
