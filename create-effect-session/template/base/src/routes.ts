/**
 * The routes of the pages, and their handlers.
 */
import { HttpLayerRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, Layer, Option, Schema } from "effect"
import { Csrf, SessionId } from "effect-session"
import { AppSession, Theme } from "./AppSession.js"
import * as Pages from "./pages.js"
import { Users } from "./Users.js"

/** Answers a form with a redirect, so that a reload does not send it again. */
const see = (path: string) => HttpServerResponse.redirect(path, { status: 303 })

const frame = Effect.gen(function*() {
  return {
    user: Option.getOrUndefined(yield* AppSession.subject),
    theme: yield* AppSession.get("theme"),
    csrfToken: Option.getOrElse(yield* Csrf.token(AppSession), () => "")
  }
})

/** Runs a handler for the user that is logged in, and sends other visitors to the login. */
const asUser = <E, R>(handler: (user: string) => Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
  Effect.flatMap(AppSession.subject, Option.match({ onNone: () => Effect.succeed(see("/login")), onSome: handler }))

const showHome = Effect.map(frame, Pages.home)

const setTheme = Effect.gen(function*() {
  const { theme } = yield* HttpServerRequest.schemaBodyUrlParams(Schema.Struct({ theme: Theme }))
  yield* AppSession.set("theme", theme)
  return see("/")
})

const showLogin = Effect.map(frame, (frame) => Pages.login(frame))

const Credentials = Schema.Struct({ name: Schema.String, password: Schema.Redacted(Schema.String) })

const login = Effect.gen(function*() {
  const { name, password } = yield* HttpServerRequest.schemaBodyUrlParams(Credentials)
  const users = yield* Users
  // One answer for an unknown name and for a wrong password.
  if (!(yield* users.authenticate(name, password))) return Pages.login(yield* frame, "Wrong name or password.")
  const { headers } = yield* HttpServerRequest.HttpServerRequest
  const browser = (headers["user-agent"] ?? "Unknown browser").slice(0, 200)
  yield* AppSession.authenticate(name, { methods: ["pwd"], context: { browser } })
  return see("/account")
})

const logout = Effect.as(AppSession.destroy, see("/"))

const showAccount = asUser((user) =>
  Effect.gen(function*() {
    const sessions = yield* AppSession.service
    return Pages.account(yield* frame, yield* sessions.own(user))
  })
)

const logOutDevice = asUser((user) =>
  Effect.gen(function*() {
    const { id } = yield* HttpServerRequest.schemaBodyUrlParams(Schema.Struct({ id: SessionId.SessionId }))
    const sessions = yield* AppSession.service
    // The id comes from the browser: `revokeOwn` ends the session only if it is one of this user.
    yield* sessions.revokeOwn(user, id)
    return see("/account")
  })
)

const logOutOthers = asUser(() => Effect.as(AppSession.revokeOthers, see("/account")))

/** Provides the session to the pages, and refuses forged requests. */
export const layer = HttpLayerRouter.addAll([
  HttpLayerRouter.route("GET", "/", showHome),
  HttpLayerRouter.route("POST", "/theme", setTheme),
  HttpLayerRouter.route("GET", "/login", showLogin),
  HttpLayerRouter.route("POST", "/login", login),
  HttpLayerRouter.route("POST", "/logout", logout),
  HttpLayerRouter.route("GET", "/account", showAccount),
  HttpLayerRouter.route("POST", "/account/log-out", logOutDevice),
  HttpLayerRouter.route("POST", "/account/log-out-others", logOutOthers)
]).pipe(Layer.provide(Csrf.routes(AppSession).layer))
