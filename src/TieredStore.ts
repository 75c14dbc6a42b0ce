/**
 * A store with a cache: the origin is authoritative, and the cache answers reads for a short lease.
 *
 * A write puts a tombstone under its key in the cache before it reaches the origin: it replaces the cached record and keeps in-flight loads
 * from filling the cache with an older one. So after a write through this store, or through another one with the same cache, no read returns
 * an older record. Changes that bypass the cache (on another node with its own cache, or a revocation of a subject or an eviction on a node that
 * shares the cache) are seen at the latest when the lease has ended, and usually at once with invalidation events: `SessionInvalidation`.
 *
 * While the origin is down, reads fail unless a route accepts stale records (`AppSession.allowStale`).
 *
 * @since 0.5.0
 */
import type * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { configError } from "./internal/configError.js"
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import { keepsRequestsApart } from "./internal/store/isolates.js"
import { Cache } from "./internal/tiered/cache.js"
import { Tiers } from "./internal/tiered/tiers.js"
import type { SessionConfigError } from "./SessionConfigError.js"
import { SessionInvalidation } from "./SessionInvalidation.js"
import type { Store } from "./SessionStore.js"
import { SessionStore } from "./SessionStore.js"

/**
 * The options of {@link make} and {@link layer}.
 *
 * @since 0.5.0
 * @category models
 */
export interface TieredStoreOptions {
  /**
   * The time for which a cached record may be used: the maximum delay until a logout on another node takes effect here. From 1 millisecond to
   * 1 minute.
   */
  readonly lease: Duration.DurationInput
  /** The timeout of a read of the cache; after it, the origin is read. Default 50 milliseconds. */
  readonly cacheTimeout?: Duration.DurationInput
  /**
   * The time that a write or a revocation waits for a remote cache to confirm the invalidation. After it, the write is confirmed all the same, a
   * warning is logged, `session_cache_invalidations` counts it as `unconfirmed`, and other processes may read the older record until the
   * lease ends. It must be shorter than the engine's `timeout`, or a cache that hangs fails every write. Default 750 milliseconds.
   *
   * @since 0.6.0
   */
  readonly invalidationTimeout?: Duration.DurationInput
}

/**
 * Makes a store with a cache and an origin. Fails with `SessionConfigError` if an option is out of range, and on Cloudflare Workers.
 *
 * @since 0.5.0
 * @category constructors
 */
export const make = (
  cache: Store,
  origin: Store,
  options: TieredStoreOptions
): Effect.Effect<Store, SessionConfigError> =>
  Effect.map(tiers(cache, origin, options, () => Effect.void), ({ store }) => store)

/**
 * Makes a store with a cache and an origin that publishes its writes to other nodes, and invalidates the cache by their events until the scope
 * closes. Fails as {@link make} does.
 *
 * @since 0.5.0
 * @category constructors
 */
export const makeWithInvalidation = (
  cache: Store,
  origin: Store,
  options: TieredStoreOptions
): Effect.Effect<Store, SessionConfigError, SessionInvalidation | Scope.Scope> =>
  Effect.gen(function*() {
    const { publish, subscribe } = yield* SessionInvalidation
    const both = yield* tiers(cache, origin, options, publish)
    yield* Effect.forkScoped(subscribe((event) => both.onEvent(event)))
    return both.store
  })

const tiers = (
  cache: Store,
  origin: Store,
  { cacheTimeout = "50 millis", invalidationTimeout = "750 millis", lease }: TieredStoreOptions,
  publish: Context.Tag.Service<SessionInvalidation>["publish"]
): Effect.Effect<Tiers, SessionConfigError> =>
  Effect.suspend(() => {
    const millis = Duration.toMillis(lease)
    if (!(millis >= 1 && millis <= 60_000)) {
      return configError(
        "TieredStore",
        "The lease must be from 1 millisecond to 1 minute. It is the maximum delay of a logout on another node.",
        "option-out-of-range"
      )
    }
    if (keepsRequestsApart()) {
      return configError(
        "TieredStore",
        "Requests share the loads of a cache and wait for one another, which does not work on Cloudflare " +
          "Workers. Use the origin store alone, such as SqlEngine.",
        "cache-on-workers"
      )
    }
    const limits = [Duration.decode(cacheTimeout), Duration.decode(invalidationTimeout)] as const
    if (!limits.every((limit) => Duration.toMillis(limit) >= 1 && Duration.isFinite(limit))) {
      return configError(
        "TieredStore",
        "cacheTimeout and invalidationTimeout must be 1 millisecond or more, and finite.",
        "option-out-of-range"
      )
    }
    const remote = origin.capabilities.remote || cache.capabilities.remote
    return Effect.succeed(new Tiers(new Cache(cache, millis, ...limits), origin, remote, publish))
  })

/** Builds the two layers, which provide the same tag. */
const built = <E1, R1, E2, R2>(
  cache: Layer.Layer<SessionStore, E1, R1>,
  origin: Layer.Layer<SessionStore, E2, R2>
) =>
  Effect.all([
    Effect.map(Layer.build(cache), Context.get(SessionStore)),
    Effect.map(Layer.build(origin), Context.get(SessionStore))
  ])

/**
 * A tiered store of two layers, a cache and an origin.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { CacheStore, StoredEngine, TieredStore } from "effect-session"
 * import * as SqlStore from "effect-session/SqlStore"
 *
 * export const engine = StoredEngine.layer.pipe(
 *   Layer.provide(TieredStore.layer(CacheStore.layer, SqlStore.layer, { lease: "5 seconds" }))
 * )
 * ```
 *
 * @since 0.5.0
 * @category layers
 */
export const layer = <E1, R1, E2, R2>(
  cache: Layer.Layer<SessionStore, E1, R1>,
  origin: Layer.Layer<SessionStore, E2, R2>,
  options: TieredStoreOptions
): Layer.Layer<SessionStore, E1 | E2 | SessionConfigError, R1 | R2> =>
  Layer.scoped(SessionStore, Effect.flatMap(built(cache, origin), ([cache, origin]) => make(cache, origin, options)))

/**
 * A tiered store with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = <E1, R1, E2, R2>(
  cache: Layer.Layer<SessionStore, E1, R1>,
  origin: Layer.Layer<SessionStore, E2, R2>,
  options: Config.Config.Wrap<TieredStoreOptions>
): Layer.Layer<SessionStore, E1 | E2 | SessionConfigError | ConfigError, R1 | R2> =>
  layerConfigOf(options, (options) => layer(cache, origin, options))

/**
 * A tiered store with invalidation events between nodes: see `PgInvalidation`.
 *
 * @since 0.5.0
 * @category layers
 */
export const layerWithInvalidation = <E1, R1, E2, R2>(
  cache: Layer.Layer<SessionStore, E1, R1>,
  origin: Layer.Layer<SessionStore, E2, R2>,
  options: TieredStoreOptions
): Layer.Layer<SessionStore, E1 | E2 | SessionConfigError, R1 | R2 | SessionInvalidation> =>
  Layer.scoped(
    SessionStore,
    Effect.flatMap(built(cache, origin), ([cache, origin]) => makeWithInvalidation(cache, origin, options))
  )

/**
 * A tiered store with invalidation events, with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWithInvalidationConfig = <E1, R1, E2, R2>(
  cache: Layer.Layer<SessionStore, E1, R1>,
  origin: Layer.Layer<SessionStore, E2, R2>,
  options: Config.Config.Wrap<TieredStoreOptions>
): Layer.Layer<SessionStore, E1 | E2 | SessionConfigError | ConfigError, R1 | R2 | SessionInvalidation> =>
  layerConfigOf(options, (options) => layerWithInvalidation(cache, origin, options))
