/** Store decorators, called directly and in a pipe, and the identifiers of store errors. */
import { it } from "@effect/vitest"
import { Effect, Layer, Option, pipe } from "effect"
import { FaultyStore, MemoryStore, ObservedStore, SessionConfigError, SessionError, SessionStore } from "effect-session"
import { aRecord, freshKey, namespace, start, stored } from "effect-session/Fixtures"
import { LawBroken } from "effect-session/testing"
import * as AST from "effect/SchemaAST"
import { assert, describe } from "vitest"

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
