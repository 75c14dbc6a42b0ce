/**
 * Sudo mode: some operations need a second factor of the last ten minutes.
 */
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, Layer, Schema } from "effect"
import { MemoryEngine, Session } from "effect-session"

class AppSession extends Session.Tag<AppSession>()("app/Session", { schema: Schema.Struct({}) }) {}

const login = Effect.gen(function*() {
  const { name } = yield* HttpServerRequest.schemaBodyUrlParams(Schema.Struct({ name: Schema.NonEmptyString }))
  yield* AppSession.authenticate(name, { methods: ["pwd"], level: 1 }) // check the password before
  return HttpServerResponse.redirect("/", { status: 303 })
})

// Stands for the check of an authenticator app.
const isCode = (code: string) => Effect.succeed(code === "123456")

const confirm = Effect.gen(function*() {
  yield* AppSession.requireSubject // the visitor must be logged in
  const { code } = yield* HttpServerRequest.schemaBodyUrlParams(Schema.Struct({ code: Schema.String }))
  if (!(yield* isCode(code))) return HttpServerResponse.text("Wrong code", { status: 403 })
  yield* AppSession.elevate({ methods: ["otp"], level: 2 })
  return HttpServerResponse.redirect("/payouts", { status: 303 })
})

const sudo = AppSession.requireFresh({ within: "10 minutes", level: 2 })

// For a script: the error is its own answer, 401 with the requirements in `WWW-Authenticate`.
const payOut = Effect.as(sudo, HttpServerResponse.text("Paid out"))

// For a browser: a redirect to the form with the code.
const payouts = Effect.as(sudo, HttpServerResponse.html("<form method=post><button>Pay out</button></form>")).pipe(
  Effect.catchTag("SessionNotFresh", () => HttpServerResponse.redirect("/confirm", { status: 303 }))
)

const leave = Effect.as(AppSession.drop, HttpServerResponse.redirect("/", { status: 303 }))

export const server = HttpRouter.empty.pipe(
  HttpRouter.post("/login", login),
  HttpRouter.post("/confirm", confirm),
  HttpRouter.get("/payouts", payouts),
  HttpRouter.post("/payouts", payOut),
  HttpRouter.post("/leave", leave),
  HttpRouter.use(AppSession.middleware),
  HttpServer.serve()
).pipe(Layer.provide(AppSession.layer), Layer.provide(MemoryEngine.layer))
