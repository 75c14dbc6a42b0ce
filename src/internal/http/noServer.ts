/**
 * Takes the place of `server.ts` in bundles for a browser, which declare sessions but serve none: the code of the requests would be nine
 * tenths of their share of this library. The layer of a session tag fails.
 */
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { SessionConfigError } from "../../SessionConfigError.js"
import type { Routes } from "../../SessionMiddleware.js"
import { configError } from "../configError.js"
import type * as Server from "./server.js"

const notHere = (subject: string) =>
  configError(
    subject,
    "This program was bundled for a browser, without the code that serves sessions. Bundle it for its runtime: with esbuild, " +
      "--platform=node or --conditions=worker; with another bundler, with one of the conditions \"node\" and \"worker\" instead of " +
      "\"browser\".",
    "bundled-for-a-browser"
  )

export const layer: typeof Server.layer = (_service, { name }) => Layer.fail(notHere(name))

export const layerConfig: typeof Server.layerConfig = (_service, { name }) => Layer.fail(notHere(name))

export const middleware: typeof Server.middleware = ({ key }) => () => Effect.die(notHere(key))

export const opened: typeof Server.opened = ({ key }) => Effect.die(notHere(key))

export const moveLast: typeof Server.moveLast = Layer.empty

export const forLayerRouter: typeof Server.forLayerRouter = ({ key }) => ({
  routes: new NoRoutes(notHere(key)),
  allRoutes: Layer.die(notHere(key))
})

class NoRoutes<Self> implements Routes<Self> {
  declare readonly [HttpLayerRouter.MiddlewareTypeId]: Routes<Self>[typeof HttpLayerRouter.MiddlewareTypeId]
  readonly layer: Layer.Layer<unknown>
  readonly combine: () => never

  constructor(problem: SessionConfigError) {
    this.layer = Layer.die(problem)
    this.combine = () => {
      throw problem
    }
  }
}
