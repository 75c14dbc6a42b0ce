/**
 * A checkbox "remember me": the cookie lasts longer than the browser only if the visitor asks for it.
 */
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, Layer, Option, Schema } from "effect"
import { Expiry, MemoryEngine, Session } from "effect-session"

class AppSession extends Session.Tag<AppSession>()("app/Session", {
  schema: Schema.Struct({}),
  expiry: Expiry.earliest(Expiry.idle("14 days"), Expiry.absolute("30 days"))
}) {}

const LoginForm = Schema.Struct({
  name: Schema.NonEmptyString,
  remember: Schema.optional(Schema.Literal("on")) // the value of a checkbox
})

const login = Effect.gen(function*() {
  const { name, remember } = yield* HttpServerRequest.schemaBodyUrlParams(LoginForm) // check the password here
  yield* AppSession.authenticate(name, { methods: ["pwd"], remember: remember === "on" })
  return HttpServerResponse.redirect("/", { status: 303 })
})

const home = Effect.gen(function*() {
  const user = Option.getOrElse(yield* AppSession.subject, () => "nobody")
  return yield* HttpServerResponse.json({ user, isRemembered: yield* AppSession.isRemembered })
})

// A remembered login is weak evidence of who sits there: important pages ask for the password again.
const changeEmail = Effect.as(
  AppSession.requireFresh({ within: "1 hour" }),
  HttpServerResponse.text("The email address was changed")
)

export const server = HttpRouter.empty.pipe(
  HttpRouter.get("/", home),
  HttpRouter.post("/login", login),
  HttpRouter.post("/email", changeEmail),
  HttpRouter.use(AppSession.middleware),
  HttpServer.serve()
).pipe(Layer.provide(AppSession.layer), Layer.provide(MemoryEngine.layer))
