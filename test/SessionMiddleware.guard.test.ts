/** The router guard shown in docs/http.md. */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Context, Effect, Layer, Option } from "effect"
import { assert, describe } from "vitest"
import { counted, header, live, open, text, Visitor } from "./support/frontEnds.js"
import { pairOf, setCookiesOf } from "./support/httpServer.js"

class CurrentUser extends Context.Tag("test/CurrentUser")<CurrentUser, { readonly id: string }>() {}

const signedIn = <E, R>(app: HttpApp.Default<E, R>) =>
  Effect.flatMap(
    Visitor.subject,
    Option.match({
      onNone: () => Effect.succeed(HttpServerResponse.redirect("/login", { status: 303 })),
      onSome: (id) => Effect.provideService(app, CurrentUser, { id })
    })
  )

const me = Effect.zipWith(CurrentUser, counted, ({ id }, count) => text(`${id} ${count}`))
const login = Effect.as(Visitor.authenticate("ann"), text("in"))

const router = HttpRouter.empty.pipe(
  HttpRouter.get("/me", me),
  HttpRouter.use(signedIn),
  HttpRouter.get("/login", login),
  HttpRouter.use(Visitor.middleware)
)
const guard = HttpLayerRouter.middleware<{ provides: CurrentUser }>()(signedIn).combine(Visitor.routes)
const routes = Layer.merge(
  HttpLayerRouter.add("GET", "/me", me).pipe(Layer.provide(guard.layer)),
  HttpLayerRouter.add("GET", "/login", login).pipe(Layer.provide(Visitor.routes.layer))
)

describe("a guard of a router", () => {
  for (
    const [name, app] of [["HttpRouter", HttpServer.serve(router)], [
      "HttpLayerRouter",
      HttpLayerRouter.serve(routes)
    ]] as const
  ) {
    live(
      `${name}: redirects an anonymous visitor to the login, and provides the user to the routes inside`,
      Effect.gen(function*() {
        const site = yield* open(app)
        const anonymous = yield* site.visit("/me")
        assert.deepStrictEqual(
          [
            anonymous.status,
            header(anonymous, "location"),
            header(anonymous, "vary"),
            setCookiesOf(anonymous),
            site.calls()
          ],
          [303, "/login", "Cookie", [], []]
        )
        const cookie = yield* pairOf(yield* site.visit("/login"))
        site.calls()
        const user = yield* site.visit("/me", cookie)
        assert.deepStrictEqual([user.status, user.body, site.calls()], [200, "ann 1", ["load", "save"]])
      })
    )
  }
})
