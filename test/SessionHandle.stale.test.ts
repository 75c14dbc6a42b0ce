import { it } from "@effect/vitest"
import { Effect, Layer, Option, Schema, TestClock } from "effect"
import { Lifetime, MemoryStore, Session, StoredEngine } from "effect-session"
import { SessionStore } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import * as TieredStore from "effect-session/TieredStore"
import { assert, describe, expect } from "vitest"
import { visit } from "./support/requestWithoutHttp.js"

class Cart extends Session.Tag<Cart>()("test/Copies", {
  schema: Schema.Struct({ items: Schema.optionalWith(Schema.Number, { default: () => 0 }) })
}) {}

/**
 * A session cached by `here`; `elsewhere` uses the origin store directly; `controls` makes the origin fail for
 * `here`.
 */
const setUp = Effect.gen(function*() {
  const originStore = MemoryStore.make()
  const { controls, store: origin } = FaultyStore.controlled(originStore, false)
  const server = (store: Store) =>
    Effect.map(
      Layer.build(Cart.layer.pipe(
        Layer.provide(StoredEngine.layer),
        Layer.provide(Layer.succeed(SessionStore, store))
      )),
      (context) => <A, E>(handler: Effect.Effect<A, E, Cart>, cookie?: string) =>
        Effect.provide(visit(Cart, handler, cookie), context)
    )
  const here = yield* server(yield* TieredStore.make(MemoryStore.make(), origin, { lease: "10 seconds" }))
  const elsewhere = yield* server(originStore)
  const { cookie } = yield* here(Effect.zipRight(Cart.authenticate("ann"), Cart.set("items", 1)))
  yield* here(Cart.value, cookie)
  /** Takes the origin down and makes `here` notice it. */
  const goDown = Effect.zipRight(
    Effect.sync(() => void (controls.fault = "failBefore")),
    here(Effect.exit(Effect.zipRight(Cart.reload, Cart.value)), cookie)
  )
  return { cookie, elsewhere, goDown, here, controls, originStore }
})

describe("reload", () => {
  it.scoped("a read within the lease returns the cached value; after reload it returns the origin's value", () =>
    Effect.gen(function*() {
      const { cookie, elsewhere, here } = yield* setUp
      yield* elsewhere(Cart.set("items", 2), cookie)
      assert.strictEqual((yield* here(Cart.get("items"), cookie)).result, 1)
      assert.strictEqual((yield* here(Effect.zipRight(Cart.reload, Cart.get("items")), cookie)).result, 2)
    }))

  it.scoped("after a read, later reads return the origin's value", () =>
    Effect.gen(function*() {
      const { cookie, elsewhere, here } = yield* setUp
      yield* elsewhere(Cart.set("items", 2), cookie)
      const { result } = yield* here(Effect.all([Cart.get("items"), Cart.reload, Cart.get("items")]), cookie)
      assert.deepStrictEqual(result, [1, undefined, 2])
    }))

  it.scoped("after a logout in another process, there is no session", () =>
    Effect.gen(function*() {
      const { cookie, elsewhere, here } = yield* setUp
      yield* elsewhere(Cart.destroy, cookie)
      const { result } = yield* here(Effect.all([Cart.subject, Cart.reload, Cart.subject]), cookie)
      expect(result).toStrictEqual([Option.some("ann"), undefined, Option.none()])
    }))

  it.scoped("changes made before it stay pending and are merged with the origin's record at the commit", () =>
    Effect.gen(function*() {
      const { cookie, elsewhere, here } = yield* setUp
      yield* elsewhere(Cart.set("items", 10), cookie)
      const { error } = yield* here(Effect.zipRight(Cart.update("items", (n) => n + 1), Cart.reload), cookie)
      assert.isUndefined(error)
      assert.strictEqual((yield* elsewhere(Cart.get("items"), cookie)).result, 11)
    }))

  it.scoped("after save and after destroy, it reloads the session as they left it", () =>
    Effect.gen(function*() {
      const { cookie, here } = yield* setUp
      const saved = yield* here(Effect.all([Cart.set("items", 5), Cart.save, Cart.reload, Cart.get("items")]), cookie)
      assert.strictEqual(saved.result[3], 5)
      const made = yield* here(Effect.all([Cart.set("items", 7), Cart.save, Cart.reload, Cart.get("items")]))
      assert.strictEqual(made.result[3], 7)
      const destroyed = yield* here(Effect.all([Cart.destroy, Cart.reload, Cart.subject]), cookie)
      expect(destroyed.result[2]).toStrictEqual(Option.none())
      assert.isUndefined(destroyed.cookie)
    }))
})

describe("while the origin is down", () => {
  it.scoped("reads fail by default, even if the session is cached", () =>
    Effect.gen(function*() {
      const { cookie, goDown, here } = yield* setUp
      yield* goDown
      const error = yield* Effect.flip(here(Cart.value, cookie))
      assert.strictEqual(error.reason, "store")
    }))

  it.scoped("allowStale lets reads return the cached value, and isReadOnly is then true", () =>
    Effect.gen(function*() {
      const { cookie, goDown, here } = yield* setUp
      const read = Effect.all([Cart.allowStale, Cart.isReadOnly, Cart.get("items")])
      assert.deepStrictEqual((yield* here(read, cookie)).result, [false, false, 1])
      yield* goDown
      const { cookie: kept, error, setCookie, result } = yield* here(read, cookie)
      assert.deepStrictEqual(result, [true, true, 1])
      assert.deepStrictEqual([error, setCookie, kept], [undefined, undefined, cookie])
    }))

  it.scoped("every change of a stale session fails at the call, with Retry-After", () =>
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

  it.scoped("a due touch of a stale session is skipped without an error", () =>
    Effect.gen(function*() {
      const { cookie, goDown, here, controls, originStore } = yield* setUp
      yield* TestClock.adjust("1 hour")
      yield* here(Cart.value, cookie)
      yield* TestClock.adjust("9 seconds")
      const before = yield* originStore.scan("test/Copies", { limit: 10, now: 0 })
      yield* goDown
      const { error, setCookie } = yield* here(Effect.zipRight(Cart.allowStale, Cart.value), cookie)
      assert.deepStrictEqual([error, setCookie], [undefined, undefined])
      controls.fault = undefined
      assert.deepStrictEqual(yield* originStore.scan("test/Copies", { limit: 10, now: 0 }), before)
    }))

  it.scoped("a logout fails with 503 and keeps the cookie, with and without a cached value", () =>
    Effect.gen(function*() {
      const { cookie, goDown, here } = yield* setUp
      yield* goDown
      const { cookie: kept, error } = yield* here(Effect.zipRight(Cart.allowStale, Cart.destroy), cookie)
      assert.include(error, { _tag: "SessionUnavailable", reason: "store" })
      assert.strictEqual(kept, cookie)
    }))

  it.scoped("allowStale fails once the lease has passed", () =>
    Effect.gen(function*() {
      const { cookie, goDown, here } = yield* setUp
      yield* goDown
      yield* TestClock.adjust("10 seconds")
      const error = yield* Effect.flip(here(Cart.allowStale, cookie))
      assert.strictEqual(error.reason, "store")
    }))
})
