/**
 * A visit counter and a login, with `HttpRouter`.
 */
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { Config, Effect, Layer, Schema } from "effect"
import { Session, SessionCookie } from "effect-session"
import * as SqlEngine from "effect-session/SqlEngine"
import * as SqlMigrations from "effect-session/SqlMigrations"
import { createServer } from "node:http"

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

const server = HttpRouter.empty.pipe(
  HttpRouter.get("/", show),
  HttpRouter.post("/visits", visit),
  HttpRouter.post("/login", login),
  HttpRouter.post("/logout", logout),
  HttpRouter.use(AppSession.middleware), // ← the session for these routes
  HttpServer.serve(),
  HttpServer.withLogAddress
)

const port = Config.integer("PORT").pipe(Config.withDefault(3000))

server.pipe(
  Layer.provide(NodeHttpServer.layerConfig(createServer, { host: Config.succeed("127.0.0.1"), port })),
  Layer.provide(AppSession.layerWith({ cookie: SessionCookie.development })), // with HTTPS: AppSession.layer
  Layer.provide(SqlEngine.layer),
  Layer.provide(SqlMigrations.layer),
  Layer.provide(SqliteClient.layer({ filename: "sessions.sqlite" })),
  Layer.launch,
  NodeRuntime.runMain
)
