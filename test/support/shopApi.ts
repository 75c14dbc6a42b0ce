/**
 * An HttpApi whose handlers use the session and do not handle its errors, its servers, and a client that sends its cookie explicitly.
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiClient from "@effect/platform/HttpApiClient"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as HttpApiSecurity from "@effect/platform/HttpApiSecurity"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import type * as HttpRouter from "@effect/platform/HttpRouter"
import { Context, Effect, Layer, Redacted, Schema } from "effect"
import { SessionError } from "effect-session"
import { browse, counted, here, type Served, served, Staff, Visitor } from "./frontEnds.js"

/** A guard that does not use the session. */
export class Unauthorized extends Schema.TaggedError<Unauthorized>()("Unauthorized", {}) {}
export class Bearer extends Context.Tag("test/Bearer")<Bearer, string>() {}
export class Guard extends HttpApiMiddleware.Tag<Guard>()("test/Guard", {
  provides: Bearer,
  failure: Unauthorized,
  security: { bearer: HttpApiSecurity.bearer }
}) {}

const name = { name: Schema.String }

/** The session for a whole group. */
export class Account extends HttpApiGroup.make("account")
  .add(HttpApiEndpoint.get("whoami", "/whoami").addSuccess(Schema.Option(Schema.String)))
  .add(HttpApiEndpoint.post("login", "/login").setPayload(Schema.Struct(name)))
  .add(HttpApiEndpoint.post("logout", "/logout"))
  .add(HttpApiEndpoint.post("rename", "/rename").setPayload(Schema.Struct(name)))
  .add(HttpApiEndpoint.post("count", "/count").addSuccess(Schema.Number))
  .add(HttpApiEndpoint.post("invalidate", "/invalidate"))
  .add(HttpApiEndpoint.post("answer", "/answer").setPayload(Schema.Unknown))
  .add(HttpApiEndpoint.post("save", "/save"))
  .middleware(Visitor.HttpApi)
{}

/** The session for single endpoints, beside other guards and another session. */
export class Office extends HttpApiGroup.make("office")
  .add(HttpApiEndpoint.get("open", "/open").addSuccess(Schema.String))
  .add(
    HttpApiEndpoint.get("guarded", "/guarded").addSuccess(Schema.String).middleware(Visitor.HttpApi).middleware(Guard)
  )
  .add(
    HttpApiEndpoint.get("guardedFirst", "/guarded-first").addSuccess(Schema.String).middleware(Guard).middleware(
      Visitor.HttpApi
    )
  )
  .add(
    HttpApiEndpoint.post("both", "/both").setPayload(Schema.Struct(name)).middleware(Visitor.HttpApi).middleware(
      Staff.HttpApi
    )
  )
{}

export class ShopApi extends HttpApi.make("shop").add(Account).add(Office) {}

/** A pause of a handler, in which a test runs another request. */
export interface Stage {
  pause: Effect.Effect<void>
}

const handlers = (stage: Stage) =>
  Layer.mergeAll(
    HttpApiBuilder.group(ShopApi, "account", (handlers) =>
      handlers
        .handle("whoami", () => Visitor.getOption("name"))
        .handle("login", ({ payload: { name } }) =>
          Effect.zipRight(Visitor.authenticate(name), Visitor.set("name", name)))
        .handle("logout", () =>
          Visitor.destroy)
        .handle("rename", ({ payload: { name } }) =>
          Visitor.get("name").pipe(
            Effect.zipRight(Effect.suspend(() => stage.pause)),
            Effect.zipRight(Visitor.set("name", name))
          ))
        .handle("count", () => counted)
        .handle("invalidate", () => Visitor.set("count", Number.NaN))
        .handle("answer", ({ payload }) => Visitor.set("answers", payload as Readonly<Record<string, number>>))
        .handle("save", () => Effect.zipRight(counted, Visitor.save))),
    HttpApiBuilder.group(ShopApi, "office", (handlers) =>
      handlers
        .handle("open", () => Effect.map(Effect.serviceOption(Visitor), ({ _tag }) => _tag))
        .handle("guarded", () => Effect.zipWith(Bearer, Visitor.get("name"), (bearer, name) => `${bearer} ${name}`))
        .handle(
          "guardedFirst",
          () => Effect.zipWith(Bearer, Visitor.get("name"), (bearer, name) => `${bearer} ${name}`)
        )
        .handle(
          "both",
          ({ payload: { name } }) => Effect.asVoid(Effect.zipRight(Visitor.set("name", name), Staff.set("name", name)))
        ))
  ).pipe(
    Layer.provide(Layer.succeed(Guard, {
      bearer: (token) =>
        Redacted.value(token) === "" ? Effect.fail(new Unauthorized()) : Effect.succeed(Redacted.value(token))
    }))
  )

/** The ways to serve an HttpApi. */
export const apiServers: ReadonlyArray<
  readonly [name: string, serve: (stage?: Stage) => Layer.Layer<never, never, Served>]
> = [
  ["HttpApiBuilder.serve", (stage = withoutPause) => Layer.provide(HttpApiBuilder.serve(), api(stage))],
  [
    "HttpLayerRouter.addHttpApi",
    (stage = withoutPause) => HttpLayerRouter.serve(routes(stage))
  ],
  [
    "HttpApiBuilder.toWebHandler",
    (stage = withoutPause) =>
      Layer.unwrapScoped(
        Effect.map(
          Effect.context<Layer.Layer.Context<ReturnType<typeof handlers>> | HttpRouter.HttpRouter.DefaultServices>(),
          (context) => served(HttpApiBuilder.toWebHandler(Layer.provideMerge(api(stage), here(context))))
        )
      )
  ]
]

const withoutPause: Stage = { pause: Effect.void }

/** The API with its handlers, as routes. */
export const routes = (stage: Stage = withoutPause) =>
  Layer.provide(HttpLayerRouter.addHttpApi(ShopApi), handlers(stage))

/** The API with its handlers. */
export const api = (stage: Stage = withoutPause) => Layer.provide(HttpApiBuilder.api(ShopApi), handlers(stage))

/** A client with its own cookies. */
export const clientOn = (port: number) => {
  const { transformClient, ...browser } = browse()
  return Effect.map(
    HttpApiClient.make(ShopApi, { baseUrl: `http://127.0.0.1:${port}`, transformClient }),
    (client) => ({ ...client, ...browser })
  ).pipe(Effect.provide(FetchHttpClient.layer))
}

/** A call that loads the session and a call that saves it, with the store operation that each needs. */
export const using = ({ count, whoami }: Effect.Effect.Success<ReturnType<typeof clientOn>>["account"]) =>
  [["load", Effect.asVoid(whoami({}))], ["save", Effect.asVoid(count({}))]] as const

/** The errors of these calls if the store fails. */
export const unavailable = new SessionError.SessionUnavailable({
  session: "test/Visitor",
  reason: "store",
  retryAfter: 5
})

/** Logs in without the client. */
export const login = (name: string): RequestInit => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ name })
})
