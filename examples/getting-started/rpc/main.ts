/**
 * A visit counter and a login, by RPC over HTTP.
 */
import { HttpLayerRouter } from "@effect/platform"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { RpcSerialization, RpcServer } from "@effect/rpc"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { Config, Effect, Layer } from "effect"
import { SessionCookie } from "effect-session"
import * as SqlEngine from "effect-session/SqlEngine"
import * as SqlMigrations from "effect-session/SqlMigrations"
import { createServer } from "node:http"
import { AppSession, Calls, WithSession } from "./group.js"

const handlers = Calls.toLayer({
  Show: () => AppSession.value,
  Visit: () => Effect.zipRight(AppSession.update("visits", (visits) => visits + 1), AppSession.value),
  Login: ({ name }) =>
    AppSession.authenticate(name).pipe( // check the password before
      Effect.zipRight(AppSession.set("user", name)),
      Effect.zipRight(AppSession.value)
    ),
  Logout: () => AppSession.destroy
})

const route = RpcServer.layerHttpRouter({ group: Calls, path: "/rpc", protocol: "http" }).pipe(
  Layer.provide([handlers, WithSession.layer, RpcSerialization.layerJson]),
  Layer.provide(AppSession.routes.layer) // opens the session of the HTTP request, and commits it
)

const port = Config.integer("PORT").pipe(Config.withDefault(3000))

HttpLayerRouter.serve(route).pipe(
  Layer.provide(NodeHttpServer.layerConfig(createServer, { host: Config.succeed("127.0.0.1"), port })),
  Layer.provide(AppSession.layerWith({ cookie: SessionCookie.development })), // with HTTPS: AppSession.layer
  Layer.provide(SqlEngine.layer),
  Layer.provide(SqlMigrations.layer),
  Layer.provide(SqliteClient.layer({ filename: "sessions.sqlite" })),
  Layer.launch,
  NodeRuntime.runMain
)
