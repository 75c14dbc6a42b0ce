/**
 * Log in and log out. A login keeps the cart of the visitor, and nothing else.
 */
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Array, Effect, Layer, Option, Redacted, Schema } from "effect"
import { MemoryEngine, Session } from "effect-session"

class AppSession extends Session.Tag<AppSession>()("app/Session", {
  schema: Schema.Struct({
    cart: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] }),
    lastSearch: Schema.optional(Schema.String)
  }),
  carryOver: ["cart"] // ← all that a login keeps
}) {}

const Credentials = Schema.Struct({ name: Schema.NonEmptyString, password: Schema.Redacted(Schema.String) })

// Stands for your user table, and for the comparison with the hash of the password.
const isCorrect = ({ password }: typeof Credentials.Type) => Effect.succeed(Redacted.value(password) === "tea time")

const login = Effect.gen(function*() {
  const credentials = yield* HttpServerRequest.schemaBodyUrlParams(Credentials)
  if (!(yield* isCorrect(credentials))) return HttpServerResponse.text("Wrong name or password", { status: 401 })
  yield* AppSession.authenticate(credentials.name, { methods: ["pwd"] }) // last, after all checks
  return HttpServerResponse.redirect("/", { status: 303 })
})

const logout = Effect.as(AppSession.destroy, HttpServerResponse.redirect("/", { status: 303 }))

const addToCart = Effect.gen(function*() {
  const { sku } = yield* HttpServerRequest.schemaBodyUrlParams(Schema.Struct({ sku: Schema.String }))
  yield* AppSession.update("cart", Array.append(sku))
  return HttpServerResponse.redirect("/", { status: 303 })
})

const search = Effect.gen(function*() {
  const { q } = yield* HttpServerRequest.schemaSearchParams(Schema.Struct({ q: Schema.String }))
  yield* AppSession.set("lastSearch", q)
  return HttpServerResponse.text(`Nothing was found for ${q}`)
})

const home = Effect.gen(function*() {
  const user = Option.getOrElse(yield* AppSession.subject, () => "nobody")
  return yield* HttpServerResponse.json({ user, ...yield* AppSession.value })
})

export const server = HttpRouter.empty.pipe(
  HttpRouter.get("/", home),
  HttpRouter.get("/search", search),
  HttpRouter.post("/cart", addToCart),
  HttpRouter.post("/login", login),
  HttpRouter.post("/logout", logout),
  HttpRouter.use(AppSession.middleware),
  HttpServer.serve()
).pipe(Layer.provide(AppSession.layer), Layer.provide(MemoryEngine.layer))
