/**
 * The types of a session tag's middleware for HttpLayerRouter.
 *
 * @since 0.1.0
 */
import type * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import type * as Layer from "effect/Layer"
import type { SessionService } from "./SessionService.js"

/**
 * The middleware that provides the session to some routes.
 *
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
 * The middleware that provides the session to every request, including those that match no route.
 *
 * @since 0.3.0
 * @category models
 */
export type AllRoutes<Self> = Layer.Layer<
  HttpLayerRouter.Request.From<"Requires", Self> | HttpLayerRouter.Request.From<"GlobalRequires", Self>,
  never,
  HttpLayerRouter.HttpRouter | SessionService<Self>
>
