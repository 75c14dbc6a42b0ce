/**
 * Sessions in a cache: a bounded one in this process's memory, or Redis.
 *
 * @since 0.4.0
 */
import * as Layer from "effect/Layer"
import * as CacheStore from "./CacheStore.js"
import * as RedisStore from "./RedisStore.js"
import type { SessionConfigError } from "./SessionConfigError.js"
import type { SessionStoreError } from "./SessionStore.js"
import * as StoredEngine from "./StoredEngine.js"

/**
 * Sessions that live as long as the process, and as long as there is room: for one-process servers that may forget.
 *
 * @since 0.4.0
 * @category layers
 */
export const layer = (
  options: CacheStore.CacheStoreOptions & StoredEngine.StoredEngineOptions = {}
): Layer.Layer<StoredEngine.Provided, SessionConfigError> =>
  Layer.provide(StoredEngine.layer(options), CacheStore.layer(options))

/**
 * Sessions in Redis, by the application's own client.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import * as CacheEngine from "effect-session/CacheEngine"
 * import * as RedisStore from "effect-session/RedisStore"
 * import { Redis } from "ioredis"
 *
 * const client = Layer.scoped(
 *   RedisStore.RedisClient,
 *   Effect.map(
 *     Effect.acquireRelease(
 *       Effect.sync(() => new Redis("redis://localhost")),
 *       (redis) => Effect.promise(() => redis.quit())
 *     ),
 *     RedisStore.ioredis
 *   )
 * )
 *
 * export const engine = CacheEngine.layerRedis().pipe(Layer.provide(client))
 * ```
 *
 * @since 0.4.0
 * @category layers
 */
export const layerRedis = (
  options: RedisStore.RedisStoreOptions & StoredEngine.StoredEngineOptions = {}
): Layer.Layer<StoredEngine.Provided, SessionConfigError | SessionStoreError, RedisStore.RedisClient> =>
  Layer.provide(StoredEngine.layer(options), RedisStore.layer(options))
