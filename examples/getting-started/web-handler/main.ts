/**
 * A visit counter and a login, as a web handler: a function from a `Request` to a `Response`.
 */
import { HttpApp, HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { Effect, Layer, Schema } from "effect"
import { Session, SessionCookie } from "effect-session"
import * as SqlEngine from "effect-session/SqlEngine"
import * as SqlMigrations from "effect-session/SqlMigrations"
import { serve } from "srvx"

class AppSession extends Session.Tag<AppSession>()("app/Session", {
  schema: Schema.Struct({
    user: Schema.optional(Schema.String),
    visits: Schema.optionalWith(Schema.Number, { default: () => 0 })
  }),
  carryOver: ["visits"] // a login keeps the count of the anonymous visitor
}) {}

const show = Effect.flatMap(AppSession.value, (session) => HttpServerResponse.json(session))

const visit = Effect.zipRight(AppSession.update("visits", (visits) => visits + 1), show)

const login = Effect.gen(function*() {
  const { name } = yield* HttpServerRequest.schemaBodyJson(Schema.Struct({ name: Schema.NonEmptyString }))
  yield* AppSession.authenticate(name) // check the password before
  yield* AppSession.set("user", name)
  return yield* show
})

const logout = Effect.as(AppSession.destroy, HttpServerResponse.empty())

const app = HttpRouter.empty.pipe(
  HttpRouter.get("/", show),
  HttpRouter.post("/visits", visit),
  HttpRouter.post("/login", login),
  HttpRouter.post("/logout", logout),
  HttpRouter.use(AppSession.middleware) // ← the session for these routes
)

const sessions = AppSession.layerWith({ cookie: SessionCookie.development }).pipe( // with HTTPS: AppSession.layer
  Layer.provide(SqlEngine.layer),
  Layer.provide(SqlMigrations.layer),
  Layer.provide(SqliteClient.layer({ filename: "sessions.sqlite" }))
)

const { handler } = HttpApp.toWebHandlerLayer(app, sessions)

// Stands for the framework that calls the handler. It prints its address, and its port is PORT or 3000.
serve({ fetch: (request) => handler(request), hostname: "127.0.0.1" })
