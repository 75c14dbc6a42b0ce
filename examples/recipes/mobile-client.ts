/**
 * One API for browsers, by cookie, and for a mobile app, by bearer token.
 */
import { HttpApi, HttpApiBuilder, HttpApiClient, HttpApiEndpoint, HttpApiGroup } from "@effect/platform"
import { HttpClient, HttpClientRequest } from "@effect/platform"
import { Effect, Layer, Option, Redacted, Ref, Schema } from "effect"
import { MemoryEngine, Session } from "effect-session"

class AppSession extends Session.Tag<AppSession>()("app/Session", {
  schema: Schema.Struct({}),
  transport: "both" // ← cookie or bearer token
}) {}

class Account extends HttpApiGroup.make("account")
  .add(HttpApiEndpoint.post("login", "/login").setPayload(Schema.Struct({ name: Schema.String })))
  .add(HttpApiEndpoint.get("me", "/me").addSuccess(Schema.OptionFromNullOr(Schema.String)))
  .add(HttpApiEndpoint.post("logout", "/logout"))
  .middleware(AppSession.HttpApi)
{}

class Api extends HttpApi.make("api").add(Account) {}

const AccountLive = HttpApiBuilder.group(Api, "account", (handlers) =>
  handlers
    .handle("login", ({ payload }) => AppSession.authenticate(payload.name, { methods: ["pwd"] }))
    .handle("me", () => AppSession.subject)
    .handle("logout", () => AppSession.destroy))

export const server = HttpApiBuilder.serve().pipe(
  Layer.provide(Layer.provide(HttpApiBuilder.api(Api), AccountLive)),
  Layer.provide(AppSession.layer),
  Layer.provide(MemoryEngine.layer)
)

type Token = Option.Option<Redacted.Redacted<string>>

/** The client of the app. It sends the token that it holds, and replaces it when an answer has another one. */
export const client = (baseUrl: string, token: Ref.Ref<Token>) =>
  HttpApiClient.make(Api, {
    baseUrl,
    transformClient: (client) =>
      client.pipe(
        HttpClient.mapRequestEffect((request) =>
          Effect.map(
            Ref.get(token),
            Option.match({
              onNone: () => HttpClientRequest.setHeader(request, "session-token", "request"),
              onSome: (token) => HttpClientRequest.bearerToken(request, token)
            })
          )
        ),
        HttpClient.tap(({ headers: { "session-token": next } }) =>
          next === undefined
            ? Effect.void
            : Ref.set(token, next === "ended" ? Option.none() : Option.some(Redacted.make(next)))
        )
      )
  })
