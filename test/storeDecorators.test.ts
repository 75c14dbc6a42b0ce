/** Store decorators, called directly and in a pipe, and the identifiers of store errors. */
import { it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Option, pipe } from "effect"
import { FaultyStore, MemoryStore, ObservedStore, SessionConfigError, SessionError, SessionStore } from "effect-session"
import { aRecord, freshKey, namespace, start, stored } from "effect-session/Fixtures"
import * as SealedStore from "effect-session/SealedStore"
import { LawBroken } from "effect-session/testing"
import * as TieredStore from "effect-session/TieredStore"
import * as AST from "effect/SchemaAST"
import { assert, describe } from "vitest"
import { firstKey, keyringOf } from "./support/keyrings.js"
import { farExpiry } from "./support/migrationRaces.js"

const memory = MemoryStore.make()
const clock = Effect.succeed(start)
const plan = FaultyStore.schedule({ load: ["failBefore"] })

const decorated: Record<string, readonly [direct: SessionStore.Store, piped: SessionStore.Store]> = {
  "SessionStore.byClock": [SessionStore.byClock(memory, clock), pipe(memory, SessionStore.byClock(clock))],
  "FaultyStore.make": [FaultyStore.make(memory, plan), pipe(memory, FaultyStore.make(plan))],
  "ObservedStore.make": [ObservedStore.make(memory), pipe(memory, ObservedStore.make())],
  "ObservedStore.make with options": [
    ObservedStore.make(memory, { tier: "memory" }),
    pipe(memory, ObservedStore.make({ tier: "memory" }))
  ]
}

describe("store decorators", () => {
  for (const [name, [direct, piped]] of Object.entries(decorated)) {
    it.effect(`${name} gives an equivalent store if it is used in a pipe`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(piped.capabilities, direct.capabilities)
        assert.deepStrictEqual(
          yield* Effect.either(piped.load(freshKey(), start)),
          yield* Effect.either(direct.load(freshKey(), start))
        )
        const [key, other] = [freshKey(), freshKey()]
        assert.strictEqual(yield* piped.create(key, aRecord(), start), "created")
        assert.strictEqual(yield* direct.create(other, aRecord(), start), "created")
        assert.isTrue(Option.isSome(yield* direct.load(key, start)))
        assert.isTrue(Option.isSome(yield* piped.load(other, start)))
      }))
  }

  it.effect("a piped byClock limits times by the clock of the store", () =>
    Effect.gen(function*() {
      const store = pipe(memory, SessionStore.byClock(clock))
      const error = yield* Effect.flip(store.removeExpired({ now: start + 3_600_000, limit: 1 }))
      assert.strictEqual(error.reason, "clock")
    }))
})

describe("limits, reasons and revocations of one's own session", () => {
  const decorators: Record<string, (store: SessionStore.Store) => Effect.Effect<SessionStore.Store, unknown>> = {
    "SessionStore.byClock": (store) => Effect.succeed(SessionStore.byClock(store, clock)),
    "FaultyStore.make": (store) => Effect.succeed(FaultyStore.make(store, FaultyStore.schedule({}))),
    "FaultyStore.corruptible": (store) => Effect.succeed(FaultyStore.corruptible(store).store),
    "ObservedStore.make": (store) => Effect.succeed(ObservedStore.make(store)),
    "SealedStore.make": (store) => Effect.provide(SealedStore.make(store), keyringOf(firstKey)),
    "TieredStore.make": (store) => TieredStore.make(MemoryStore.make(), store, { lease: "5 seconds" })
  }

  for (const [name, decorate] of Object.entries(decorators)) {
    it.effect(`${name} passes them to its store, and the capability to its caller`, () =>
      Effect.gen(function*() {
        const store = yield* decorate(MemoryStore.make())
        assert.isTrue(store.capabilities.limitsSubjects)
        const one = yield* stored(store, { expiry: farExpiry })
        const [first, second] = [freshKey(), freshKey()]
        const later = aRecord({ createdAt: start + 1, expiry: farExpiry })
        assert.strictEqual(yield* store.create(first, later, start, { max: 1, onFull: "deny" }), "full")
        assert.deepStrictEqual(
          yield* store.create(first, later, start, { max: 1, onFull: "oldest" }),
          { _tag: "Evicted", ids: [one.record.id] }
        )
        assert.deepStrictEqual(yield* store.endReason(one.key, start), Option.some("limit"))
        const options = { expectedVersion: 1, now: start, limit: { max: 1, onFull: "oldest" } } as const
        const other = yield* stored(store, { createdAt: start + 2, expiry: farExpiry })
        assert.deepStrictEqual(
          yield* store.rotate(other.key, second, other.record, options),
          { _tag: "Evicted", ids: [later.id] }
        )
        assert.strictEqual(
          yield* store.save(second, { ...other.record, data: `"new"` }, { expectedVersion: 2, now: start }),
          "saved"
        )
        assert.strictEqual(Option.getOrThrow(yield* store.load(second, start, "fresh")).data, `"new"`)
        assert.isFalse(yield* store.revoke(namespace, other.record.id, "bob"))
        assert.isTrue(yield* store.revoke(namespace, other.record.id, "ann"))
        assert.deepStrictEqual(yield* store.endReason(second, start), Option.some("revoked"))
      }))
  }

  for (const fault of FaultyStore.faults) {
    it.effect(`FaultyStore has the fault ${fault} for endReason`, () =>
      Effect.gen(function*() {
        const { calls, store } = FaultyStore.recorded(MemoryStore.make())
        const faulty = FaultyStore.make(store, FaultyStore.schedule({ endReason: [fault] }))
        const fiber = yield* Effect.fork(faulty.endReason(freshKey(), start))
        yield* Effect.yieldNow()
        const exit = Option.getOrUndefined(yield* Fiber.poll(fiber))
        const outcome = exit === undefined ? "waits" : Exit.isSuccess(exit) ? "succeeds" : "fails"
        assert.deepStrictEqual(
          [calls.length, outcome],
          {
            failBefore: [0, "fails"],
            failAfter: [1, "fails"],
            hang: [0, "waits"],
            loseReply: [1, "waits"],
            duplicate: [2, "succeeds"]
          }[fault]
        )
        yield* Fiber.interrupt(fiber)
      }))
  }
})

it("errors are identified as effect-session.<tag>", () => {
  const errors = [
    SessionStore.SessionStoreError,
    SessionConfigError.SessionConfigError,
    LawBroken,
    SessionError.SessionConflict
  ]
  for (const error of errors) {
    const { ast } = error
    assert.strictEqual(Option.getOrUndefined(AST.getIdentifierAnnotation(ast)) ?? error.identifier, error.identifier)
    assert.strictEqual(error.identifier, `effect-session.${error._tag}`)
  }
})

describe("FaultyStore.corruptible", () => {
  it.effect("a page of a list without its corrupt records is full while there are more", () =>
    Effect.gen(function*() {
      const { corrupt, store } = FaultyStore.corruptible(MemoryStore.make())
      const { key } = yield* stored(store, { subject: "ann" })
      for (const later of [1, 2, 3]) yield* stored(store, { subject: "ann", createdAt: start + later })
      yield* corrupt(key)
      const page = yield* store.list(namespace, "ann", start, { limit: 2 })
      assert.deepStrictEqual(page.map(({ createdAt }) => createdAt - start), [1, 2])
    }))
})

describe("FaultyStore.layer", () => {
  const layer = FaultyStore.layer(plan).pipe(Layer.provide(MemoryStore.layer))
  const load = Effect.flatMap(SessionStore.SessionStore, (store) => Effect.isFailure(store.load(freshKey(), start)))
  for (const program of ["first", "second"]) {
    it.effect(`counts the calls of each build: the ${program} program has the fault of the first load`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual([yield* load, yield* load], [true, false])
      }).pipe(Effect.provide(layer)))
  }
})
