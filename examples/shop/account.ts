/**
 * The account: the devices of the visitor, and the change of the password.
 */
import { HttpRouter, type HttpServerResponse } from "@effect/platform"
import { Effect, Option, Schema } from "effect"
import { SessionId } from "effect-session"
import * as Pages from "./accountPages.js"
import { AppSession } from "./AppSession.js"
import { form, see } from "./forms.js"
import { frame, notify } from "./frame.js"

/** Runs a handler for the logged-in user. Redirects other visitors to the login page, which shows why they are not logged in. */
const asUser = <E, R>(handler: (user: string) => Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
  Effect.flatMap(
    AppSession.subject,
    Option.match({ onNone: () => Effect.succeed(see("/login")), onSome: handler })
  )

/** Runs a handler if the password was entered a short time ago. Otherwise asks for it first. */
const afterPassword = <E, R>(handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
  asUser(() => Effect.if(isFresh, { onTrue: () => handler, onFalse: () => Effect.succeed(see("/account/confirm")) }))

/** A remembered login is never fresh: another user of the device would pass. */
const isFresh = AppSession.requireFresh({ within: "10 minutes" }).pipe(
  Effect.as(true),
  Effect.catchTag("SessionNotFresh", () => Effect.succeed(false))
)

const showAccount = asUser((user) =>
  Effect.gen(function*() {
    const sessions = yield* AppSession.service
    return Pages.account(yield* frame, yield* sessions.own(user))
  })
)

const logOutOne = asUser((user) =>
  Effect.gen(function*() {
    const { id } = yield* form(Schema.Struct({ id: SessionId.SessionId }))
    const sessions = yield* AppSession.service
    // The id comes from the browser: `revokeOwn` ends the session only if it is one of this user.
    const ended = yield* sessions.revokeOwn(user, id)
    yield* notify(ended ? "The device is logged out." : "The device was logged out already.")
    return see("/account")
  })
)

const logOutOthers = asUser(() =>
  Effect.gen(function*() {
    yield* notify("All other devices are logged out.")
    yield* AppSession.revokeOthers
    return see("/account")
  })
)

const showConfirm = asUser(() => Effect.map(frame, Pages.confirm))

const confirm = asUser(() =>
  Effect.gen(function*() {
    yield* form(Schema.Struct({ password: Schema.NonEmptyString }))
    // A real shop checks the password here.
    yield* AppSession.elevate({ methods: ["pwd"], level: 1 })
    return see("/account/password")
  })
)

const showPassword = afterPassword(Effect.map(frame, Pages.password))

const changePassword = afterPassword(Effect.gen(function*() {
  yield* form(Schema.Struct({ password: Schema.NonEmptyString }))
  // A real shop stores the password here. Devices that were logged in with the old one are logged out.
  yield* notify("Your password is changed, and all other devices are logged out.")
  yield* AppSession.revokeOthers
  return see("/account")
}))

export const routes = HttpRouter.empty.pipe(
  HttpRouter.get("/account", showAccount),
  HttpRouter.post("/account/logout", logOutOne),
  HttpRouter.post("/account/logout-others", logOutOthers),
  HttpRouter.get("/account/confirm", showConfirm),
  HttpRouter.post("/account/confirm", confirm),
  HttpRouter.get("/account/password", showPassword),
  HttpRouter.post("/account/password", changePassword)
)
