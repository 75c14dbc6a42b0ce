import { it } from "@effect/vitest"
import { Effect, Fiber, Option, Redacted, TestClock } from "effect"
import type { BoundEngine, CookieValue, Write } from "effect-session/SessionEngine"
import type { SessionRecord } from "effect-session/SessionRecord"
import { SessionStoreError } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import { start } from "../src/internal/testing/records.js"
import type { Session } from "./support/engines.js"
import { namespace, next, opened, record, seen, withSession, written } from "./support/engines.js"
import type { Operation } from "./support/intercept.js"
import type { Fault } from "./support/recordedStore.js"
import { faults, faulty } from "./support/recordedStore.js"

/** Lets time pass until every time limit has been met, and gives the outcome. */
const patiently = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.fork(effect)
    for (let i = 0; i < 4; i++) yield* TestClock.adjust("1 second")
    return yield* Fiber.join(fiber)
  })

/** Every write of an engine, and what must be true of the store once it was done: no less, and never twice. */
const writes: ReadonlyArray<{
  readonly operation: Operation
  readonly run: (session: Session) => Effect.Effect<CookieValue, SessionStoreError>
  readonly isDone: (session: Session, value: CookieValue) => Effect.Effect<void, unknown>
}> = [
  {
    operation: "create",
    run: ({ engine }) => valueOf(engine, { _tag: "Create", record: other }),
    isDone: ({ memory, plain }, value) =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* opened(plain, value), other)
        assert.lengthOf(yield* memory.scan(namespace, { limit: 10, now: start }), 2)
      })
  },
  {
    operation: "save",
    run: ({ engine, record, value }) =>
      valueOf(engine, { _tag: "Save", value, record: next(record), expectedVersion: 1 }),
    isDone: ({ plain, record, value: before }, value) =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* opened(plain, value), next(record))
        assert.strictEqual(Redacted.value(value), Redacted.value(before))
      })
  },
  {
    operation: "rotate",
    run: ({ engine, record, value }) =>
      valueOf(engine, { _tag: "Rotate", value, record: next(record), expectedVersion: 1 }),
    isDone: ({ memory, plain, record, value: before }, value) =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* opened(plain, value), next(record))
        assert.isUndefined(yield* opened(plain, before))
        assert.lengthOf(yield* memory.scan(namespace, { limit: 10, now: start }), 1)
      })
  },
  {
    operation: "touch",
    run: ({ engine, record, value }) => valueOf(engine, { _tag: "Touch", value, record: seen(record) }),
    isDone: ({ plain, record }, value) =>
      Effect.map(opened(plain, value), (found) => assert.deepStrictEqual(found, seen(record)))
  },
  {
    operation: "destroy",
    run: ({ engine, value }) => Effect.as(engine.destroy(value), value),
    isDone: ({ plain }, value) => Effect.map(opened(plain, value), (found) => assert.isUndefined(found))
  }
]

const other = record({ data: `"other"` })
const theirs = (before: SessionRecord): SessionRecord => ({ ...before, data: `"theirs"`, writeId: "theirs" })

/** Writes, and gives the value that now leads to the session; the record that comes with it must be the one meant. */
const valueOf = (engine: BoundEngine, write: Write) =>
  Effect.map(written(engine, write), ({ record, value }) => {
    assert.deepStrictEqual(record, write.record)
    return value
  })

const allFaults = Object.keys(faults) as ReadonlyArray<Fault>

describe("an outcome that got lost", () => {
  for (const { isDone, operation, run } of writes) {
    it.effect(`${operation}: without a fault it is one call`, () =>
      Effect.gen(function*() {
        const session = yield* withSession(faulty({}))
        yield* isDone(session, yield* run(session))
        assert.lengthOf(session.callsOf(operation), 1)
        assert.lengthOf(session.callsOf("load"), 0)
      }))

    for (const fault of allFaults) {
      it.effect(`${operation}: ${fault} once, it is done exactly once, and said to be`, () =>
        Effect.gen(function*() {
          const session = yield* withSession(faulty({ [operation]: [fault] }))
          yield* isDone(session, yield* patiently(run(session)))
          assert.lengthOf(session.callsOf(operation), 2)
        }))

      for (const second of allFaults) {
        it.effect(`${operation}: ${fault}, then ${second}, it is an error and not tried a third time`, () =>
          Effect.gen(function*() {
            const session = yield* withSession(faulty({ [operation]: [fault, second] }))
            const error = yield* Effect.flip(patiently(run(session)))
            assert.strictEqual(error.reason, faults[second].answer)
            assert.lengthOf(session.callsOf(operation), 2)
          }))
      }
    }

    it.effect(`${operation}: a store that is not remote is asked once, and given all the time it wants`, () =>
      Effect.gen(function*() {
        const session = yield* withSession(faulty({ [operation]: ["refused", "silent"] }), false)
        assert.strictEqual((yield* Effect.flip(run(session))).reason, "unavailable")
        assert.lengthOf(session.callsOf(operation), 1)
        const waiting = yield* Effect.fork(run(session))
        yield* TestClock.adjust("1 hour")
        assert.isTrue(Option.isNone(yield* Fiber.poll(waiting)))
        yield* Fiber.interrupt(waiting)
      }))

    for (const reason of ["corrupt", "transaction"] as const) {
      it.effect(`${operation}: "${reason}" is an answer, and not tried again`, () =>
        Effect.gen(function*() {
          const session = yield* withSession((operation) => Effect.fail(new SessionStoreError({ operation, reason })))
          assert.strictEqual((yield* Effect.flip(run(session))).reason, reason)
          assert.lengthOf(session.callsOf(operation), 1)
        }))
    }
  }
})

describe("an outcome that got lost while another writer was there", () => {
  /** Runs a write whose first call goes wrong, and after which another writer acts on the store. */
  const overtaken = (
    tag: "Create" | "Rotate" | "Save",
    script: { readonly [K in Operation]?: ReadonlyArray<Fault> },
    act: (session: Session) => Effect.Effect<unknown, unknown>
  ) =>
    Effect.gen(function*() {
      const session: Session = yield* withSession(faulty(script, Effect.suspend(() => act(session))))
      const { record, value } = session
      const write: Write = tag === "Create"
        ? { _tag: tag, record: other }
        : { _tag: tag, value, record: next(record), expectedVersion: 1 }
      const outcome = yield* Effect.either(patiently(session.engine.write(write, start)))
      return { ...session, outcome: outcome._tag === "Left" ? outcome.left.reason : outcome.right._tag }
    })

  const saves = (version: number) => ({ plain, record, value }: Session) =>
    written(plain, { _tag: "Save", value, record: theirs(record), expectedVersion: version })
  const ends = ({ memory }: Session) => memory.revokeAll(namespace)
  const nothing = () => Effect.void

  it.effect("save: ours was done and another's came after it: an error, not a conflict that replays ours", () =>
    Effect.gen(function*() {
      const { outcome, plain, value } = yield* overtaken("Save", { save: ["lost"] }, saves(2))
      assert.strictEqual(outcome, "unavailable")
      assert.strictEqual((yield* opened(plain, value))?.data, `"theirs"`)
    }))

  it.effect("save: ours was not done and another's came: from outside the same, so an error too", () =>
    Effect.gen(function*() {
      const { outcome, plain, value } = yield* overtaken("Save", { save: ["silent"] }, saves(1))
      assert.strictEqual(outcome, "timeout")
      assert.strictEqual((yield* opened(plain, value))?.data, `"theirs"`)
    }))

  it.effect("rotate: another's save came before ours: a conflict, and the old value still leads to it", () =>
    Effect.gen(function*() {
      const { memory, outcome, plain, value } = yield* overtaken("Rotate", { rotate: ["refused"] }, saves(1))
      assert.strictEqual(outcome, "Conflict")
      assert.strictEqual((yield* opened(plain, value))?.data, `"theirs"`)
      assert.lengthOf(yield* memory.scan(namespace, { limit: 10, now: start }), 1)
    }))

  for (const tag of ["Save", "Rotate"] as const) {
    const operation = tag === "Save" ? "save" : "rotate"
    for (const fault of allFaults) {
      it.effect(`${operation}: ${fault}, and the session was revoked meanwhile: it is gone`, () =>
        Effect.gen(function*() {
          const { memory, outcome } = yield* overtaken(tag, { [operation]: [fault] }, ends)
          assert.strictEqual(outcome, "Gone")
          assert.lengthOf(yield* memory.scan(namespace, { limit: 10, now: start }), 0)
        }))
    }
  }

  it.effect("create: ours was done and revoked meanwhile: an error, because the session it made is no more", () =>
    Effect.gen(function*() {
      const { memory, outcome } = yield* overtaken("Create", { create: ["lost"] }, ends)
      assert.strictEqual(outcome, "unavailable")
      assert.lengthOf(yield* memory.scan(namespace, { limit: 10, now: start }), 0)
    }))

  for (const tag of ["Create", "Save", "Rotate"] as const) {
    it.effect(`${tag}: the question what became of it fails as well: an error`, () =>
      Effect.gen(function*() {
        const operation = tag === "Create" ? "create" : tag === "Save" ? "save" : "rotate"
        const refused = yield* overtaken(tag, { [operation]: ["lost"], load: ["refused"] }, nothing)
        assert.strictEqual(refused.outcome, "unavailable")
        const silent = yield* overtaken(tag, { [operation]: ["lost"], load: ["silent"] }, nothing)
        assert.strictEqual(silent.outcome, "timeout")
      }))
  }
})
