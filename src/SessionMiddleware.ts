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
import * as FiberRef from "effect/FiberRef"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { RuntimeFiber } from "./internal/done.js"
import * as Done from "./internal/done.js"
import type { Member } from "./internal/http/preResponse.js"
import { becomeLast, begin, notLoopback } from "./internal/http/preResponse.js"
import { SessionError } from "./SessionError.js"
import { SessionErrorPage } from "./SessionErrorPage.js"
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
      const member = begin(fiber, handle, service, context)
      if (member === undefined) return Effect.succeed(notLoopback)
      const inside = Context.add(context, handle, member.session)
      // Not with `provideService`, which costs more than all of this: an interruption leaves the session in the context of a fiber
      // that ends.
      return Effect.zipRight(
        FiberRef.set(FiberRef.currentContext, inside as Context.Context<never>),
        Effect.matchCauseEffect(app as Effect.Effect<HttpServerResponse, E, R>, {
          onSuccess: (response) => Effect.as(leave(fiber, context), response),
          onFailure: (cause) => Effect.zipRight(leave(fiber, context), explained(context, member, cause))
        })
      )
    })

const leave = (fiber: RuntimeFiber, context: Context.Context<never>): Effect.Effect<void> =>
  Done.flatMap(becomeLast(fiber), () => FiberRef.set(FiberRef.currentContext, context))

/** Where the application has a page for session errors, it is shown for those that a handler lets through. */
const explained = <Self, A, E>(
  context: Context.Context<never>,
  member: Member<Self, A>,
  cause: Cause.Cause<E>
): Effect.Effect<HttpServerResponse, E> => {
  if (!context.unsafeMap.has(SessionErrorPage.key)) return Effect.failCause(cause)
  return Option.match(Option.filter(Cause.failureOption(cause), isSessionError), {
    onNone: () => Effect.failCause(cause),
    onSome: (error) => member.answer(error)
  })
}

const isSessionError: (u: unknown) => u is SessionError = Schema.is(SessionError)
