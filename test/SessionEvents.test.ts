import { it } from "@effect/vitest"
import {
  Cause,
  Chunk,
  Config,
  ConfigProvider,
  DateTime,
  Deferred,
  Effect,
  Either,
  Exit,
  Fiber,
  Layer,
  Logger,
  Metric,
  Option,
  Schema,
  Scope,
  Stream,
  TestClock
} from "effect"
import { SessionEvents, SessionId, SessionMetrics } from "effect-session"
import type { Events, SessionEvent, Subscription } from "effect-session/SessionEvents"
import { assert, describe } from "vitest"
import { range } from "./support/concurrency.js"

const id = Option.getOrThrow(SessionId.parse("AAAAAAAAAAAAAAAAAAAAAA"))
const base = {
  session: "app/Session",
  namespace: "app",
  id,
  subject: undefined,
  at: DateTime.unsafeMake("2026-01-02T03:04:05.678Z")
}
const created = (session: string | number): SessionEvent => ({ _tag: "Created", ...base, session: String(session) })
const publish = (events: Events, ...sessions: ReadonlyArray<string | number>) =>
  sessions.forEach((session) => events.unsafePublish(() => created(session)))

const { SessionEvents: Tag } = SessionEvents
/** The service of a layer, which closes with the test. */
const eventsOf = <E>(layer: Layer.Layer<SessionEvents.SessionEvents, E>) =>
  Effect.map(Layer.build(layer), (context) => Layer.succeedContext(context)).pipe(
    Effect.flatMap((built) => Effect.map(Effect.provide(Tag, built), (events) => ({ events, built })))
  )
/** The service, and latches that open when a subscription has begun, and when it has ended. */
const observed = (events: Events) => {
  const subscribed = Effect.unsafeMakeLatch(false)
  const ended = Effect.unsafeMakeLatch(false)
  const service: Events = {
    unsafePublish: events.unsafePublish,
    subscribe: Effect.map(
      Effect.tap(events.subscribe, subscribed.open),
      ({ end, ...subscription }) => ({ ...subscription, end: Effect.zipRight(end, ended.open) })
    )
  }
  return { service, subscribed: subscribed.await, ended: ended.await }
}
const sessions = (events: Iterable<SessionEvent>) => [...events].map(({ session }) => session)
const takeAll = (subscription: Subscription) =>
  Effect.flatMap(subscription.size, (size) => Effect.map(subscription.take(size), sessions))
const dropped = Effect.map(Metric.value(SessionMetrics.droppedEvents), ({ count }) => count)

/** Collects log lines. */
const logged = () => {
  const lines: Array<string> = []
  const layer = Logger.replace(
    Logger.defaultLogger,
    Logger.make(({ cause, message }) =>
      void lines.push(`${[message].flat().join(" ")} ${Cause.isEmpty(cause) ? "" : Cause.pretty(cause)}`.trim())
    )
  )
  return { lines, layer }
}

describe("an event", () => {
  const all: ReadonlyArray<SessionEvent> = [
    created("app/Session"),
    { _tag: "Authenticated", ...base, subject: "ann", methods: ["pwd", "otp"], level: 2, remembered: true },
    { _tag: "Elevated", ...base, methods: ["otp"], level: undefined },
    { _tag: "Dropped", ...base },
    { _tag: "Impersonated", ...base, as: "bob" },
    { _tag: "ImpersonationEnded", ...base },
    { _tag: "Rotated", ...base },
    { _tag: "Ended", ...base, reason: "revoked", by: { id, subject: "ann" } },
    { _tag: "Ended", ...base, id: undefined, subject: "ann", reason: "subjectRevoked", by: undefined },
    { _tag: "Refused", ...base, id: undefined, reason: "notFresh" },
    { _tag: "Conflict", ...base },
    { _tag: "Undecodable", ...base }
  ]

  it("is encoded to JSON without absent values, and decoded from it", () => {
    const json = Schema.parseJson(Schema.Array(SessionEvents.SessionEvent))
    assert.deepStrictEqual(Schema.decodeSync(json)(Schema.encodeSync(json)(all)), all)
    assert.deepStrictEqual(Schema.encodeSync(SessionEvents.SessionEvent)(all[8] ?? created("")), {
      _tag: "Ended",
      session: "app/Session",
      namespace: "app",
      subject: "ann",
      at: "2026-01-02T03:04:05.678Z",
      reason: "subjectRevoked"
    })
  })
})

describe("publishing", () => {
  it.scoped("without a subscriber does not make the event", () =>
    Effect.gen(function*() {
      const { events } = yield* eventsOf(SessionEvents.layer)
      let made = 0
      const count = () => {
        made++
        return created(made)
      }
      events.unsafePublish(count)
      assert.strictEqual(made, 0)
      const subscription = yield* Effect.scoped(events.subscribe)
      events.unsafePublish(count)
      assert.strictEqual(made, 0)
      assert.strictEqual(yield* subscription.size, 0)
      yield* events.subscribe
      yield* events.subscribe
      events.unsafePublish(count)
      assert.strictEqual(made, 1)
    }))

  it.scoped("an event that cannot be made drops it, counts it and does not throw", () =>
    Effect.gen(function*() {
      const { events } = yield* eventsOf(SessionEvents.layer)
      const subscription = yield* events.subscribe
      const before = yield* dropped
      events.unsafePublish(() => {
        throw new Error("a bug")
      })
      publish(events, 1)
      assert.deepStrictEqual(yield* takeAll(subscription), ["1"])
      assert.strictEqual((yield* dropped) - before, 1)
    }))

  it.scoped("by 100 fibers at once gives every subscriber every event, in one order", () =>
    Effect.gen(function*() {
      const { events } = yield* eventsOf(SessionEvents.layerWith({ capacity: 1000 }))
      const subscriptions = yield* Effect.all(range(3).map(() => events.subscribe))
      const before = yield* dropped
      yield* Effect.forEach(
        range(100),
        (fiber) =>
          Effect.forEach(range(10), (i) =>
            Effect.zipRight(
              Effect.yieldNow(),
              Effect.sync(() => publish(events, `${fiber}:${i}`))
            )),
        { concurrency: "unbounded", discard: true }
      )
      const [first = [], ...others] = yield* Effect.forEach(subscriptions, takeAll)
      assert.strictEqual(new Set(first).size, 1000)
      for (const other of others) assert.deepStrictEqual(other, first)
      assert.deepStrictEqual(
        first.filter((session) => session.startsWith("7:")),
        range(10).map((i) => `7:${i}`)
      )
      assert.strictEqual(yield* dropped, before)
    }))
})

describe("a subscriber", () => {
  it.scoped("that is too slow loses its oldest events, which are counted and logged, and no other subscriber does", () =>
    Effect.gen(function*() {
      const { events } = yield* eventsOf(SessionEvents.layerWith({ capacity: 3 }))
      const slow = yield* events.subscribe
      const fast = yield* events.subscribe
      const before = yield* dropped
      publish(events, 1, 2, 3)
      assert.deepStrictEqual(yield* takeAll(fast), ["1", "2", "3"])
      publish(events, 4, 5)
      const log = logged()
      assert.deepStrictEqual(yield* Effect.provide(takeAll(slow), log.layer), ["3", "4", "5"])
      assert.deepStrictEqual(log.lines, [
        "A subscriber of session events is too slow: 2 events were dropped for it. (help: events-dropped)"
      ])
      assert.deepStrictEqual(yield* takeAll(fast), ["4", "5"])
      assert.strictEqual((yield* dropped) - before, 2)
      publish(events, 6)
      assert.deepStrictEqual(yield* Effect.provide(takeAll(slow), log.layer), ["6"])
      assert.strictEqual(log.lines.length, 1)
    }))

  it.scoped("gets every event in order over many rounds of a full queue", () =>
    Effect.gen(function*() {
      const { events } = yield* eventsOf(SessionEvents.layerWith({ capacity: 7 }))
      const subscription = yield* events.subscribe
      const seen: Array<string> = []
      let next = 0
      for (let round = 0; round < 50; round++) {
        while ((yield* subscription.size) < 7) publish(events, next++)
        seen.push(...sessions(yield* subscription.take(1 + round % 7)))
      }
      assert.deepStrictEqual(seen, range(seen.length).map(String))
      assert.isAbove(seen.length, 150)
    }))

  it.scoped("waits while its queue is empty, and an interrupted wait loses nothing", () =>
    Effect.gen(function*() {
      const { events } = yield* eventsOf(SessionEvents.layer)
      const subscription = yield* events.subscribe
      const waiting = yield* Effect.fork(subscription.take(10))
      yield* Effect.yieldNow()
      assert.isTrue(Option.isNone(yield* Fiber.poll(waiting)))
      yield* Fiber.interrupt(waiting)
      const second = yield* Effect.fork(subscription.take(10))
      yield* Effect.yieldNow()
      publish(events, 1)
      assert.deepStrictEqual(sessions(yield* Fiber.join(second)), ["1"])
    }))

  it.scoped("that ends gets what is queued, and then nothing", () =>
    Effect.gen(function*() {
      const { events } = yield* eventsOf(SessionEvents.layer)
      const subscription = yield* events.subscribe
      publish(events, 1, 2)
      yield* subscription.end
      publish(events, 3)
      assert.deepStrictEqual(sessions(yield* subscription.take(1)), ["1"])
      assert.deepStrictEqual(sessions(yield* subscription.take(5)), ["2"])
      assert.deepStrictEqual(yield* subscription.take(5), [])
    }))
})

describe("the stream", () => {
  it.scoped("ends when the layer is closed, after the events that are queued", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const events = yield* Effect.provide(Tag, yield* Layer.buildWithScope(SessionEvents.layer, scope))
      const { service, subscribed } = observed(events)
      const started = yield* Deferred.make<void>()
      const goOn = yield* Deferred.make<void>()
      const fiber = yield* SessionEvents.stream.pipe(
        Stream.tap(() => Effect.zipRight(Deferred.succeed(started, undefined), Deferred.await(goOn))),
        Stream.runCollect,
        Effect.provideService(Tag, service),
        Effect.fork
      )
      yield* subscribed
      publish(events, 1)
      yield* Deferred.await(started)
      publish(events, ...range(250).map((i) => i + 2))
      yield* Scope.close(scope, Exit.void)
      publish(events, "late")
      yield* Deferred.succeed(goOn, undefined)
      assert.deepStrictEqual(
        sessions(Chunk.toReadonlyArray(yield* Fiber.join(fiber))),
        range(251).map((i) => String(i + 1))
      )
    }))

  it.scoped("that is interrupted unsubscribes", () =>
    Effect.gen(function*() {
      const { events } = yield* eventsOf(SessionEvents.layer)
      const { service, subscribed } = observed(events)
      const fiber = yield* Effect.fork(Effect.provideService(Stream.runDrain(SessionEvents.stream), Tag, service))
      yield* subscribed
      let made = 0
      const count = () => created(++made)
      events.unsafePublish(count)
      assert.strictEqual(made, 1)
      yield* Fiber.interrupt(fiber)
      events.unsafePublish(count)
      assert.strictEqual(made, 1)
    }))
})

describe("a handler", () => {
  const failures: ReadonlyArray<readonly [string, (event: SessionEvent) => Effect.Effect<void, string>, RegExp]> = [
    ["fails", () => Effect.fail("no answer"), /no answer/],
    ["dies", () => Effect.die(new Error("a bug")), /a bug/],
    ["throws", () => {
      throw new Error("a bug of the function")
    }, /a bug of the function/],
    ["is interrupted", () => Effect.interrupt, /interrupted/]
  ]
  for (const [what, fail, line] of failures) {
    it.scoped(`that ${what} for one event is logged, and handles the next`, () =>
      Effect.gen(function*() {
        const { built, events } = yield* eventsOf(SessionEvents.layer)
        const log = logged()
        const seen: Array<string> = []
        const done = yield* Deferred.make<void>()
        yield* SessionEvents.handle((event) => {
          if (event.session === "2") return fail(event)
          seen.push(event.session)
          return event.session === "3" ? Effect.asVoid(Deferred.succeed(done, undefined)) : Effect.void
        }).pipe(Layer.provide(built), Layer.provide(log.layer), Layer.build)
        publish(events, 1, 2, 3)
        yield* Deferred.await(done)
        assert.deepStrictEqual(seen, ["1", "3"])
        assert.strictEqual(log.lines.length, 1)
        assert.match(log.lines[0] ?? "", /^A handler of session events failed\. /)
        assert.match(log.lines[0] ?? "", line)
      }))
  }

  it.scoped("that waits blocks neither publishing nor the other handlers", () =>
    Effect.gen(function*() {
      const { built, events } = yield* eventsOf(SessionEvents.layer)
      const done = yield* Deferred.make<void>()
      const seen: Array<string> = []
      yield* Layer.build(Layer.provide(
        Layer.mergeAll(
          SessionEvents.handle(() => Effect.never, { shutdownTimeout: 0 }),
          SessionEvents.handle(({ session }) => {
            seen.push(session)
            return session === "100" ? Deferred.succeed(done, undefined) : Effect.void
          })
        ),
        built
      ))
      publish(events, ...range(101))
      yield* Deferred.await(done)
      assert.deepStrictEqual(seen, range(101).map(String))
    }))

  it.scoped("gets no more than one event at a time, so that a full queue loses the oldest that it has not begun", () =>
    Effect.gen(function*() {
      const { built, events } = yield* eventsOf(SessionEvents.layerWith({ capacity: 2 }))
      const begun = yield* Deferred.make<void>()
      const goOn = yield* Deferred.make<void>()
      const done = yield* Deferred.make<void>()
      const seen: Array<string> = []
      yield* SessionEvents.handle(({ session }) => {
        seen.push(session)
        return session === "5"
          ? Deferred.succeed(done, undefined)
          : Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(goOn))
      }).pipe(Layer.provide(built), Layer.build)
      publish(events, 1)
      yield* Deferred.await(begun)
      publish(events, 2, 3, 4, 5)
      yield* Deferred.succeed(goOn, undefined)
      yield* Deferred.await(done)
      assert.deepStrictEqual(seen, ["1", "4", "5"])
    }))

  it.scoped("handles the events that are queued at a shutdown", () =>
    Effect.gen(function*() {
      const { events } = yield* eventsOf(SessionEvents.layer)
      const { ended, service } = observed(events)
      const scope = yield* Scope.make()
      const begun = yield* Deferred.make<void>()
      const goOn = yield* Deferred.make<void>()
      const seen: Array<string> = []
      yield* SessionEvents.handle(({ session }) =>
        Effect.zipRight(
          Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(goOn)),
          Effect.sync(() => seen.push(session))
        )
      ).pipe(Layer.provide(Layer.succeed(Tag, service)), Layer.buildWithScope(scope))
      publish(events, 1, 2, 3)
      yield* Deferred.await(begun)
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* ended
      publish(events, "late")
      yield* Deferred.succeed(goOn, undefined)
      yield* Fiber.join(closing)
      assert.deepStrictEqual(seen, ["1", "2", "3"])
    }))

  for (
    const [what, hanging] of [
      ["hangs", Effect.never],
      ["hangs without being interruptible", Effect.uninterruptible(Effect.never)]
    ] as const
  ) {
    it.scoped(`that ${what} at a shutdown is abandoned after the timeout, and the number of its events is logged`, () =>
      Effect.gen(function*() {
        const { built, events } = yield* eventsOf(SessionEvents.layer)
        const log = logged()
        const scope = yield* Scope.make()
        const begun = yield* Deferred.make<void>()
        yield* SessionEvents.handle(() => Effect.zipRight(Deferred.succeed(begun, undefined), hanging), {
          shutdownTimeout: "3 seconds"
        }).pipe(Layer.provide(built), Layer.provide(log.layer), Layer.buildWithScope(scope))
        publish(events, 1, 2, 3)
        yield* Deferred.await(begun)
        const closing = yield* Effect.fork(Effect.provide(Scope.close(scope, Exit.void), log.layer))
        yield* TestClock.adjust("2999 millis")
        assert.isTrue(Option.isNone(yield* Fiber.poll(closing)))
        yield* TestClock.adjust("1 millis")
        yield* Fiber.join(closing)
        assert.deepStrictEqual(log.lines, [
          "A handler of session events did not finish within 3s at the shutdown. Events that it has not handled: 3. (help: event-handler-unfinished)"
        ])
      }))
  }

  it.scoped("of batches gets all events that are queued, at most `max`", () =>
    Effect.gen(function*() {
      const { built, events } = yield* eventsOf(SessionEvents.layer)
      const begun = yield* Deferred.make<void>()
      const goOn = yield* Deferred.make<void>()
      const done = yield* Deferred.make<void>()
      const seen: Array<ReadonlyArray<string>> = []
      yield* SessionEvents.handleBatches((batch) => {
        seen.push(sessions(batch))
        return batch.some(({ session }) => session === "6")
          ? Deferred.succeed(done, undefined)
          : Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(goOn))
      }, { max: 3 }).pipe(Layer.provide(built), Layer.build)
      publish(events, 1)
      yield* Deferred.await(begun)
      publish(events, 2, 3, 4, 5, 6)
      yield* Deferred.succeed(goOn, undefined)
      yield* Deferred.await(done)
      assert.deepStrictEqual(seen, [["1"], ["2", "3", "4"], ["5", "6"]])
    }))
})

describe("the capacity", () => {
  for (const capacity of [0, -1, 1.5, Number.NaN, 1_000_001]) {
    it.scoped(`${capacity} fails the layer`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Layer.build(SessionEvents.layerWith({ capacity })))
        assert.strictEqual(
          error.message,
          "SessionEvents: The capacity must be a whole number of events from 1 to 1,000,000. (help: option-out-of-range)"
        )
      }))
  }

  it.scoped("comes from the configuration", () =>
    Effect.gen(function*() {
      const layer = SessionEvents.layerConfig({ capacity: Config.integer("EVENTS") })
      const configured = (value: string) =>
        Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["EVENTS", value]])))
      const { events } = yield* eventsOf(Layer.provide(layer, configured("2")))
      const subscription = yield* events.subscribe
      publish(events, 1, 2, 3)
      assert.deepStrictEqual(yield* takeAll(subscription), ["2", "3"])
      assert.isTrue(Either.isLeft(yield* Effect.either(Layer.build(Layer.provide(layer, configured("many"))))))
    }))
})
