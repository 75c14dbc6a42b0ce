/**
 * The session around an HTTP application.
 *
 * @since 0.1.0
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import type { HttpServerResponse } from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Edge } from "./internal/http/preResponse.js"
import { becomeLast, begin, notLoopback } from "./internal/http/preResponse.js"
import { SessionError } from "./SessionError.js"
import { asDeclared, declared, SessionErrorPage } from "./SessionErrorPage.js"
import type { SessionHandle } from "./SessionHandle.js"
import type { SessionService, Shape } from "./SessionService.js"

/**
 * Wraps an HTTP application so that it can use the session. Used twice on one route, it opens one session and commits
 * it once.
 *
 * @since 0.1.0
 * @category middleware
 */
export const make = <Self, A>(
  handle: Context.Tag<Self, SessionHandle<A>>,
  service: Context.Tag<SessionService<Self>, Shape<A>>
) =>
<E, R>(app: HttpApp.Default<E, R>): HttpApp.Default<E, Exclude<R, Self> | SessionService<Self>> =>
  Effect.contextWithEffect((context: Context.Context<SessionService<Self>>) =>
    around(handle, Context.get(context, service))(app as HttpApp.Default<E, Exclude<R, Self> | Self>)
  )

/**
 * The middleware as HttpLayerRouter knows it: `routes.layer` for the routes that it is provided to, and `allRoutes` for
 * every request, also one that no route answers.
 *
 * @since 0.3.0
 * @category middleware
 */
export const forLayerRouter = <Self, A>(
  handle: Context.Tag<Self, SessionHandle<A>>,
  service: Context.Tag<SessionService<Self>, Shape<A>>
): { readonly routes: Routes<Self>; readonly allRoutes: AllRoutes<Self> } => {
  const wrap = Effect.map(service, (shape) => around(handle, shape)<HttpLayerRouter.unhandled, HttpServerRequest>)
  return {
    routes: HttpLayerRouter.middleware<{ provides: Self }>()(wrap),
    allRoutes: HttpLayerRouter.middleware<{ provides: Self }>()(wrap, { global: true })
  }
}

/**
 * @since 0.3.0
 * @category models
 */
export type Routes<Self> = HttpLayerRouter.Middleware<{
  provides: Self
  handles: never
  error: never
  requires: never
  layerError: never
  layerRequires: SessionService<Self>
}>

/**
 * @since 0.3.0
 * @category models
 */
export type AllRoutes<Self> = Layer.Layer<
  HttpLayerRouter.Request.From<"Requires", Self> | HttpLayerRouter.Request.From<"GlobalRequires", Self>,
  never,
  HttpLayerRouter.HttpRouter | SessionService<Self>
>

const around =
  <Self, A>(handle: Context.Tag<Self, SessionHandle<A>>, service: Shape<A>) =>
  <E, R>(app: Effect.Effect<HttpServerResponse, E, R | Self>): Effect.Effect<HttpServerResponse, E, R> =>
    Effect.withFiberRuntime((fiber) => {
      const context: Context.Context<never> = fiber.currentContext
      // What is provided to the application already includes the handle where a session of this tag is open.
      if (context.unsafeMap.has(handle.key)) return app as Effect.Effect<HttpServerResponse, E, R>
      const page = Context.get(context, SessionErrorPage)
      return Effect.flatMap(
        begin(
          fiber,
          handle,
          service,
          (session) => (error, request) => declared.has(session) ? asDeclared(error, request) : page(error, request)
        ),
        (edge) => {
          if (edge === undefined) return Effect.succeed(notLoopback)
          const provided = Effect.provideService(app, handle, edge.session) as Effect.Effect<HttpServerResponse, E, R>
          return Effect.matchCauseEffect(provided, {
            onSuccess: (response) => Effect.as(becomeLast(fiber), response),
            onFailure: (cause) => Effect.zipRight(becomeLast(fiber), explained(context, edge, cause))
          })
        }
      )
    })

/** Where the application has a page for session errors, it is shown for those that a handler lets through. */
const explained = <A, E>(
  context: Context.Context<never>,
  edge: Edge<A>,
  cause: Cause.Cause<E>
): Effect.Effect<HttpServerResponse, E> => {
  if (!context.unsafeMap.has(SessionErrorPage.key)) return Effect.failCause(cause)
  return Option.match(Option.filter(Cause.failureOption(cause), isSessionError), {
    onNone: () => Effect.failCause(cause),
    onSome: edge.answer
  })
}

const isSessionError: (u: unknown) => u is SessionError = Schema.is(SessionError)
