/**
 * An audit log: every login, step-up and end of a session is a row of a table.
 */
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { Config, Effect, Layer, Option, Schema } from "effect"
import { Session, SessionEvents } from "effect-session"
import * as SqlAudit from "effect-session/SqlAudit"
import * as SqlEngine from "effect-session/SqlEngine"
import * as SqlMigrations from "effect-session/SqlMigrations"

class AppSession extends Session.Tag<AppSession>()("app/Session", { schema: Schema.Struct({}) }) {}

const login = Effect.gen(function*() {
  const { name } = yield* HttpServerRequest.schemaBodyUrlParams(Schema.Struct({ name: Schema.NonEmptyString }))
  yield* AppSession.authenticate(name, { methods: ["pwd"] }) // check the password before
  return HttpServerResponse.redirect("/", { status: 303 })
})

const logout = Effect.as(AppSession.destroy, HttpServerResponse.redirect("/", { status: 303 }))

// The public id, for a ticket to the support. It is no secret.
const home = Effect.map(AppSession.id, (id) => HttpServerResponse.text(Option.getOrElse(id, () => "no session")))

export const server = HttpRouter.empty.pipe(
  HttpRouter.get("/", home),
  HttpRouter.post("/login", login),
  HttpRouter.post("/logout", logout),
  HttpRouter.use(AppSession.middleware),
  HttpServer.serve()
).pipe(
  Layer.provide(AppSession.layer),
  Layer.provide(SqlEngine.layer),
  Layer.provide(SqlAudit.layer), // ← writes the events
  Layer.provide(SessionEvents.layer), // ← collects them
  Layer.provide(SqlMigrations.layerWith({ audit: true })), // ← makes the table
  Layer.provide(SqliteClient.layerConfig({ filename: Config.string("DATABASE") }))
)
