/** The reported cause of a commit that times out: the store, or other requests. */
import { it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Schema, TestClock } from "effect"
import { MemoryStore, Session, type SessionError, StoredEngine } from "effect-session"
import * as MigratingStore from "effect-session/MigratingStore"
import type { Settings } from "effect-session/SessionService"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import * as TieredStore from "effect-session/TieredStore"
import { assert, describe } from "vitest"
import { visit } from "./support/requestWithoutHttp.js"

class Shop extends Session.Tag<Shop>()("test/CommitLimits", {
  schema: Schema.Struct({ visits: Schema.optionalWith(Schema.Number, { default: () => 0 }) })
}) {}

const count = Shop.update("visits", (n) => n + 1)

/** A server with one session on a remote store. After the first visit, `around` intercepts the store's calls. */
const served = (
  around: FaultyStore.Interception,
  { over = Effect.succeed, settings = {}, timeout }: {
    readonly over?: (store: Store) => Effect.Effect<Store, unknown>
    readonly settings?: Settings
    readonly timeout?: Duration.DurationInput
  } = {}
) =>
  Effect.gen(function*() {
    let isHealthy = true
    const { calls, store } = FaultyStore.recorded(
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

/** Advances the clock in steps, so that timers set by other timers run, too. */
const advance = (time: Duration.DurationInput) => Effect.repeatN(TestClock.adjust(Duration.times(time, 0.01)), 99)

/** Returns the error of a request that must be answered within this time. */
const errorWithin = (time: Duration.DurationInput, request: Effect.Effect<{ readonly error: unknown }, unknown>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.fork(request)
    yield* advance(time)
    assert.isNotNull(fiber.unsafePoll(), "the request takes longer")
    return (yield* Fiber.join(fiber)).error as SessionError.SessionError | undefined
  })

const assertStoreTimeout = (error: SessionError.SessionError | undefined, operation: string) => {
  if (error?._tag !== "SessionUnavailable") return assert.fail(String(error))
  assert.strictEqual(error.reason, "store")
  if (!(error.cause instanceof SessionStoreError)) return assert.fail(String(error.cause))
  assert.deepStrictEqual([error.cause.operation, error.cause.reason], [operation, "timeout"])
}

const silentSaves = () => FaultyStore.injecting(FaultyStore.schedule({ save: ["hang", "hang", "hang", "hang"] }))

const stacks = {
  "one store": Effect.succeed,
  "a tiered store": (origin: Store) => TieredStore.make(MemoryStore.make(), origin, { lease: "5 seconds" }),
  "a migrating store": (store: Store) =>
    Effect.sync(() => MigratingStore.make(store, MemoryStore.make(), { phase: "prepare" }))
} satisfies Record<string, (store: Store) => Effect.Effect<Store, unknown>>

describe("a store that does not answer a write", () => {
  for (const [name, over] of Object.entries(stacks)) {
    it.scoped(`${name}: the commit fails with the store's timeout as cause, within two tries`, () =>
      Effect.gen(function*() {
        const { callsOf, visit } = yield* served(silentSaves(), { over })
        assertStoreTimeout(yield* errorWithin("3 seconds", visit), "save")
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
    it.scoped(`two tries fit into a call timeout of ${timeout} and a commit timeout of ${commitTimeout}`, () =>
      Effect.gen(function*() {
        const { callsOf, visit } = yield* served(silentSaves(), { timeout, settings: { commitTimeout } })
        assertStoreTimeout(yield* errorWithin(commitTimeout, visit), "save")
        assert.strictEqual(callsOf("save"), 2)
      }))
  }

  it.scoped("is also the cause for requests that wait for the commit that it blocks", () =>
    Effect.gen(function*() {
      const { visit } = yield* served(silentSaves())
      const other = yield* Effect.fork(visit)
      const error = yield* errorWithin("3 seconds", visit)
      if (error?._tag !== "SessionUnavailable") return assert.fail(String(error))
      assert.strictEqual(error.reason, "store")
      assert.instanceOf(error.cause, SessionStoreError)
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.interrupt(other)
    }))

  it.scoped("is asked for the unknown outcome within the limit, and a write that was done is no error", () =>
    Effect.gen(function*() {
      // From the first save on, each call takes 850 ms; the first save is executed without an answer.
      const lost = FaultyStore.injecting(FaultyStore.schedule({ save: ["loseReply"] }))
      let saves = 0
      const { callsOf, heal, visit, visits } = yield* served((operation, call, args) => {
        if (operation === "save") saves++
        return Effect.delay(lost(operation, call, args), saves > 0 ? "850 millis" : 0)
      })
      const error = yield* errorWithin("3 seconds", visit)
      assert.isUndefined(error)
      assert.deepStrictEqual([callsOf("save"), callsOf("load")], [2, 2])
      yield* heal
      assert.strictEqual(yield* visits, 2)
    }))
})

describe("other commits of the same session", () => {
  it.scoped("are the cause (busy) if they leave a commit no time", () =>
    Effect.gen(function*() {
      // Each save takes 700 ms and writes the updates of at most 64 requests, so only some of the 330 are in time.
      const { visit } = yield* served((operation, call) =>
        operation === "save" ? Effect.delay(call, "700 millis") : call
      )
      const requests = yield* Effect.forEach(Array.from({ length: 330 }), () => Effect.fork(visit))
      yield* advance("4 seconds")
      const reasons = yield* Effect.forEach(requests, (request) =>
        Effect.map(
          Fiber.join(request),
          ({ error }) => error === undefined ? "done" : error._tag === "SessionUnavailable" ? error.reason : error._tag
        ))
      assert.deepStrictEqual(new Set(reasons), new Set(["done", "busy"]))
    }))
})
