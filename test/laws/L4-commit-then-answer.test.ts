import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Deferred, Effect, Fiber } from "effect"
import { SessionStoreError } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import * as Shop from "../support/shop.js"
import { begin, ok, ShopSession, show, valueOf } from "../support/shop.js"
import { stores } from "../support/stores.js"

const redirect = Effect.succeed(HttpServerResponse.redirect("/next"))
const increment = ShopSession.update("count", (n) => n + 1)

for (const [name, layer] of stores) {
  const law = Shop.lawOn(layer)

  describe(`L4 commit, then answer: the session is saved before the response is sent (${name})`, () => {
    law("no response is sent before the save has completed", (shop, cookie) =>
      Effect.gen(function*() {
        const saving = yield* Deferred.make<void>()
        const go = yield* Deferred.make<void>()
        shop.intercept = (operation, call) =>
          operation === "save"
            ? Deferred.succeed(saving, undefined).pipe(Effect.zipRight(Deferred.await(go)), Effect.zipRight(call))
            : call
        const answering = yield* Effect.fork(shop.request(Effect.zipRight(increment, redirect), cookie))
        yield* Deferred.await(saving)
        // All fibers that were ready have run, and the request has not been answered.
        yield* Effect.yieldNow()
        assert.isTrue((yield* Fiber.poll(answering))._tag === "None")
        yield* Deferred.succeed(go, undefined)
        assert.strictEqual((yield* Fiber.join(answering)).status, 302)
        assert.strictEqual((yield* valueOf(shop, cookie)).count, 1)
      }))

    law(
      "a client that follows a redirect at once sees the new value in 1,000 of 1,000 cases, with writes of 200 ms",
      (shop) =>
        Effect.gen(function*() {
          // Concurrent, to wait for the slow writes together.
          shop.intercept = (operation, call) => operation === "save" ? Effect.delay(call, "200 millis") : call
          const right = yield* Effect.replicateEffect(
            Effect.gen(function*() {
              const cookie = yield* begin(shop)
              const answer = yield* shop.request(Effect.zipRight(increment, redirect), cookie)
              const next = yield* valueOf(shop, cookie)
              return answer.status === 302 && next.count === 1
            }),
            1000,
            { concurrency: 100 }
          )
          assert.strictEqual(right.filter(Boolean).length, 1000)
        })
    )

    law("a save that fails is never answered with success", (shop, cookie) =>
      Effect.gen(function*() {
        shop.intercept = (operation, call) =>
          operation === "save" ? Effect.fail(new SessionStoreError({ operation, reason: "unavailable" })) : call
        for (const response of [ok, redirect, Effect.succeed(HttpServerResponse.empty({ status: 404 }))]) {
          const answer = yield* shop.request(Effect.zipRight(increment, response), cookie)
          assert.deepStrictEqual([answer.status, answer.headers.get("location")], [503, null])
          assert.strictEqual(answer.headers.get("retry-after"), "5")
        }
        shop.intercept = (_, call) => call
        assert.strictEqual((yield* valueOf(shop, cookie)).count, 0)
      }))

    law(
      "a save that failed in the handler is answered with 503, even if the handler ignores the error",
      (shop, cookie) =>
        Effect.gen(function*() {
          shop.intercept = (operation, call) =>
            operation === "save" ? Effect.fail(new SessionStoreError({ operation, reason: "unavailable" })) : call
          const answer = yield* shop.request(
            Effect.all([increment, Effect.ignore(ShopSession.save)]).pipe(Effect.zipRight(ok)),
            cookie
          )
          assert.strictEqual(answer.status, 503)
        })
    )

    law("a defect of the store is answered with 503", (shop, cookie) =>
      Effect.gen(function*() {
        shop.intercept = (operation, call) => operation === "save" ? Effect.dieMessage("broken driver") : call
        const answer = yield* shop.request(Effect.zipRight(increment, ok), cookie)
        assert.strictEqual(answer.status, 503)
      }))

    law(
      "a change after the response fails with SessionCommitted and is not written",
      (shop, cookie) =>
        Effect.gen(function*() {
          const answered = yield* Deferred.make<void>()
          const late = yield* Deferred.make<string>()
          const answer = yield* shop.request(
            Effect.gen(function*() {
              const session = yield* ShopSession
              const change = Deferred.await(answered).pipe(
                Effect.zipRight(session.set("count", 9)),
                Effect.match({ onFailure: (error) => error._tag, onSuccess: () => "written" })
              )
              yield* Effect.forkDaemon(Effect.intoDeferred(change, late))
              return yield* ok
            }),
            cookie
          )
          assert.strictEqual(answer.status, 200)
          yield* Deferred.succeed(answered, undefined)
          assert.strictEqual(yield* Deferred.await(late), "SessionCommitted")
          assert.strictEqual((yield* valueOf(shop, cookie)).count, 0)
        })
    )

    law(
      "a pre-response handler of the application that fails: the session is committed once and its cookie is sent",
      (shop, cookie) =>
        Effect.gen(function*() {
          shop.calls.length = 0
          let failures = 0
          const failingOnce = HttpApp.appendPreResponseHandler((_, response) =>
            Effect.suspend(() => failures++ === 0 ? Effect.die("first time") : Effect.succeed(response))
          )
          const answer = yield* shop.request(
            Effect.all([failingOnce, ShopSession.rotate]).pipe(Effect.zipRight(ok)),
            cookie
          )
          assert.strictEqual(answer.status, 500)
          assert.deepStrictEqual(shop.calls, ["load", "rotate"])
          const next = yield* Shop.cookieOf(answer)
          assert.strictEqual((yield* valueOf(shop, next)).user, "ann")
        })
    )

    law(
      "two nested middlewares on one route share one session and commit it once",
      (shop, cookie) =>
        Effect.gen(function*() {
          shop.calls.length = 0
          const inner = Effect.zipRight(increment, show(ShopSession.get("count")))
          const answer = yield* shop.request(
            Effect.zipRight(
              increment,
              Effect.flatMap(
                ShopSession,
                (outer) =>
                  ShopSession.middleware(Effect.flatMap(ShopSession, (session) =>
                    session === outer ? inner : Effect.dieMessage("two sessions")))
              )
            ),
            cookie
          )
          assert.deepStrictEqual([answer.status, answer.body], [200, "2"])
          assert.deepStrictEqual(shop.calls, ["load", "save"])
        })
    )
  })
}
