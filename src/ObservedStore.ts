/**
 * A store whose calls can be watched: a span, a count and a duration for each, and nothing of any session in them.
 *
 * A span is named `session.store.` and the operation. Its attributes are `session.store.tier` and
 * `session.store.outcome`; neither they nor its error tell a key, an id, a subject or data. What a driver said of a
 * failure stays in the cause of the error, which is for the log.
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
   * Which store this is among those of the program: `"front"`, `"back"`, `"redis"`. Default `"store"`. It labels metrics,
   * which are kept for as long as the process lives: a constant, never something that a request brings.
   */
  readonly tier?: string
}

/** What the operations answer, as an outcome. */
const answers = {
  create: ["created", "exists"],
  load: ["hit", "miss"],
  save: ["saved", "conflict", "gone"],
  touch: ["touched", "gone"],
  rotate: ["saved", "conflict", "gone"],
  destroy: ["done"],
  removeExpired: ["done"],
  count: ["done"],
  list: ["done"],
  find: ["hit", "miss"],
  scan: ["done"],
  revoke: ["done"],
  revokeSubject: ["done"],
  revokeAll: ["done"]
} as const satisfies Record<Operation, ReadonlyArray<string>>

/**
 * @since 0.5.0
 * @category models
 */
export type Answer = typeof answers[Operation][number]

/**
 * What became of a call: what the store answered, or why it did not. `interrupted`: the caller, or a time limit, gave it
 * up. `defect`: the store threw.
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
  "How long calls of session stores took, in milliseconds, by tier and operation"
)

const labels = (all: Readonly<Record<string, string>>): ReadonlyArray<MetricLabel.MetricLabel> =>
  Object.entries(all).map(([key, value]) => MetricLabel.make(key, value))

/**
 * `session_store_calls`, of one outcome of one operation: how often it happened.
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
 * `session_store_latency`, of one operation: how long its calls took, in milliseconds, whatever became of them.
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
 * The share of loads that found a session, from 0 to 1; none before the first load.
 *
 * The front of a `TieredStore` also finds what it does not answer with: fences, and copies whose lease has passed. Its hit
 * rate is the share of `copy` in `SessionMetrics.frontReads`.
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
 * The same as a layer over another store.
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
export const layer: Layer.Layer<SessionStore, never, SessionStore> = layerWith({})

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

/** What there is to write down about one operation of one store: made once, because making it costs more than using it. */
interface Probe {
  readonly operation: Operation
  readonly name: string
  readonly options: Tracer.SpanOptions
  readonly calls: (outcome: Outcome) => Metric.Metric.Counter<number>
  readonly latency: Metric.Metric.Histogram<number>
}

const probe = (tier: string, operation: Operation, answers: ReadonlyArray<Answer>): Probe => {
  const counter = (outcome: Outcome) => calls({ tier, operation, outcome })
  // What the store may answer is there from the beginning, at zero: a rate that lacks a part of itself is none.
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
    /** Writes a call down that has ended so; the outcome, and when. */
    const noted = (exit: Exit.Exit<A, SessionStoreError>): readonly [Outcome, bigint] => {
      const outcome = outcomeOf(exit)
      const ended = clock.unsafeCurrentTimeNanos()
      probe.calls(outcome).unsafeUpdate(1, labels)
      probe.latency.unsafeUpdate(Number(ended - begun) / 1_000_000, labels)
      return [outcome, ended]
    }
    if (!isTraced(fiber)) return Effect.onExit(call, (exit) => Effect.sync(() => void noted(exit)))
    const timing = fiber.getFiberRef(FiberRef.currentTracerTimingEnabled)
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Effect.makeSpan(probe.name, probe.options), (span) =>
        Effect.onExit(restore(Effect.withParentSpan(call, span)), (exit) =>
          Effect.sync(() => {
            const [outcome, ended] = noted(exit)
            span.attribute("session.store.outcome", outcome)
            span.end(timing ? ended : 0n, told(probe.operation, outcome))
          })))
    )
  })

/** How a span ends. Not as the call did: that has the record in it, or what the driver said. */
const told = (operation: Operation, outcome: Outcome): Exit.Exit<void, SessionStoreError> =>
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
  Option.isOption(value) ? (Option.isSome(value) ? "hit" : "miss") : isAnswer(value) ? value : "done"

// Labels are taken from these sets, and from nothing that a store makes up.
const reasons: ReadonlySet<unknown> = new Set(SessionStoreError.fields.reason.literals)
const isReason = (value: unknown): value is SessionStoreError["reason"] => reasons.has(value)

const words: ReadonlySet<unknown> = new Set(Object.values(answers).flat())
const isAnswer = (value: unknown): value is Answer => words.has(value)
