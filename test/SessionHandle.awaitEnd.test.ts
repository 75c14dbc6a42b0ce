/** `awaitEnd`, for connections that last longer than their request, and `optional`, for routes that work without a session. */
import { it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, Redacted, TestClock } from "effect"
import { Expiry, MemoryStore, StoredEngine } from "effect-session"
import { SessionDirectory } from "effect-session/SessionDirectory"
import { SessionRevocation } from "effect-session/SessionRevocation"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import { assert, describe } from "vitest"
import { visit } from "./support/requestWithoutHttp.js"
import { ShopSession } from "./support/shop.js"

/** Intercepts the store's calls. `loads` counts the loads. */
const faults: { wrap: FaultyStore.Interception; loads: number } = { wrap: (_, call) => call, loads: 0 }

const sessions = ShopSession.layerWith({
  expiry: Expiry.earliest(Expiry.idle("20 minutes"), Expiry.absolute("2 hours")),
  watchEvery: "1 minute"
}).pipe(
  Layer.provideMerge(StoredEngine.layer),
  Layer.provideMerge(FaultyStore.layerIntercepted((operation, call, args) =>
    Effect.suspend(() => {
      if (operation === "load") faults.loads++
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
      faults.loads = 0
      return body
    }).pipe(Effect.provide(sessions)))

const down: FaultyStore.Interception = (operation) =>
  Effect.fail(new SessionStoreError({ operation, reason: "unavailable" }))

/** A connection that has loaded a new session and waits for its end. */
const watching = Effect.gen(function*() {
  const { cookie = "" } = yield* visit(ShopSession, ShopSession.authenticate("ann"))
  const service = yield* ShopSession.service
  const handle = service.request(`${service.cookie.name}=${cookie}`)
  yield* handle.get("user")
  yield* handle.finish(200)
  const waiting = yield* Effect.fork(handle.awaitEnd())
  yield* Effect.repeat(Effect.yieldNow(), { until: () => faults.loads >= 2 })
  const hasEnded = Effect.map(Fiber.poll(waiting), Option.isSome)
  assert.isFalse(yield* hasEnded)
  return { cookie, hasEnded, handle, service, ended: Fiber.join(waiting) }
})

/** Calls the store directly, as another process does: this process gets no invalidation event. */
const elsewhere = <A, E>(f: (store: SessionStore["Type"]) => Effect.Effect<A, E>) => Effect.flatMap(SessionStore, f)

describe("awaitEnd completes", () => {
  test(
    "at once on a logout in this process",
    Effect.gen(function*() {
      const { cookie, ended } = yield* watching
      yield* visit(ShopSession, ShopSession.destroy, cookie)
      yield* ended
    })
  )

  for (
    const [title, revoke] of [
      [
        "of its id",
        Effect.gen(function*() {
          const service = yield* ShopSession.service
          const [first] = yield* service.list("ann")
          if (first !== undefined) yield* service.revoke(first.id)
        })
      ],
      ["of its subject", Effect.flatMap(ShopSession.service, (service) => service.revokeSubject("ann"))],
      ["of all sessions", Effect.flatMap(ShopSession.service, (service) => service.revokeAll)]
    ] as const
  ) {
    test(
      `at once on a revocation ${title} in this process`,
      Effect.gen(function*() {
        const { ended } = yield* watching
        yield* revoke
        yield* ended
      })
    )
  }

  test(
    "at once if its token is destroyed through the service",
    Effect.gen(function*() {
      const { cookie, ended, service } = yield* watching
      yield* service.destroy(Redacted.make(cookie))
      yield* ended
    })
  )

  test(
    "at the next check after a logout or revocation in another process",
    Effect.gen(function*() {
      const { hasEnded, ended } = yield* watching
      yield* elsewhere((store) => store.revokeSubject("test/Shop", "ann"))
      yield* TestClock.adjust("59 seconds")
      assert.isFalse(yield* hasEnded)
      yield* TestClock.adjust("1 second")
      yield* ended
    })
  )

  test(
    "at its idle limit, because an open connection is no activity",
    Effect.gen(function*() {
      const { hasEnded, ended } = yield* watching
      yield* TestClock.adjust("19 minutes")
      yield* TestClock.adjust("59 seconds")
      assert.isFalse(yield* hasEnded)
      yield* TestClock.adjust("1 second")
      yield* ended
    })
  )

  test(
    "at its absolute limit, and not at its idle limit while other requests use the session",
    Effect.gen(function*() {
      const { cookie, hasEnded, ended } = yield* watching
      for (let minutes = 15; minutes < 120; minutes += 15) {
        yield* TestClock.adjust("15 minutes")
        yield* visit(ShopSession, ShopSession.get("user"), cookie)
        assert.isFalse(yield* hasEnded, `after ${minutes} minutes`)
      }
      yield* TestClock.adjust("15 minutes")
      yield* ended
    })
  )

  test(
    "when a login moves the session to another token",
    Effect.gen(function*() {
      const { cookie, ended } = yield* watching
      yield* visit(ShopSession, ShopSession.authenticate("ann"), cookie)
      yield* ended
    })
  )

  test(
    "at the absolute limit, and not earlier, if the store is down",
    Effect.gen(function*() {
      const { hasEnded, ended } = yield* watching
      faults.wrap = down
      yield* TestClock.adjust("119 minutes")
      assert.isFalse(yield* hasEnded)
      yield* TestClock.adjust("1 minute")
      yield* ended
    })
  )

  test(
    "not when another session ends",
    Effect.gen(function*() {
      const first = yield* watching
      faults.loads = 0
      const second = yield* watching
      yield* visit(ShopSession, ShopSession.destroy, second.cookie)
      yield* second.ended
      assert.isFalse(yield* first.hasEnded)
    })
  )

  test(
    "never for a visitor without a session",
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
    "is present while the store is up, for visitors with and without a session",
    Effect.gen(function*() {
      const { cookie } = yield* visit(ShopSession, ShopSession.authenticate("ann"))
      assert.strictEqual((yield* visit(ShopSession, greet, cookie)).result, "hello ann")
      assert.strictEqual((yield* visit(ShopSession, greet)).result, "hello guest")
    })
  )

  test(
    "is absent while the store is down: the route works and no cookie is set or expired",
    Effect.gen(function*() {
      const { cookie } = yield* visit(ShopSession, ShopSession.authenticate("ann"))
      faults.wrap = down
      const { error, setCookie, result } = yield* visit(ShopSession, greet, cookie)
      assert.deepStrictEqual([result, error, setCookie], ["the shop is open", undefined, undefined])
    })
  )

  test(
    "does not fail the route if the store fails between the load and the touch",
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
    "a change that cannot be saved still fails with SessionUnavailable",
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
