import { it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, Scheduler, Schema } from "effect"
import { MemoryStore, Session, StoredEngine } from "effect-session"
import { SessionStore } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import * as TieredStore from "effect-session/TieredStore"
import { assert, describe } from "vitest"
import { visit } from "./support/requestWithoutHttp.js"

class Cart extends Session.Tag<Cart>()("test/Reread", {
  schema: Schema.Struct({
    items: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    list: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] })
  })
}) {}

/** A scheduler that yields once, at operation `op`. */
const yieldingAt = (op: number): Scheduler.Scheduler => {
  let ops = 0
  return {
    scheduleTask: (task, priority) => Scheduler.defaultScheduler.scheduleTask(task, priority),
    shouldYield: () => ++ops === op ? 0 : false
  }
}

const setUp = Effect.gen(function*() {
  const originStore = MemoryStore.make()
  const { controls, store: origin } = FaultyStore.controlled(originStore, false)
  const server = (store: Store) =>
    Effect.map(
      Layer.build(
        Cart.layer.pipe(Layer.provide(StoredEngine.layer), Layer.provide(Layer.succeed(SessionStore, store)))
      ),
      (context) => <A, E>(handler: Effect.Effect<A, E, Cart>, cookie?: string) =>
        Effect.provide(visit(Cart, handler, cookie), context)
    )
  const here = yield* server(yield* TieredStore.make(MemoryStore.make(), origin, { lease: "10 seconds" }))
  const plain = yield* server(origin)
  const elsewhere = yield* server(originStore)
  const { cookie } = yield* here(Effect.zipRight(Cart.authenticate("ann"), Cart.set("items", 1)))
  yield* here(Cart.value, cookie)
  return { cookie, elsewhere, here, plain, controls, originStore }
})

describe("a reload that failed", () => {
  for (const which of ["plain", "here"] as const) {
    it.scoped(`${which}: a later change is either saved or fails`, () =>
      Effect.gen(function*() {
        const { cookie, elsewhere, controls, ...servers } = yield* setUp
        const { error, result } = yield* servers[which](
          Effect.gen(function*() {
            yield* Cart.get("items")
            controls.fault = "failBefore"
            yield* Effect.ignore(Cart.reload)
            controls.fault = undefined
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

describe("values read before a reload or a save", () => {
  it.scoped("set after a reload, computed from a value read before it, loses no concurrent change", () =>
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
  it.scoped("set after a save, computed from a value read before it, loses no concurrent change", () =>
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

describe("the handle's mutex", () => {
  it.live("is released if its holder is interrupted at any step", () =>
    Effect.scoped(Effect.gen(function*() {
      const layer = Layer.provide(Cart.layer, StoredEngine.layer)
      const service = yield* Effect.provide(Cart.service, Layer.provide(layer, MemoryStore.layer))
      const blocked: Array<number> = []
      for (let op = 1; op < 80; op++) {
        const session = service.request(undefined)
        yield* session.set("items", op)
        const fiber = Effect.runFork(session.save, { scheduler: yieldingAt(op) })
        // The fiber has yielded at that step and is interrupted there.
        yield* Fiber.interruptFork(fiber)
        const others = Effect.zipRight(session.set("items", 0), session.save)
        if (Option.isNone(yield* Effect.timeoutOption(others, "10 seconds"))) blocked.push(op)
      }
      assert.deepStrictEqual(blocked, [])
    })))
})

describe("an aborted request", () => {
  it.scoped("does not make other requests read-only while the store is up", () =>
    Effect.gen(function*() {
      const { cookie, here, controls, elsewhere } = yield* setUp
      const { cookie: other } = yield* elsewhere(Cart.authenticate("bob"))
      controls.fault = "hang"
      const fiber = yield* Effect.fork(here(Cart.value, other))
      for (let i = 0; i < 5; i++) yield* Effect.yieldNow()
      yield* Fiber.interrupt(fiber)
      controls.fault = undefined
      const { result } = yield* here(
        Effect.zipRight(Cart.allowStale, Effect.either(Cart.set("items", 2))),
        cookie
      )
      assert.strictEqual(result._tag, "Right")
    }))
})

describe("read tracking survives reload and save", () => {
  for (const which of ["reload", "save"] as const) {
    it.scoped(`a set of a field read before ${which} and changed elsewhere after it loses no concurrent change`, () =>
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
