/**
 * An observed store behaves like the wrapped store, and its calls are counted and timed.
 */
import { it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, FiberRef, Metric, MetricState, Option, TestClock, Tracer } from "effect"
import { MemoryStore } from "effect-session"
import { aRecord, freshId, freshKey, isThere, start, stored } from "effect-session/Fixtures"
import * as ObservedStore from "effect-session/ObservedStore"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import type { Store, SubjectLimit } from "effect-session/SessionStore"
import { FaultyStore, storeLaws } from "effect-session/testing"
import * as TieredStore from "effect-session/TieredStore"
import { assert, describe, expect } from "vitest"
import { holds } from "../src/internal/testing/law.js"
import type { Operation } from "../src/SessionStore.js"
import { range } from "./support/concurrency.js"

/** Replaces Effect's native tracer, with which the store creates no spans. */
const traced = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Effect.tracer, ({ context, span }) => Effect.withTracer(effect, Tracer.make({ context, span })))

const untraced = <A, E, R>(effect: Effect.Effect<A, E, R>) => effect

describe("an observed store", () => {
  /** Compares each result with the one that the wrapped store returned in that call. */
  const compared = () => {
    const returned = FiberRef.unsafeMake<{ result?: unknown }>({})
    const remembering: FaultyStore.Interception = (_, call) =>
      Effect.flatMap(
        FiberRef.get(returned),
        (returned) => Effect.tap(call, (result) => void (returned.result = result))
      )
    const comparing: FaultyStore.Interception = (operation, call) =>
      Effect.suspend(() => {
        const inner: { result?: unknown } = {}
        return Effect.tap(Effect.locally(call, returned, inner), (result) =>
          Effect.orDie(holds(`${operation} returns the result of the wrapped store`, Object.is(result, inner.result))))
      })
    return FaultyStore.intercept(ObservedStore.make(FaultyStore.intercept(MemoryStore.make(), remembering)), comparing)
  }

  for (const { law, name } of storeLaws) {
    it.live(name, () => Effect.provideService(law, SessionStore, compared()))
    it.live(`traced: ${name}`, () => traced(Effect.provideService(law, SessionStore, compared())))
  }

  for (const [name, around] of [["untraced", untraced], ["traced", traced]] as const) {
    it.live(`fails with the error and cause of the wrapped store (${name})`, () =>
      Effect.gen(function*() {
        const driver = new Error("the line is cut")
        const loadOf = (end: Effect.Effect<never, SessionStoreError>) => around(failing(end).load(freshKey(), start))
        const error = new SessionStoreError({ operation: "x", reason: "size", cause: driver })
        const failed = yield* Effect.flip(loadOf(Effect.fail(error)))
        assert.deepStrictEqual([failed.operation, failed.reason], ["x", "size"])
        assert.strictEqual(failed.cause, driver)
        const died = yield* Effect.sandbox(loadOf(Effect.die({ driver }))).pipe(Effect.flip)
        assert.isTrue(Cause.isDie(died))
        expect(Cause.squash(died)).toStrictEqual({ driver })
        assert.isTrue(Exit.isInterrupted(yield* Effect.exit(loadOf(Effect.interrupt))))
      }))
  }

  it("has the capabilities of the wrapped store", () => {
    const store = { ...MemoryStore.make(), capabilities: { durableDestroy: true, remote: true, colocated: () => true } }
    expect(ObservedStore.make(store).capabilities).toStrictEqual(store.capabilities)
  })
})

let tiers = 0
/** A tier name unique to this test: metrics live as long as the process. */
const freshTier = () => `test-${++tiers}`

/** An observed store in which every call has this result. */
const failing = (end: Effect.Effect<never, SessionStoreError>, tier = freshTier()) =>
  ObservedStore.make(FaultyStore.intercept(MemoryStore.make(), () => end), { tier })

const counted = (tier: string, operation: Operation, outcome: ObservedStore.Outcome) =>
  Effect.map(Metric.value(ObservedStore.calls({ tier, operation, outcome })), ({ count }) => count)

/** The counters of a tier, as an exporter reads them. */
const seriesOf = (tier: string) =>
  Effect.map(Metric.snapshot, (pairs) =>
    Object.fromEntries(pairs.flatMap(({ metricKey, metricState }) => {
      const labels = new Map(metricKey.tags.map(({ key, value }) => [key, value]))
      return metricKey.name === "session_store_calls" && labels.get("tier") === tier &&
          MetricState.isCounterState(metricState)
        ? [[`${labels.get("operation")} ${labels.get("outcome")}`, Number(metricState.count)]]
        : []
    })))

describe("calls", () => {
  it.live("are counted by tier, operation and outcome; counters of regular outcomes start at zero", () =>
    Effect.gen(function*() {
      const tier = freshTier()
      const store = ObservedStore.make(MemoryStore.make(), { tier })
      const before = yield* seriesOf(tier)
      const outcomes = {
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
      }
      const zeros = Object.entries(outcomes).flatMap(([of, all]) => all.map((outcome) => [`${of} ${outcome}`, 0]))
      expect(before).toStrictEqual(Object.fromEntries(zeros))

      const { key, record } = yield* stored(store)
      yield* store.load(key, start)
      yield* store.load(freshKey(), start)
      yield* store.save(key, record, { expectedVersion: 7, now: start })
      yield* store.save(key, record, { expectedVersion: 1, now: start })
      yield* store.save(freshKey(), record, { expectedVersion: 1, now: start })
      yield* store.revoke("laws", freshId())
      yield* Effect.exit(failing(Effect.die("x"), tier).load(key, start))
      yield* Effect.exit(failing(new SessionStoreError({ operation: "x", reason: "timeout" }), tier).destroy(key))
      const names = ["create created", "load hit", "load miss", "save conflict", "save saved", "save gone"]
      const ones = [...names, "revoke done", "load defect", "destroy timeout"].map((name) => [name, 1])
      expect(yield* seriesOf(tier)).toStrictEqual({ ...before, ...Object.fromEntries(ones) })
      assert.strictEqual(yield* counted(tier, "save", "conflict"), 1)
    }))

  it.live("within a limit are counted as full or evicted, and a reason why a session ended as hit or miss", () =>
    Effect.gen(function*() {
      const tier = freshTier()
      const store = ObservedStore.make(MemoryStore.make(), { tier })
      const { key } = yield* stored(store)
      const anonymous = yield* stored(store, { subject: undefined })
      const login = { ...anonymous.record, subject: "ann", createdAt: start + 1 }
      const loginWithin = (limit: SubjectLimit) =>
        store.rotate(anonymous.key, freshKey(), login, { expectedVersion: 1, now: start, limit })
      yield* store.create(freshKey(), aRecord(), start, { max: 1, onFull: "deny" })
      yield* loginWithin({ max: 1, onFull: "deny" })
      yield* store.endReason(key, start)
      yield* loginWithin({ max: 1, onFull: "oldest" })
      yield* store.endReason(key, start)
      yield* store.create(freshKey(), aRecord({ createdAt: start + 2 }), start, { max: 1, onFull: "oldest" })
      const once = [
        "create full",
        "rotate full",
        "endReason miss",
        "rotate evicted",
        "endReason hit",
        "create evicted"
      ]
      const series = yield* seriesOf(tier)
      assert.deepStrictEqual(once.map((name) => [name, series[name]]), once.map((name) => [name, 1]))
    }))

  it.live("are counted once, with and without tracing", () =>
    Effect.gen(function*() {
      const tier = freshTier()
      const load = ObservedStore.make(MemoryStore.make(), { tier }).load(freshKey(), start)
      yield* traced(load)
      assert.strictEqual(yield* counted(tier, "load", "miss"), 1)
      yield* load
      assert.strictEqual(yield* counted(tier, "load", "miss"), 2)
    }))

  it.live("have the metric labels of the fiber", () =>
    Effect.gen(function*() {
      const tier = freshTier()
      const tagged = Effect.tagMetrics("region", "north")
      yield* tagged(ObservedStore.make(MemoryStore.make(), { tier }).load(freshKey(), start))
      assert.strictEqual(yield* counted(tier, "load", "miss"), 0)
      assert.strictEqual(yield* tagged(counted(tier, "load", "miss")), 1)
    }))

  it.live("give the hit rate after the first load", () =>
    Effect.gen(function*() {
      const tier = freshTier()
      const store = ObservedStore.make(MemoryStore.make(), { tier })
      assert.isUndefined(Option.getOrUndefined(yield* ObservedStore.hitRate(tier)))
      const one = yield* stored(store)
      yield* Effect.forEach(range(3), () => isThere(store, one.key, start))
      yield* isThere(store, freshKey(), start)
      assert.strictEqual(Option.getOrUndefined(yield* ObservedStore.hitRate(tier)), 0.75)
    }))

  it.live("count a rejected cache fill as exists: the session was written by another process during the read", () =>
    Effect.gen(function*() {
      const [cacheTier, originTier] = [freshTier(), freshTier()]
      const cache = MemoryStore.make()
      const origin = MemoryStore.make()
      const one = yield* stored(origin)
      // Another process with the same cache writes after the read of the origin and before the fill.
      const other = yield* TieredStore.make(cache, origin, { lease: "5 seconds" })
      const write = other.save(one.key, one.record, { expectedVersion: 1, now: start })
      const raced: Store = { ...origin, load: (...args) => Effect.zipLeft(origin.load(...args), write) }
      const node = yield* TieredStore.make(
        ObservedStore.make(cache, { tier: cacheTier }),
        ObservedStore.make(raced, { tier: originTier }),
        { lease: "5 seconds" }
      )
      yield* isThere(node, one.key, start)
      assert.isAbove(Number(yield* counted(cacheTier, "create", "exists")), 0)
      assert.strictEqual(yield* counted(cacheTier, "create", "created"), 0)
      assert.strictEqual(yield* counted(originTier, "load", "hit"), 1)
    }))
})

describe("latency", () => {
  const slow = (tier: string) =>
    ObservedStore.make(FaultyStore.intercept(MemoryStore.make(), (_, call) => Effect.delay(call, "30 millis")), {
      tier
    })
  const latencyOf = (tier: string) => Metric.value(ObservedStore.latency({ tier, operation: "load" }))

  for (const [name, around] of [["untraced", untraced], ["traced", traced]] as const) {
    it.effect(`is the duration of a call in milliseconds (${name})`, () =>
      Effect.gen(function*() {
        const tier = freshTier()
        const fiber = yield* Effect.fork(around(slow(tier).load(freshKey(), start)))
        yield* TestClock.adjust("30 millis")
        yield* Fiber.join(fiber)
        const { buckets, count, sum } = yield* latencyOf(tier)
        assert.deepStrictEqual([count, sum], [1, 30])
        assert.deepStrictEqual(buckets.filter(([limit]) => limit === 25 || limit === 50), [[25, 0], [50, 1]])
      }))

    it.effect(`of a call that timed out is the timeout, and the call counts as interrupted (${name})`, () =>
      Effect.gen(function*() {
        const tier = freshTier()
        const limited = Effect.exit(Effect.timeout(slow(tier).load(freshKey(), start), "20 millis"))
        const fiber = yield* Effect.fork(around(limited))
        yield* TestClock.adjust("20 millis")
        assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
        assert.strictEqual(yield* counted(tier, "load", "interrupted"), 1)
        const { count, sum } = yield* latencyOf(tier)
        assert.deepStrictEqual([count, sum], [1, 20])
      }))
  }
})
