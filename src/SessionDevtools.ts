/**
 * A page for development that shows what each request loads, decides and sends, and why a browser has no session. See
 * `docs/devtools.md`.
 *
 * The page is at `/_session`, and its content as JSON at `/_session.json`. They contain no token, no store key and no key of a keyring, and
 * answer only requests of this machine. In production the layer fails.
 *
 * @since 0.6.0
 */
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { configError } from "./internal/configError.js"
import * as Page from "./internal/devtools/page.js"
import { Recorder } from "./internal/devtools/recorder.js"
import { isFromThisMachine, pathOf } from "./internal/devtools/requestFacts.js"
import { startDispatching } from "./internal/http/preResponse.js"
import { key } from "./internal/session/observer.js"
import type { SessionConfigError } from "./SessionConfigError.js"

/**
 * The service tag. A session tag and its engine are observed if this service exists when their layers are built.
 *
 * @since 0.6.0
 * @category tags
 */
export class SessionDevtools extends Context.Tag(key)<SessionDevtools, { readonly observer: unknown }>() {}

/**
 * The options of {@link layerWith}.
 *
 * @since 0.6.0
 * @category models
 */
export interface SessionDevtoolsOptions {
  /** The number of requests that the page shows, from 1 to 10,000. Default 100. */
  readonly requests?: number
  /**
   * Accepts a session tag whose cookie is not that of development (`SessionCookie.development`): for development with https, or to see why
   * a browser drops a Secure cookie. Default `false`: the layer of such a tag fails.
   */
  readonly allowSecureCookie?: boolean
}

const paths = { html: "/_session", json: "/_session.json" } as const

const isProduction = Effect.map(
  Effect.orElseSucceed(Config.withDefault(Config.string("NODE_ENV"), ""), () => ""),
  (environment) => environment === "production"
)

/**
 * The devtools, with options. Fails with a `SessionConfigError` if `NODE_ENV` is `production`.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWith = (options: SessionDevtoolsOptions): Layer.Layer<SessionDevtools, SessionConfigError> =>
  Layer.effect(
    SessionDevtools,
    Effect.gen(function*() {
      const { allowSecureCookie = false, requests = 100 } = options
      if (yield* isProduction) {
        return yield* configError(
          "SessionDevtools",
          "The devtools show sessions, and NODE_ENV is production. Provide SessionDevtools.none there, or leave the devtools out.",
          "devtools-in-production"
        )
      }
      if (!(Number.isSafeInteger(requests) && requests >= 1 && requests <= 10_000)) {
        return yield* configError(
          "SessionDevtools",
          "requests must be a whole number from 1 to 10,000.",
          "option-out-of-range"
        )
      }
      return { observer: new Recorder({ requests, allowSecureCookie }) }
    })
  )

/**
 * The devtools. Provide it to the session tags, to their engines and to {@link middleware}.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
 * import { Effect, Layer, Schema } from "effect"
 * import { MemoryEngine, Session, SessionCookie, SessionDevtools } from "effect-session"
 *
 * class AppSession extends Session.Tag<AppSession>()("app/Session", {
 *   schema: Schema.Struct({ visits: Schema.optionalWith(Schema.Number, { default: () => 0 }) })
 * }) {}
 *
 * const app = HttpRouter.empty.pipe(
 *   HttpRouter.get("/", Effect.map(AppSession.get("visits"), (visits) => HttpServerResponse.text(`${visits} visits`))),
 *   HttpRouter.use(AppSession.middleware)
 * )
 *
 * export const server = HttpServer.serve(app, SessionDevtools.middleware).pipe( // ← the page
 *   Layer.provide(AppSession.layerWith({ cookie: SessionCookie.development })),
 *   Layer.provide(MemoryEngine.layer),
 *   Layer.provide(SessionDevtools.layer) // ← last: the tag and the engine need it, too
 * )
 * ```
 *
 * @since 0.6.0
 * @category layers
 */
export const layer: Layer.Layer<SessionDevtools, SessionConfigError> = layerWith({})

/**
 * No devtools: {@link middleware} passes every request on, and nothing is observed. For production, in a program that mounts the devtools in
 * development.
 *
 * @since 0.6.0
 * @category layers
 */
export const none: Layer.Layer<SessionDevtools> = Layer.succeed(SessionDevtools, { observer: undefined })

/**
 * Answers the paths of the devtools, and records all other requests. Use it around the whole application: as the middleware of
 * `HttpServer.serve`, `HttpLayerRouter.serve`, `HttpApiBuilder.serve` and `toWebHandler`, or as a function of an `HttpApp`.
 *
 * @since 0.6.0
 * @category middleware
 */
export const middleware = <E, R>(
  app: HttpApp.Default<E, R>
): HttpApp.Default<E, R | SessionDevtools> =>
  Effect.gen(function*() {
    const { observer } = yield* SessionDevtools
    if (!(observer instanceof Recorder)) return yield* app
    const request = yield* HttpServerRequest.HttpServerRequest
    observer.begin(request, yield* Clock.currentTimeMillis)
    const path = pathOf(request)
    if (path === paths.html || path === paths.json) return yield* show(observer, request, path)
    startDispatching()
    yield* HttpApp.appendPreResponseHandler((request, response) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        observer.end(request, response, now)
        return response
      })
    )
    return yield* app
  })

/**
 * For HttpLayerRouter: {@link middleware} around every request, as a layer. Use it with `HttpLayerRouter.toWebHandler`.
 *
 * @since 0.6.0
 * @category middleware
 */
export const allRoutes: Layer.Layer<never, never, HttpLayerRouter.HttpRouter | SessionDevtools> = HttpLayerRouter
  .middleware(
    Effect.map(
      SessionDevtools,
      (devtools) => (app: HttpApp.Default<HttpLayerRouter.unhandled>) =>
        Effect.provideService(middleware(app), SessionDevtools, devtools)
    ),
    { global: true }
  )

const show = (
  recorder: Recorder,
  request: HttpServerRequest.HttpServerRequest,
  path: typeof paths[keyof typeof paths]
): Effect.Effect<HttpServerResponse.HttpServerResponse> => {
  const { headers } = Page
  if (!isFromThisMachine(request)) {
    return Effect.succeed(
      HttpServerResponse.text("The session devtools answer requests of this machine only, at localhost.\n", {
        status: 403,
        headers
      })
    )
  }
  if (request.method !== "GET" && request.method !== "HEAD") {
    return Effect.succeed(HttpServerResponse.empty({ status: 405, headers: { ...headers, allow: "GET, HEAD" } }))
  }
  return Effect.map(
    Effect.forEach(
      recorder.tags,
      ({ view }) => view === undefined ? Effect.succeed([]) : Effect.map(view(request), (view) => [view])
    ),
    (sessions) => {
      const content: Page.Content = { sessions: sessions.flat(), requests: recorder.reports }
      return path === paths.json
        ? HttpServerResponse.unsafeJson(content, { headers })
        : HttpServerResponse.html(Page.page(content, paths)).pipe(HttpServerResponse.setHeaders(headers))
    }
  )
}
