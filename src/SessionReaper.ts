/**
 * Deletes the records of expired sessions, in the background of a server.
 *
 * An expired session is dead whether it is deleted or not: the reaper only gives its space back. It works in small
 * batches with pauses between them, so that nobody waits for it, and it needs no leader: every process may run one. On
 * Postgres the statement itself lets one process at a time delete, and tells the others that there is nothing to do;
 * elsewhere two processes at once share the work, and no record is counted twice.
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
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import { SessionConfigError } from "./SessionConfigError.js"
import { SessionMaintenance } from "./SessionMaintenance.js"
import { SessionStoreError } from "./SessionStore.js"

/**
 * How much is deleted at once, and for how long. All durations are positive and at most 20 days.
 *
 * @since 0.2.0
 * @category models
 */
export interface BatchOptions {
  /**
   * How many records one statement deletes at the most: from 1 to 100,000. Default 10,000. The first batch has at most
   * 1,000. After a batch that takes less than 20 milliseconds the next one is twice as large; after one that takes more
   * than 50 milliseconds the next one is half as large, but not smaller than the first.
   */
  readonly batch?: number
  /**
   * How long a round begins new batches, pauses included; what is left waits for the next round. A single batch that
   * takes longer than this is given up with the reason `timeout`. Default 10 seconds.
   */
  readonly budget?: Duration.DurationInput
  /** How long requests have the store for themselves between two batches. Default 5 milliseconds. */
  readonly pause?: Duration.DurationInput
}

/**
 * What {@link layer} can be told.
 *
 * @since 0.2.0
 * @category models
 */
export interface ReaperOptions extends BatchOptions {
  /**
   * From the end of a round to the beginning of the next. Each time it is up to a fifth shorter or longer, so that the
   * nodes of a cluster do not march in step. Default 10 minutes.
   */
  readonly every?: Duration.DurationInput
}

/**
 * What {@link sweep} can be told.
 *
 * @since 0.2.0
 * @category models
 */
export interface SweepOptions extends BatchOptions {
  /** Called after each batch that deleted something, with the number of records. */
  readonly onBatch?: (removed: number) => Effect.Effect<void>
}

/**
 * The reaper with options.
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
          Effect.logError("Expired sessions could not be removed; the next round tries again.", cause)
        )
    )
    const waitBetween = (least: number, most: number) =>
      Effect.flatMap(
        Random.next,
        (random) => Effect.sleep(Math.round(limits.every * (least + (most - least) * random)))
      )
    yield* waitBetween(0, 0.1).pipe(
      Effect.zipRight(Effect.forever(Effect.zipRight(attempt, waitBetween(0.8, 1.2)))),
      // A fork inherits the region it is made in: in an uninterruptible one, closing the scope would wait for ever.
      Effect.interruptible,
      Effect.forkScoped
    )
  }))

/**
 * Runs {@link sweep} again and again until the scope of the layer is closed, which interrupts it at once, also in the
 * middle of a batch and if the store does not answer. The first round begins after a random part of the first tenth of
 * `every`.
 *
 * It never ends by itself: an error, or a defect, of the store is logged and counted (`session_reaper_failures`), and
 * the next round tries again.
 *
 * Fails with `SessionConfigError` if an option is out of its range.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer: Layer.Layer<never, SessionConfigError, SessionMaintenance> = layerWith({})

/**
 * The reaper with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<ReaperOptions>
): Layer.Layer<never, SessionConfigError | ConfigError, SessionMaintenance> => layerConfigOf(options, layerWith)

/**
 * One round: deletes in batches what had expired when it began, until nothing is left or the budget is spent, and says
 * how many records that were. One that is touched meanwhile stays. `0` may also mean that another process is deleting
 * at this moment.
 *
 * Fails with the store's error; what was deleted before stays deleted. Dies of `SessionConfigError` if an option is out
 * of its range.
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

/** The wall clock may be set back, and a round would go on for as long. */
const monotonicMillis = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos) / 1_000_000)

/** The limit, and an interruption, do not wait for a driver that cannot be interrupted. */
const limited = (removal: Effect.Effect<number, SessionStoreError>, millis: number) =>
  Effect.timeoutFail(Effect.disconnect(removal), {
    duration: millis,
    onTimeout: () => new SessionStoreError({ operation: "removeExpired", reason: "timeout" })
  })

interface Limits {
  readonly batch: number
  /** In milliseconds, as the others. */
  readonly budget: number
  readonly every: number
  readonly pause: number
}

const limitsOf = (options: ReaperOptions): Effect.Effect<Limits, SessionConfigError> =>
  Either.gen(function*() {
    const { batch = 10_000 } = options
    if (!Number.isInteger(batch) || batch < 1 || batch > 100_000) {
      return yield* refused("A batch must be a whole number of records from 1 to 100,000.")
    }
    return {
      batch,
      budget: yield* millisOf("budget", options.budget ?? "10 seconds"),
      every: yield* millisOf("every", options.every ?? "10 minutes"),
      pause: yield* millisOf("pause", options.pause ?? "5 millis")
    }
  })

// Timers run for 24.8 days at the most, and a longer wait would never end.
const longest = Duration.toMillis("20 days")

const millisOf = (name: string, input: Duration.DurationInput): Either.Either<number, SessionConfigError> =>
  Option.match(Option.map(Duration.decodeUnknown(input), Duration.toMillis), {
    onNone: () => refused(`"${name}" is not a duration.`),
    onSome: (millis) =>
      millis > 0 && millis <= longest
        ? Either.right(millis)
        : refused(`"${name}" must be a positive duration of at most 20 days.`)
  })

const refused = (problem: string) => Either.left(new SessionConfigError({ subject: "SessionReaper", problem }))
