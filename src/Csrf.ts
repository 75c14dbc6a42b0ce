/**
 * Protection against forged requests (cross-site request forgery): the check of where a request comes from, and a token in each page.
 *
 * @since 0.6.0
 */
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Option } from "effect/Option"
import * as Schema from "effect/Schema"
import { forgeryReasons } from "./internal/domain/outcomes.js"
import * as Forgery from "./internal/http/forgery.js"
import { opened } from "./internal/http/opened.js"
import { around } from "./internal/http/preResponse.js"
import { SessionUnavailable } from "./SessionError.js"
import type { SessionHandle } from "./SessionHandle.js"
import type { Sessions, SessionService } from "./SessionService.js"

/**
 * The request may be forged. It was refused before its handler ran, and its session was neither read by the handler nor written. 403.
 *
 * - `crossSite`: `Sec-Fetch-Site` names another site or a sibling host, and the `Origin` is not trusted.
 * - `origin`: the browser sends no `Sec-Fetch-Site`, and the `Origin` is neither that of the request nor trusted.
 * - `missingOrigin`: there is neither of the two headers, and `allowMissingOrigin` is not set.
 * - `missingToken`: the request has a session, and no token.
 * - `token`: the token is not one of the request's session: it is from before a login or another rotation, or of another session.
 *
 * @since 0.6.0
 * @category errors
 */
export class CsrfRejected extends Schema.TaggedError<CsrfRejected>("effect-session.CsrfRejected")(
  "CsrfRejected",
  { reason: Schema.Literal(...forgeryReasons) },
  HttpApiSchema.annotations({ status: 403 })
) {
  override get message(): string {
    return explanations[this.reason]
  }
  [HttpServerRespondable.symbol]() {
    return Effect.succeed(
      HttpServerResponse.unsafeJson({ ...encode(this), message: this.message }, { status: 403 })
    )
  }
}

const encode = Schema.encodeSync(CsrfRejected)

const explanations: Readonly<Record<CsrfRejected["reason"], string>> = {
  crossSite:
    "This request came from a page of another site or of another host, and was refused. Send it from this site; " +
    "its operator can allow the other one (trustedOrigins).",
  origin:
    "This request came from a page of another origin, or over plain http, and was refused. Send it from this site over https; " +
    "its operator can allow the other origin (trustedOrigins).",
  missingOrigin:
    "This request does not name the page that it came from (Origin), and was refused. Use a current browser; " +
    "the operator of the site can allow such requests (allowMissingOrigin).",
  missingToken:
    "This request has no token against forged requests, and was refused. Load the page again, and repeat it.",
  token:
    "The token of this request is not valid any more, because you have logged in or out meanwhile. Load the page again, and repeat it."
}

/**
 * Options of the protection.
 *
 * @since 0.6.0
 * @category models
 */
export interface CsrfOptions {
  /**
   * Origins whose pages may send requests, as browsers write them: `"https://admin.example.com"`. Sibling hosts (`same-site`) are not
   * trusted unless they are named. Their requests need a token all the same if they have a session. Default: none.
   */
  readonly trustedOrigins?: ReadonlyArray<string>
  /**
   * Lets requests pass that have neither `Sec-Fetch-Site` nor `Origin`: clients that are not browsers, such as `curl`. Default `false`.
   * If such a request has a session, it needs a token.
   */
  readonly allowMissingOrigin?: boolean
  /** The header with the token. Default `x-csrf-token`. */
  readonly header?: string
  /** The field of a form with the token, which is read if there is no header. Default `csrfToken`. */
  readonly field?: string
}

/**
 * The part of a session tag that the protection needs.
 *
 * @since 0.6.0
 * @category models
 */
export interface ProtectedTag<Self, A, C = never> extends Context.Tag<Self, SessionHandle<A, never, C>> {
  readonly service: Context.Tag<SessionService<Self>, Sessions<A, C>>
}

/**
 * Returns a token for the page or the script of this response. It is another text each time, and all of them are valid until the session
 * gets a new token of its own by a login, another rotation, or its end. `None` if the visitor has no session: nothing is created, and
 * their requests need no token.
 *
 * Ask for it after the changes of the handler: after a login it is the token of the new session, which the response is about to create.
 *
 * @example
 * ```ts
 * import { HttpServerResponse } from "@effect/platform"
 * import { Effect, Option, Schema } from "effect"
 * import { Csrf, Session } from "effect-session"
 *
 * class AppSession extends Session.Tag<AppSession>()("app/Session", {
 *   schema: Schema.Struct({ user: Schema.optional(Schema.String) })
 * }) {}
 *
 * export const form = Effect.map(Csrf.token(AppSession), (token) =>
 *   HttpServerResponse.html(`
 *     <form method="post" action="/rename">
 *       <input type="hidden" name="csrfToken" value="${Option.getOrElse(token, () => "")}">
 *       <input name="name"><button>Rename</button>
 *     </form>`))
 * ```
 *
 * @since 0.6.0
 * @category tokens
 */
export const token = <Self, A, C>(
  session: Context.Tag<Self, SessionHandle<A, never, C>>
): Effect.Effect<Option<string>, SessionUnavailable, Self> => Effect.flatMap(session, Forgery.tokenOf)

/**
 * Makes a middleware for `HttpRouter.use`, `HttpServer.serve` and single applications. It provides the session, as
 * `AppSession.middleware` does, or shares the one that the request has already. Requests by GET, HEAD, OPTIONS and TRACE pass, but a
 * handshake of a socket from another origin does not. Throws a `SessionConfigError` if a trusted origin is none.
 *
 * A route that other servers call, such as a webhook, is exempt if it stands outside of the middleware.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Effect, Schema } from "effect"
 * import { Csrf, Session } from "effect-session"
 *
 * class AppSession extends Session.Tag<AppSession>()("app/Session", {
 *   schema: Schema.Struct({ user: Schema.optional(Schema.String) })
 * }) {}
 *
 * const pages = HttpRouter.empty.pipe(
 *   HttpRouter.post("/logout", Effect.as(AppSession.destroy, HttpServerResponse.text("Good bye"))),
 *   HttpRouter.use(Csrf.middleware(AppSession, { trustedOrigins: ["https://admin.example.com"] }))
 * )
 *
 * export const app = HttpRouter.empty.pipe(
 *   HttpRouter.post("/webhook", HttpServerResponse.empty()),
 *   HttpRouter.concat(pages)
 * )
 * ```
 *
 * @since 0.6.0
 * @category middleware
 */
export const middleware = <Self, A, C>(session: ProtectedTag<Self, A, C>, options: CsrfOptions = {}) => {
  const rules = Forgery.rulesOf(options)
  return <E, R>(
    app: HttpApp.Default<E, R>
  ): HttpApp.Default<E | CsrfRejected | SessionUnavailable, Exclude<R, Self> | SessionService<Self>> =>
    Effect.flatMap(
      session.service,
      (service) => around(session, service)(checked(session, rules, app as HttpApp.Default<E, Exclude<R, Self> | Self>))
    )
}

/**
 * The middleware for some routes of an HttpLayerRouter.
 *
 * @since 0.6.0
 * @category models
 */
export type Routes<Self> = HttpLayerRouter.Middleware<{
  provides: Self
  handles: never
  error: CsrfRejected | SessionUnavailable
  requires: never
  layerError: never
  layerRequires: SessionService<Self>
}>

/**
 * The middleware for every request to an HttpLayerRouter.
 *
 * @since 0.6.0
 * @category models
 */
export type AllRoutes<Self> = Layer.Layer<
  HttpLayerRouter.Request.From<"Requires", Self> | HttpLayerRouter.Request.From<"GlobalRequires", Self>,
  never,
  | HttpLayerRouter.HttpRouter
  | SessionService<Self>
  | HttpLayerRouter.Request.From<"GlobalError", CsrfRejected | SessionUnavailable>
>

/**
 * Makes the middleware for HttpLayerRouter: `Layer.provide(Csrf.routes(AppSession).layer)` gives some routes the session and protects
 * them. See {@link middleware}.
 *
 * @since 0.6.0
 * @category middleware
 */
export const routes = <Self, A, C>(session: ProtectedTag<Self, A, C>, options: CsrfOptions = {}): Routes<Self> =>
  HttpLayerRouter.middleware<{ provides: Self }>()(wrap(session, options))

/**
 * Makes the middleware for every request to an HttpLayerRouter, including those that match no route. See {@link middleware}.
 *
 * @since 0.6.0
 * @category middleware
 */
export const allRoutes = <Self, A, C>(session: ProtectedTag<Self, A, C>, options: CsrfOptions = {}): AllRoutes<Self> =>
  HttpLayerRouter.middleware<{ provides: Self }>()(wrap(session, options), { global: true })

/**
 * The class that {@link HttpApi} returns, for `HttpApi.middleware`, `HttpApiGroup.middleware` and `HttpApiEndpoint.middleware`.
 *
 * @since 0.6.0
 * @category models
 */
export type HttpApiClass<Self, Name extends string, Session> =
  & HttpApiMiddleware.TagClass<Self, Name, { readonly failure: typeof HttpApiFailure }>
  & {
    /** Implements the protection. Throws a `SessionConfigError` if a trusted origin is none. */
    readonly layer: (options?: CsrfOptions) => Layer.Layer<Self, never, SessionService<Session>>
  }

/**
 * The errors that the middleware for HttpApi adds to its endpoints.
 *
 * @since 0.6.0
 * @category errors
 */
export const HttpApiFailure = Schema.Union(CsrfRejected, SessionUnavailable)

/**
 * Makes the middleware for HttpApi. It opens the session itself, or shares the one that the request has already, and runs before the
 * payload is decoded. Its errors are in the description of the API, and typed in its client. The class contains nothing of a server, so API
 * definitions can be shared with browsers; `layer` is for the server.
 *
 * @example
 * ```ts
 * import { HttpApiEndpoint, HttpApiGroup } from "@effect/platform"
 * import { Schema } from "effect"
 * import { Csrf, Session } from "effect-session"
 *
 * class AppSession extends Session.Tag<AppSession>()("app/Session", {
 *   schema: Schema.Struct({ user: Schema.optional(Schema.String) })
 * }) {}
 *
 * class Protected extends Csrf.HttpApi<Protected>()("app/Csrf", AppSession) {}
 *
 * export const account = HttpApiGroup.make("account")
 *   .add(HttpApiEndpoint.get("csrfToken", "/csrf-token").addSuccess(Schema.Option(Schema.String)))
 *   .add(HttpApiEndpoint.post("rename", "/rename").setPayload(Schema.Struct({ name: Schema.String })))
 *   .middleware(AppSession.HttpApi)
 *   .middleware(Protected)
 *
 * export const ProtectedLive = Protected.layer({ trustedOrigins: ["https://admin.example.com"] })
 * ```
 *
 * @since 0.6.0
 * @category middleware
 */
export const HttpApi = <Self>() =>
<const Name extends string, Session, A, C>(
  name: Name,
  session: ProtectedTag<Session, A, C>
): HttpApiClass<Self, Name, Session> => {
  const tag = HttpApiMiddleware.Tag<Self>()(name, { failure: HttpApiFailure })
  return Object.assign(tag, {
    layer: (options: CsrfOptions = {}) => {
      const rules = Forgery.rulesOf(options)
      return Layer.effect(
        tag,
        Effect.map(session.service, (service) => Effect.flatMap(opened(session, service), accept(rules)))
      )
    }
  })
}

const accept = (rules: Forgery.Rules) => <A, C>(handle: SessionHandle<A, never, C>) =>
  Effect.flatMap(
    Forgery.check(handle, rules),
    (reason) => reason === undefined ? Effect.void : Effect.fail(new CsrfRejected({ reason }))
  )

const checked = <Self, A, C, E, R>(
  session: Context.Tag<Self, SessionHandle<A, never, C>>,
  rules: Forgery.Rules,
  app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
) => Effect.zipRight(Effect.flatMap(session, accept(rules)), app)

const wrap = <Self, A, C>(session: ProtectedTag<Self, A, C>, options: CsrfOptions) => {
  const rules = Forgery.rulesOf(options)
  return Effect.map(
    session.service,
    (service) => (app: Effect.Effect<HttpServerResponse.HttpServerResponse, HttpLayerRouter.unhandled, Self>) =>
      around(session, service)<HttpLayerRouter.unhandled | CsrfRejected | SessionUnavailable, HttpServerRequest>(
        checked(session, rules, app)
      )
  )
}
