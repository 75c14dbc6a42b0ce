/**
 * Metrics and spans for every call of a store.
 *
 * Each call is counted and timed, and has a span if the fiber has a tracer. The span is named `session.store.` and the operation. Its
 * attributes are `session.store.tier` and `session.store.outcome`. Neither they nor the error of the span contain a key, an id, a subject or
 * data. The error of the driver stays in the cause of the store's error, which is for the log.
 *
 * @since 0.5.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricKey from "effect/MetricKey"
import * as MetricLabel from "effect/MetricLabel"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Record from "effect/Record"
import type * as Tracer from "effect/Tracer"
import { isTraced } from "./internal/done.js"
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import { withSpan } from "./internal/spans.js"
import { intercepted } from "./internal/store/intercepted.js"
import type { Operation, Store } from "./SessionStore.js"
import { SessionStore, SessionStoreError } from "./SessionStore.js"

/**
 * The options of {@link make} and {@link layerWith}.
 *
 * @since 0.5.0
 * @category models
 */
export interface ObservedStoreOptions {
  /**
   * The name of the store among those of the program: `"cache"`, `"origin"`, `"redis"`. Default `"store"`. It labels metrics, which exist as
   * long as the process: use a constant, never input of a request.
   */
  readonly tier?: string
}

/** The outcomes of the operations that succeed. */
const answers = {
  create: ["created", "exists", "full", "evicted"],
  load: ["hit", "miss"],
  save: ["saved", "conflict", "gone"],
  touch: ["touched", "gone"],
  rotate: ["saved", "conflict", "gone", "full", "evicted"],
  destroy: ["done"],
  removeExpired: ["done"],
  count: ["done"],
  list: ["done"],
  find: ["hit", "miss"],
  scan: ["done"],
  revoke: ["done"],
  revokeSubject: ["done"],
  revokeAll: ["done"],
  endReason: ["hit", "miss"]
} as const satisfies Record<Operation, ReadonlyArray<string>>

/**
 * The outcome of a call that succeeded.
 *
 * @since 0.5.0
 * @category models
 */
export type Answer = typeof answers[Operation][number]

/**
 * The outcome of a call: the result, or the reason of the failure. `interrupted`: the caller or a timeout interrupted it. `defect`: the
 * store threw.
 *
 * @since 0.5.0
 * @category models
 */
export type Outcome = Answer | SessionStoreError["reason"] | "interrupted" | "defect"

// ---- metrics

const callsKey = MetricKey.counter("session_store_calls", {
  description: "Calls of session stores, by tier, operation and outcome",
  incremental: true
})

const latencyKey = MetricKey.histogram(
  "session_store_latency",
  MetricBoundaries.fromIterable([0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000]),
  "Duration of calls of session stores in milliseconds, by tier and operation"
)

const labels = (all: Readonly<Record<string, string>>): ReadonlyArray<MetricLabel.MetricLabel> =>
  Object.entries(all).map(([key, value]) => MetricLabel.make(key, value))

/**
 * `session_store_calls`: the number of calls of one operation with one outcome.
 *
 * @since 0.5.0
 * @category metrics
 */
export const calls = (of: {
  readonly tier: string
  readonly operation: Operation
  readonly outcome: Outcome
}): Metric.Metric.Counter<number> =>
  Metric.fromMetricKey(
    MetricKey.taggedWithLabels(
      callsKey,
      labels({ tier: of.tier, operation: of.operation, outcome: of.outcome })
    )
  )

/**
 * `session_store_latency`: the duration of the calls of one operation in milliseconds, with any outcome.
 *
 * @since 0.5.0
 * @category metrics
 */
export const latency = (of: {
  readonly tier: string
  readonly operation: Operation
}): Metric.Metric.Histogram<number> =>
  Metric.fromMetricKey(
    MetricKey.taggedWithLabels(
      latencyKey,
      labels({ time_unit: "milliseconds", tier: of.tier, operation: of.operation })
    )
  )

/**
 * Returns the share of loads that found a session, from 0 to 1, or `None` before the first load.
 *
 * Do not use it for the cache of a `TieredStore`, which also finds tombstones and records whose lease has ended: see the cache metrics of
 * `SessionMetrics`.
 *
 * @since 0.5.0
 * @category metrics
 */
export const hitRate = (tier: string): Effect.Effect<Option.Option<number>> => {
  const count = (outcome: Outcome) =>
    Effect.map(Metric.value(calls({ tier, operation: "load", outcome })), ({ count }) => count)
  return Effect.zipWith(
    count("hit"),
    count("miss"),
    (hits, misses) => hits + misses === 0 ? Option.none() : Option.some(hits / (hits + misses))
  )
}

// ---- the store

/**
 * Adds metrics and spans to a store. Results, errors and capabilities are those of the store.
 *
 * @since 0.5.0
 * @category constructors
 */
export const make: {
  (options?: ObservedStoreOptions): (store: Store) => Store
  (store: Store, options?: ObservedStoreOptions): Store
} = dual(([store]) => isStore(store), (store: Store, options: ObservedStoreOptions = {}): Store => {
  const tier = options.tier ?? "store"
  const probes = Record.map(answers, (answers, operation) => probe(tier, operation, answers))
  return intercepted(store, (operation, call) => watched(probes[operation], call))
})

const isStore = (value: unknown): boolean => Predicate.hasProperty(value, "capabilities")

/**
 * An observed store over another store, with options.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWith = (options: ObservedStoreOptions): Layer.Layer<SessionStore, never, SessionStore> =>
  Layer.effect(SessionStore, Effect.map(SessionStore, (store) => make(store, options)))

/**
 * An observed store over another store.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { MemoryStore, StoredEngine } from "effect-session"
 * import * as ObservedStore from "effect-session/ObservedStore"
 *
 * export const engine = StoredEngine.layer.pipe(
 *   Layer.provide(ObservedStore.layerWith({ tier: "memory" })),
 *   Layer.provide(MemoryStore.layer) // ← any store
 * )
 * ```
 *
 * @since 0.5.0
 * @category layers
 */
export const layer: Layer.Layer<SessionStore, never, SessionStore> = Layer.fresh(layerWith({}))

/**
 * An observed store over another store, with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<ObservedStoreOptions>
): Layer.Layer<SessionStore, ConfigError, SessionStore> => layerConfigOf(options, layerWith)

// ---- one call

/** The metrics and span options of one operation of one store. Made once, because making them costs more than using them. */
interface Probe {
  readonly operation: Operation
  readonly name: string
  readonly options: Tracer.SpanOptions
  readonly calls: (outcome: Outcome) => Metric.Metric.Counter<number>
  readonly latency: Metric.Metric.Histogram<number>
}

const probe = (tier: string, operation: Operation, answers: ReadonlyArray<Answer>): Probe => {
  const counter = (outcome: Outcome) => calls({ tier, operation, outcome })
  // Counters of successful outcomes start at zero, so that rates can be computed from the beginning.
  const counters = new Map<Outcome, Metric.Metric.Counter<number>>(
    answers.map((answer) => [answer, counter(answer).register()])
  )
  return {
    operation,
    name: `session.store.${operation}`,
    options: { attributes: { "session.store.tier": tier }, captureStackTrace: false },
    calls: (outcome) => {
      const known = counters.get(outcome) ?? counter(outcome)
      counters.set(outcome, known)
      return known
    },
    latency: latency({ tier, operation })
  }
}

const watched = <A>(
  probe: Probe,
  call: Effect.Effect<A, SessionStoreError>
): Effect.Effect<A, SessionStoreError> =>
  Effect.withFiberRuntime((fiber) => {
    const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
    const labels = fiber.getFiberRef(FiberRef.currentMetricLabels)
    const begun = clock.unsafeCurrentTimeNanos()
    const counted = Effect.onExit(call, (exit) =>
      Effect.sync(() => {
        probe.calls(outcomeOf(exit)).unsafeUpdate(1, labels)
        probe.latency.unsafeUpdate(Number(clock.unsafeCurrentTimeNanos() - begun) / 1_000_000, labels)
      }))
    if (!isTraced(fiber)) return counted
    return withSpan(probe.name, probe.options, counted, "session.store.outcome", (exit) => {
      const outcome = outcomeOf(exit)
      return [outcome, spanExit(probe.operation, outcome)]
    })
  })

/** The exit of a span. Not that of the call, which contains the record or the driver's error. */
const spanExit = (operation: Operation, outcome: Outcome): Exit.Exit<void, SessionStoreError> =>
  isReason(outcome)
    ? Exit.fail(new SessionStoreError({ operation, reason: outcome }))
    : outcome === "interrupted"
    ? Exit.interrupt(FiberId.none)
    : outcome === "defect"
    ? Exit.die(new Error(`The session store threw in "${operation}".`))
    : Exit.void

const outcomeOf = (exit: Exit.Exit<unknown, SessionStoreError>): Outcome =>
  Exit.match(exit, {
    onSuccess: answerOf,
    onFailure: (cause) =>
      Option.match(Cause.failureOption(cause), {
        onNone: () => Cause.isInterruptedOnly(cause) ? "interrupted" : "defect",
        onSome: ({ reason }) => isReason(reason) ? reason : "unavailable"
      })
  })

const answerOf = (value: unknown): Answer =>
  Option.isOption(value)
    ? (Option.isSome(value) ? "hit" : "miss")
    : Predicate.isTagged(value, "Evicted")
    ? "evicted"
    : isAnswer(value)
    ? value
    : "done"

// Labels are limited to these sets, whatever a store returns.
const reasons: ReadonlySet<unknown> = new Set(SessionStoreError.fields.reason.literals)
const isReason = (value: unknown): value is SessionStoreError["reason"] => reasons.has(value)

const words: ReadonlySet<unknown> = new Set(Object.values(answers).flat())
const isAnswer = (value: unknown): value is Answer => words.has(value)
