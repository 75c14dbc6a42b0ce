/**
 * At most two devices: a third login ends the oldest session.
 */
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, Layer, Option, Schema } from "effect"
import { MemoryEngine, Session } from "effect-session"

class AppSession extends Session.Tag<AppSession>()("app/Session", {
  schema: Schema.Struct({}),
  maxPerSubject: 2 // ← 1 for "one session for each user"
}) {}

const login = Effect.gen(function*() {
  const { name } = yield* HttpServerRequest.schemaBodyUrlParams(Schema.Struct({ name: Schema.NonEmptyString }))
  yield* AppSession.authenticate(name, { methods: ["pwd"] }) // check the password before
  return HttpServerResponse.redirect("/", { status: 303 })
})

const home = Effect.map(AppSession.subject, (user) => HttpServerResponse.text(Option.getOrElse(user, () => "nobody")))

export const server = HttpRouter.empty.pipe(
  HttpRouter.get("/", home),
  HttpRouter.post("/login", login),
  HttpRouter.use(AppSession.middleware),
  HttpServer.serve()
).pipe(Layer.provide(AppSession.layer), Layer.provide(MemoryEngine.layer))
