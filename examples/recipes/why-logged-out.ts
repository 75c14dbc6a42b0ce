/**
 * "Why was I logged out?": the login page shows the reason, as far as it is known.
 */
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, Layer, Option, Schema } from "effect"
import { Expiry, MemoryEngine, Session } from "effect-session"
import type { Absence } from "effect-session/SessionHandle"

class AppSession extends Session.Tag<AppSession>()("app/Session", {
  schema: Schema.Struct({}),
  expiry: Expiry.earliest(Expiry.idle("20 minutes"), Expiry.absolute("12 hours")),
  maxPerSubject: 2
}) {}

const explanation = (absence: Absence): string => {
  switch (absence) {
    case "expired":
      return "You were logged out because you have not used this page for a while."
    case "limit":
      return "You were logged out because you have logged in on another device."
    case "revoked":
    case "subjectRevoked":
      return "You were logged out on another device, or by our support."
    case "allRevoked":
      return "All users were logged out, for the safety of their accounts."
    default: // a first visit, a logout, an invented cookie: nothing to explain
      return ""
  }
}

const loginPage = Effect.gen(function*() {
  const notice = Option.match(yield* AppSession.absence, { onNone: () => "", onSome: explanation })
  return HttpServerResponse.html(
    `<p>${notice}</p><form method="post"><input name="name"><button>Log in</button></form>`
  )
})

const login = Effect.gen(function*() {
  const { name } = yield* HttpServerRequest.schemaBodyUrlParams(Schema.Struct({ name: Schema.NonEmptyString }))
  yield* AppSession.authenticate(name, { methods: ["pwd"] }) // check the password before
  return HttpServerResponse.redirect("/", { status: 303 })
})

const logOutOthers = Effect.as(AppSession.revokeOthers, HttpServerResponse.redirect("/", { status: 303 }))

export const server = HttpRouter.empty.pipe(
  HttpRouter.get("/login", loginPage),
  HttpRouter.post("/login", login),
  HttpRouter.post("/log-out-others", logOutOthers),
  HttpRouter.use(AppSession.middleware),
  HttpServer.serve()
).pipe(Layer.provide(AppSession.layer), Layer.provide(MemoryEngine.layer))
