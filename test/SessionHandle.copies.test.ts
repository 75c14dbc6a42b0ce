import { it } from "@effect/vitest"
import { Effect, Layer, Option, Schema, TestClock } from "effect"
import { Lifetime, MemoryStore, Session, StoredEngine } from "effect-session"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import * as TieredStore from "effect-session/TieredStore"
import { assert, describe, expect } from "vitest"
import { intercepted } from "./support/intercept.js"
import { visit } from "./support/requestWithoutHttp.js"

class Cart extends Session.Tag<Cart>()("test/Copies", {
  schema: Schema.Struct({ items: Schema.optionalWith(Schema.Number, { default: () => 0 }) })
}) {}

/** A session with a copy here, whose store can be reached past the copy, and can be down. */
const setUp = Effect.gen(function*() {
  const state = { down: false }
  const truth = MemoryStore.make()
  const back = intercepted(
    truth,
    (operation, call) =>
      Effect.suspend(() => state.down ? Effect.fail(new SessionStoreError({ operation, reason: "unavailable" })) : call)
  )
  const server = (store: Store) =>
    Effect.map(
      Layer.build(Cart.layer.pipe(
        Layer.provide(StoredEngine.layer),
        Layer.provide(Layer.succeed(SessionStore, store))
      )),
      (context) => <A, E>(handler: Effect.Effect<A, E, Cart>, cookie?: string) =>
        Effect.provide(visit(Cart, handler, cookie), context)
    )
  const here = yield* server(yield* TieredStore.make(MemoryStore.make(), back, { lease: "10 seconds" }))
  const elsewhere = yield* server(truth)
  const { cookie } = yield* here(Effect.zipRight(Cart.authenticate("ann"), Cart.set("items", 1)))
  yield* here(Cart.value, cookie)
  /** The store is down, and that is known. */
  const goDown = Effect.zipRight(
    Effect.sync(() => void (state.down = true)),
    here(Effect.exit(Effect.zipRight(Cart.reload, Cart.value)), cookie)
  )
  return { cookie, elsewhere, goDown, here, state, truth }
})

describe("fresh", () => {
  it.scoped("the copy is what it was, within its lease; a fresh session is what the store holds", () =>
    Effect.gen(function*() {
      const { cookie, elsewhere, here } = yield* setUp
      yield* elsewhere(Cart.set("items", 2), cookie)
      assert.strictEqual((yield* here(Cart.get("items"), cookie)).result, 1)
      assert.strictEqual((yield* here(Effect.zipRight(Cart.reload, Cart.get("items")), cookie)).result, 2)
    }))

  it.scoped("asked for after a reading, it is what the store holds from then on", () =>
    Effect.gen(function*() {
      const { cookie, elsewhere, here } = yield* setUp
      yield* elsewhere(Cart.set("items", 2), cookie)
      const { result } = yield* here(Effect.all([Cart.get("items"), Cart.reload, Cart.get("items")]), cookie)
      assert.deepStrictEqual(result, [1, undefined, 2])
    }))

  it.scoped("after a logout elsewhere there is no session", () =>
    Effect.gen(function*() {
      const { cookie, elsewhere, here } = yield* setUp
      yield* elsewhere(Cart.destroy, cookie)
      const { result } = yield* here(Effect.all([Cart.subject, Cart.reload, Cart.subject]), cookie)
      expect(result).toStrictEqual([Option.some("ann"), undefined, Option.none()])
    }))

  it.scoped("changes that were made before it stay, and meet the store at the commit", () =>
    Effect.gen(function*() {
      const { cookie, elsewhere, here } = yield* setUp
      yield* elsewhere(Cart.set("items", 10), cookie)
      const { error } = yield* here(Effect.zipRight(Cart.update("items", (n) => n + 1), Cart.reload), cookie)
      assert.isUndefined(error)
      assert.strictEqual((yield* elsewhere(Cart.get("items"), cookie)).result, 11)
    }))

  it.scoped("after save and after flush it goes on from there", () =>
    Effect.gen(function*() {
      const { cookie, here } = yield* setUp
      const saved = yield* here(Effect.all([Cart.set("items", 5), Cart.save, Cart.reload, Cart.get("items")]), cookie)
      assert.strictEqual(saved.result[3], 5)
      const made = yield* here(Effect.all([Cart.set("items", 7), Cart.save, Cart.reload, Cart.get("items")]))
      assert.strictEqual(made.result[3], 7)
      const flushed = yield* here(Effect.all([Cart.destroy, Cart.reload, Cart.subject]), cookie)
      expect(flushed.result[2]).toStrictEqual(Option.none())
      assert.isUndefined(flushed.cookie)
    }))
})

describe("a store that is down", () => {
  it.scoped("by default nobody is answered from a copy", () =>
    Effect.gen(function*() {
      const { cookie, goDown, here } = yield* setUp
      yield* goDown
      const error = yield* Effect.flip(here(Cart.value, cookie))
      assert.strictEqual(error.reason, "store")
    }))

  it.scoped("allowStale reads the copy and says so; without it, or while the store is up, it says no", () =>
    Effect.gen(function*() {
      const { cookie, goDown, here } = yield* setUp
      const read = Effect.all([Cart.allowStale, Cart.isReadOnly, Cart.get("items")])
      assert.deepStrictEqual((yield* here(read, cookie)).result, [false, false, 1])
      yield* goDown
      const { cookie: kept, error, setCookie, result } = yield* here(read, cookie)
      assert.deepStrictEqual(result, [true, true, 1])
      assert.deepStrictEqual([error, setCookie, kept], [undefined, undefined, cookie])
    }))

  it.scoped("every change of it fails where it is made, and tells when to try again", () =>
    Effect.gen(function*() {
      const { cookie, goDown, here } = yield* setUp
      yield* goDown
      for (
        const change of [
          Cart.set("items", 3),
          Cart.update("items", (n) => n + 1),
          Cart.modify("items", (n) => [n, n + 1]),
          Cart.clear,
          Cart.rotate,
          Cart.authenticate("bob"),
          Cart.setExpiry(Lifetime.lasting("1 hour"))
        ]
      ) {
        const { error, result } = yield* here(Effect.zipRight(Cart.allowStale, Effect.flip(change)), cookie)
        assert.include(result, { _tag: "SessionUnavailable", reason: "readOnly", retryAfter: 5 })
        assert.match(result.message, /can be read but not changed/)
        assert.isUndefined(error)
      }
    }))

  it.scoped("its use is not written down: a touch that is due is none, and no error", () =>
    Effect.gen(function*() {
      const { cookie, goDown, here, state, truth } = yield* setUp
      yield* TestClock.adjust("1 hour")
      yield* here(Cart.value, cookie)
      yield* TestClock.adjust("9 seconds")
      const before = yield* truth.scan("test/Copies", { limit: 10, now: 0 })
      yield* goDown
      const { error, setCookie } = yield* here(Effect.zipRight(Cart.allowStale, Cart.value), cookie)
      assert.deepStrictEqual([error, setCookie], [undefined, undefined])
      state.down = false
      assert.deepStrictEqual(yield* truth.scan("test/Copies", { limit: 10, now: 0 }), before)
    }))

  it.scoped("a logout is 503 with the cookie kept, copy or not", () =>
    Effect.gen(function*() {
      const { cookie, goDown, here } = yield* setUp
      yield* goDown
      const { cookie: kept, error } = yield* here(Effect.zipRight(Cart.allowStale, Cart.destroy), cookie)
      assert.include(error, { _tag: "SessionUnavailable", reason: "store" })
      assert.strictEqual(kept, cookie)
    }))

  it.scoped("when the lease has passed there is no copy to read", () =>
    Effect.gen(function*() {
      const { cookie, goDown, here } = yield* setUp
      yield* goDown
      yield* TestClock.adjust("10 seconds")
      const error = yield* Effect.flip(here(Cart.allowStale, cookie))
      assert.strictEqual(error.reason, "store")
    }))
})
