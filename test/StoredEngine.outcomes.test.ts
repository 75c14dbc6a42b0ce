import { it } from "@effect/vitest"
import { Effect, Fiber, Option, Redacted, TestClock } from "effect"
import { start } from "effect-session/Fixtures"
import type { BoundEngine, CookieValue, Write } from "effect-session/SessionEngine"
import type { SessionRecord } from "effect-session/SessionRecord"
import { SessionStoreError } from "effect-session/SessionStore"
import type { Operation } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import { assert, describe } from "vitest"
import type { Session } from "./support/engines.js"
import { namespace, next, opened, record, seen, withSession, written } from "./support/engines.js"

/** Runs the effect while the test clock passes every timeout. */
const pastTimeouts = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.fork(effect)
    for (let i = 0; i < 4; i++) yield* TestClock.adjust("1 second")
    return yield* Fiber.join(fiber)
  })

/** All writes of an engine, each with a check that it was applied exactly once. */
const writes: ReadonlyArray<{
  readonly operation: Operation
  readonly run: (session: Session) => Effect.Effect<CookieValue, SessionStoreError>
  readonly isApplied: (session: Session, value: CookieValue) => Effect.Effect<void, unknown>
}> = [
  {
    operation: "create",
    run: ({ engine }) => valueOf(engine, { _tag: "Create", record: other }),
    isApplied: ({ memory, plain }, value) =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* opened(plain, value), other)
        assert.lengthOf(yield* memory.scan(namespace, { limit: 10, now: start }), 2)
      })
  },
  {
    operation: "save",
    run: ({ engine, record, value }) =>
      valueOf(engine, { _tag: "Save", value, record: next(record), expectedVersion: 1 }),
    isApplied: ({ plain, record, value: before }, value) =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* opened(plain, value), next(record))
        assert.strictEqual(Redacted.value(value), Redacted.value(before))
      })
  },
  {
    operation: "rotate",
    run: ({ engine, record, value }) =>
      valueOf(engine, { _tag: "Rotate", value, record: next(record), expectedVersion: 1 }),
    isApplied: ({ memory, plain, record, value: before }, value) =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* opened(plain, value), next(record))
        assert.isUndefined(yield* opened(plain, before))
        assert.lengthOf(yield* memory.scan(namespace, { limit: 10, now: start }), 1)
      })
  },
  {
    operation: "touch",
    run: ({ engine, record, value }) => valueOf(engine, { _tag: "Touch", value, record: seen(record) }),
    isApplied: ({ plain, record }, value) =>
      Effect.map(opened(plain, value), (found) => assert.deepStrictEqual(found, seen(record)))
  },
  {
    operation: "destroy",
    run: ({ engine, value }) => Effect.as(engine.destroy(value), value),
    isApplied: ({ plain }, value) => Effect.map(opened(plain, value), (found) => assert.isUndefined(found))
  }
]

const other = record({ data: `"other"` })
const theirs = (before: SessionRecord): SessionRecord => ({ ...before, data: `"theirs"`, writeId: "theirs" })

/** Performs the write, checks the returned record and returns the cookie value. */
const valueOf = (engine: BoundEngine, write: Write) =>
  Effect.map(written(engine, write), ({ record, value }) => {
    assert.deepStrictEqual(record, write.record)
    return value
  })

const allFaults = FaultyStore.faults.filter((fault) => fault !== "duplicate")

describe("an unknown outcome", () => {
  for (const { isApplied, operation, run } of writes) {
    it.effect(`${operation}: without a fault it is one store call`, () =>
      Effect.gen(function*() {
        const session = yield* withSession(FaultyStore.injecting(FaultyStore.schedule({})))
        yield* isApplied(session, yield* run(session))
        assert.lengthOf(session.callsOf(operation), 1)
        assert.lengthOf(session.callsOf("load"), 0)
      }))

    for (const fault of allFaults) {
      it.effect(`${operation}: after ${fault} once, it succeeds and is applied exactly once`, () =>
        Effect.gen(function*() {
          const session = yield* withSession(FaultyStore.injecting(FaultyStore.schedule({ [operation]: [fault] })))
          yield* isApplied(session, yield* pastTimeouts(run(session)))
          assert.lengthOf(session.callsOf(operation), 2)
        }))

      for (const second of allFaults) {
        it.effect(`${operation}: after ${fault}, then ${second}, it fails without a third attempt`, () =>
          Effect.gen(function*() {
            const session = yield* withSession(
              FaultyStore.injecting(FaultyStore.schedule({ [operation]: [fault, second] }))
            )
            const error = yield* Effect.flip(pastTimeouts(run(session)))
            assert.strictEqual(error.reason, second.startsWith("fail") ? "unavailable" : "timeout")
            assert.lengthOf(session.callsOf(operation), 2)
          }))
      }
    }

    it.effect(`${operation}: a local store is called once, without a timeout`, () =>
      Effect.gen(function*() {
        const session = yield* withSession(
          FaultyStore.injecting(FaultyStore.schedule({ [operation]: ["failBefore", "hang"] })),
          false
        )
        assert.strictEqual((yield* Effect.flip(run(session))).reason, "unavailable")
        assert.lengthOf(session.callsOf(operation), 1)
        const waiting = yield* Effect.fork(run(session))
        yield* TestClock.adjust("1 hour")
        assert.isTrue(Option.isNone(yield* Fiber.poll(waiting)))
        yield* Fiber.interrupt(waiting)
      }))

    for (const reason of ["corrupt", "transaction"] as const) {
      it.effect(`${operation}: reason "${reason}" is not retried`, () =>
        Effect.gen(function*() {
          const session = yield* withSession((operation) => Effect.fail(new SessionStoreError({ operation, reason })))
          assert.strictEqual((yield* Effect.flip(run(session))).reason, reason)
          assert.lengthOf(session.callsOf(operation), 1)
        }))
    }
  }
})

describe("an unknown outcome with a concurrent writer", () => {
  /** Runs a write whose first call fails, after which another writer acts on the store. */
  const overtaken = (
    tag: "Create" | "Rotate" | "Save",
    script: { readonly [K in Operation]?: ReadonlyArray<FaultyStore.Fault> },
    act: (session: Session) => Effect.Effect<unknown, unknown>
  ) =>
    Effect.gen(function*() {
      const session: Session = yield* withSession(
        FaultyStore.injecting(FaultyStore.schedule(script), Effect.suspend(() => Effect.orDie(act(session))))
      )
      const { record, value } = session
      const write: Write = tag === "Create"
        ? { _tag: tag, record: other }
        : { _tag: tag, value, record: next(record), expectedVersion: 1 }
      const outcome = yield* Effect.either(pastTimeouts(session.engine.write(write, start)))
      return { ...session, outcome: outcome._tag === "Left" ? outcome.left.reason : outcome.right._tag }
    })

  const saves = (version: number) => ({ plain, record, value }: Session) =>
    written(plain, { _tag: "Save", value, record: theirs(record), expectedVersion: version })
  const ends = ({ memory }: Session) => memory.revokeAll(namespace)
  const nothing = () => Effect.void

  it.effect("save: it was applied and another save followed: an error, not a conflict that would replay it", () =>
    Effect.gen(function*() {
      const { outcome, plain, value } = yield* overtaken("Save", { save: ["failAfter"] }, saves(2))
      assert.strictEqual(outcome, "unavailable")
      assert.strictEqual((yield* opened(plain, value))?.data, `"theirs"`)
    }))

  it.effect("save: it was not applied and another save followed: indistinguishable, so an error", () =>
    Effect.gen(function*() {
      const { outcome, plain, value } = yield* overtaken("Save", { save: ["hang"] }, saves(1))
      assert.strictEqual(outcome, "timeout")
      assert.strictEqual((yield* opened(plain, value))?.data, `"theirs"`)
    }))

  it.effect("rotate: another save came first: a conflict, and the old value stays valid", () =>
    Effect.gen(function*() {
      const { memory, outcome, plain, value } = yield* overtaken("Rotate", { rotate: ["failBefore"] }, saves(1))
      assert.strictEqual(outcome, "Conflict")
      assert.strictEqual((yield* opened(plain, value))?.data, `"theirs"`)
      assert.lengthOf(yield* memory.scan(namespace, { limit: 10, now: start }), 1)
    }))

  for (const tag of ["Save", "Rotate"] as const) {
    const operation = tag === "Save" ? "save" : "rotate"
    for (const fault of allFaults) {
      it.effect(`${operation}: after ${fault} and a revocation the session is gone`, () =>
        Effect.gen(function*() {
          const { memory, outcome } = yield* overtaken(tag, { [operation]: [fault] }, ends)
          assert.strictEqual(outcome, "Gone")
          assert.lengthOf(yield* memory.scan(namespace, { limit: 10, now: start }), 0)
        }))
    }
  }

  it.effect("create: it was applied and then revoked: an error, because the session no longer exists", () =>
    Effect.gen(function*() {
      const { memory, outcome } = yield* overtaken("Create", { create: ["failAfter"] }, ends)
      assert.strictEqual(outcome, "unavailable")
      assert.lengthOf(yield* memory.scan(namespace, { limit: 10, now: start }), 0)
    }))

  for (const tag of ["Create", "Save", "Rotate"] as const) {
    it.effect(`${tag}: if the load that resolves the outcome fails too, the write fails`, () =>
      Effect.gen(function*() {
        const operation = tag === "Create" ? "create" : tag === "Save" ? "save" : "rotate"
        const rejected = yield* overtaken(tag, { [operation]: ["failAfter"], load: ["failBefore"] }, nothing)
        assert.strictEqual(rejected.outcome, "unavailable")
        const silent = yield* overtaken(tag, { [operation]: ["failAfter"], load: ["hang"] }, nothing)
        assert.strictEqual(silent.outcome, "timeout")
      }))
  }
})
