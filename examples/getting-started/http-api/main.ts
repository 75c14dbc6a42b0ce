/**
 * A visit counter and a login, with `HttpApi`.
 */
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup, HttpServer } from "@effect/platform"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { Config, Effect, Layer, Schema } from "effect"
import { Session, SessionCookie } from "effect-session"
import * as SqlEngine from "effect-session/SqlEngine"
import * as SqlMigrations from "effect-session/SqlMigrations"
import { createServer } from "node:http"

const Visitor = Schema.Struct({
  user: Schema.optional(Schema.String),
  visits: Schema.optionalWith(Schema.Number, { default: () => 0 })
})

class AppSession extends Session.Tag<AppSession>()("app/Session", {
  schema: Visitor,
  carryOver: ["visits"] // a login keeps the count of the anonymous visitor
}) {}

const visitor = HttpApiGroup.make("visitor")
  .add(HttpApiEndpoint.get("show", "/").addSuccess(Visitor))
  .add(HttpApiEndpoint.post("visit", "/visits").addSuccess(Visitor))
  .add(
    HttpApiEndpoint.post("login", "/login").setPayload(Schema.Struct({ name: Schema.NonEmptyString }))
      .addSuccess(Visitor)
  )
  .add(HttpApiEndpoint.post("logout", "/logout"))
  .middleware(AppSession.HttpApi) // ← the session for these endpoints

const Api = HttpApi.make("api").add(visitor)

const VisitorLive = HttpApiBuilder.group(Api, "visitor", (handlers) =>
  handlers
    .handle("show", () => AppSession.value)
    .handle("visit", () => Effect.zipRight(AppSession.update("visits", (visits) => visits + 1), AppSession.value))
    .handle("login", ({ payload: { name } }) =>
      AppSession.authenticate(name).pipe( // check the password before
        Effect.zipRight(AppSession.set("user", name)),
        Effect.zipRight(AppSession.value)
      ))
    .handle("logout", () => AppSession.destroy))

const port = Config.integer("PORT").pipe(Config.withDefault(3000))

HttpApiBuilder.serve().pipe(
  HttpServer.withLogAddress,
  Layer.provide(Layer.provide(HttpApiBuilder.api(Api), VisitorLive)),
  Layer.provide(NodeHttpServer.layerConfig(createServer, { host: Config.succeed("127.0.0.1"), port })),
  Layer.provide(AppSession.layerWith({ cookie: SessionCookie.development })), // with HTTPS: AppSession.layer
  Layer.provide(SqlEngine.layer),
  Layer.provide(SqlMigrations.layer),
  Layer.provide(SqliteClient.layer({ filename: "sessions.sqlite" })),
  Layer.launch,
  NodeRuntime.runMain
)
