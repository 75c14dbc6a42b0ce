/**
 * The session at the HTTP edge.
 *
 * Everything hangs on the pre-response handler, the one hook that all of Effect's HTTP front ends share: it is installed
 * once, in the request's root fiber, before the handler runs; it is total, because a handler that fails there leaves
 * the client without an answer; and it may run twice.
 *
 * @since 0.1.0
 */
import * as Cookies from "@effect/platform/Cookies"
import type * as Headers from "@effect/platform/Headers"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { SessionCookie } from "./SessionCookie.js"
import type { SessionHandle } from "./SessionHandle.js"
import type { RequestSession, SessionService, Shape } from "./SessionService.js"

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
  Effect.withFiberRuntime((fiber) => {
    const context: Context.Context<never> = fiber.currentContext
    // What is provided to the application already includes the handle where a session of this tag is open.
    if (context.unsafeMap.has(handle.key)) return app as HttpApp.Default<E, Exclude<R, Self>>
    const { cookie, request: open } = Context.unsafeGet(context, service)
    const request = Context.unsafeGet(context, HttpServerRequest.HttpServerRequest)
    if (!cookie.secure && !isLoopback(request.headers.host)) return Effect.succeed(notLoopback)
    const session = open(request.headers.cookie, { prefetch: isPrefetch(request.headers) })
    const upgraded = request.headers.upgrade?.toLowerCase() === "websocket"
    return Effect.zipRight(
      HttpApp.appendPreResponseHandler((_, response) =>
        Effect.flatMap(session.finish(response.status, upgraded), (error) =>
          error === undefined
            ? Effect.succeed(decorate(response, session, cookie))
            : Effect.map(
              HttpServerRespondable.toResponse(error),
              (failure) => decorate(failure, session, cookie)
            ))
      ),
      Effect.provideService(app, handle, session)
    )
  })

/** Adds what a response that used the session must carry, whatever its status. */
const decorate = <A>(
  response: HttpServerResponse.HttpServerResponse,
  session: RequestSession<A>,
  cookie: SessionCookie
): HttpServerResponse.HttpServerResponse => {
  if (!session.accessed) return response
  const varying = HttpServerResponse.setHeader(response, "vary", varyOnCookie(response.headers.vary))
  const { owed } = session
  if (owed === undefined) return varying
  const value = owed === "expire" ? "" : Redacted.value(owed.value)
  const lifetime = owed === "expire"
    ? { maxAge: Duration.zero, expires: new Date(0) }
    : owed.maxAge === undefined
    ? {}
    : { maxAge: Duration.seconds(owed.maxAge) }
  // The name was checked when the layer was built, and the alphabet of our values needs no encoding.
  const ours = Cookies.unsafeMakeCookie(cookie.name, value, {
    ...lifetime,
    ...(cookie.domain === undefined ? {} : { domain: cookie.domain }),
    path: cookie.path,
    secure: cookie.secure,
    httpOnly: true,
    partitioned: cookie.partitioned,
    sameSite: cookie.sameSite
  })
  return HttpServerResponse.setHeader(
    HttpServerResponse.updateCookies(varying, Cookies.setCookie(ours)),
    "cache-control",
    "no-store"
  )
}

const varyOnCookie = (vary: string | undefined): string =>
  vary === undefined || vary.trim() === ""
    ? "Cookie"
    : vary.split(",").some((name) => name.trim() === "*" || name.trim().toLowerCase() === "cookie")
    ? vary
    : `${vary}, Cookie`

/** A page that the browser fetches in advance, and that the visitor may never see. */
const isPrefetch = (headers: Headers.Headers): boolean =>
  [headers["sec-purpose"], headers.purpose, headers["x-purpose"], headers["x-moz"]].some((value) =>
    value !== undefined && /prefetch|preview|prerender/i.test(value)
  )

const notLoopback = HttpServerResponse.text(
  "This server uses a session cookie for development, which is not Secure, and therefore answers on localhost only. " +
    "Use the default cookie with HTTPS elsewhere.\n",
  { status: 500 }
)

const isLoopback = (host: string | undefined): boolean =>
  host !== undefined && /^(?:(?:[a-z0-9-]+\.)*localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i.test(host)
