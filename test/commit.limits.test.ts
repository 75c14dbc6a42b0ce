/**
 * Whom a commit that runs out of time blames: the store, or other requests.
 */
import { it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Schema, TestClock } from "effect"
import { MemoryStore, Session, type SessionError, StoredEngine } from "effect-session"
import * as MigratingStore from "effect-session/MigratingStore"
import type { Settings } from "effect-session/SessionService"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import * as TieredStore from "effect-session/TieredStore"
import { assert, describe } from "vitest"
import type { Around } from "./support/recordedStore.js"
import { faulty, recorded } from "./support/recordedStore.js"
import { visit } from "./support/requestWithoutHttp.js"

class Shop extends Session.Tag<Shop>()("test/CommitLimits", {
  schema: Schema.Struct({ visits: Schema.optionalWith(Schema.Number, { default: () => 0 }) })
}) {}

const count = Shop.update("visits", (n) => n + 1)

/** A server on a remote store, with one session; then the store behaves as it is told. */
const served = (
  around: Around,
  { over = Effect.succeed, settings = {}, timeout }: {
    readonly over?: (store: Store) => Effect.Effect<Store, unknown>
    readonly settings?: Settings
    readonly timeout?: Duration.DurationInput
  } = {}
) =>
  Effect.gen(function*() {
    let isHealthy = true
    const { calls, store } = recorded(
      MemoryStore.make(),
      (operation, call, args) => Effect.suspend(() => isHealthy ? call : around(operation, call, args)),
      true
    )
    const engine = StoredEngine.layerWith(timeout === undefined ? {} : { timeout })
    const context = yield* Layer.build(
      Shop.layerWith(settings).pipe(
        Layer.provide(engine),
        Layer.provide(Layer.effect(SessionStore, Effect.orDie(over(store))))
      )
    )
    const { cookie } = yield* Effect.provide(visit(Shop, count), context)
    const before = calls.length
    isHealthy = false
    const callsOf = (operation: string) => calls.slice(before).filter((call) => call.operation === operation).length
    return {
      visit: Effect.provide(visit(Shop, count, cookie), context),
      callsOf,
      heal: Effect.sync(() => void (isHealthy = true)),
      visits: Effect.map(Effect.provide(visit(Shop, Shop.get("visits"), cookie), context), ({ result }) => result)
    }
  })

/** Lets time pass in steps, for timers that are set when others have run out. */
const pass = (time: Duration.DurationInput) => Effect.repeatN(TestClock.adjust(Duration.times(time, 0.01)), 99)

/** The error of a request, which must be there when so much time has passed. */
const after = (time: Duration.DurationInput, request: Effect.Effect<{ readonly error: unknown }, unknown>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.fork(request)
    yield* pass(time)
    assert.isNotNull(fiber.unsafePoll(), "the request takes longer")
    return (yield* Fiber.join(fiber)).error as SessionError.SessionError | undefined
  })

const blamesStore = (error: SessionError.SessionError | undefined, operation: string) => {
  if (error?._tag !== "SessionUnavailable") return assert.fail(String(error))
  assert.strictEqual(error.reason, "store")
  if (!(error.cause instanceof SessionStoreError)) return assert.fail(String(error.cause))
  assert.deepStrictEqual([error.cause.operation, error.cause.reason], [operation, "timeout"])
}

const silentSaves = () => faulty({ save: ["silent", "silent", "silent", "silent"] })

const stacks = {
  "one store": Effect.succeed,
  "a tiered store": (back: Store) => TieredStore.make(MemoryStore.make(), back, { lease: "5 seconds" }),
  "a migrating store": (store: Store) =>
    Effect.sync(() => MigratingStore.make(store, MemoryStore.make(), { phase: "prepare" }))
} satisfies Record<string, (store: Store) => Effect.Effect<Store, unknown>>

describe("a store that does not answer a write", () => {
  for (const [name, over] of Object.entries(stacks)) {
    it.scoped(`${name}: is what the answer blames, with the timeout as cause, after two tries`, () =>
      Effect.gen(function*() {
        const { callsOf, visit } = yield* served(silentSaves(), { over })
        blamesStore(yield* after("3 seconds", visit), "save")
        assert.strictEqual(callsOf("save"), 2)
      }))
  }

  const numbers: ReadonlyArray<readonly [timeout: Duration.DurationInput, commitTimeout: Duration.DurationInput]> = [
    ["1 second", "2 seconds"],
    ["1 second", "500 millis"],
    ["20 seconds", "2 seconds"],
    ["100 millis", "10 seconds"]
  ]
  for (const [timeout, commitTimeout] of numbers) {
    it.scoped(`with ${timeout} for a call and ${commitTimeout} for a commit: two tries fit into it`, () =>
      Effect.gen(function*() {
        const { callsOf, visit } = yield* served(silentSaves(), { timeout, settings: { commitTimeout } })
        blamesStore(yield* after(commitTimeout, visit), "save")
        assert.strictEqual(callsOf("save"), 2)
      }))
  }

  it.scoped("is blamed by those who wait for the commit that it holds up, too", () =>
    Effect.gen(function*() {
      const { visit } = yield* served(silentSaves())
      const other = yield* Effect.fork(visit)
      const error = yield* after("3 seconds", visit)
      if (error?._tag !== "SessionUnavailable") return assert.fail(String(error))
      assert.strictEqual(error.reason, "store")
      assert.instanceOf(error.cause, SessionStoreError)
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.interrupt(other)
    }))

  it.scoped("and has done it: the question what became of it fits into the limit, and it is no error", () =>
    Effect.gen(function*() {
      // From the first save on each call takes 850 ms, and that one is done and does not answer.
      const lost = faulty({ save: ["swallowed"] })
      let saves = 0
      const { callsOf, heal, visit, visits } = yield* served((operation, call, args) => {
        if (operation === "save") saves++
        return Effect.delay(lost(operation, call, args), saves > 0 ? "850 millis" : 0)
      })
      const error = yield* after("3 seconds", visit)
      assert.isUndefined(error)
      assert.deepStrictEqual([callsOf("save"), callsOf("load")], [2, 2])
      yield* heal
      assert.strictEqual(yield* visits, 2)
    }))
})

describe("other commits in the way", () => {
  it.scoped("are blamed by a commit that they leave no time", () =>
    Effect.gen(function*() {
      // Each save takes 700 ms, and writes the updates of at most 64 requests; of 330 at once, the first few hundred are in time.
      const { visit } = yield* served((operation, call) =>
        operation === "save" ? Effect.delay(call, "700 millis") : call
      )
      const requests = yield* Effect.forEach(Array.from({ length: 330 }), () => Effect.fork(visit))
      yield* pass("4 seconds")
      const reasons = yield* Effect.forEach(requests, (request) =>
        Effect.map(
          Fiber.join(request),
          ({ error }) => error === undefined ? "done" : error._tag === "SessionUnavailable" ? error.reason : error._tag
        ))
      assert.deepStrictEqual(new Set(reasons), new Set(["done", "busy"]))
    }))
})
