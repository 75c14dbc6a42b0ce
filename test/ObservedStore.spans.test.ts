/**
 * The spans of an observed store, and the data that they must not contain.
 */
import { it } from "@effect/vitest"
import { Effect, Exit, Fiber, Metric, Option, TestClock } from "effect"
import { MemoryStore } from "effect-session"
import { aRecord, freshKey, hour, minute, start, type Stored, stored } from "effect-session/Fixtures"
import * as ObservedStore from "effect-session/ObservedStore"
import { SessionStoreError } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import { inspect } from "node:util"
import { assert, describe, expect } from "vitest"
import type { Operation } from "../src/SessionStore.js"
import { type RecordedSpan, recording } from "./support/recordedSpans.js"

/** A call of a store operation, and its outcomes for a session that exists and for one that does not. */
type Call = readonly [
  operation: Operation,
  ifPresent: ObservedStore.Outcome,
  ifAbsent: ObservedStore.Outcome,
  run: (store: Store, one: Stored) => Effect.Effect<unknown, SessionStoreError>
]

const newKey = freshKey()
const otherKey = freshKey()

/** Every operation, in an order that works for one session. */
const storeCalls: ReadonlyArray<Call> = [
  ["endReason", "miss", "miss", (store, { key }) => store.endReason(key, start)],
  ["load", "hit", "miss", (store, { key }) => store.load(key, start)],
  ["find", "hit", "miss", (store, { record: { id, namespace } }) => store.find(namespace, id, start)],
  ["list", "done", "done", (store, { record: { namespace, subject } }) => store.list(namespace, subject ?? "", start)],
  ["scan", "done", "done", (store, { record: { namespace } }) => store.scan(namespace, { limit: 10, now: start })],
  ["count", "done", "done", (store) => store.count(start)],
  ["removeExpired", "done", "done", (store) => store.removeExpired({ now: start, limit: 10 })],
  [
    "touch",
    "touched",
    "gone",
    (store, { key }) => store.touch(key, { lastSeenAt: start + minute, expiresAt: start + hour, now: start })
  ],
  ["save", "conflict", "gone", (store, { key, record }) => store.save(key, record, { expectedVersion: 7, now: start })],
  ["save", "saved", "gone", (store, { key, record }) => store.save(key, record, { expectedVersion: 1, now: start })],
  [
    "rotate",
    "conflict",
    "gone",
    (store, { key, record }) => store.rotate(key, newKey, record, { expectedVersion: 7, now: start })
  ],
  ["create", "exists", "created", (store, { key, record }) => store.create(key, record, start)],
  [
    "rotate",
    "saved",
    "conflict",
    (store, { key, record }) => store.rotate(key, otherKey, record, { expectedVersion: 2, now: start })
  ],
  ["revoke", "done", "done", (store, { record: { id, namespace } }) => store.revoke(namespace, id)],
  [
    "revokeSubject",
    "done",
    "done",
    (store, { record: { id, namespace, subject } }) => store.revokeSubject(namespace, subject ?? "", id)
  ],
  ["destroy", "done", "done", (store, { key }) => store.destroy(key)],
  ["endReason", "hit", "hit", (store, { key }) => store.endReason(key, start)],
  ["revokeAll", "done", "done", (store, { record: { namespace } }) => store.revokeAll(namespace)]
]

const failing = (end: Effect.Effect<never, SessionStoreError>) =>
  ObservedStore.make(FaultyStore.intercept(MemoryStore.make(), () => end))

const outcomesOf = (spans: ReadonlyArray<RecordedSpan>) =>
  spans.map(({ attributes, exit }) => [attributes.get("session.store.outcome"), exit?._tag])

describe("spans", () => {
  it.live("there is one per call, with the attributes tier and outcome only", () =>
    Effect.gen(function*() {
      const { spans, traced } = recording()
      const memory = MemoryStore.make()
      const store = ObservedStore.make(memory, { tier: "origin" })
      const present = yield* stored(memory)
      const absent = { key: freshKey(), record: aRecord() }
      for (const [, , , run] of storeCalls) yield* traced(run(store, present))
      for (const [, , , run] of storeCalls) yield* traced(run(store, absent))
      expect(spans.map(({ attributes, name }) => [name, [...attributes]])).toStrictEqual(
        [
          ...storeCalls.map(([of, ifPresent]) => [of, ifPresent]),
          ...storeCalls.map(([of, , ifAbsent]) => [of, ifAbsent])
        ]
          .map(([operation, outcome]) => [
            `session.store.${operation}`,
            [["session.store.tier", "origin"], ["session.store.outcome", outcome]]
          ])
      )
      const functions = Object.keys(memory).filter((name) => name !== "capabilities")
      assert.sameMembers([...new Set(storeCalls.map(([operation]) => String(operation)))], functions)
    }))

  it.live("a write within a limit has the outcome full or evicted, and no id of an evicted session", () =>
    Effect.gen(function*() {
      const { spans, traced } = recording()
      const memory = MemoryStore.make()
      const store = ObservedStore.make(memory)
      const { record } = yield* stored(memory)
      for (const onFull of ["deny", "oldest"] as const) {
        const later = aRecord({ createdAt: start + 1 })
        yield* traced(store.create(freshKey(), later, start, { max: 1, onFull }))
      }
      assert.deepStrictEqual(outcomesOf(spans), [["full", "Success"], ["evicted", "Success"]])
      assert.notInclude(inspect(spans, { depth: 20 }), record.id)
    }))

  it.live("a failed call has its reason as outcome and in the error of its span", () =>
    Effect.gen(function*() {
      const { spans, traced } = recording()
      const reasons = SessionStoreError.fields.reason.literals
      for (const reason of reasons) {
        const store = failing(new SessionStoreError({ operation: "x", reason, cause: new Error("the line is cut") }))
        yield* traced(Effect.exit(store.load(freshKey(), start)))
      }
      expect(spans.map(({ attributes, exit }) => [attributes.get("session.store.outcome"), exit])).toStrictEqual(
        reasons.map((reason) => [reason, Exit.fail(new SessionStoreError({ operation: "load", reason }))])
      )
      assert.deepStrictEqual(outcomesOf(spans), reasons.map((reason) => [reason, "Failure"]))
    }))

  it.live("an unknown reason or result of a store is not recorded", () =>
    Effect.gen(function*() {
      const { spans, traced } = recording()
      // The types do not constrain a store written in JavaScript.
      const invalid: SessionStoreError = Object.assign(Object.create(SessionStoreError.prototype), { reason: "alice" })
      yield* traced(Effect.exit(failing(Effect.fail(invalid)).load(freshKey(), start)))
      yield* traced(Effect.exit(failing(Effect.die("alice")).load(freshKey(), start)))
      const answering: Store = { ...MemoryStore.make(), save: () => Effect.succeed(JSON.parse(`"alice"`)) }
      yield* traced(ObservedStore.make(answering).save(freshKey(), aRecord(), { expectedVersion: 1, now: start }))
      assert.deepStrictEqual(outcomesOf(spans), [["unavailable", "Failure"], ["defect", "Failure"], [
        "done",
        "Success"
      ]])
      assert.notInclude(inspect(spans, { depth: 20 }), "alice")
    }))

  it.live("are children of the caller's span and parents of the store's own spans", () =>
    Effect.gen(function*() {
      const { spans, traced } = recording()
      const store = ObservedStore.make(
        FaultyStore.intercept(MemoryStore.make(), (_, call) => Effect.withSpan(call, "driver"))
      )
      yield* traced(Effect.withSpan(store.load(freshKey(), start), "request"))
      assert.deepStrictEqual(spans.map(({ name, parent }) => [name, parent]), [
        ["request", undefined],
        ["session.store.load", "request"],
        ["driver", "session.store.load"]
      ])
    }))

  it.live("there are none with Effect's native tracer or with tracing disabled", () =>
    Effect.gen(function*() {
      const around: Array<string | undefined> = []
      const note = Effect.flatMap(
        Effect.option(Effect.currentSpan),
        (span) => Effect.sync(() => around.push(Option.getOrUndefined(span)?.name))
      )
      const store = ObservedStore.make(
        FaultyStore.intercept(MemoryStore.make(), (_, call) => Effect.zipRight(note, call))
      )
      const load = store.load(freshKey(), start)
      const { spans, traced } = recording()
      yield* load
      yield* Effect.withSpan(load, "request")
      yield* traced(Effect.withTracerEnabled(load, false))
      yield* traced(load)
      assert.deepStrictEqual(around, [undefined, "request", undefined, "session.store.load"])
      assert.strictEqual(spans.length, 1)
    }))

  it.effect("begin and end with the call, also if it is interrupted", () =>
    Effect.gen(function*() {
      const { spans, traced } = recording()
      const store = ObservedStore.make(
        FaultyStore.intercept(MemoryStore.make(), (_, call) => Effect.delay(call, "30 millis"))
      )
      yield* TestClock.adjust("1 second")
      for (const limit of ["1 minute", "20 millis"] as const) {
        const limited = Effect.exit(Effect.timeout(store.load(freshKey(), start), limit))
        const fiber = yield* Effect.fork(traced(limited))
        yield* TestClock.adjust("30 millis")
        yield* Fiber.join(fiber)
      }
      assert.deepStrictEqual(spans.map(({ begun, ended }) => [begun, ended]), [
        [1_000_000_000n, 1_030_000_000n],
        [1_030_000_000n, 1_050_000_000n]
      ])
      assert.deepStrictEqual(outcomesOf(spans), [["miss", "Success"], ["interrupted", "Failure"]])
      assert.isTrue(Exit.isInterrupted(spans[1]?.exit ?? Exit.void))
    }))
})

describe("secrets", () => {
  it.live("no span and no metric contains a key, id, subject, data or driver message, whatever the outcome", () =>
    Effect.gen(function*() {
      const { spans, traced } = recording()
      const one = {
        key: freshKey(),
        record: aRecord({ namespace: "app/hidden", subject: "alice@example.com", data: `{"card":"4242-4242"}` })
      }
      const message = `duplicate entry '${one.key}' '${newKey}' ${JSON.stringify(one.record)}`
      const driver = Object.assign(new Error(message, { cause: message }), { parameters: [one] })
      const error = new SessionStoreError({ operation: message, reason: "unavailable", cause: driver })
      const dying = Effect.addFinalizer(() => Effect.die(driver))
      const results: ReadonlyArray<FaultyStore.Interception> = [
        (_, call) => call,
        () => Effect.fail(error),
        () => Effect.die(driver),
        () => Effect.scoped(Effect.zipRight(dying, Effect.interrupt))
      ]
      for (const result of results) {
        const memory = MemoryStore.make()
        yield* memory.create(one.key, one.record, start)
        const store = ObservedStore.make(FaultyStore.intercept(memory, result), { tier: "secrets" })
        for (const [, , , run] of storeCalls) yield* traced(Effect.exit(run(store, one)))
      }
      assert.includeDeepMembers(outcomesOf(spans), [
        ["hit", "Success"],
        ["saved", "Success"],
        ["unavailable", "Failure"],
        ["defect", "Failure"]
      ])
      const metrics = yield* Metric.snapshot
      const everything = { depth: 30, maxStringLength: null, maxArrayLength: null, showHidden: true }
      for (const [what, text] of [["a span", inspect(spans, everything)], ["a metric", inspect(metrics, everything)]]) {
        assert.include(text, "secrets")
        const { id, writeId } = one.record
        const words = [one.key, newKey, id, writeId, "app/hidden", "alice@example.com", "4242-4242", "duplicate"]
        for (const secret of words) assert.isFalse(text?.includes(secret), `${secret} is in ${what}`)
      }
    }))
})
