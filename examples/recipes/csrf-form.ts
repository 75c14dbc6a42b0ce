/**
 * A form that another site cannot forge.
 */
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, Layer, Option, Schema } from "effect"
import { Csrf, MemoryEngine, Session } from "effect-session"

class AppSession extends Session.Tag<AppSession>()("app/Session", {
  schema: Schema.Struct({ city: Schema.optionalWith(Schema.String, { default: () => "" }) })
}) {}

const login = Effect.gen(function*() {
  const { name } = yield* HttpServerRequest.schemaBodyUrlParams(Schema.Struct({ name: Schema.NonEmptyString }))
  yield* AppSession.authenticate(name, { methods: ["pwd"] }) // check the password before
  return yield* page // with the token of the new session
})

const page = Effect.gen(function*() {
  const token = Option.getOrElse(yield* Csrf.token(AppSession), () => "") // safe in HTML as it is
  return HttpServerResponse.html(`
    <form method="post" action="/city">
      <input type="hidden" name="csrfToken" value="${token}">
      <input name="city"><button>Move</button>
    </form>`)
})

const move = Effect.gen(function*() {
  const { city } = yield* HttpServerRequest.schemaBodyUrlParams(Schema.Struct({ city: Schema.String }))
  yield* AppSession.set("city", city)
  return HttpServerResponse.text(`You live in ${city}`)
})

const rejected = ({ message }: Csrf.CsrfRejected) => HttpServerResponse.text(message, { status: 403 })

export const server = HttpRouter.empty.pipe(
  HttpRouter.get("/", page),
  HttpRouter.post("/login", login),
  HttpRouter.post("/city", move),
  HttpRouter.use(Csrf.middleware(AppSession)), // ← instead of AppSession.middleware
  HttpRouter.catchTag("CsrfRejected", (error) => Effect.succeed(rejected(error))),
  HttpServer.serve()
).pipe(Layer.provide(AppSession.layer), Layer.provide(MemoryEngine.layer))
