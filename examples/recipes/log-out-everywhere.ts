/**
 * Log out everywhere: after a change of the password, and by a button.
 */
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, Layer, Option, Schema } from "effect"
import { MemoryEngine, Session } from "effect-session"

class AppSession extends Session.Tag<AppSession>()("app/Session", { schema: Schema.Struct({}) }) {}

const login = Effect.gen(function*() {
  const { name } = yield* HttpServerRequest.schemaBodyUrlParams(Schema.Struct({ name: Schema.NonEmptyString }))
  yield* AppSession.authenticate(name, { methods: ["pwd"] }) // check the password before
  return HttpServerResponse.redirect("/", { status: 303 })
})

// Stands for your user table.
const storePassword = (_password: string) => Effect.void

const changePassword = Effect.gen(function*() {
  yield* AppSession.requireFresh({ within: "10 minutes" })
  const { password } = yield* HttpServerRequest.schemaBodyUrlParams(
    Schema.Struct({ password: Schema.String.pipe(Schema.minLength(12)) })
  )
  yield* storePassword(password)
  yield* AppSession.revokeOthers // at once; this browser stays logged in, under a new token
  return HttpServerResponse.text("Your other devices were logged out")
})

const everywhere = Effect.gen(function*() {
  const sessions = yield* AppSession.service
  const user = yield* AppSession.subject
  if (Option.isSome(user)) yield* sessions.revokeSubject(user.value) // this browser, too; a job or an administrator does the same
  return HttpServerResponse.redirect("/", { status: 303 })
})

const home = Effect.map(AppSession.subject, (user) => HttpServerResponse.text(Option.getOrElse(user, () => "nobody")))

export const server = HttpRouter.empty.pipe(
  HttpRouter.get("/", home),
  HttpRouter.post("/login", login),
  HttpRouter.post("/password", changePassword),
  HttpRouter.post("/log-out-everywhere", everywhere),
  HttpRouter.use(AppSession.middleware),
  HttpServer.serve()
).pipe(Layer.provide(AppSession.layer), Layer.provide(MemoryEngine.layer))
