/**
 * Deletes the records of expired sessions in the background of a server.
 *
 * An expired session is invalid whether its record is deleted or not: the reaper only frees space. It works in small batches with pauses,
 * so that requests do not wait for it. It needs no leader: every process may run one. On Postgres one process at a time deletes, and the
 * statement removes nothing for the others; on other databases concurrent processes share the work, and no record is counted twice.
 *
 * ```ts
 * import { Layer } from "effect"
 * import { MemoryEngine, SessionReaper } from "effect-session"
 *
 * export const sessions = SessionReaper.layerWith({ every: "5 minutes" }).pipe(
 *   Layer.provideMerge(MemoryEngine.layer)
 * )
 * ```
 *
 * @since 0.2.0
 */
import * as Clock from "effect/Clock"
import type * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import { configError } from "./internal/configError.js"
import { withHelp } from "./internal/help.js"
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import type { SessionConfigError } from "./SessionConfigError.js"
import { SessionMaintenance } from "./SessionMaintenance.js"
import { SessionStoreError } from "./SessionStore.js"

/**
 * The size and the pace of the batches. All durations are positive and at most 20 days.
 *
 * @since 0.2.0
 * @category models
 */
export interface BatchOptions {
  /**
   * The maximum number of records that one statement deletes, from 1 to 100,000. Default 10,000. The first batch has at most 1,000. After
   * a batch that takes less than 20 milliseconds the size doubles; after one that takes more than 50 milliseconds it is halved, but not
   * below that of the first batch.
   */
  readonly batch?: number
  /**
   * The time during which a round starts new batches, including pauses. The next round deletes the rest. A single batch that takes longer
   * fails with the reason `timeout`. Default 10 seconds.
   */
  readonly budget?: Duration.DurationInput
  /** The pause between two batches. Default 5 milliseconds. */
  readonly pause?: Duration.DurationInput
}

/**
 * The options of {@link layerWith}.
 *
 * @since 0.2.0
 * @category models
 */
export interface ReaperOptions extends BatchOptions {
  /**
   * The time from the end of a round to the start of the next. A random fifth is added or subtracted, so that the nodes of a cluster do
   * not run at the same time. Default 10 minutes.
   */
  readonly every?: Duration.DurationInput
}

/**
 * The options of {@link sweep}.
 *
 * @since 0.2.0
 * @category models
 */
export interface SweepOptions extends BatchOptions {
  /** Called after each batch that deleted something, with the number of records. */
  readonly onBatch?: (removed: number) => Effect.Effect<void>
}

/**
 * Runs the reaper with options. Fails with `SessionConfigError` if an option is out of range.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { MemoryEngine, SessionReaper } from "effect-session"
 *
 * export const engine = SessionReaper.layerWith({ every: "5 minutes" }).pipe(Layer.provideMerge(MemoryEngine.layer))
 * ```
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWith = (options: ReaperOptions): Layer.Layer<never, SessionConfigError, SessionMaintenance> =>
  Layer.scopedDiscard(Effect.gen(function*() {
    const limits = yield* limitsOf(options)
    const store = yield* SessionMaintenance
    const attempt = Effect.catchAllCause(
      round(store, limits, () => Effect.void),
      (cause) =>
        Effect.zipRight(
          Metric.increment(failures),
          Effect.logError(
            withHelp("The session reaper could not delete expired sessions. The next round retries.", "reaper-failed"),
            cause
          )
        )
    )
    const waitBetween = (least: number, most: number) =>
      Effect.flatMap(
        Random.next,
        (random) => Effect.sleep(Math.round(limits.every * (least + (most - least) * random)))
      )
    yield* waitBetween(0, 0.1).pipe(
      Effect.zipRight(Effect.forever(Effect.zipRight(attempt, waitBetween(0.8, 1.2)))),
      // A fork inherits the interruptibility of its parent. If it were uninterruptible, closing the scope would never complete.
      Effect.interruptible,
      Effect.forkScoped
    )
  }))

/**
 * Runs {@link sweep} repeatedly until the scope of the layer closes, which interrupts it at once, even during a batch and if the store does
 * not answer. The first round starts after a random part of the first tenth of `every`.
 *
 * An error or a defect of the store is logged and counted (`session_reaper_failures`), and the next round retries.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer: Layer.Layer<never, SessionConfigError, SessionMaintenance> = Layer.fresh(layerWith({}))

/**
 * Runs the reaper with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<ReaperOptions>
): Layer.Layer<never, SessionConfigError | ConfigError, SessionMaintenance> => layerConfigOf(options, layerWith)

/**
 * Runs one round: deletes in batches the records that had expired when it started, until none is left or the budget is spent, and returns
 * their number. A record that is touched meanwhile stays. `0` may also mean that another process is deleting at this moment.
 *
 * Fails with the error of the store; earlier batches stay deleted. Dies with `SessionConfigError` if an option is out of range.
 *
 * @since 0.2.0
 * @category constructors
 */
export const sweep = (options: SweepOptions = {}): Effect.Effect<number, SessionStoreError, SessionMaintenance> =>
  Effect.flatMap(
    Effect.orDie(limitsOf(options)),
    (limits) =>
      Effect.flatMap(SessionMaintenance, (store) => round(store, limits, options.onBatch ?? (() => Effect.void)))
  )

/**
 * `session_expired_removed`: records deleted because they had expired, by any reaper or sweep of this process.
 *
 * @since 0.2.0
 * @category metrics
 */
export const removals: Metric.Metric.Counter<number> = Metric.counter("session_expired_removed", {
  description: "Records of expired sessions that were deleted",
  incremental: true
})

/**
 * `session_reaper_failures`: rounds of a reaper that ended with an error or a defect.
 *
 * @since 0.2.0
 * @category metrics
 */
export const failures: Metric.Metric.Counter<number> = Metric.counter("session_reaper_failures", {
  description: "Rounds of the session reaper that failed",
  incremental: true
})

const round = (
  store: SessionMaintenance["Type"],
  { batch, budget, pause }: Limits,
  onBatch: (removed: number) => Effect.Effect<void>
): Effect.Effect<number, SessionStoreError> =>
  Effect.gen(function*() {
    const now = yield* Clock.currentTimeMillis
    const end = (yield* monotonicMillis) + budget
    let total = 0
    let size = Math.min(batch, firstBatch)
    while (true) {
      const began = yield* monotonicMillis
      const removed = yield* limited(store.removeExpired({ now, limit: size }), budget)
      if (!(removed > 0)) return total
      size = nextSize(size, (yield* monotonicMillis) - began, batch)
      total += removed
      yield* Metric.incrementBy(removals, removed)
      yield* onBatch(removed)
      if ((yield* monotonicMillis) + pause >= end) return total
      yield* Effect.sleep(pause)
    }
  })

/** Records of the first batch, and the minimum for a slow store, unless `batch` is smaller. */
const firstBatch = 1000

/**
 * Aims at batches of 20 to 50 milliseconds. Shorter ones spend their time in round trips and pauses. Longer ones hold their
 * locks for longer than a visitor should notice. On Postgres they also delay a visitor's commit, which flushes their log records.
 */
const nextSize = (size: number, millis: number, most: number): number =>
  millis < 20
    ? Math.min(2 * size, most)
    : millis > 50
    ? Math.max(Math.ceil(size / 2), Math.min(firstBatch, most))
    : size

/** Reads a monotonic clock. The wall clock may be set back, which would prolong the round. */
const monotonicMillis = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos) / 1_000_000)

/** Limits the time of a removal. Neither the timeout nor an interruption waits for a driver that cannot be interrupted. */
const limited = (removal: Effect.Effect<number, SessionStoreError>, millis: number) =>
  Effect.timeoutFail(Effect.disconnect(removal), {
    duration: millis,
    onTimeout: () => new SessionStoreError({ operation: "removeExpired", reason: "timeout" })
  })

interface Limits {
  readonly batch: number
  /** In milliseconds, as `every` and `pause`. */
  readonly budget: number
  readonly every: number
  readonly pause: number
}

const limitsOf = (options: ReaperOptions): Effect.Effect<Limits, SessionConfigError> =>
  Either.gen(function*() {
    const { batch = 10_000 } = options
    if (!Number.isInteger(batch) || batch < 1 || batch > 100_000) {
      return yield* invalidOption("A batch must be a whole number of records from 1 to 100,000.")
    }
    return {
      batch,
      budget: yield* millisOf("budget", options.budget ?? "10 seconds"),
      every: yield* millisOf("every", options.every ?? "10 minutes"),
      pause: yield* millisOf("pause", options.pause ?? "5 millis")
    }
  })

// Timers run for at most 24.8 days, and a longer wait would never end.
const longest = Duration.toMillis("20 days")

const millisOf = (name: string, input: Duration.DurationInput): Either.Either<number, SessionConfigError> =>
  Option.match(Option.map(Duration.decodeUnknown(input), Duration.toMillis), {
    onNone: () => invalidOption(`"${name}" is not a duration.`),
    onSome: (millis) =>
      millis > 0 && millis <= longest
        ? Either.right(millis)
        : invalidOption(`"${name}" must be a positive duration of at most 20 days.`)
  })

const invalidOption = (problem: string) => Either.left(configError("SessionReaper", problem, "option-out-of-range"))
