/**
 * What a tracer is told of a store that is watched, and what it is not.
 */
import { it } from "@effect/vitest"
import { Effect, Exit, Fiber, Metric, Option, TestClock, Tracer } from "effect"
import { MemoryStore } from "effect-session"
import * as ObservedStore from "effect-session/ObservedStore"
import { SessionStoreError } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { inspect } from "node:util"
import { assert, describe, expect } from "vitest"
import { intercepted, type Interception } from "../src/internal/store/intercepted.js"
import { aRecord, freshKey, hour, minute, start, type Stored, stored } from "../src/internal/testing/records.js"
import type { Operation } from "../src/SessionStore.js"

/** What a tracer was told of a span. */
interface Told {
  readonly name: string
  readonly parent: string | undefined
  readonly attributes: Map<string, unknown>
  /** Options, events and links. */
  readonly more: Array<unknown>
  readonly begun: bigint
  ended?: bigint
  exit?: Exit.Exit<unknown, unknown>
}

/** Keeps all that it is told, as an exporter may. */
const recording = () => {
  const spans: Array<Told> = []
  const tracer = Tracer.make({
    span: (name, parent, context, links, startTime, kind, options) => {
      const told: Told = {
        name,
        parent: Option.getOrUndefined(
          Option.map(parent, (parent) => parent._tag === "Span" ? parent.name : "external")
        ),
        attributes: new Map(),
        more: [options, links],
        begun: startTime
      }
      spans.push(told)
      return {
        _tag: "Span",
        name,
        spanId: String(spans.length),
        traceId: "trace",
        parent,
        context,
        status: { _tag: "Started", startTime },
        attributes: told.attributes,
        links,
        sampled: true,
        kind,
        end: (endTime, exit) => void Object.assign(told, { ended: endTime, exit }),
        attribute: (key, value) => void told.attributes.set(key, value),
        event: (...event) => void told.more.push(event),
        addLinks: (links) => void told.more.push(links)
      }
    },
    context: (run) => run()
  })
  return { spans, traced: Effect.withTracer(tracer) }
}

/** A call of a function of a store, and what becomes of it for a session that is there, and for one that is not. */
type Act = readonly [
  operation: Operation,
  ifThere: ObservedStore.Outcome,
  ifNot: ObservedStore.Outcome,
  run: (store: Store, one: Stored) => Effect.Effect<unknown, SessionStoreError>
]

const newKey = freshKey()
const otherKey = freshKey()

/** Every function, in an order in which all can be done to one session. */
const acts: ReadonlyArray<Act> = [
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
  ["revokeAll", "done", "done", (store, { record: { namespace } }) => store.revokeAll(namespace)]
]

const failing = (end: Effect.Effect<never, SessionStoreError>) =>
  ObservedStore.make(intercepted(MemoryStore.make(), () => end))

const outcomesOf = (spans: ReadonlyArray<Told>) =>
  spans.map(({ attributes, exit }) => [attributes.get("session.store.outcome"), exit?._tag])

describe("spans", () => {
  it.live("one for each call, with tier and outcome, and nothing else", () =>
    Effect.gen(function*() {
      const { spans, traced } = recording()
      const memory = MemoryStore.make()
      const store = ObservedStore.make(memory, { tier: "back" })
      const there = yield* stored(memory)
      const not = { key: freshKey(), record: aRecord() }
      for (const [, , , run] of acts) yield* traced(run(store, there))
      for (const [, , , run] of acts) yield* traced(run(store, not))
      expect(spans.map(({ attributes, name }) => [name, [...attributes]])).toStrictEqual(
        [...acts.map(([of, ifThere]) => [of, ifThere]), ...acts.map(([of, , ifNot]) => [of, ifNot])]
          .map(([operation, outcome]) => [
            `session.store.${operation}`,
            [["session.store.tier", "back"], ["session.store.outcome", outcome]]
          ])
      )
      const functions = Object.keys(memory).filter((name) => name !== "capabilities")
      assert.sameMembers([...new Set(acts.map(([operation]) => String(operation)))], functions)
    }))

  it.live("a failure by its reason, which is what the error of the span says, too", () =>
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

  it.live("a word that a store makes up is not repeated", () =>
    Effect.gen(function*() {
      const { spans, traced } = recording()
      // A store need not be written in TypeScript.
      const made: SessionStoreError = Object.assign(Object.create(SessionStoreError.prototype), { reason: "alice" })
      yield* traced(Effect.exit(failing(Effect.fail(made)).load(freshKey(), start)))
      yield* traced(Effect.exit(failing(Effect.die("alice")).load(freshKey(), start)))
      const answering: Store = { ...MemoryStore.make(), save: () => Effect.succeed(JSON.parse(`"alice"`)) }
      yield* traced(ObservedStore.make(answering).save(freshKey(), aRecord(), { expectedVersion: 1, now: start }))
      assert.deepStrictEqual(outcomesOf(spans), [["unavailable", "Failure"], ["defect", "Failure"], [
        "done",
        "Success"
      ]])
      assert.notInclude(inspect(spans, { depth: 20 }), "alice")
    }))

  it.live("stand between the caller's and the store's own", () =>
    Effect.gen(function*() {
      const { spans, traced } = recording()
      const store = ObservedStore.make(intercepted(MemoryStore.make(), (_, call) => Effect.withSpan(call, "driver")))
      yield* traced(Effect.withSpan(store.load(freshKey(), start), "request"))
      assert.deepStrictEqual(spans.map(({ name, parent }) => [name, parent]), [
        ["request", undefined],
        ["session.store.load", "request"],
        ["driver", "session.store.load"]
      ])
    }))

  it.live("there are none where nobody sees them: with Effect's own tracer, or with tracing off", () =>
    Effect.gen(function*() {
      const around: Array<string | undefined> = []
      const note = Effect.flatMap(
        Effect.option(Effect.currentSpan),
        (span) => Effect.sync(() => around.push(Option.getOrUndefined(span)?.name))
      )
      const store = ObservedStore.make(intercepted(MemoryStore.make(), (_, call) => Effect.zipRight(note, call)))
      const load = store.load(freshKey(), start)
      const { spans, traced } = recording()
      yield* load
      yield* Effect.withSpan(load, "request")
      yield* traced(Effect.withTracerEnabled(load, false))
      yield* traced(load)
      assert.deepStrictEqual(around, [undefined, "request", undefined, "session.store.load"])
      assert.strictEqual(spans.length, 1)
    }))

  it.effect("begin and end with the call, also with one that is given up", () =>
    Effect.gen(function*() {
      const { spans, traced } = recording()
      const store = ObservedStore.make(
        intercepted(MemoryStore.make(), (_, call) => Effect.delay(call, "30 millis"))
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
  it.live("no key, id, subject or data, and no word of a driver, is told, whatever becomes of the calls", () =>
    Effect.gen(function*() {
      const { spans, traced } = recording()
      const one = {
        key: freshKey(),
        record: aRecord({ namespace: "app/hidden", subject: "alice@example.com", data: `{"card":"4242-4242"}` })
      }
      const said = `duplicate entry '${one.key}' '${newKey}' ${JSON.stringify(one.record)}`
      const driver = Object.assign(new Error(said, { cause: said }), { parameters: [one] })
      const error = new SessionStoreError({ operation: said, reason: "unavailable", cause: driver })
      const dying = Effect.addFinalizer(() => Effect.die(driver))
      const fates: ReadonlyArray<Interception> = [
        (_, call) => call,
        () => Effect.fail(error),
        () => Effect.die(driver),
        () => Effect.scoped(Effect.zipRight(dying, Effect.interrupt))
      ]
      for (const fate of fates) {
        const memory = MemoryStore.make()
        yield* memory.create(one.key, one.record, start)
        const store = ObservedStore.make(intercepted(memory, fate), { tier: "secrets" })
        for (const [, , , run] of acts) yield* traced(Effect.exit(run(store, one)))
      }
      assert.includeDeepMembers(outcomesOf(spans), [
        ["hit", "Success"],
        ["saved", "Success"],
        ["unavailable", "Failure"],
        ["defect", "Failure"]
      ])
      const metrics = yield* Metric.snapshot
      const everything = { depth: 30, maxStringLength: null, maxArrayLength: null, showHidden: true }
      for (const [what, told] of [["a span", inspect(spans, everything)], ["a metric", inspect(metrics, everything)]]) {
        assert.include(told, "secrets")
        const { id, writeId } = one.record
        const words = [one.key, newKey, id, writeId, "app/hidden", "alice@example.com", "4242-4242", "duplicate"]
        for (const secret of words) assert.isFalse(told?.includes(secret), `${secret} is in ${what}`)
      }
    }))
})
