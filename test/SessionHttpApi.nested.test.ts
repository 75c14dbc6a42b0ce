/** An HttpApi nested in another front end, or with the session's middleware at several levels. */
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Effect, Layer, Option, Schema } from "effect"
import { SessionErrorPage } from "effect-session"
import { assert, describe } from "vitest"
import { counted, header, live, open, type Served, Visitor } from "./support/frontEnds.js"
import { pairOf, setCookiesOf } from "./support/httpServer.js"
import { api, clientOn, routes, unavailable, using } from "./support/shopApi.js"

/** Increments the counter of the session in the context. */
const counting = Effect.flatMap(
  Effect.serviceOption(Visitor),
  Option.match({
    onNone: () => Effect.dieMessage("no session"),
    onSome: (session) => Effect.orDie(session.update("count", (n) => n + 1))
  })
)

describe("an HttpApi inside another front end", () => {
  const shop = api()
  const httpApp = HttpApiBuilder.httpApp.pipe(
    Effect.map((app) => HttpServer.serve(app, Visitor.middleware)),
    Layer.unwrapEffect,
    Layer.provide([HttpApiBuilder.Router.Live, HttpApiBuilder.Middleware.layer, shop])
  )
  const inside: ReadonlyArray<readonly [name: string, app: Layer.Layer<never, never, Served>]> = [
    ["HttpApiBuilder.serve(AppSession.middleware)", HttpApiBuilder.serve(Visitor.middleware).pipe(Layer.provide(shop))],
    ["HttpServer.serve(app, AppSession.middleware)", httpApp],
    ["HttpLayerRouter with AppSession.routes", HttpLayerRouter.serve(Layer.provide(routes(), Visitor.routes.layer))],
    ["HttpLayerRouter with AppSession.allRoutes", HttpLayerRouter.serve(Layer.provide(routes(), Visitor.allRoutes))]
  ]
  for (const [name, app] of inside) {
    live(
      `${name}: clients get the declared error shapes instead of the error page`,
      Effect.gen(function*() {
        const page = SessionErrorPage.layer(() => HttpServerResponse.html("<h1>Sorry</h1>"))
        const site = yield* open(app.pipe(Layer.provide(page)))
        const { account } = yield* clientOn(site.port)
        assert.deepStrictEqual([yield* account.count({}), site.calls()], [1, ["create"]])
        for (const [operation, call] of using(account)) {
          yield* site.breaks(operation)
          assert.deepStrictEqual(yield* Effect.flip(call), unavailable)
        }
      })
    )
  }

  const twice: ReadonlyArray<readonly [name: string, app: Layer.Layer<never, never, Served>]> = [
    [
      "HttpApiBuilder.serve(AppSession.middleware)",
      HttpApiBuilder.serve((app) => Visitor.middleware(Effect.zipRight(counting, app))).pipe(Layer.provide(shop))
    ],
    [
      "HttpLayerRouter with AppSession.routes",
      HttpLayerRouter.serve(Layer.provide(
        routes(),
        HttpLayerRouter.middleware((app) => Effect.zipRight(counting, app)).combine(Visitor.routes).layer
      ))
    ],
    [
      "HttpLayerRouter with AppSession.allRoutes",
      HttpLayerRouter.serve(Layer.provide(
        Layer.merge(routes(), HttpLayerRouter.middleware((app) => Effect.zipRight(counting, app), { global: true })),
        Visitor.allRoutes
      ))
    ]
  ]
  for (const [name, app] of twice) {
    live(
      `${name}: one session, one commit, one cookie`,
      Effect.gen(function*() {
        const site = yield* open(app)
        const first = yield* site.visit("/count", undefined, { method: "POST" })
        assert.deepStrictEqual([first.body, setCookiesOf(first).length, site.calls()], ["2", 1, ["create"]])
        const second = yield* site.visit("/count", yield* pairOf(first), { method: "POST" })
        assert.deepStrictEqual([second.body, setCookiesOf(second).length, site.calls()], ["4", 0, ["load", "save"]])
        assert.strictEqual(header(second, "vary"), "Cookie")
      })
    )
  }
})

/** Increments the counter at its position among the middlewares of an API. */
class Tally extends HttpApiMiddleware.Tag<Tally>()("test/Tally") {}

const count = HttpApiEndpoint.get("count", "/count").addSuccess(Schema.Number)
class Plain extends HttpApiGroup.make("plain").add(count) {}
class Again extends HttpApiGroup.make("again")
  .add(count.prefix("/again").middleware(Visitor.HttpApi))
  .middleware(Visitor.HttpApi)
  .middleware(Tally)
{}
class WholeApi extends HttpApi.make("whole").add(Plain).add(Again).middleware(Visitor.HttpApi) {}

describe("a session for a whole API", () => {
  const groups = Layer.merge(
    HttpApiBuilder.group(WholeApi, "plain", (handlers) => handlers.handle("count", () => counted)),
    HttpApiBuilder.group(WholeApi, "again", (handlers) => handlers.handle("count", () => counted))
  ).pipe(Layer.provide(Layer.succeed(Tally, counting)))
  const whole = HttpApiBuilder.serve().pipe(Layer.provide(HttpApiBuilder.api(WholeApi)), Layer.provide(groups))
  const added = HttpLayerRouter.serve(HttpLayerRouter.addHttpApi(WholeApi).pipe(Layer.provide(groups)))

  for (const [name, app] of [["HttpApiBuilder.serve", whole], ["HttpLayerRouter.addHttpApi", added]] as const) {
    live(
      `${name}: one session, also if a group and an endpoint add its middleware again`,
      Effect.gen(function*() {
        const site = yield* open(app)
        const first = yield* site.visit("/count")
        assert.deepStrictEqual([first.body, site.calls()], ["1", ["create"]])
        const second = yield* site.visit("/again/count", yield* pairOf(first))
        assert.deepStrictEqual([second.body, site.calls()], ["3", ["load", "save"]])
      })
    )

    live(
      `${name}: its errors answer with their status and shape at every endpoint`,
      Effect.gen(function*() {
        const site = yield* open(app)
        const pair = yield* pairOf(yield* site.visit("/count"))
        for (const operation of ["load", "save"] as const) {
          yield* site.breaks(operation)
          const answer = yield* site.visit("/count", pair)
          assert.deepStrictEqual([answer.status, header(answer, "retry-after")], [503, "5"])
          assert.strictEqual(JSON.parse(answer.body)._tag, "SessionUnavailable")
        }
      })
    )
  }
})
