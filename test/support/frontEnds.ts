/**
 * The front ends: every way to wrap an application with a session, on real servers, and a client that sends cookies explicitly.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Cookies from "@effect/platform/Cookies"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { it } from "@effect/vitest"
import { type Context, Effect, identity, Layer, Logger, Schema, type Scope } from "effect"
import { Session } from "effect-session"
import type { SessionHttpApi } from "effect-session/SessionHttpApi"
import type { SessionService } from "effect-session/SessionService"
import { SessionStoreError } from "effect-session/SessionStore"
import type { Operation } from "effect-session/SessionStore"
import { serve, wrappedEngine } from "./httpServer.js"
import { headersOf, type RawAnswer } from "./rawHttp.js"

export class Visitor extends Session.Tag<Visitor>()("test/Visitor", {
  carryOver: "all",
  schema: Schema.Struct({
    name: Schema.optional(Schema.String),
    answers: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.Number })),
    count: Schema.optionalWith(Schema.Number, { default: () => 0 })
  })
}) {}

export class Staff extends Session.Tag<Staff>()("test/Staff", {
  schema: Schema.Struct({ name: Schema.optional(Schema.String) }),
  cookie: { name: "staff" }
}) {}

export const text = (value: unknown) => HttpServerResponse.text(String(value))

/** Increments the count, and responds with it. */
export const counted = Visitor.modify("count", (n): readonly [number, number] => [n + 1, n + 1])

/** The application of most tests: sets a field, reads it, counts, or does not use the session. */
export const pages = HttpRouter.empty.pipe(
  HttpRouter.get("/free", Effect.succeed(text("free"))),
  HttpRouter.get("/name", Effect.map(Visitor.get("name"), text)),
  HttpRouter.get("/set", Effect.as(Visitor.set("name", "ann"), text("set"))),
  HttpRouter.get("/count", Effect.map(counted, text))
)

/** Wraps an application with the session. */
export interface FrontEnd {
  readonly name: string
  /** The path prefix of the application. */
  readonly prefix: string
  readonly around: (app: Pages) => Effect.Effect<HttpApp.Default<unknown, Needs>, never, Needs>
}

/** An application that uses the session. */
export type Pages = HttpApp.Default<unknown, Visitor | Needs>
type Needs = SessionService<Visitor> | Scope.Scope

/** Builds a separate application from a router's layer: routers that share a memo map are one router. */
const routed = <R>(layer: Layer.Layer<never, never, R>) =>
  Effect.flatMap(
    Layer.makeMemoMap,
    (memoMap) => Effect.provideService(HttpLayerRouter.toHttpEffect(layer), Layer.CurrentMemoMap, memoMap)
  )

export const frontEnds: ReadonlyArray<FrontEnd> = [
  { name: "the function", prefix: "", around: (app) => Effect.succeed(Visitor.middleware(app)) },
  {
    name: "HttpRouter.use",
    prefix: "",
    around: (app) => Effect.succeed(HttpRouter.empty.pipe(HttpRouter.all("*", app), HttpRouter.use(Visitor.middleware)))
  },
  {
    name: "HttpRouter.prefixAll",
    prefix: "/prefixed",
    around: (app) =>
      Effect.succeed(HttpRouter.empty.pipe(
        HttpRouter.all("/*", app),
        HttpRouter.use(Visitor.middleware),
        HttpRouter.prefixAll("/prefixed")
      ))
  },
  {
    name: "HttpRouter.mount",
    prefix: "/mounted",
    around: (app) =>
      Effect.succeed(HttpRouter.mount(
        HttpRouter.empty,
        "/mounted",
        HttpRouter.empty.pipe(HttpRouter.all("/*", app), HttpRouter.use(Visitor.middleware))
      ))
  },
  {
    name: "HttpRouter.mountApp",
    prefix: "/mounted",
    around: (app) => Effect.succeed(HttpRouter.mountApp(HttpRouter.empty, "/mounted", Visitor.middleware(app)))
  },
  {
    name: "HttpLayerRouter routes",
    prefix: "",
    around: (app) =>
      routed(
        HttpLayerRouter.add("*", "/*", app).pipe(Layer.provide(Visitor.routes.layer))
      )
  },
  {
    name: "HttpLayerRouter routes with a prefix",
    prefix: "/prefixed",
    around: (app) =>
      routed(
        HttpLayerRouter.use((router) => router.prefixed("/prefixed").add("*", "/*", app)).pipe(
          Layer.provide(Visitor.routes.layer)
        )
      )
  },
  {
    name: "HttpLayerRouter allRoutes",
    prefix: "",
    around: (app) =>
      routed(
        HttpLayerRouter.add("*", "/*", app).pipe(Layer.provide(Visitor.allRoutes))
      )
  }
]

/** Wraps an application that uses the session. */
type Outside = <E, R>(app: HttpApp.Default<E, R>) => HttpApp.Default<E, R>

/** Every front end as a server. */
export const servers: ReadonlyArray<{
  readonly name: string
  readonly prefix: string
  readonly serve: (app: Pages, outside?: Outside) => Layer.Layer<never, never, Served>
  /** The middleware is around the sending of responses too, not only around the application. */
  readonly sends: boolean
}> = [
  ...frontEnds.map(({ around, name, prefix }) => ({
    name,
    prefix,
    serve: (app: Pages, outside: Outside = identity) =>
      Layer.unwrapScoped(Effect.map(around(app), (app) => HttpServer.serve(outside(app)))),
    sends: false
  })),
  {
    name: "HttpServer.serve",
    prefix: "",
    serve: (app, outside = identity) => HttpServer.serve(app, (app) => outside(Visitor.middleware(app))),
    sends: true
  },
  {
    name: "HttpLayerRouter.serve",
    prefix: "",
    serve: (app, outside = identity) =>
      HttpLayerRouter.serve(HttpLayerRouter.add("*", "/*", app), {
        middleware: (app) => outside(Visitor.middleware(app))
      }),
    sends: true
  },
  {
    name: "HttpApp.toWebHandlerLayer",
    prefix: "",
    serve: (app, outside = identity) =>
      Layer.unwrapScoped(
        Effect.map(Effect.context<SessionService<Visitor>>(), (context) =>
          served(HttpApp.toWebHandlerLayer(outside(Visitor.middleware(app)), here(context))))
      ),
    sends: false
  }
]

/** The services that a server provides to an application. */
export type Served =
  | HttpServer.HttpServer
  | HttpRouter.HttpRouter.DefaultServices
  | SessionService<Visitor>
  | SessionService<Staff>
  | SessionHttpApi<Visitor>
  | SessionHttpApi<Staff>

/** A new runtime with the services of this one and without a logger. */
export const here = <R>(context: Context.Context<R>): Layer.Layer<R> =>
  Layer.merge(Layer.succeedContext(context), Logger.remove(Logger.defaultLogger))

/** Serves a web handler (Request to Response). */
export const served = (web: {
  readonly handler: (request: Request) => Promise<Response>
  readonly dispose: () => Promise<void>
}) =>
  Layer.unwrapScoped(
    Effect.map(
      Effect.acquireRelease(Effect.succeed(web), ({ dispose }) => Effect.promise(dispose)),
      ({ handler }) => HttpServer.serve(HttpApp.fromWebHandler(handler))
    )
  )

/** Opens a server whose store records its calls and can fail. */
export const open = <E>(app: Layer.Layer<never, E, Served>, visitor: typeof Visitor.layer = Visitor.layer) =>
  Effect.gen(function*() {
    const calls: Array<Operation> = []
    let broken: Operation | undefined
    let how: Effect.Effect<never, SessionStoreError> | undefined
    const port = yield* serve(
      app.pipe(
        Layer.provide([visitor, Staff.layer, NodeHttpServer.layerContext]),
        Layer.provide(wrappedEngine((operation, call) =>
          Effect.suspend(() => {
            calls.push(operation)
            return operation === broken
              ? how ?? Effect.fail(new SessionStoreError({ operation, reason: "unavailable" }))
              : call
          })
        ))
      )
    )
    return {
      port,
      /** The calls of the store since the last call of this function. */
      calls: () => calls.splice(0),
      /** From now on this operation fails with `unavailable`, or runs the given effect. */
      breaks: (operation: Operation | undefined, end?: Effect.Effect<never, SessionStoreError>) =>
        Effect.sync(() => {
          broken = operation
          how = end
        }),
      visit: (path: string, cookie?: string, init: RequestInit = {}) =>
        visit(`http://127.0.0.1:${port}${path}`, cookie, init)
    }
  })

const visit = (url: string, cookie: string | undefined, init: RequestInit): Effect.Effect<RawAnswer> =>
  Effect.promise(async (signal) => {
    const headers = new Headers(init.headers)
    if (cookie !== undefined) headers.set("cookie", cookie)
    const response = await fetch(url, { redirect: "manual", ...init, headers, signal })
    return { status: response.status, body: await response.text(), headers: [...response.headers] }
  })

/** Makes an HTTP client behave like a browser: it stores cookies, and records every response. */
export const browse = () => {
  let jar = Cookies.empty
  const answers: Array<HttpClientResponse.HttpClientResponse> = []
  return {
    answers,
    /** The names of its cookies. */
    cookies: () => Object.keys(jar.cookies),
    transformClient: <E, R>(client: HttpClient.HttpClient.With<E, R>): HttpClient.HttpClient.With<E, R> =>
      client.pipe(
        HttpClient.mapRequest((request) =>
          Cookies.isEmpty(jar) ? request : HttpClientRequest.setHeader(request, "cookie", Cookies.toCookieHeader(jar))
        ),
        HttpClient.tap((answer) =>
          Effect.sync(() => {
            answers.push(answer)
            for (const cookie of Object.values(answer.cookies.cookies)) {
              jar = cookie.value === "" ? Cookies.remove(jar, cookie.name) : Cookies.setCookie(jar, cookie)
            }
          })
        )
      )
  }
}

/** All values of a response header, joined. */
export const header = (answer: RawAnswer, name: string): string => headersOf(answer, name).join(", ")

export const live = (title: string, body: Effect.Effect<void, unknown, Scope.Scope>) =>
  it.live(title, () => Effect.orDie(Effect.scoped(body)))
