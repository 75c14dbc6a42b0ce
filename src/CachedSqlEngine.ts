/**
 * The engine on a SQL database behind a cache: the counterpart of Django's `cached_db`. A concurrent read cannot restore an ended session
 * in the cache.
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
 * The options of {@link layer} and {@link layerWithInvalidation}.
 *
 * @since 0.5.0
 * @category models
 */
export interface CachedSqlEngineOptions
  extends TieredStore.TieredStoreOptions, SqlStore.SqlStoreOptions, StoredEngine.StoredEngineOptions
{
  /** The limits of the cache in this process. */
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
 * The engine with a cache in this process. Changes of another process are seen here when the lease has ended.
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
 * The engine with a cache in this process and invalidation events between processes: changes of another process are usually seen here at
 * once, at the latest when the lease has ended. See `PgInvalidation`.
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
 * The engine with a cache in this process and invalidation events, with options from the configuration. Fails with a `ConfigError` if one is
 * missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWithInvalidationConfig = (
  options: Config.Config.Wrap<CachedSqlEngineOptions>
): Layer.Layer<StoredEngine.Provided, SessionConfigError | ConfigError, SqlClient.SqlClient | SessionInvalidation> =>
  layerConfigOf(options, layerWithInvalidation)

/**
 * The engine with Redis as the cache, which all processes share: changes of one process are seen by all at once. Only revocations by subject
 * are seen when the lease has ended.
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
    // The database is the origin: a crash of Redis loses cached entries only.
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
