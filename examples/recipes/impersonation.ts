/**
 * Support staff see the page of a customer as the customer does, and the session remembers who really acts.
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

// Stands for your roles.
const isStaff = (user: string) => user === "sam"

const actFor = Effect.gen(function*() {
  const { customer } = yield* HttpRouter.schemaPathParams(Schema.Struct({ customer: Schema.NonEmptyString }))
  const allowed = Option.exists(yield* AppSession.subject, isStaff) // in an impersonation it is the customer
  if (!allowed || isStaff(customer)) return HttpServerResponse.text("For staff only", { status: 403 })
  yield* AppSession.impersonate(customer)
  return HttpServerResponse.redirect("/", { status: 303 })
})

const stop = Effect.as(AppSession.endImpersonation, HttpServerResponse.redirect("/", { status: 303 }))

const home = Effect.gen(function*() {
  const user = Option.getOrElse(yield* AppSession.subject, () => "nobody")
  const banner = Option.map(yield* AppSession.impersonator, (staff) => `${staff} acts for ${user}`)
  return HttpServerResponse.text(Option.getOrElse(banner, () => user))
})

// The staff member can look, and cannot do this: `requireFresh` refuses an impersonation.
const changePassword = Effect.as(
  AppSession.requireFresh({ within: "10 minutes" }),
  HttpServerResponse.text("The password was changed")
)

export const server = HttpRouter.empty.pipe(
  HttpRouter.get("/", home),
  HttpRouter.post("/login", login),
  HttpRouter.post("/act-for/:customer", actFor),
  HttpRouter.post("/stop", stop),
  HttpRouter.post("/password", changePassword),
  HttpRouter.use(AppSession.middleware),
  HttpServer.serve()
).pipe(Layer.provide(AppSession.layer), Layer.provide(MemoryEngine.layer))
