/**
 * Every front end, HttpApi included, as a server of the same handlers: one for each path.
 */
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpRouter from "@effect/platform/HttpRouter"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Effect, identity, Layer } from "effect"
import { here, type Served, served, servers, Visitor } from "./frontEnds.js"

/** A handler. It may fail with any error. */
export type Handler = Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, Visitor>

/** Wraps an application that uses the session. */
export type Around = <E, R>(app: HttpApp.Default<E, R>) => HttpApp.Default<E, R>

export interface EveryFrontEnd {
  readonly name: string
  readonly serve: (
    handlers: { readonly act: Handler; readonly read: Handler },
    around?: Around
  ) => Layer.Layer<never, never, Served>
  readonly prefix: string
}

class Group extends HttpApiGroup.make("group")
  .add(HttpApiEndpoint.get("act", "/act"))
  .add(HttpApiEndpoint.get("read", "/read"))
  .middleware(Visitor.HttpApi)
{}
class Api extends HttpApi.make("api").add(Group) {}

/** HttpApi turns undeclared errors into defects, so handlers die with them, also if they are responses. */
const group = ({ act, read }: { readonly act: Handler; readonly read: Handler }) =>
  HttpApiBuilder.group(
    Api,
    "group",
    (handlers) => handlers.handle("act", () => Effect.orDie(act)).handle("read", () => Effect.orDie(read))
  )

const apis: ReadonlyArray<EveryFrontEnd> = [
  {
    name: "HttpApiBuilder.serve",
    prefix: "",
    serve: (handlers, around = identity) =>
      HttpApiBuilder.serve().pipe(
        Layer.provide(HttpApiBuilder.middleware(around)),
        Layer.provide(Layer.provide(HttpApiBuilder.api(Api), group(handlers)))
      )
  },
  {
    name: "HttpApiBuilder.toWebHandler",
    prefix: "",
    serve: (handlers, around = identity) =>
      Layer.unwrapScoped(
        Effect.map(
          Effect.context<
            HttpRouter.HttpRouter.DefaultServices | Layer.Layer.Context<ReturnType<typeof group>>
          >(),
          (context) =>
            served(HttpApiBuilder.toWebHandler(
              Layer.provideMerge(
                Layer.merge(
                  HttpApiBuilder.middleware(around),
                  Layer.provide(HttpApiBuilder.api(Api), group(handlers))
                ),
                here(context)
              )
            ))
        )
      )
  },
  {
    name: "HttpLayerRouter.addHttpApi",
    prefix: "",
    serve: (handlers, around = identity) =>
      HttpLayerRouter.serve(
        Layer.provide(
          Layer.provide(HttpLayerRouter.addHttpApi(Api), group(handlers)),
          HttpLayerRouter.middleware(around).layer
        )
      )
  }
]

export const everyFrontEnd: ReadonlyArray<EveryFrontEnd> = [
  ...servers.map(({ name, prefix, serve }): EveryFrontEnd => ({
    name,
    prefix,
    serve: ({ act, read }, around) =>
      serve(HttpRouter.empty.pipe(HttpRouter.get("/act", act), HttpRouter.get("/read", read)), around)
  })),
  ...apis
]
