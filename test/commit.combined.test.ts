/** Concurrent updates of one session in one process are combined into one save. */
import { it } from "@effect/vitest"
import { Deferred, Effect, Either, Fiber, FiberRef, Layer, Option, Schema } from "effect"
import { MemoryStore, Session, StoredEngine } from "effect-session"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import { assert, describe } from "vitest"
import type { Visit } from "./support/requestWithoutHttp.js"
import { visit } from "./support/requestWithoutHttp.js"

class Shop extends Session.Tag<Shop>()("test/Together", {
  schema: Schema.Struct({
    visits: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    name: Schema.optional(Schema.String),
    notes: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] })
  })
}) {}

const count = Shop.update("visits", (n) => n + 1)

/** Lets every fiber run until it waits. */
const yieldAll = Effect.repeatN(Effect.yieldNow(), 50)

/** Whether the fiber is in a transaction of the application, in which the store rejects writes. */
const inTransaction = FiberRef.unsafeMake(false)

/** A server on a remote store whose first save waits for `gate`, and fails if it does. */
const served = (options: StoredEngine.StoredEngineOptions = {}) =>
  Effect.gen(function*() {
    const gate = yield* Deferred.make<void, SessionStoreError>()
    const blocked = yield* Deferred.make<void>()
    let saves = 0
    const store = FaultyStore.intercept(
      MemoryStore.make(),
      (operation, call) =>
        Effect.suspend(() => {
          if (operation !== "save") return call
          saves++
          const allowed = Effect.flatMap(
            FiberRef.get(inTransaction),
            (refused) => refused ? new SessionStoreError({ operation, reason: "transaction" }) : call
          )
          return saves > 1 ? allowed : Effect.zipRight(
            Deferred.succeed(blocked, undefined),
            Effect.zipRight(Deferred.await(gate), allowed)
          )
        }),
      true
    )
    const context = yield* Layer.build(
      Shop.layer.pipe(
        Layer.provideMerge(StoredEngine.layerWith(options)),
        Layer.provide(Layer.succeed(SessionStore, store))
      )
    )
    const login = Effect.zipRight(Shop.authenticate("ann"), Shop.set("name", "ann"))
    const { cookie } = yield* Effect.provide(visit(Shop, login), context)
    const ask = <A, E>(handler: Effect.Effect<A, E, Shop>, presented = cookie) =>
      Effect.provide(visit(Shop, handler, presented), context)
    const openById = Effect.flatMap(
      Shop.service,
      (sessions) =>
        Effect.flatMap(sessions.list("ann"), ([info]) => sessions.openById(info?.id ?? assert.fail("no session")))
    )
    /** Runs handlers concurrently: the first one is in its save while the others wait to commit. */
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
        yield* yieldAll
        return [leader, ...followers] as const
      })
    return { ask, atOnce, blocked, gate, byId: Effect.provide(openById, context), saves: () => saves }
  })

/** Opens the gate and returns the error tags of the requests. */
const errorsOf = <A, E>(
  gate: Deferred.Deferred<void, SessionStoreError>,
  requests: ReadonlyArray<Fiber.Fiber<Visit<A>, E>>
) =>
  Effect.zipRight(
    open(gate),
    Effect.forEach(requests, (request) => Effect.map(Fiber.join(request), ({ error }) => error?._tag))
  )

const open = (gate: Deferred.Deferred<void, SessionStoreError>) => Deferred.succeed(gate, undefined)

describe("concurrent updates of one session", () => {
  it.scoped("take two saves, and none is lost", () =>
    Effect.gen(function*() {
      const { ask, atOnce, gate, saves } = yield* served()
      const requests = yield* atOnce(Array.from({ length: 50 }, () => count))
      assert.deepStrictEqual(yield* errorsOf(gate, requests), Array.from({ length: 50 }, () => undefined))
      assert.strictEqual((yield* ask(Shop.get("visits"))).result, 50)
      assert.strictEqual(saves(), 2)
    }))

  it.scoped("a conflicting one fails alone", () =>
    Effect.gen(function*() {
      const { ask, atOnce, gate, saves } = yield* served()
      const rename = (name: string) => Effect.zipRight(Shop.get("name"), Shop.set("name", name))
      const requests = yield* atOnce([count, rename("ben"), count, rename("cid"), count])
      assert.deepStrictEqual(yield* errorsOf(gate, requests), [
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

  it.scoped("if they do not fit together, those that fit are saved", () =>
    Effect.gen(function*() {
      const { ask, atOnce, gate } = yield* served({ maxSessionBytes: 1000 })
      const note = Shop.update("notes", (notes) => [...notes, "x".repeat(300)])
      const requests = yield* atOnce([count, note, note, note, note])
      assert.deepStrictEqual(yield* errorsOf(gate, requests), [
        undefined,
        undefined,
        undefined,
        undefined,
        "SessionTooLarge"
      ])
      assert.lengthOf((yield* ask(Shop.get("notes"))).result ?? [], 3)
    }))

  it.scoped("do not fail with the save that they wait for", () =>
    Effect.gen(function*() {
      const { ask, atOnce, gate } = yield* served()
      const [leader, ...followers] = yield* atOnce([count, count, count])
      yield* Deferred.fail(gate, new SessionStoreError({ operation: "save", reason: "corrupt" }))
      assert.strictEqual((yield* Fiber.join(leader)).error?._tag, "SessionUnavailable")
      const answers = yield* Effect.forEach(followers, Fiber.join)
      assert.deepStrictEqual(answers.map(({ error }) => error), [undefined, undefined])
      assert.strictEqual((yield* ask(Shop.get("visits"))).result, 2)
    }))

  it.scoped("fail with SessionGone if the session ends meanwhile", () =>
    Effect.gen(function*() {
      const { ask, atOnce, gate } = yield* served()
      const requests = yield* atOnce([count, count, count])
      yield* ask(Shop.destroy)
      assert.deepStrictEqual(yield* errorsOf(gate, requests), ["SessionGone", "SessionGone", "SessionGone"])
    }))

  it.scoped("with a token from before a rotation are not combined, and the response carries no new token", () =>
    Effect.gen(function*() {
      const { ask, blocked, gate } = yield* served()
      const loaded = yield* Deferred.make<void>()
      const proceed = yield* Deferred.make<void>()
      const late = yield* Effect.fork(ask(
        Effect.gen(function*() {
          yield* Shop.get("visits")
          yield* Deferred.succeed(loaded, undefined)
          yield* Deferred.await(proceed)
          yield* count
        })
      ))
      yield* Deferred.await(loaded)
      const { cookie: next } = yield* ask(Shop.rotate)
      const leader = yield* Effect.fork(ask(count, next))
      yield* Deferred.await(blocked)
      const follower = yield* Effect.fork(ask(count, next))
      yield* yieldAll
      yield* Deferred.succeed(proceed, undefined)
      yield* yieldAll
      yield* open(gate)
      assert.isUndefined((yield* Fiber.join(leader)).error)
      assert.isUndefined((yield* Fiber.join(follower)).error)
      const { error, setCookie } = yield* Fiber.join(late)
      assert.strictEqual(error?._tag, "SessionGone")
      assert.isUndefined(setCookie)
      assert.strictEqual((yield* ask(Shop.get("visits"), next)).result, 2)
    }))

  it.scoped("of a request are not combined with those of a job that opened the session by id, and the request keeps its token", () =>
    Effect.gen(function*() {
      const { ask, atOnce, byId, gate } = yield* served()
      const job = Option.getOrThrow(yield* byId)
      yield* job.update("visits", (n) => n + 1)
      const [leader] = yield* atOnce([count])
      const saved = yield* Effect.fork(job.save)
      yield* yieldAll
      const follower = yield* Effect.fork(ask(count))
      yield* yieldAll
      yield* open(gate)
      assert.isUndefined((yield* Fiber.join(leader)).error)
      yield* Fiber.join(saved)
      const { error, setCookie } = yield* Fiber.join(follower)
      assert.isUndefined(error)
      assert.isUndefined(setCookie)
      assert.strictEqual((yield* ask(Shop.get("visits"))).result, 3)
    }))

  it.scoped("inside a transaction of the application fail alone", () =>
    Effect.gen(function*() {
      const { ask, atOnce, gate } = yield* served()
      const saving = Effect.locally(Effect.zipRight(count, Effect.either(Shop.save)), inTransaction, true)
      const first = yield* atOnce([count])
      const inside = yield* Effect.fork(ask(Effect.zipLeft(saving, Shop.discard)))
      yield* yieldAll
      const outside = yield* Effect.fork(ask(count))
      yield* yieldAll
      yield* open(gate)
      yield* Effect.forEach(first, Fiber.join)
      const { result } = yield* Fiber.join(inside)
      assert.strictEqual(Either.isLeft(result) ? result.left._tag : "saved", "SessionInTransaction")
      assert.isUndefined((yield* Fiber.join(outside)).error)
      assert.strictEqual((yield* ask(Shop.get("visits"))).result, 2)
    }))
})
