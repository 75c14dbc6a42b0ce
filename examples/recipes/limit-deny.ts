/**
 * At most two devices: a third login is denied, with a page that explains what to do.
 */
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, Layer, Option, Schema } from "effect"
import { MemoryEngine, Session } from "effect-session"

class AppSession extends Session.Tag<AppSession>()("app/Session", {
  schema: Schema.Struct({}),
  maxPerSubject: { max: 2, onFull: "deny" }
}) {}

const login = Effect.gen(function*() {
  const { name } = yield* HttpServerRequest.schemaBodyUrlParams(Schema.Struct({ name: Schema.NonEmptyString }))
  yield* AppSession.authenticate(name, { methods: ["pwd"] }) // check the password before
  yield* AppSession.save // writes now, so that the handler sees the error
  return HttpServerResponse.redirect("/", { status: 303 })
}).pipe(
  // Without this the error is its own answer: 403 with the message as JSON.
  Effect.catchTag(
    "SessionLimitReached",
    ({ message }) =>
      HttpServerResponse.html(`<h1>Not logged in</h1><p>${message}</p>`).pipe(
        HttpServerResponse.setStatus(403)
      )
  )
)

const logout = Effect.as(AppSession.destroy, HttpServerResponse.redirect("/", { status: 303 }))

const home = Effect.map(AppSession.subject, (user) => HttpServerResponse.text(Option.getOrElse(user, () => "nobody")))

export const server = HttpRouter.empty.pipe(
  HttpRouter.get("/", home),
  HttpRouter.post("/login", login),
  HttpRouter.post("/logout", logout),
  HttpRouter.use(AppSession.middleware),
  HttpServer.serve()
).pipe(Layer.provide(AppSession.layer), Layer.provide(MemoryEngine.layer))
