/**
 * The API. It imports nothing of the server, so that clients can share it.
 */
import { HttpApi, HttpApiEndpoint, HttpApiError, HttpApiGroup } from "@effect/platform"
import { Context, Schema } from "effect"
import { Csrf } from "effect-session"
import * as SessionHttpApi from "effect-session/SessionHttpApi"
import { AppSession, Theme } from "./AppSession.js"

export class CurrentUser extends Context.Tag("app/CurrentUser")<CurrentUser, string>() {}

/** Provides the user that is logged in, and answers others with 401. */
export class SignedIn extends SessionHttpApi.Guard<SignedIn>()("app/SignedIn", {
  session: AppSession,
  provides: CurrentUser,
  failure: HttpApiError.Unauthorized
}) {}

/** Refuses forged requests. */
export class Protected extends Csrf.HttpApi<Protected>()("app/Csrf", AppSession) {}

const Account = Schema.Struct({
  user: Schema.String,
  theme: Theme,
  /** For the header `x-csrf-token` of requests that change something. */
  csrfToken: Schema.OptionFromNullOr(Schema.String)
})

const account = HttpApiGroup.make("account")
  .add(HttpApiEndpoint.get("show", "/account").addSuccess(Account))
  .add(HttpApiEndpoint.put("setTheme", "/account/theme").setPayload(Schema.Struct({ theme: Theme })))
  .middleware(SignedIn)
  .middleware(AppSession.HttpApi)
  .middleware(Protected)

export const Api = HttpApi.make("api").add(account).prefix("/api")
