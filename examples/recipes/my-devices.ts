/**
 * My devices: where am I logged in, and a button that logs one of them out.
 */
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { DateTime, Effect, Layer, Schema } from "effect"
import { MemoryEngine, Session, SessionId } from "effect-session"

class AppSession extends Session.Tag<AppSession>()("app/Session", {
  schema: Schema.Struct({}),
  context: Schema.Struct({ browser: Schema.String }) // ← what the list shows
}) {}

const login = Effect.gen(function*() {
  const { name } = yield* HttpServerRequest.schemaBodyUrlParams(Schema.Struct({ name: Schema.NonEmptyString }))
  const { headers } = yield* HttpServerRequest.HttpServerRequest
  const browser = (headers["user-agent"] ?? "unknown").slice(0, 200)
  yield* AppSession.authenticate(name, { methods: ["pwd"], context: { browser } }) // check the password before
  return HttpServerResponse.redirect("/devices", { status: 303 })
})

const devices = Effect.gen(function*() {
  const sessions = yield* AppSession.service
  const own = yield* sessions.own(yield* AppSession.requireSubject)
  return yield* HttpServerResponse.json(own.map(({ context, createdAt, id, isCurrent, lastSeenAt }) => ({
    id,
    browser: context?.browser ?? "unknown",
    since: DateTime.formatIso(createdAt),
    lastSeen: DateTime.formatIso(lastSeenAt),
    isCurrent
  })))
})

const logOut = Effect.gen(function*() {
  const sessions = yield* AppSession.service
  const { id } = yield* HttpRouter.schemaPathParams(Schema.Struct({ id: SessionId.SessionId }))
  const ended = yield* sessions.revokeOwn(yield* AppSession.requireSubject, id) // the id comes from the visitor: never `revoke(id)` here
  return HttpServerResponse.empty({ status: ended ? 204 : 404 })
})

export const server = HttpRouter.empty.pipe(
  HttpRouter.post("/login", login),
  HttpRouter.get("/devices", devices),
  HttpRouter.del("/devices/:id", logOut),
  HttpRouter.use(AppSession.middleware),
  HttpServer.serve()
).pipe(Layer.provide(AppSession.layer), Layer.provide(MemoryEngine.layer))
