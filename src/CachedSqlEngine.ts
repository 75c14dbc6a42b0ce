/**
 * Sessions in a SQL database, read from a cache in front of it: Django's `cached_db`, without its races.
 *
 * @since 0.5.0
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Layer from "effect/Layer"
import * as CacheStore from "./CacheStore.js"
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
    StoredEngine.layer(options),
    TieredStore.layer(CacheStore.layer(options.cache), SqlStore.layer(options), options)
  )

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
    StoredEngine.layer(options),
    TieredStore.layerWithInvalidation(CacheStore.layer(options.cache), SqlStore.layer(options), options)
  )

/**
 * With Redis as the cache, which all processes share: what one changes is known to all at once, but for revocations by
 * subject, which are known when the lease has passed.
 *
 * @since 0.5.0
 * @category layers
 */
export const layerRedis = (
  { redis, ...options }: Omit<CachedSqlEngineOptions, "cache"> & { readonly redis?: RedisStore.RedisStoreOptions }
): Layer.Layer<
  StoredEngine.Provided,
  SessionConfigError | SessionStoreError,
  SqlClient.SqlClient | RedisStore.RedisClient
> =>
  Layer.provide(
    StoredEngine.layer(options),
    // The database holds the truth: what Redis may forget in a crash are copies.
    TieredStore.layer(RedisStore.layer({ durableDestroy: false, ...redis }), SqlStore.layer(options), options)
  )
