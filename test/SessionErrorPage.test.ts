import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Effect, Layer } from "effect"
import { SessionErrorPage } from "effect-session"
import { assert, describe } from "vitest"
import { header, live, open, pages, type Served, servers, text, Visitor } from "./support/frontEnds.js"
import { pairOf, setCookiesOf } from "./support/httpServer.js"

const page = SessionErrorPage.layer((error, request) =>
  HttpServerResponse.html(`<h1>Sorry</h1> ${error._tag} for a ${request.method}`).pipe(
    HttpServerResponse.setStatus(503)
  )
)

/** The response for a visitor with a session if the store fails. */
const answered = <E>(app: Layer.Layer<never, E, Served>, operation: "load" | "save", prefix = "") =>
  Effect.gen(function*() {
    const site = yield* open(app)
    const cookie = yield* pairOf(yield* site.visit(`${prefix}/set`))
    yield* site.breaks(operation)
    return yield* site.visit(`${prefix}/count`, cookie)
  })

/** An error of the handler, and one of the commit, which a handler cannot catch. */
const errors = [["a handler", "load"], ["the commit", "save"]] as const

describe("the error page", () => {
  for (const { name, prefix, sends, serve } of servers) {
    // With HttpServer.serve, an error of the handler has already become a response.
    for (const [whose, operation] of sends ? errors.slice(1) : errors) {
      live(
        `${name}: is shown for an error of ${whose}`,
        Effect.gen(function*() {
          const answer = yield* answered(serve(pages).pipe(Layer.provide(page)), operation, prefix)
          assert.deepStrictEqual(
            [answer.status, answer.body, header(answer, "content-type"), header(answer, "retry-after")],
            [503, "<h1>Sorry</h1> SessionUnavailable for a GET", "text/html", "5"]
          )
          assert.deepStrictEqual([header(answer, "vary"), setCookiesOf(answer)], ["Cookie", []])
        })
      )
    }
  }

  for (
    const [what, layer] of [
      ["dies", SessionErrorPage.layer(() => Effect.dieMessage("no template"))],
      [
        "throws",
        SessionErrorPage.layer(() => {
          throw new Error("no template")
        })
      ],
      ["is interrupted", SessionErrorPage.layer(() => Effect.interrupt)]
    ] as const
  ) {
    for (const [whose, operation] of errors) {
      live(
        `a page that ${what}: the error of ${whose} is answered as JSON`,
        Effect.gen(function*() {
          const app = HttpServer.serve(HttpRouter.use(pages, Visitor.middleware)).pipe(Layer.provide(layer))
          const answer = yield* answered(app, operation)
          assert.deepStrictEqual([answer.status, header(answer, "retry-after")], [503, "5"])
          assert.deepStrictEqual(JSON.parse(answer.body), {
            _tag: "SessionUnavailable",
            session: "test/Visitor",
            reason: "store",
            retryAfter: 5,
            message: "The session store is not available at the moment. Nothing is lost; try again."
          })
        })
      )
    }
  }

  live(
    "a page may set its own Retry-After",
    Effect.gen(function*() {
      const layer = SessionErrorPage.layer(() =>
        Effect.succeed(HttpServerResponse.empty({ status: 503, headers: { "retry-after": "60" } }))
      )
      for (const [, operation] of errors) {
        const app = HttpServer.serve(HttpRouter.use(pages, Visitor.middleware)).pipe(Layer.provide(layer))
        assert.strictEqual(header(yield* answered(app, operation), "retry-after"), "60")
      }
    })
  )

  live(
    "an error other than SessionUnavailable is shown without Retry-After",
    Effect.gen(function*() {
      const routes = HttpLayerRouter.add("GET", "/invalid", Effect.as(Visitor.set("count", Number.NaN), text("x")))
      const site = yield* open(
        HttpLayerRouter.serve(routes.pipe(Layer.provide(Visitor.routes.layer))).pipe(Layer.provide(page))
      )
      const answer = yield* site.visit("/invalid")
      assert.deepStrictEqual(
        [answer.body, header(answer, "retry-after")],
        ["<h1>Sorry</h1> SessionInvalid for a GET", ""]
      )
    })
  )

  live(
    "is not used for other errors, nor for errors that the handler catches",
    Effect.gen(function*() {
      const site = yield* open(
        HttpServer.serve(
          HttpRouter.empty.pipe(
            HttpRouter.get("/other", Effect.zipRight(Visitor.get("name"), Effect.fail("another error"))),
            HttpRouter.get(
              "/answered",
              Visitor.set("count", Number.NaN).pipe(
                Effect.as(text("set")),
                Effect.catchTag("SessionInvalid", ({ field }) => Effect.succeed(text(`not a ${field}`)))
              )
            ),
            HttpRouter.use(Visitor.middleware)
          )
        ).pipe(Layer.provide(page))
      )
      const other = yield* site.visit("/other")
      assert.deepStrictEqual([other.status, other.body], [500, ""])
      assert.strictEqual((yield* site.visit("/answered")).body, "not a count")
      assert.strictEqual((yield* site.visit("/nowhere")).status, 404)
    })
  )
})
