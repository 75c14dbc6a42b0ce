/**
 * Sessions in a SQL database, read from a cache in front of it: Django's `cached_db`, without its races.
 *
 * @since 0.5.0
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Layer from "effect/Layer"
import * as CacheStore from "./CacheStore.js"
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import type { RedisClient } from "./RedisClient.js"
import * as RedisStore from "./RedisStore.js"
import type { SessionConfigError } from "./SessionConfigError.js"
import type { SessionInvalidation } from "./SessionInvalidation.js"
import type { SessionStoreError } from "./SessionStore.js"
import * as SqlStore from "./SqlStore.js"
import * as StoredEngine from "./StoredEngine.js"
import * as TieredStore from "./TieredStore.js"

/**
 * @since 0.5.0
 * @category models
 */
export interface CachedSqlEngineOptions
  extends TieredStore.TieredStoreOptions, SqlStore.SqlStoreOptions, StoredEngine.StoredEngineOptions
{
  /** The bounds of the cache in this process. */
  readonly cache?: CacheStore.CacheStoreOptions
}

/**
 * The options of {@link layerRedis}.
 *
 * @since 0.6.0
 * @category models
 */
export interface CachedSqlRedisOptions extends Omit<CachedSqlEngineOptions, "cache"> {
  /** The options of the store in Redis. */
  readonly redis?: RedisStore.RedisStoreOptions
}

/**
 * With a cache in this process: what another process changes is known here when the lease has passed.
 *
 * @example
 * ```ts
 * import { SqliteClient } from "@effect/sql-sqlite-node"
 * import { Layer } from "effect"
 * import * as CachedSqlEngine from "effect-session/CachedSqlEngine"
 *
 * export const engine = CachedSqlEngine.layer({ lease: "5 seconds" }).pipe(
 *   Layer.provide(SqliteClient.layer({ filename: "sessions.sqlite" }))
 * )
 * ```
 *
 * @since 0.5.0
 * @category layers
 */
export const layer = (
  options: CachedSqlEngineOptions
): Layer.Layer<StoredEngine.Provided, SessionConfigError, SqlClient.SqlClient> =>
  Layer.provide(
    StoredEngine.layerWith(options),
    TieredStore.layer(CacheStore.layerWith(options.cache ?? {}), SqlStore.layerWith(options), options)
  )

/**
 * The engine with a cache in this process, with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<CachedSqlEngineOptions>
): Layer.Layer<StoredEngine.Provided, SessionConfigError | ConfigError, SqlClient.SqlClient> =>
  layerConfigOf(options, layer)

/**
 * The same, and what another process changes is known here at once, as a rule: the processes tell each other. See
 * `PgInvalidation`.
 *
 * @since 0.5.0
 * @category layers
 */
export const layerWithInvalidation = (
  options: CachedSqlEngineOptions
): Layer.Layer<StoredEngine.Provided, SessionConfigError, SqlClient.SqlClient | SessionInvalidation> =>
  Layer.provide(
    StoredEngine.layerWith(options),
    TieredStore.layerWithInvalidation(CacheStore.layerWith(options.cache ?? {}), SqlStore.layerWith(options), options)
  )

/**
 * The engine with a cache in this process and invalidation, with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWithInvalidationConfig = (
  options: Config.Config.Wrap<CachedSqlEngineOptions>
): Layer.Layer<StoredEngine.Provided, SessionConfigError | ConfigError, SqlClient.SqlClient | SessionInvalidation> =>
  layerConfigOf(options, layerWithInvalidation)

/**
 * With Redis as the cache, which all processes share: what one changes is known to all at once, but for revocations by
 * subject, which are known when the lease has passed.
 *
 * @since 0.5.0
 * @category layers
 */
export const layerRedis = (
  { redis, ...options }: CachedSqlRedisOptions
): Layer.Layer<
  StoredEngine.Provided,
  SessionConfigError | SessionStoreError,
  SqlClient.SqlClient | RedisClient
> =>
  Layer.provide(
    StoredEngine.layerWith(options),
    // The database holds the truth: what Redis may forget in a crash are copies.
    TieredStore.layer(RedisStore.layerWith({ durableDestroy: false, ...redis }), SqlStore.layerWith(options), options)
  )

/**
 * The engine with Redis as the cache, with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerRedisConfig = (
  options: Config.Config.Wrap<CachedSqlRedisOptions>
): Layer.Layer<
  StoredEngine.Provided,
  SessionConfigError | SessionStoreError | ConfigError,
  SqlClient.SqlClient | RedisClient
> => layerConfigOf(options, layerRedis)
