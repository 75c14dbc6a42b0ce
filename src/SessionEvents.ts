/**
 * The events in the life of sessions: created, authenticated, ended. For audit logs, alerts and statistics.
 *
 * An event never contains a token, a store key or data of the session. A request publishes its events without waiting: each subscriber has
 * a queue of its own. A subscriber that is too slow loses its own oldest events, which `session_events_dropped` counts.
 *
 * The events are those of this process. To collect those of all nodes, let each node write them to one place, as `SqlAudit` does.
 *
 * @since 0.6.0
 */
import type * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { LazyArg } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { configError } from "./internal/configError.js"
import { endReasons } from "./internal/domain/outcomes.js"
import { withHelp } from "./internal/help.js"
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import { countDroppedEvent } from "./internal/metrics.js"
import { orAbsent } from "./internal/schema/absent.js"
import type { SessionConfigError } from "./SessionConfigError.js"
import { SessionId } from "./SessionId.js"

const common = {
  /** The name of the session tag. */
  session: Schema.String,
  /** The namespace of the session tag. */
  namespace: Schema.String,
  /** The session. Absent if it is not known, or if the event is about several sessions. */
  id: orAbsent(SessionId),
  /** The user that the session belongs to. Absent for an anonymous session. */
  subject: orAbsent(Schema.String),
  /** The time of the event. */
  at: Schema.DateTimeUtc
}

/** The methods and the level of an authentication. */
const authentication = {
  methods: Schema.Array(Schema.String),
  level: orAbsent(Schema.Number)
}

/**
 * The schema of the events.
 *
 * - `Created`: a session was written for the first time.
 * - `Authenticated`: a login. `Elevated`: a step-up. `Dropped`: a step-down.
 * - `Impersonated`: the subject acts for the subject `as`. `ImpersonationEnded`: no longer.
 * - `Rotated`: the session got a new token, and stays the same session.
 * - `Ended`: `reason` as by a store. `by` is the session that ended it; absent for a job or an administrator. Of a revocation of all
 *   sessions of a subject the `id` is absent; of a revocation of all sessions the `subject` is absent, too.
 * - `Refused`: a request, or a part of it, was refused, and the session stayed as it was.
 * - `Conflict`: the changes of a request were not written, because another request had changed the session.
 * - `Undecodable`: the data of a session does not fit the schema.
 *
 * Encoded, `at` is an ISO 8601 text, and an absent value has no property.
 *
 * @since 0.6.0
 * @category schemas
 */
export const SessionEvent = Schema.Union(
  Schema.TaggedStruct("Created", common),
  Schema.TaggedStruct("Authenticated", { ...common, ...authentication, remembered: Schema.Boolean }),
  Schema.TaggedStruct("Elevated", { ...common, ...authentication }),
  Schema.TaggedStruct("Dropped", common),
  Schema.TaggedStruct("Impersonated", { ...common, as: Schema.String }),
  Schema.TaggedStruct("ImpersonationEnded", common),
  Schema.TaggedStruct("Rotated", common),
  Schema.TaggedStruct("Ended", {
    ...common,
    reason: Schema.Literal(...endReasons),
    by: orAbsent(Schema.Struct({ id: orAbsent(SessionId), subject: orAbsent(Schema.String) }))
  }),
  Schema.TaggedStruct("Refused", {
    ...common,
    reason: Schema.Literal("limit", "ambiguous", "crossSite", "csrf", "notFresh")
  }),
  Schema.TaggedStruct("Conflict", common),
  Schema.TaggedStruct("Undecodable", common)
)

/**
 * An event in the life of a session.
 *
 * @since 0.6.0
 * @category models
 */
export type SessionEvent = typeof SessionEvent.Type

/**
 * The events of one subscriber.
 *
 * @since 0.6.0
 * @category models
 */
export interface Subscription {
  /**
   * Waits for events, and removes at most `max` of them from the queue, in the order of their publication. Returns none after `end`, when
   * the queue is empty.
   */
  readonly take: (max: number) => Effect.Effect<ReadonlyArray<SessionEvent>>
  /** Ends the subscription: later events are not added to the queue. */
  readonly end: Effect.Effect<void>
  /** The number of events in the queue. */
  readonly size: Effect.Effect<number>
}

/**
 * Publishes and subscribes to events.
 *
 * @since 0.6.0
 * @category models
 */
export interface Events {
  /**
   * Publishes an event to every subscriber. Never waits and never throws. `event` runs only if there is a subscriber; an event that it
   * cannot make is dropped, and counted by `session_events_dropped`.
   */
  readonly unsafePublish: (event: LazyArg<SessionEvent>) => void
  /** Subscribes to the events from now on, until the scope closes. */
  readonly subscribe: Effect.Effect<Subscription, never, Scope.Scope>
}

/**
 * The service tag of the events. A session tag publishes its events if this service exists when its layer is built.
 *
 * @since 0.6.0
 * @category tags
 */
export class SessionEvents extends Context.Tag("effect-session/SessionEvents")<SessionEvents, Events>() {}

/**
 * The options of {@link layerWith}.
 *
 * @since 0.6.0
 * @category models
 */
export interface SessionEventsOptions {
  /** The maximum number of events that wait for one subscriber, from 1 to 1,000,000. Default 10,000. */
  readonly capacity?: number
}

const defaultCapacity = 10_000

/**
 * The events of this process. Subscriptions end when the scope of the layer closes. Use one layer for the session tags and the subscribers.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { SessionEvents } from "effect-session"
 *
 * const alerts = SessionEvents.handle((event) =>
 *   event._tag === "Refused" ? Effect.logWarning(`${event.session}: refused (${event.reason})`) : Effect.void
 * )
 *
 * export const events = alerts.pipe(Layer.provideMerge(SessionEvents.layer))
 * ```
 *
 * @since 0.6.0
 * @category layers
 */
export const layer: Layer.Layer<SessionEvents> = Layer.scoped(
  SessionEvents,
  Effect.suspend(() => make(defaultCapacity))
)

/**
 * The events of this process, with options. Fails with `SessionConfigError` if an option is out of range.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWith = (
  { capacity = defaultCapacity }: SessionEventsOptions
): Layer.Layer<SessionEvents, SessionConfigError> =>
  Layer.scoped(
    SessionEvents,
    Effect.suspend(() =>
      Number.isInteger(capacity) && capacity >= 1 && capacity <= 1_000_000
        ? make(capacity)
        : configError(
          "SessionEvents",
          "The capacity must be a whole number of events from 1 to 1,000,000.",
          "option-out-of-range"
        )
    )
  )

/**
 * The events of this process, with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<SessionEventsOptions>
): Layer.Layer<SessionEvents, SessionConfigError | ConfigError> => layerConfigOf(options, layerWith)

/**
 * The events from the moment when the stream starts, in the order of their publication. The stream ends when the layer of
 * {@link SessionEvents} is closed.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { SessionEvents } from "effect-session"
 *
 * export const logins = SessionEvents.stream.pipe(
 *   Stream.filter((event) => event._tag === "Authenticated"),
 *   Stream.runForEach(({ methods, subject }) => Effect.logInfo(`${subject} logged in by ${methods.join(" and ")}.`))
 * )
 * ```
 *
 * @since 0.6.0
 * @category streams
 */
export const stream: Stream.Stream<SessionEvent, never, SessionEvents> = Stream.unwrapScoped(
  Effect.map(
    Effect.flatMap(SessionEvents, ({ subscribe }) => subscribe),
    ({ take }) =>
      Stream.flattenIterables(Stream.takeWhile(Stream.repeatEffect(take(largestBatch)), ({ length }) => length > 0))
  )
)

const largestBatch = 100

/**
 * The options of {@link handle} and {@link handleBatches}.
 *
 * @since 0.6.0
 * @category models
 */
export interface HandleOptions {
  /**
   * The maximum time in which the events that are queued at a shutdown are handled. After it the handler is interrupted, and the number of
   * unhandled events is logged. Default 5 seconds.
   */
  readonly shutdownTimeout?: Duration.DurationInput
}

/**
 * Runs `f` for each event in the background, one after another. A failure, a defect or an interruption of `f` is logged, and the next event
 * is handled. When the layer is closed, the events that are queued are handled before, within `shutdownTimeout`.
 *
 * @since 0.6.0
 * @category handlers
 */
export const handle = <X, E, R>(
  f: (event: SessionEvent) => Effect.Effect<X, E, R>,
  options: HandleOptions = {}
): Layer.Layer<never, never, SessionEvents | R> =>
  handleBatches((events) => Effect.forEach(events, f, { discard: true }), { ...options, max: 1 })

/**
 * Runs `f` as {@link handle} does, with all events that are queued at that moment: at least one, at most `max` (100 by default).
 *
 * @since 0.6.0
 * @category handlers
 */
export const handleBatches = <X, E, R>(
  f: (events: ReadonlyArray<SessionEvent>) => Effect.Effect<X, E, R>,
  { max = largestBatch, shutdownTimeout = "5 seconds" }: HandleOptions & { readonly max?: number } = {}
): Layer.Layer<never, never, SessionEvents | R> =>
  Layer.scopedDiscard(Effect.gen(function*() {
    const { end, size, take } = yield* Effect.flatMap(SessionEvents, ({ subscribe }) => subscribe)
    let unhandled = 0
    const next: Effect.Effect<boolean, never, R> = Effect.flatMap(take(max), (events) => {
      if (events.length === 0) return Effect.succeed(false)
      unhandled = events.length
      return Effect.suspend(() => f(events)).pipe(
        Effect.catchAllCause((cause) =>
          Effect.logError(withHelp("A handler of session events failed.", "event-handler-failed"), cause)
        ),
        Effect.map(() => {
          unhandled = 0
          return true
        })
      )
    })
    const fiber = yield* Effect.forkDaemon(Effect.interruptible(Effect.repeat(next, { while: (goesOn) => goesOn })))
    yield* Effect.addFinalizer(() =>
      Effect.zipRight(end, Fiber.await(fiber)).pipe(
        // A finalizer is not interruptible, and a timeout interrupts.
        Effect.interruptible,
        Effect.timeoutOption(shutdownTimeout),
        Effect.flatMap((exit) =>
          exit._tag === "Some"
            ? Effect.void
            : Effect.flatMap(size, (queued) =>
              Effect.zipRight(
                Fiber.interruptFork(fiber),
                Effect.logWarning(
                  withHelp(
                    `A handler of session events did not finish within ${
                      Duration.format(shutdownTimeout)
                    } at the shutdown. ` +
                      `Events that it has not handled: ${queued + unhandled}.`,
                    "event-handler-unfinished"
                  )
                )
              ))
        )
      )
    )
  }))

// The queues

const make = (capacity: number): Effect.Effect<Events, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => new Set<Inbox>()),
      (inboxes) => Effect.sync(() => inboxes.forEach((inbox) => inbox.end()))
    ),
    (inboxes) => ({
      unsafePublish: (event) => {
        if (inboxes.size === 0) return
        let made: SessionEvent
        try {
          made = event()
        } catch {
          return countDroppedEvent()
        }
        for (const inbox of inboxes) inbox.offer(made)
      },
      subscribe: Effect.map(
        Effect.acquireRelease(
          Effect.sync(() => {
            const inbox = new Inbox(capacity)
            inboxes.add(inbox)
            return inbox
          }),
          (inbox) => Effect.sync(() => inboxes.delete(inbox))
        ),
        (inbox) => ({
          take: (max) => inbox.take(max),
          end: Effect.sync(() => {
            inboxes.delete(inbox)
            inbox.end()
          }),
          size: Effect.sync(() => inbox.size)
        })
      )
    })
  )

/** The queue of one subscriber: a ring that overwrites its oldest event when it is full. */
class Inbox {
  #events: Array<SessionEvent> = []
  /** The position of the oldest event. Positions before it are free. */
  #head = 0
  #dropped = 0
  #isOpen = true
  readonly #changed = Effect.unsafeMakeLatch(false)

  constructor(readonly capacity: number) {}

  get size(): number {
    return this.#events.length - this.#head
  }

  offer(event: SessionEvent): void {
    if (!this.#isOpen) return
    if (this.size === this.capacity) {
      this.#remove(1)
      this.#dropped++
      countDroppedEvent()
    }
    this.#events.push(event)
    this.#changed.unsafeOpen()
  }

  end(): void {
    this.#isOpen = false
    this.#changed.unsafeOpen()
  }

  take(max: number): Effect.Effect<ReadonlyArray<SessionEvent>> {
    return Effect.zipRight(
      this.#changed.await,
      Effect.suspend(() => {
        const taken = this.#remove(max)
        if (this.size === 0 && this.#isOpen) this.#changed.unsafeClose()
        const dropped = this.#dropped
        this.#dropped = 0
        return dropped === 0 ? Effect.succeed(taken) : Effect.as(
          Effect.logWarning(
            withHelp(
              `A subscriber of session events is too slow: ${dropped} events were dropped for it.`,
              "events-dropped"
            )
          ),
          taken
        )
      })
    )
  }

  #remove(max: number): ReadonlyArray<SessionEvent> {
    const end = Math.min(this.#head + max, this.#events.length)
    const taken = this.#events.slice(this.#head, end)
    this.#head = end
    // Frees the positions of removed events when they are half of the array, so that each removal takes constant time on average.
    if (2 * this.#head >= this.#events.length) {
      this.#events = this.#events.slice(this.#head)
      this.#head = 0
    }
    return taken
  }
}
