import { it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, Scheduler, Schema } from "effect"
import { MemoryStore, Session, StoredEngine } from "effect-session"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import * as TieredStore from "effect-session/TieredStore"
import { assert, describe } from "vitest"
import { intercepted } from "./support/intercept.js"
import { visit } from "./support/requestWithoutHttp.js"

class Cart extends Session.Tag<Cart>()("test/Reread", {
  schema: Schema.Struct({
    items: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    list: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] })
  })
}) {}

/** A scheduler that gives way once, at this step. */
const yieldingAt = (op: number): Scheduler.Scheduler => {
  let ops = 0
  return {
    scheduleTask: (task, priority) => Scheduler.defaultScheduler.scheduleTask(task, priority),
    shouldYield: () => ++ops === op ? 0 : false
  }
}

const setUp = Effect.gen(function*() {
  const state = { down: false, hangs: false }
  const truth = MemoryStore.make()
  const back = intercepted(
    truth,
    (operation, call) =>
      Effect.suspend(() =>
        state.hangs
          ? Effect.never
          : state.down
          ? Effect.fail(new SessionStoreError({ operation, reason: "unavailable" }))
          : call
      )
  )
  const server = (store: Store) =>
    Effect.map(
      Layer.build(
        Cart.layer.pipe(Layer.provide(StoredEngine.layer), Layer.provide(Layer.succeed(SessionStore, store)))
      ),
      (context) => <A, E>(handler: Effect.Effect<A, E, Cart>, cookie?: string) =>
        Effect.provide(visit(Cart, handler, cookie), context)
    )
  const here = yield* server(yield* TieredStore.make(MemoryStore.make(), back, { lease: "10 seconds" }))
  const plain = yield* server(back)
  const elsewhere = yield* server(truth)
  const { cookie } = yield* here(Effect.zipRight(Cart.authenticate("ann"), Cart.set("items", 1)))
  yield* here(Cart.value, cookie)
  return { cookie, elsewhere, here, plain, state, truth }
})

describe("a fresh that failed", () => {
  for (const which of ["plain", "here"] as const) {
    it.scoped(`${which}: a change after it is saved, or an error`, () =>
      Effect.gen(function*() {
        const { cookie, elsewhere, state, ...servers } = yield* setUp
        const { error, result } = yield* servers[which](
          Effect.gen(function*() {
            yield* Cart.get("items")
            state.down = true
            yield* Effect.ignore(Cart.reload)
            state.down = false
            return yield* Effect.either(Cart.set("items", 5))
          }),
          cookie
        )
        const now = (yield* elsewhere(Cart.get("items"), cookie)).result
        assert.isTrue(
          now === 5 || error !== undefined || result._tag === "Left",
          `result ${result._tag}, error ${error}, stored ${now}`
        )
      }))
  }
})

describe("fresh forgets what the handler has read", () => {
  it.scoped("a set that rests on a reading from before fresh is no blind set", () =>
    Effect.gen(function*() {
      const { cookie, elsewhere, plain } = yield* setUp
      yield* elsewhere(Cart.set("list", ["a"]), cookie)
      const { error } = yield* plain(
        Effect.gen(function*() {
          const seen = yield* Cart.get("list")
          yield* elsewhere(Cart.set("list", ["a", "b"]), cookie)
          yield* Cart.reload
          return yield* Effect.exit(Cart.set("list", [...seen, "c"]))
        }),
        cookie
      )
      const now = (yield* elsewhere(Cart.get("list"), cookie)).result
      assert.include(now, "b", `error ${error}`)
    }))
  it.scoped("the same with save in place of fresh", () =>
    Effect.gen(function*() {
      const { cookie, elsewhere, plain } = yield* setUp
      yield* elsewhere(Cart.set("list", ["a"]), cookie)
      yield* plain(
        Effect.gen(function*() {
          const seen = yield* Cart.get("list")
          yield* elsewhere(Cart.set("list", ["a", "b"]), cookie)
          yield* Cart.update("items", (n) => n + 1)
          yield* Cart.save
          return yield* Effect.exit(Cart.set("list", [...seen, "c"]))
        }),
        cookie
      )
      assert.include((yield* elsewhere(Cart.get("list"), cookie)).result, "b")
    }))
})

describe("what runs alone", () => {
  it.live("if it is interrupted at any moment, the others go on", () =>
    Effect.scoped(Effect.gen(function*() {
      const layer = Layer.provide(Cart.layer, StoredEngine.layer)
      const service = yield* Effect.provide(Cart.service, Layer.provide(layer, MemoryStore.layer))
      const bad: Array<number> = []
      for (let op = 1; op < 80; op++) {
        const session = service.request(undefined)
        yield* session.set("items", op)
        const fiber = Effect.runFork(session.save, { scheduler: yieldingAt(op) })
        // It has given way at that moment, and is interrupted in it.
        yield* Fiber.interruptFork(fiber)
        const others = Effect.zipRight(session.set("items", 0), session.save)
        if (Option.isNone(yield* Effect.timeoutOption(others, "10 seconds"))) bad.push(op)
      }
      assert.deepStrictEqual(bad, [])
    })))
})

describe("a request that was aborted", () => {
  it.scoped("does not make others read-only while the store is up", () =>
    Effect.gen(function*() {
      const { cookie, here, state, elsewhere } = yield* setUp
      const { cookie: other } = yield* elsewhere(Cart.authenticate("bob"))
      state.hangs = true
      const fiber = yield* Effect.fork(here(Cart.value, other))
      for (let i = 0; i < 5; i++) yield* Effect.yieldNow()
      yield* Fiber.interrupt(fiber)
      state.hangs = false
      const { result } = yield* here(
        Effect.zipRight(Cart.allowStale, Effect.either(Cart.set("items", 2))),
        cookie
      )
      assert.strictEqual(result._tag, "Right")
    }))
})

describe("what was read stays read", () => {
  for (const which of ["reload", "save"] as const) {
    it.scoped(`a field read before ${which}, changed elsewhere after it, and set: not lost`, () =>
      Effect.gen(function*() {
        const { cookie, elsewhere, plain } = yield* setUp
        yield* elsewhere(Cart.set("list", ["a"]), cookie)
        const { error } = yield* plain(
          Effect.gen(function*() {
            const seen = yield* Cart.get("list")
            if (which === "save") yield* Cart.update("items", (n) => n + 1)
            yield* Cart[which]
            yield* elsewhere(Cart.set("list", ["a", "b"]), cookie)
            return yield* Effect.exit(Cart.set("list", [...seen, "c"]))
          }),
          cookie
        )
        assert.include((yield* elsewhere(Cart.get("list"), cookie)).result, "b", `error ${error}`)
      }))
  }
})
