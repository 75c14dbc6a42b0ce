/** Which responses and failures commit the session, and what the client gets. */
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Effect, Layer } from "effect"
import { assert, describe } from "vitest"
import { increment, live, open, text } from "./support/countingServer.js"
import { serve, setCookiesOf, wrappedEngine } from "./support/httpServer.js"
import { headersOf, request } from "./support/rawHttp.js"
import { ShopSession } from "./support/shop.js"

describe("by the status of the response", () => {
  for (const status of [200, 204, 303, 304, 400, 404, 422]) {
    live(
      `${status}: the session is saved`,
      Effect.gen(function*() {
        const app = yield* open(
          HttpRouter.get(HttpRouter.empty, "/", Effect.as(increment, HttpServerResponse.empty({ status })))
        )
        assert.strictEqual((yield* app.get("/")).status, status)
        assert.strictEqual(yield* app.count, 1)
      })
    )
  }

  for (const status of [500, 502, 503]) {
    live(
      `${status}: nothing is written`,
      Effect.gen(function*() {
        const app = yield* open(
          HttpRouter.get(HttpRouter.empty, "/", Effect.as(increment, HttpServerResponse.empty({ status })))
        )
        const answer = yield* app.get("/")
        assert.deepStrictEqual([answer.status, setCookiesOf(answer)], [status, []])
        assert.strictEqual(yield* app.count, 0)
      })
    )
  }

  for (
    const [title, end] of [
      ["a handler that fails", Effect.fail("an error of the application")],
      ["a handler that dies", Effect.die(new Error("a defect"))],
      ["a handler that is interrupted from within", Effect.interrupt]
    ] as const
  ) {
    live(
      `${title}: answers 5xx, and nothing is written`,
      Effect.gen(function*() {
        const app = yield* open(HttpRouter.get(HttpRouter.empty, "/", Effect.zipRight(increment, end)))
        assert.isAtLeast((yield* app.get("/")).status, 500)
        assert.strictEqual(yield* app.count, 0)
      })
    )
  }

  live(
    "a handler that dies with a response: its status decides",
    Effect.gen(function*() {
      const app = yield* open(HttpRouter.get(
        HttpRouter.empty,
        "/",
        Effect.zipRight(increment, Effect.die(HttpServerResponse.redirect("/count")))
      ))
      assert.strictEqual((yield* app.get("/")).status, 302)
      assert.strictEqual(yield* app.count, 1)
    })
  )

  live(
    "HEAD commits and answers as GET, without a body",
    Effect.gen(function*() {
      const app = yield* open(HttpRouter.get(HttpRouter.empty, "/", Effect.as(increment, text("page"))))
      const head = yield* app.get("/", [], "HEAD")
      assert.deepStrictEqual([head.status, head.body, headersOf(head, "vary")], [200, "", ["Cookie"]])
      assert.strictEqual(yield* app.count, 1)
    })
  )
})

describe("every failure is answered", () => {
  live(
    "the store fails at the commit: 503 with Retry-After, no cookie is sent and nothing is written",
    Effect.gen(function*() {
      const app = yield* open(HttpRouter.get(HttpRouter.empty, "/", Effect.as(increment, text("saved"))))
      yield* app.breaks("save")
      const answer = yield* app.get("/")
      assert.deepStrictEqual([answer.status, headersOf(answer, "retry-after"), setCookiesOf(answer)], [503, ["5"], []])
      assert.include(answer.body, "SessionUnavailable")
      yield* app.breaks(undefined)
      assert.strictEqual(yield* app.count, 0)
    })
  )

  live(
    "the store has a defect: 503, and the next request is served",
    Effect.gen(function*() {
      const port = yield* serve(
        HttpServer.serve(
          HttpRouter.empty.pipe(
            HttpRouter.get("/", Effect.as(increment, text("saved"))),
            HttpRouter.get("/free", Effect.succeed(text("free"))),
            HttpRouter.use(ShopSession.middleware)
          )
        ).pipe(
          Layer.provide(ShopSession.layer),
          Layer.provide(wrappedEngine(() => Effect.dieMessage("a driver that throws")))
        )
      )
      assert.strictEqual((yield* request(port, "/")).status, 503)
      assert.strictEqual((yield* request(port, "/free")).status, 200)
    })
  )

  live(
    "another pre-response handler fails after ours: 500, and the session is committed once",
    Effect.gen(function*() {
      let first = true
      const fragile = HttpApp.appendPreResponseHandler((_, response) =>
        Effect.suspend(() => {
          const fails = first
          first = false
          return fails ? Effect.dieMessage("a broken pre-response handler") : Effect.succeed(response)
        })
      )
      const app = yield* open(
        HttpRouter.get(HttpRouter.empty, "/", Effect.zipRight(fragile, Effect.as(increment, text("saved"))))
      )
      assert.strictEqual((yield* app.get("/")).status, 500)
      assert.strictEqual(app.calls.filter((call) => call === "save").length, 1)
      assert.strictEqual(yield* app.count, 1)
    })
  )
})
