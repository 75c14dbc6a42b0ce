/**
 * Cookie sessions with a ledger that is remote, fails, or is cached.
 */
import { it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, TestClock } from "effect"
import { MemoryStore } from "effect-session"
import * as CacheStore from "effect-session/CacheStore"
import * as CookieEngine from "effect-session/CookieEngine"
import { SessionStore } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import * as TieredStore from "effect-session/TieredStore"
import { assert, describe } from "vitest"
import { firstKey, keyringOf } from "./support/keyrings.js"
import { far, increment, on, read, Tea } from "./support/ledgerEngines.js"
import { visit } from "./support/requestWithoutHttp.js"

describe("a remote ledger", () => {
  const within = <A, E, R>(effect: Effect.Effect<A, E, R>, seconds: number) =>
    Effect.gen(function*() {
      const fiber = yield* Effect.fork(effect)
      for (let i = 0; i < seconds; i++) yield* TestClock.adjust("1 second")
      const exit = yield* Fiber.poll(fiber)
      if (Option.isNone(exit)) return assert.fail(`no answer within ${seconds} seconds`)
      return yield* exit.value
    })

  it.effect("that does not answer: the request gets 503 after one second, and the cookie is kept", () => {
    const { near, served } = far(FaultyStore.injecting(FaultyStore.schedule({ load: ["hang"] })))
    return Effect.gen(function*() {
      const { cookie } = yield* Effect.provide(visit(Tea, increment), near)
      const error = yield* within(Effect.flip(visit(Tea, read, cookie)), 1)
      assert.strictEqual(error._tag, "SessionUnavailable")
      assert.strictEqual((yield* visit(Tea, read, cookie)).result, 1)
    }).pipe(Effect.provide(served))
  })

  it.effect("that does not answer: the request fails after the configured timeout", () => {
    const { near, served } = far(FaultyStore.injecting(FaultyStore.schedule({ load: ["hang"] })), {
      timeout: "5 seconds"
    })
    return Effect.gen(function*() {
      const { cookie } = yield* Effect.provide(visit(Tea, increment), near)
      const waiting = yield* Effect.fork(Effect.flip(visit(Tea, read, cookie)))
      yield* TestClock.adjust("4999 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(waiting)))
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(waiting))._tag, "SessionUnavailable")
    }).pipe(Effect.provide(served))
  })

  for (
    const [operation, handler] of [
      ["save", increment],
      ["save", Tea.rotate],
      // A login begins without the data of the anonymous visitor.
      ["rotate", Effect.zipRight(Tea.authenticate("ann"), Tea.set("count", 1))]
    ] as const
  ) {
    for (const fault of ["failBefore", "failAfter", "hang", "loseReply"] as const) {
      it.effect(`the fault ${fault} in one ${operation}: the operation succeeds and is applied once`, () => {
        const { near, served } = far(FaultyStore.injecting(FaultyStore.schedule({ [operation]: [fault] })))
        return Effect.gen(function*() {
          const { cookie } = yield* Effect.provide(visit(Tea, increment), near)
          const done = yield* within(visit(Tea, handler, cookie), 1)
          assert.isUndefined(done.error)
          assert.notStrictEqual(done.cookie, cookie)
          yield* TestClock.adjust("11 seconds")
          assert.strictEqual((yield* visit(Tea, read, done.cookie)).result, handler === increment ? 2 : 1)
          assert.isUndefined((yield* visit(Tea, increment, done.cookie)).error)
        }).pipe(Effect.provide(served))
      })
    }
  }

  it.effect("two lost saves: the request gets 503, and the visitor's cookie stays valid", () => {
    const { near, served } = far(FaultyStore.injecting(FaultyStore.schedule({ save: ["loseReply", "hang"] })))
    return Effect.gen(function*() {
      const { cookie } = yield* Effect.provide(visit(Tea, increment), near)
      const { error, setCookie } = yield* within(visit(Tea, increment, cookie), 2)
      assert.deepStrictEqual([error?._tag, setCookie], ["SessionUnavailable", undefined])
      yield* TestClock.adjust("11 seconds")
      assert.strictEqual((yield* visit(Tea, read, cookie)).result, 1)
      const again = yield* visit(Tea, increment, cookie)
      assert.strictEqual((yield* visit(Tea, read, again.cookie)).result, 2)
    }).pipe(Effect.provide(served))
  })

  it.effect("a failed save of an acknowledgement: the response is sent, and the next request saves it", () => {
    const { near, served, taken } = far(
      FaultyStore.injecting(FaultyStore.schedule({ save: ["failBefore", "failBefore"] }))
    )
    return Effect.gen(function*() {
      const one = yield* Effect.provide(visit(Tea, increment), near)
      const two = yield* Effect.provide(visit(Tea, increment, one.cookie), near)
      assert.deepStrictEqual(yield* visit(Tea, read, two.cookie), { ...two, result: 2, setCookie: undefined })
      assert.deepStrictEqual(taken(), ["load", "save", "save"])
      yield* visit(Tea, read, two.cookie)
      assert.deepStrictEqual(taken(), ["load", "save"])
      yield* TestClock.adjust("11 seconds")
      assert.strictEqual((yield* visit(Tea, read, one.cookie)).result, 0)
    }).pipe(Effect.provide(served))
  })

  it.effect("a corrupt entry: the request gets 503, and the cookie is kept", () => {
    const memory = MemoryStore.make()
    const { store } = FaultyStore.recorded(
      memory,
      (operation, call) => operation === "load" ? Effect.map(call, corrupted) : call
    )
    const corrupted = <A>(found: A): A =>
      Option.isOption(found)
        ? Object.assign(found, Option.map(found, (record) => Object.assign({}, record, { data: "?" })))
        : found
    return Effect.gen(function*() {
      const { cookie } = yield* Effect.provide(visit(Tea, increment), on(memory))
      const error = yield* Effect.flip(visit(Tea, read, cookie))
      assert.strictEqual(error._tag, "SessionUnavailable")
    }).pipe(Effect.provide(on(store)))
  })
})

describe("a cached ledger", () => {
  it.scoped("a stale entry neither ends a session nor accepts a rejected cookie", () =>
    Effect.gen(function*() {
      const origin = MemoryStore.make()
      // Each node has its own cache.
      const node = Effect.suspend(() =>
        Effect.map(
          Layer.build(Tea.layer.pipe(
            Layer.provide(CookieEngine.layerLedger),
            Layer.provide(keyringOf(firstKey)),
            Layer.provide(TieredStore.layer(Layer.fresh(CacheStore.layer), Layer.succeed(SessionStore, origin), {
              lease: "10 seconds"
            }))
          )),
          (context) => Effect.provide(context)
        )
      )
      const [a, b] = [yield* node, yield* node]
      const one = yield* a(visit(Tea, increment))
      yield* TestClock.adjust("20 seconds")
      for (let i = 0; i < 3; i++) assert.strictEqual((yield* b(visit(Tea, read, one.cookie))).result, 1)
      const two = yield* a(visit(Tea, increment, one.cookie))
      const three = yield* a(visit(Tea, increment, two.cookie))
      // The entry cached on node b is older than the cookie.
      assert.strictEqual((yield* b(visit(Tea, read, three.cookie))).result, 3)
      const four = yield* a(visit(Tea, increment, three.cookie))
      assert.strictEqual((yield* b(visit(Tea, increment, three.cookie))).error?._tag, "SessionConflict")
      assert.strictEqual((yield* b(visit(Tea, read, four.cookie))).result, 4)
      yield* TestClock.adjust("11 seconds")
      const five = yield* b(visit(Tea, increment, four.cookie))
      assert.strictEqual((yield* a(visit(Tea, read, five.cookie))).result, 5)
      assert.strictEqual((yield* b(visit(Tea, read, three.cookie))).result, 0)
    }))
})
