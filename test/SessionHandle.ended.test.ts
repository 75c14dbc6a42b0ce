/**
 * `ended`, for connections that outlive their request, and `optional`, for routes that can do without a session.
 */
import { it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, Redacted, TestClock } from "effect"
import { Expiry, MemoryStore, StoredEngine } from "effect-session"
import { SessionDirectory } from "effect-session/SessionDirectory"
import { SessionRevocation } from "effect-session/SessionRevocation"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import * as Intercept from "./support/intercept.js"
import { visit } from "./support/requestWithoutHttp.js"
import { ShopSession } from "./support/shop.js"

/** What the store's calls go through; a test replaces it. */
const faults: { wrap: Intercept.Interception; looks: number } = { wrap: (_, call) => call, looks: 0 }

const sessions = ShopSession.layerWith({
  expiry: Expiry.earliest(Expiry.idle("20 minutes"), Expiry.absolute("2 hours")),
  watchEvery: "1 minute"
}).pipe(
  Layer.provideMerge(StoredEngine.layer),
  Layer.provideMerge(Intercept.layer((operation, call, args) =>
    Effect.suspend(() => {
      if (operation === "load") faults.looks++
      return faults.wrap(operation, call, args)
    })
  )),
  Layer.provide(MemoryStore.layer)
)

const test = (
  title: string,
  body: Effect.Effect<
    void,
    unknown,
    Layer.Layer.Success<typeof sessions> | SessionDirectory | SessionRevocation | SessionStore
  >
) =>
  it.effect(title, () =>
    Effect.suspend(() => {
      faults.wrap = (_, call) => call
      faults.looks = 0
      return body
    }).pipe(Effect.provide(sessions)))

const down: Intercept.Interception = (operation) =>
  Effect.fail(new SessionStoreError({ operation, reason: "unavailable" }))

/** A connection that waits for the end of a fresh session, after its first look. */
const watching = Effect.gen(function*() {
  const { cookie = "" } = yield* visit(ShopSession, ShopSession.authenticate("ann"))
  const service = yield* ShopSession.service
  const handle = service.request(`${service.cookie.name}=${cookie}`)
  yield* handle.get("user")
  yield* handle.finish(200)
  const waiting = yield* Effect.fork(handle.awaitEnd())
  yield* Effect.repeat(Effect.yieldNow(), { until: () => faults.looks >= 2 })
  const isOver = Effect.map(Fiber.poll(waiting), Option.isSome)
  assert.isFalse(yield* isOver)
  return { cookie, isOver, handle, service, over: Fiber.join(waiting) }
})

/** Other processes change the store without telling this one. */
const elsewhere = <A, E>(f: (store: SessionStore["Type"]) => Effect.Effect<A, E>) => Effect.flatMap(SessionStore, f)

describe("a session that is watched ends", () => {
  test(
    "by a logout in this process, at once",
    Effect.gen(function*() {
      const { cookie, over } = yield* watching
      yield* visit(ShopSession, ShopSession.destroy, cookie)
      yield* over
    })
  )

  for (
    const [title, revoke] of [
      [
        "by its id",
        Effect.gen(function*() {
          const service = yield* ShopSession.service
          const [first] = yield* service.list("ann")
          if (first !== undefined) yield* service.revoke(first.id)
        })
      ],
      ["with all of its subject", Effect.flatMap(ShopSession.service, (service) => service.revokeSubject("ann"))],
      ["with everyone's", Effect.flatMap(ShopSession.service, (service) => service.revokeAll)]
    ] as const
  ) {
    test(
      `by a revocation ${title} in this process, at once`,
      Effect.gen(function*() {
        const { over } = yield* watching
        yield* revoke
        yield* over
      })
    )
  }

  test(
    "by its token's end outside a request, at once",
    Effect.gen(function*() {
      const { cookie, over, service } = yield* watching
      yield* service.destroy(Redacted.make(cookie))
      yield* over
    })
  )

  test(
    "by a logout or revocation elsewhere, at the next look",
    Effect.gen(function*() {
      const { isOver, over } = yield* watching
      yield* elsewhere((store) => store.revokeSubject("test/Shop", "ann"))
      yield* TestClock.adjust("59 seconds")
      assert.isFalse(yield* isOver)
      yield* TestClock.adjust("1 second")
      yield* over
    })
  )

  test(
    "by its idle limit, to the moment, because an open connection is no activity",
    Effect.gen(function*() {
      const { isOver, over } = yield* watching
      yield* TestClock.adjust("19 minutes")
      yield* TestClock.adjust("59 seconds")
      assert.isFalse(yield* isOver)
      yield* TestClock.adjust("1 second")
      yield* over
    })
  )

  test(
    "not by its idle limit while other requests use it, but then by the absolute one",
    Effect.gen(function*() {
      const { cookie, isOver, over } = yield* watching
      for (let minutes = 15; minutes < 120; minutes += 15) {
        yield* TestClock.adjust("15 minutes")
        yield* visit(ShopSession, ShopSession.get("user"), cookie)
        assert.isFalse(yield* isOver, `after ${minutes} minutes`)
      }
      yield* TestClock.adjust("15 minutes")
      yield* over
    })
  )

  test(
    "when a login moves it to another token",
    Effect.gen(function*() {
      const { cookie, over } = yield* watching
      yield* visit(ShopSession, ShopSession.authenticate("ann"), cookie)
      yield* over
    })
  )

  test(
    "not by a store that is down, until the absolute limit is certain",
    Effect.gen(function*() {
      const { isOver, over } = yield* watching
      faults.wrap = down
      yield* TestClock.adjust("119 minutes")
      assert.isFalse(yield* isOver)
      yield* TestClock.adjust("1 minute")
      yield* over
    })
  )

  test(
    "not for a neighbour: who is not concerned goes on",
    Effect.gen(function*() {
      const first = yield* watching
      faults.looks = 0
      const second = yield* watching
      yield* visit(ShopSession, ShopSession.destroy, second.cookie)
      yield* second.over
      assert.isFalse(yield* first.isOver)
    })
  )

  test(
    "never for a visitor without one",
    Effect.gen(function*() {
      const service = yield* ShopSession.service
      const waiting = yield* Effect.fork(service.request(undefined).awaitEnd())
      yield* TestClock.adjust("1000 days")
      assert.isTrue(Option.isNone(yield* Fiber.poll(waiting)))
    })
  )
})

describe("an optional session", () => {
  const greet = Effect.flatMap(
    ShopSession.optional,
    Option.match({
      onNone: () => Effect.succeed("the shop is open"),
      onSome: (session) => Effect.map(session.subject, (subject) => `hello ${Option.getOrElse(subject, () => "guest")}`)
    })
  )

  test(
    "is there while the store is up, for visitors with and without one",
    Effect.gen(function*() {
      const { cookie } = yield* visit(ShopSession, ShopSession.authenticate("ann"))
      assert.strictEqual((yield* visit(ShopSession, greet, cookie)).result, "hello ann")
      assert.strictEqual((yield* visit(ShopSession, greet)).result, "hello guest")
    })
  )

  test(
    "is not there while the store is down: the route works, no cookie is sent and none deleted",
    Effect.gen(function*() {
      const { cookie } = yield* visit(ShopSession, ShopSession.authenticate("ann"))
      faults.wrap = down
      const { error, setCookie, result } = yield* visit(ShopSession, greet, cookie)
      assert.deepStrictEqual([result, error, setCookie], ["the shop is open", undefined, undefined])
    })
  )

  test(
    "a store that fails between the load and the touch does not fail the route",
    Effect.gen(function*() {
      const { cookie } = yield* visit(ShopSession, ShopSession.authenticate("ann"))
      yield* TestClock.adjust("10 minutes")
      faults.wrap = (operation, call, args) => operation === "load" ? call : down(operation, call, args)
      assert.strictEqual((yield* visit(ShopSession, ShopSession.get("user"), cookie)).error?._tag, "SessionUnavailable")
      const { error, result } = yield* visit(ShopSession, greet, cookie)
      assert.deepStrictEqual([result, error], ["hello ann", undefined])
    })
  )

  test(
    "a change that cannot be saved is 503 all the same",
    Effect.gen(function*() {
      const { cookie } = yield* visit(ShopSession, ShopSession.authenticate("ann"))
      faults.wrap = (operation, call, args) => operation === "load" ? call : down(operation, call, args)
      const { error } = yield* visit(ShopSession, Effect.zipRight(greet, ShopSession.set("count", 1)), cookie)
      assert.strictEqual(error?._tag, "SessionUnavailable")
      faults.wrap = down
      const write = yield* Effect.flip(visit(ShopSession, Effect.zipRight(greet, ShopSession.set("count", 1)), cookie))
      assert.strictEqual(write._tag, "SessionUnavailable")
    })
  )
})
