/**
 * A store in front of another: the back holds the truth, the front answers reads for a short lease.
 *
 * A write fences its key in the front before it reaches the back: whatever the front held is gone, and a marker keeps reads
 * that are under way from filling it again with what they read before. So after a write through this store, or through
 * another one that reaches the same front, no read is answered with what was there before it. What is written past the front (on
 * another node with a front of its own, or by a revocation of a subject on a node that shares it) is seen at the latest
 * when the lease has passed, and as a rule at once where nodes tell each other: `SessionInvalidation`.
 *
 * While the back is down, reads fail, too, unless a route says that a copy will do (`AppSession.allowStale`).
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
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import { keepsRequestsApart } from "./internal/store/isolates.js"
import { Front } from "./internal/tiered/front.js"
import { Tiers } from "./internal/tiered/tiers.js"
import { SessionConfigError } from "./SessionConfigError.js"
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
   * How long the front may answer for the back: the longest time after which a logout on another node is known here.
   * From 1 millisecond to 1 minute.
   */
  readonly lease: Duration.DurationInput
  /** How long the front may take to answer a read before it is passed by. Default 50 milliseconds. */
  readonly cacheTimeout?: Duration.DurationInput
  /**
   * How long a write or a revocation waits for a remote front to confirm that what it held of the session is gone. Until then
   * other processes may read it; when this time has passed, the write is confirmed all the same, a warning is logged,
   * `session_cache_invalidations` counts it as `unconfirmed`, and the others may read what was there before until the lease ends.
   * It must be shorter than the engine's `timeout`, or a front that hangs fails every write. Default 750 milliseconds.
   *
   * @since 0.6.0
   */
  readonly invalidationTimeout?: Duration.DurationInput
}

/**
 * Makes a store of two.
 *
 * @since 0.5.0
 * @category constructors
 */
export const make = (
  front: Store,
  back: Store,
  options: TieredStoreOptions
): Effect.Effect<Store, SessionConfigError> =>
  Effect.map(tiers(front, back, options, () => Effect.void), ({ store }) => store)

/**
 * Makes a store of two that tells other nodes of its writes, and hears of theirs until the scope closes.
 *
 * @since 0.5.0
 * @category constructors
 */
export const makeWithInvalidation = (
  front: Store,
  back: Store,
  options: TieredStoreOptions
): Effect.Effect<Store, SessionConfigError, SessionInvalidation | Scope.Scope> =>
  Effect.gen(function*() {
    const { subscribe: listen, publish: tell } = yield* SessionInvalidation
    const both = yield* tiers(front, back, options, tell)
    yield* Effect.forkScoped(listen((notice) => both.hear(notice)))
    return both.store
  })

const tiers = (
  front: Store,
  back: Store,
  { cacheTimeout: cacheTimeout = "50 millis", invalidationTimeout = "750 millis", lease }: TieredStoreOptions,
  tell: Context.Tag.Service<SessionInvalidation>["publish"]
): Effect.Effect<Tiers, SessionConfigError> =>
  Effect.suspend(() => {
    const millis = Duration.toMillis(lease)
    if (!(millis >= 1 && millis <= 60_000)) {
      return new SessionConfigError({
        subject: "TieredStore",
        problem: "The lease is from 1 millisecond to 1 minute: it is how long a logout elsewhere may go unnoticed."
      })
    }
    if (keepsRequestsApart()) {
      return new SessionConfigError({
        subject: "TieredStore",
        problem: "Requests share the loads of a cache and wait for one another, which does not work on Cloudflare " +
          "Workers. Use the store of the truth alone, such as SqlEngine."
      })
    }
    const limits = [Duration.decode(cacheTimeout), Duration.decode(invalidationTimeout)] as const
    if (!limits.every((limit) => Duration.toMillis(limit) >= 1 && Duration.isFinite(limit))) {
      return new SessionConfigError({
        subject: "TieredStore",
        problem: "cacheTimeout and invalidationTimeout are 1 millisecond or more, and finite."
      })
    }
    const remote = back.capabilities.remote || front.capabilities.remote
    return Effect.succeed(new Tiers(new Front(front, millis, ...limits), back, remote, tell))
  })

/** Builds both, though they have one tag. */
const built = <E1, R1, E2, R2>(
  front: Layer.Layer<SessionStore, E1, R1>,
  back: Layer.Layer<SessionStore, E2, R2>
) =>
  Effect.all([
    Effect.map(Layer.build(front), Context.get(SessionStore)),
    Effect.map(Layer.build(back), Context.get(SessionStore))
  ])

/**
 * A store of two layers: `TieredStore.layer(front, back, { lease: "5 seconds" })`.
 *
 * @since 0.5.0
 * @category layers
 */
export const layer = <E1, R1, E2, R2>(
  front: Layer.Layer<SessionStore, E1, R1>,
  back: Layer.Layer<SessionStore, E2, R2>,
  options: TieredStoreOptions
): Layer.Layer<SessionStore, E1 | E2 | SessionConfigError, R1 | R2> =>
  Layer.scoped(SessionStore, Effect.flatMap(built(front, back), ([front, back]) => make(front, back, options)))

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
 * The same, telling other nodes and hearing of them: see `PgInvalidation`.
 *
 * @since 0.5.0
 * @category layers
 */
export const layerWithInvalidation = <E1, R1, E2, R2>(
  front: Layer.Layer<SessionStore, E1, R1>,
  back: Layer.Layer<SessionStore, E2, R2>,
  options: TieredStoreOptions
): Layer.Layer<SessionStore, E1 | E2 | SessionConfigError, R1 | R2 | SessionInvalidation> =>
  Layer.scoped(
    SessionStore,
    Effect.flatMap(built(front, back), ([front, back]) => makeWithInvalidation(front, back, options))
  )

/**
 * A tiered store with invalidation, with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
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
