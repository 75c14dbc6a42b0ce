/**
 * The middleware of a session tag for HTTP applications and HttpLayerRouter.
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { SessionHandle } from "../../SessionHandle.js"
import type { AllRoutes, Routes } from "../../SessionMiddleware.js"
import type { Sessions, SessionService } from "../../SessionService.js"
import { around } from "./preResponse.js"

/**
 * Wraps an HTTP application so that it can use the session. Nested uses share one session and one commit.
 */
export const make = <Self, A, C>(
  handle: Context.Tag<Self, SessionHandle<A, never, C>>,
  service: Context.Tag<SessionService<Self>, Sessions<A, C>>
) =>
<E, R>(app: HttpApp.Default<E, R>): HttpApp.Default<E, Exclude<R, Self> | SessionService<Self>> =>
  Effect.contextWithEffect((context: Context.Context<SessionService<Self>>) =>
    around(handle, Context.get(context, service))(app as HttpApp.Default<E, Exclude<R, Self> | Self>)
  )

/**
 * The middleware for HttpLayerRouter: `routes.layer` for the routes that it is provided to, `allRoutes` for every request,
 * including those that match no route.
 */
export const forLayerRouter = <Self, A, C>(
  handle: Context.Tag<Self, SessionHandle<A, never, C>>,
  service: Context.Tag<SessionService<Self>, Sessions<A, C>>
): { readonly routes: Routes<Self>; readonly allRoutes: AllRoutes<Self> } => {
  const wrap = Effect.map(service, (shape) => around(handle, shape)<HttpLayerRouter.unhandled, HttpServerRequest>)
  return {
    routes: HttpLayerRouter.middleware<{ provides: Self }>()(wrap),
    allRoutes: HttpLayerRouter.middleware<{ provides: Self }>()(wrap, { global: true })
  }
}
