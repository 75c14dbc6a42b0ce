/**
 * Engines on a cache: a bounded cache in this process's memory, or Redis.
 *
 * @since 0.4.0
 */
import type * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Layer from "effect/Layer"
import * as CacheStore from "./CacheStore.js"
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import type { RedisClient } from "./RedisClient.js"
import * as RedisStore from "./RedisStore.js"
import type { SessionConfigError } from "./SessionConfigError.js"
import type { SessionStoreError } from "./SessionStore.js"
import * as StoredEngine from "./StoredEngine.js"

/**
 * The options of {@link layerWith}.
 *
 * @since 0.6.0
 * @category models
 */
export interface CacheEngineOptions extends CacheStore.CacheStoreOptions, StoredEngine.StoredEngineOptions {}

/**
 * The options of {@link layerRedisWith}.
 *
 * @since 0.6.0
 * @category models
 */
export interface RedisEngineOptions extends RedisStore.RedisStoreOptions, StoredEngine.StoredEngineOptions {}

/**
 * The engine on a cache in memory, with options.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWith = (options: CacheEngineOptions): Layer.Layer<StoredEngine.Provided, SessionConfigError> =>
  Layer.provide(StoredEngine.layerWith(options), CacheStore.layerWith(options))

/**
 * The engine on a bounded cache in memory. Sessions end with the process, or when they are evicted.
 *
 * @since 0.4.0
 * @category layers
 */
export const layer: Layer.Layer<StoredEngine.Provided, SessionConfigError> = Layer.provide(
  StoredEngine.layer,
  CacheStore.layerWith({})
)

/**
 * The engine on a cache in memory, with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<CacheEngineOptions>
): Layer.Layer<StoredEngine.Provided, SessionConfigError | ConfigError> => layerConfigOf(options, layerWith)

/**
 * The engine on Redis, with options.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerRedisWith = (
  options: RedisEngineOptions
): Layer.Layer<StoredEngine.Provided, SessionConfigError | SessionStoreError, RedisClient> =>
  Layer.provide(StoredEngine.layerWith(options), RedisStore.layerWith(options))

/**
 * The engine on Redis, over the application's own client. Fails with `SessionConfigError` if the server's settings are not safe for sessions.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import * as CacheEngine from "effect-session/CacheEngine"
 * import * as RedisClient from "effect-session/RedisClient"
 * import * as RedisStore from "effect-session/RedisStore"
 * import { Redis } from "ioredis"
 *
 * const client = Layer.scoped(
 *   RedisClient.RedisClient,
 *   Effect.map(
 *     Effect.acquireRelease(
 *       Effect.sync(() => new Redis("redis://localhost")),
 *       (redis) => Effect.promise(() => redis.quit())
 *     ),
 *     RedisClient.ioredis
 *   )
 * )
 *
 * export const engine = CacheEngine.layerRedis.pipe(Layer.provide(client))
 * ```
 *
 * @since 0.4.0
 * @category layers
 */
export const layerRedis: Layer.Layer<StoredEngine.Provided, SessionConfigError | SessionStoreError, RedisClient> = Layer
  .fresh(Layer.provide(StoredEngine.layer, RedisStore.layerWith({})))

/**
 * The engine on Redis, with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerRedisConfig = (
  options: Config.Config.Wrap<RedisEngineOptions>
): Layer.Layer<StoredEngine.Provided, SessionConfigError | SessionStoreError | ConfigError, RedisClient> =>
  layerConfigOf(options, layerRedisWith)
