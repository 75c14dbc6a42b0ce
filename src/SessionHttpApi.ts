/**
 * The HttpApi middleware of a session tag, and guards that use the session.
 *
 * @since 0.3.0
 */
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import type * as HttpApiSecurity from "@effect/platform/HttpApiSecurity"
import type * as HttpRouter from "@effect/platform/HttpRouter"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { forSchemes } from "./internal/http/schemes.js"
import * as Server from "./internal/http/server.js"
import { SessionError } from "./SessionError.js"
import type { SessionHandle } from "./SessionHandle.js"
import type { Sessions, SessionService } from "./SessionService.js"

/**
 * The identity of the middleware of one session tag. It provides the handle, and its failures join those of the endpoints
 * it is used on, so that their handlers need not handle them.
 *
 * @since 0.3.0
 * @category models
 */
export interface SessionHttpApi<in out Self> {
  readonly [HttpApiMiddleware.TypeId]: {
    readonly provides: Self
    readonly failure: SessionError
    readonly failureContext: never
  }
  readonly "~effect-session/SessionHttpApi": (self: Self) => Self
}

/**
 * The middleware's tag: `HttpApi.middleware`, `HttpApiGroup.middleware` and `HttpApiEndpoint.middleware` take it.
 *
 * @since 0.3.0
 * @category models
 */
export type Tag<Self, A, Id extends string, C = never> = HttpApiMiddleware.TagClass<
  SessionHttpApi<Self>,
  `${Id}/HttpApi`,
  {
    readonly provides: Context.Tag<Self, SessionHandle<A, never, C>>
    readonly failure: typeof SessionError
    readonly security: Security
  }
>

/**
 * The security schemes of a tag, of which a client uses one: the cookie, named after the tag, and the bearer token, named after the
 * tag with `.bearer` added.
 *
 * @since 0.6.0
 * @category models
 */
export interface Security {
  readonly [scheme: string]: HttpApiSecurity.ApiKey | HttpApiSecurity.Bearer
}

/**
 * The check of a guard: returns the value that is provided to the endpoints, or fails. Runs before the payload is decoded. Its
 * changes of the session are committed with the response, also if it fails with a status below 500.
 *
 * @since 0.6.0
 * @category models
 */
export type Check<A, B, E, C = never> = (
  session: SessionHandle<A, never, C>
) => Effect.Effect<B, E | SessionError, HttpRouter.HttpRouter.Provided>

/**
 * The tag of a guard, for `HttpApi.middleware`, `HttpApiGroup.middleware` and `HttpApiEndpoint.middleware`.
 *
 * @since 0.6.0
 * @category models
 */
export type GuardClass<Self, Name extends string, Session, A, I, B, E, EI, ER, C = never> =
  & HttpApiMiddleware.TagClass<Self, Name, {
    readonly provides: Context.Tag<I, B>
    readonly failure: Schema.Schema<E | SessionError, EI | typeof SessionError.Encoded, ER>
    readonly security: Security
  }>
  & {
    /** Implements the guard by a function, or by an effect that makes one: its requirements are those of the layer. */
    readonly layer: <EX = never, RX = never>(
      check: Check<A, B, E, C> | Effect.Effect<Check<A, B, E, C>, EX, RX>
    ) => Layer.Layer<Self, EX, SessionService<Session> | Exclude<RX, Scope.Scope>>
  }

/**
 * Makes a middleware for HttpApi that checks the session before its endpoints run, and provides a value to them, such as the
 * current user.
 *
 * It opens the session itself, or shares the one that the request has already, so it may stand before or after
 * `AppSession.HttpApi`, or without it. Only endpoints that use `AppSession` themselves need that one, too.
 *
 * `failure` is the schema of the guard's error. It joins the errors of the endpoints, as session errors do: both are in the
 * description of the API and typed in its client. Like the session's tag, the guard contains nothing of a server, so API
 * definitions can be shared with browsers; `layer` is for the server.
 *
 * @example
 * ```ts
 * import { HttpApiEndpoint, HttpApiError, HttpApiGroup } from "@effect/platform"
 * import { Context, Effect, Option, Schema } from "effect"
 * import { Session } from "effect-session"
 * import * as SessionHttpApi from "effect-session/SessionHttpApi"
 *
 * class AppSession extends Session.Tag<AppSession>()("app/Session", {
 *   schema: Schema.Struct({ locale: Schema.optional(Schema.String) })
 * }) {}
 *
 * class User extends Schema.Class<User>("User")({ id: Schema.String, name: Schema.String }) {}
 * class CurrentUser extends Context.Tag("app/CurrentUser")<CurrentUser, User>() {}
 * class Users extends Context.Tag("app/Users")<Users, {
 *   readonly byId: (id: string) => Effect.Effect<Option.Option<User>>
 * }>() {}
 *
 * class SignedIn extends SessionHttpApi.Guard<SignedIn>()("app/SignedIn", {
 *   session: AppSession,
 *   provides: CurrentUser,
 *   failure: HttpApiError.Unauthorized
 * }) {}
 *
 * export const account = HttpApiGroup.make("account")
 *   .add(HttpApiEndpoint.get("me", "/me").addSuccess(User))
 *   .middleware(SignedIn)
 *
 * export const SignedInLive = SignedIn.layer(
 *   Effect.map(Users, (users) => (session) =>
 *     session.subject.pipe(
 *       Effect.flatMap(Option.match({ onNone: () => Effect.succeedNone, onSome: users.byId })),
 *       Effect.flatMap(Option.match({ onNone: () => new HttpApiError.Unauthorized(), onSome: Effect.succeed }))
 *     ))
 * )
 * ```
 *
 * @since 0.6.0
 * @category constructors
 */
export const Guard =
  <Self>() =>
  <const Name extends string, Session, A, I, B, C = never, E = never, EI = never, ER = never>(
    name: Name,
    options: {
      readonly session: Context.Tag<Session, SessionHandle<A, never, C>> & {
        readonly service: Context.Tag<SessionService<Session>, Sessions<A, C>>
        readonly HttpApi: { readonly security: Security }
      }
      /** The service that the guard provides to its endpoints. */
      readonly provides: Context.Tag<I, B>
      /** The schema of the guard's error, whose annotation has the status. Default: only session errors. */
      readonly failure?: Schema.Schema<E, EI, ER>
    }
  ): GuardClass<Self, Name, Session, A, I, B, E, EI, ER, C> => {
    const { failure, provides, session } = options
    const { security } = session.HttpApi
    const failures: Schema.Schema<E | SessionError, EI | typeof SessionError.Encoded, ER> = Schema.Union(
      ...(failure === undefined ? [] : [failure]),
      SessionError
    )
    const tag = HttpApiMiddleware.Tag<Self>()(name, { provides, failure: failures, security })
    return Object.assign(tag, {
      layer: <EX, RX>(check: Check<A, B, E, C> | Effect.Effect<Check<A, B, E, C>, EX, RX>) =>
        Layer.scoped(
          tag,
          Effect.zipWith(
            session.service,
            Effect.isEffect(check) ? check : Effect.succeed(check),
            (service, check) => forSchemes(security, Effect.flatMap(Server.opened(session, service), check))
          )
        )
    })
  }
