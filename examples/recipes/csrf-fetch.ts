/**
 * An API for the scripts of your own pages, which another site cannot call.
 */
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup } from "@effect/platform"
import { Effect, Layer, Schema } from "effect"
import { Csrf, MemoryEngine, Session } from "effect-session"

class AppSession extends Session.Tag<AppSession>()("app/Session", {
  schema: Schema.Struct({ city: Schema.optionalWith(Schema.String, { default: () => "" }) })
}) {}

class Protected extends Csrf.HttpApi<Protected>()("app/Csrf", AppSession) {}

const Token = Schema.Struct({ token: Schema.OptionFromNullOr(Schema.String) })

class Account extends HttpApiGroup.make("account")
  .add(HttpApiEndpoint.get("token", "/csrf-token").addSuccess(Token)) // when the page starts
  .add(HttpApiEndpoint.post("login", "/login").setPayload(Schema.Struct({ name: Schema.String })).addSuccess(Token))
  .add(HttpApiEndpoint.put("city", "/city").setPayload(Schema.Struct({ city: Schema.String })))
  .middleware(AppSession.HttpApi)
  .middleware(Protected)
{}

export class Api extends HttpApi.make("api").add(Account) {}

const token = Effect.map(Csrf.token(AppSession), (token) => ({ token }))

const AccountLive = HttpApiBuilder.group(Api, "account", (handlers) =>
  handlers
    .handle("token", () => token)
    .handle("login", ({ payload }) => Effect.zipRight(AppSession.authenticate(payload.name), token))
    .handle("city", ({ payload }) => AppSession.set("city", payload.city)))

export const server = HttpApiBuilder.serve().pipe(
  Layer.provide(Layer.provide(HttpApiBuilder.api(Api), AccountLive)),
  Layer.provide(Protected.layer()),
  Layer.provide(AppSession.layer),
  Layer.provide(MemoryEngine.layer)
)

/** For a script of the page: `move(fetch, token, "Kyoto")`. The browser adds the cookie and the origin. */
export const move = (send: typeof fetch, token: string, city: string) =>
  send("/city", {
    method: "PUT",
    headers: { "content-type": "application/json", "x-csrf-token": token },
    body: JSON.stringify({ city })
  })
