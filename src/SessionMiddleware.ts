/**
 * The session around an HTTP application.
 *
 * @since 0.1.0
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { around } from "./internal/http/preResponse.js"
import type { SessionHandle } from "./SessionHandle.js"
import type { Sessions, SessionService } from "./SessionService.js"

/**
 * Wraps an HTTP application so that it can use the session. Used twice on one route, it opens one session and commits
 * it once.
 *
 * @since 0.1.0
 * @category middleware
 */
export const make = <Self, A>(
  handle: Context.Tag<Self, SessionHandle<A>>,
  service: Context.Tag<SessionService<Self>, Sessions<A>>
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
  service: Context.Tag<SessionService<Self>, Sessions<A>>
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
