/**
 * Updates of one session that wait for each other in one process are written together.
 */
import { it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Schema } from "effect"
import { MemoryStore, Session, SessionStore, SessionStoreError, StoredEngine } from "effect-session"
import { assert, describe } from "vitest"
import { intercepted } from "./support/intercept.js"
import { visit } from "./support/visits.js"

class Shop extends Session.Tag<Shop>()("test/Together", {
  schema: Schema.Struct({
    visits: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    name: Schema.optional(Schema.String),
    notes: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] })
  })
}) {}

const count = Shop.update("visits", (n) => n + 1)

/** A server on a remote store whose first save waits for a gate, and fails with it. */
const served = (options: StoredEngine.Options = {}) =>
  Effect.gen(function*() {
    const gate = yield* Deferred.make<void, SessionStoreError>()
    const blocked = yield* Deferred.make<void>()
    let saves = 0
    const store = intercepted(
      MemoryStore.make(),
      (operation, call) =>
        Effect.suspend(() => {
          if (operation !== "save") return call
          saves++
          return saves > 1 ? call : Effect.zipRight(
            Deferred.succeed(blocked, undefined),
            Effect.zipRight(Deferred.await(gate), call)
          )
        }),
      true
    )
    const context = yield* Layer.build(
      Shop.layer.pipe(Layer.provide(StoredEngine.layer(options)), Layer.provide(Layer.succeed(SessionStore, store)))
    )
    const { cookie } = yield* Effect.provide(visit(Shop, Shop.set("name", "ann")), context)
    const ask = <A, E>(handler: Effect.Effect<A, E, Shop>) => Effect.provide(visit(Shop, handler, cookie), context)
    /** Runs handlers at once: the first one is in its save when the others have done their part, and wait. */
    const atOnce = <A, E>(handlers: ReadonlyArray<Effect.Effect<A, E, Shop>>) =>
      Effect.gen(function*() {
        const [first, ...others] = handlers
        if (first === undefined) return assert.fail("no handlers")
        const leader = yield* Effect.fork(ask(first))
        yield* Deferred.await(blocked)
        const handled: Array<Deferred.Deferred<void>> = []
        const followers = yield* Effect.forEach(others, (handler) =>
          Effect.gen(function*() {
            const done = yield* Deferred.make<void>()
            handled.push(done)
            return yield* Effect.fork(ask(Effect.zipLeft(handler, Deferred.succeed(done, undefined))))
          }))
        for (const done of handled) yield* Deferred.await(done)
        // The commit of each begins in the same turn in which its handler ends, and waits then.
        yield* Effect.yieldNow()
        return [leader, ...followers] as const
      })
    return { ask, atOnce, gate, saves: () => saves }
  })

const open = (gate: Deferred.Deferred<void, SessionStoreError>) => Deferred.succeed(gate, undefined)

describe("updates of one session at once", () => {
  it.scoped("take two saves, however many they are, and none is lost", () =>
    Effect.gen(function*() {
      const { ask, atOnce, gate, saves } = yield* served()
      const requests = yield* atOnce(Array.from({ length: 50 }, () => count))
      yield* open(gate)
      const answers = yield* Effect.forEach(requests, Fiber.join)
      assert.deepStrictEqual(answers.map(({ error }) => error), Array.from({ length: 50 }, () => undefined))
      assert.strictEqual((yield* ask(Shop.get("visits"))).result, 50)
      assert.strictEqual(saves(), 2)
    }))

  it.scoped("one that clashes with another fails alone", () =>
    Effect.gen(function*() {
      const { ask, atOnce, gate, saves } = yield* served()
      const rename = (name: string) => Effect.zipRight(Shop.get("name"), Shop.set("name", name))
      const requests = yield* atOnce([count, rename("ben"), count, rename("cid"), count])
      yield* open(gate)
      const answers = yield* Effect.forEach(requests, Fiber.join)
      assert.deepStrictEqual(answers.map(({ error }) => error?._tag), [
        undefined,
        undefined,
        undefined,
        "SessionConflict",
        undefined
      ])
      const { result } = yield* ask(Shop.value)
      assert.deepStrictEqual(result, { visits: 3, name: "ben", notes: [] })
      assert.strictEqual(saves(), 2)
    }))

  it.scoped("each fits alone, and all together do not: those that fit are kept", () =>
    Effect.gen(function*() {
      const { ask, atOnce, gate } = yield* served({ maxSessionBytes: 1000 })
      const note = Shop.update("notes", (notes) => [...notes, "x".repeat(300)])
      const requests = yield* atOnce([count, note, note, note, note])
      yield* open(gate)
      const answers = yield* Effect.forEach(requests, Fiber.join)
      assert.deepStrictEqual(answers.map(({ error }) => error?._tag), [
        undefined,
        undefined,
        undefined,
        undefined,
        "SessionTooLarge"
      ])
      assert.lengthOf((yield* ask(Shop.get("notes"))).result ?? [], 3)
    }))

  it.scoped("who waits for a save that fails is not failed by it", () =>
    Effect.gen(function*() {
      const { ask, atOnce, gate } = yield* served()
      const [leader, ...followers] = yield* atOnce([count, count, count])
      yield* Deferred.fail(gate, new SessionStoreError({ operation: "save", reason: "corrupt" }))
      assert.strictEqual((yield* Fiber.join(leader)).error?._tag, "SessionUnavailable")
      const answers = yield* Effect.forEach(followers, Fiber.join)
      assert.deepStrictEqual(answers.map(({ error }) => error), [undefined, undefined])
      assert.strictEqual((yield* ask(Shop.get("visits"))).result, 2)
    }))

  it.scoped("those that wait for a session that ends meanwhile get the error of one that has ended", () =>
    Effect.gen(function*() {
      const { ask, atOnce, gate } = yield* served()
      const requests = yield* atOnce([count, count, count])
      yield* ask(Shop.flush)
      yield* open(gate)
      const answers = yield* Effect.forEach(requests, Fiber.join)
      assert.deepStrictEqual(answers.map(({ error }) => error?._tag), ["SessionGone", "SessionGone", "SessionGone"])
    }))
})
