/**
 * The session as a middleware of HttpApi.
 *
 * @since 0.3.0
 */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as HttpApiSecurity from "@effect/platform/HttpApiSecurity"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Record from "effect/Record"
import { becomeLast, begin, notLoopback } from "./internal/edge.js"
import { SessionError } from "./SessionError.js"
import { asDeclared, declared } from "./SessionErrorPage.js"
import type { SessionHandle } from "./SessionHandle.js"
import type { SessionService, Shape } from "./SessionService.js"

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
export type Tag<Self, A, Id extends string> = HttpApiMiddleware.TagClass<SessionHttpApi<Self>, `${Id}/HttpApi`, {
  readonly provides: Context.Tag<Self, SessionHandle<A>>
  readonly failure: typeof SessionError
  /** One scheme, under the name that stands for the tag in descriptions. */
  readonly security: { readonly [scheme: string]: HttpApiSecurity.ApiKey }
}>

/**
 * Makes the tag. It knows the cookie's name, for the description of the API, and nothing of a server: definitions that
 * hold it can be shared with browsers.
 *
 * @since 0.3.0
 * @category constructors
 */
export const make = <Self, A, const Id extends string>(
  handle: Context.Tag<Self, SessionHandle<A>>,
  id: Id,
  cookieName: string
): Tag<Self, A, Id> =>
  HttpApiMiddleware.Tag<SessionHttpApi<Self>>()(`${id}/HttpApi`, {
    provides: handle,
    failure: SessionError,
    security: { [schemeOf(id)]: HttpApiSecurity.apiKey({ in: "cookie", key: cookieName }) }
  })

/** A description names each scheme once, so two sessions need two names; OpenAPI allows these characters in them. */
const schemeOf = (id: string): string => id.replace(/[^A-Za-z0-9._-]/g, ".")

/**
 * What the middleware does: it opens the request's session and has it committed before the response. Where one is open
 * already, that one is used.
 *
 * @since 0.3.0
 * @category layers
 */
export const layer = <Self, A, Id extends string>(
  tag: Tag<Self, A, Id>,
  handle: Context.Tag<Self, SessionHandle<A>>,
  service: Context.Tag<SessionService<Self>, Shape<A>>
): Layer.Layer<SessionHttpApi<Self>, never, SessionService<Self>> =>
  // The scanner of the raw header is the only one that reads our cookie; what the scheme has parsed is left alone.
  Layer.merge(
    Layer.effect(
      tag,
      Effect.map(service, (shape) => Record.map(tag.security, () => () => opened(handle, shape)))
    ),
    lastWord
  )

const opened = <Self, A>(
  handle: Context.Tag<Self, SessionHandle<A>>,
  service: Shape<A>
): Effect.Effect<SessionHandle<A>> =>
  Effect.withFiberRuntime((fiber) => {
    const context: Context.Context<never> = fiber.currentContext
    const outer = Context.getOption(context, handle)
    if (Option.isSome(outer)) {
      declared.add(outer.value)
      return Effect.succeed(outer.value)
    }
    return Effect.flatMap(
      begin(fiber, service, () => asDeclared),
      (edge) => edge === undefined ? Effect.die(notLoopback) : Effect.succeed(edge.session)
    )
  })

/**
 * A middleware of HttpApi runs before its handler and sees no response, so it cannot run after the hooks that a handler adds. One
 * around the whole API can.
 */
const lastWord = HttpApiBuilder.middleware((app) =>
  Effect.withFiberRuntime((fiber) =>
    Effect.matchCauseEffect(app, {
      onSuccess: (response) => Effect.as(becomeLast(fiber), response),
      onFailure: (cause) => Effect.zipRight(becomeLast(fiber), Effect.failCause(cause))
    })
  )
)
