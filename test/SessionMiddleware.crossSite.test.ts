/** Cross-site requests, for which a browser omits the session cookie but would accept a new one. */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import { it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { MemoryEngine, SessionCookie } from "effect-session"
import { assert, describe } from "vitest"
import { increment, text } from "./support/countingServer.js"
import { pairOf, serve, setCookiesOf } from "./support/httpServer.js"
import { request } from "./support/rawHttp.js"
import { ShopSession } from "./support/shop.js"

const app = HttpRouter.empty.pipe(
  HttpRouter.all("/add", Effect.as(increment, text("added"))),
  HttpRouter.all("/login", Effect.as(ShopSession.authenticate("ann"), text("in"))),
  HttpRouter.all("/look", Effect.map(ShopSession.get("count"), text)),
  HttpRouter.use(ShopSession.middleware)
)

const from = (site: string) => [["Sec-Fetch-Site", site]] as const

const live = (
  title: string,
  cookie: SessionCookie.CookieOptions,
  body: (port: number) => Effect.Effect<void, unknown>
) =>
  it.live(title, () =>
    serve(
      HttpServer.serve(app).pipe(
        Layer.provide(ShopSession.layerWith({ cookie })),
        Layer.provide(MemoryEngine.layer)
      )
    ).pipe(Effect.flatMap(body), Effect.scoped, Effect.orDie))

describe("a cross-site request without our cookie", () => {
  live(
    "answers 403 instead of creating a session, which would replace the one in the browser",
    {},
    (port) =>
      Effect.gen(function*() {
        const answer = yield* request(port, "/add", from("cross-site"), "POST")
        assert.deepStrictEqual([answer.status, setCookiesOf(answer)], [403, []])
        assert.include(answer.body, "SessionCrossSite")
      })
  )

  live("may read, and gets no cookie", {}, (port) =>
    Effect.gen(function*() {
      const answer = yield* request(port, "/look", from("cross-site"), "POST")
      assert.deepStrictEqual([answer.status, answer.body, setCookiesOf(answer)], [200, "0", []])
    }))

  live("may log in, because identity providers post their responses", {}, (port) =>
    Effect.gen(function*() {
      const answer = yield* request(port, "/login", from("cross-site"), "POST")
      assert.strictEqual(answer.status, 200)
      yield* pairOf(answer)
    }))

  live(
    "is treated as a normal request if it is a navigation, for which browsers send SameSite=Lax cookies",
    {},
    (port) =>
      Effect.gen(function*() {
        assert.strictEqual((yield* request(port, "/add", from("cross-site"), "GET")).status, 200)
      })
  )

  live(
    "is treated as a normal request with SameSite=None",
    { sameSite: "none", acknowledgeCrossSite: true },
    (port) =>
      Effect.gen(function*() {
        assert.strictEqual((yield* request(port, "/add", from("cross-site"), "POST")).status, 200)
      })
  )

  live(
    "creates no session by a navigation with SameSite=Strict",
    { sameSite: "strict" },
    (port) =>
      Effect.gen(function*() {
        assert.strictEqual((yield* request(port, "/add", from("cross-site"), "GET")).status, 403)
      })
  )

  for (const site of ["same-origin", "same-site", "none"]) {
    live(`is treated as a normal request from ${site}`, {}, (port) =>
      Effect.gen(function*() {
        assert.strictEqual((yield* request(port, "/add", from(site), "POST")).status, 200)
      }))
  }

  live("is treated as a normal request if it carries our cookie", {}, (port) =>
    Effect.gen(function*() {
      const cookie = yield* pairOf(yield* request(port, "/add", [], "POST"))
      const answer = yield* request(port, "/add", [...from("cross-site"), ["Cookie", cookie]], "POST")
      assert.strictEqual(answer.status, 200)
      assert.strictEqual((yield* request(port, "/look", [["Cookie", cookie]])).body, "2")
    }))
})
