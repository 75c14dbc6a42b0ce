/**
 * Where a session meets HTTP, whatever the front end: opened from a request, committed before the response, and what
 * the response then carries.
 *
 * Everything hangs on the pre-response handler, the one hook that all of Effect's HTTP front ends share. It is total,
 * because a handler that fails there leaves the client without an answer; and it may run twice.
 */
import * as Cookies from "@effect/platform/Cookies"
import type * as Headers from "@effect/platform/Headers"
import type { PreResponseHandler } from "@effect/platform/HttpApp"
import * as HttpServerError from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { SessionCookie } from "../SessionCookie.js"
import type { SessionError } from "../SessionError.js"
import { answer, withRetryAfter } from "../SessionErrorPage.js"
import type { Shape as Page } from "../SessionErrorPage.js"
import type { RequestSession, Shape } from "../SessionService.js"

/** A request whose session is open. */
export interface Edge<A> {
  readonly session: RequestSession<A>
  readonly hook: PreResponseHandler
  /** The response to an error that no handler has answered. */
  readonly answer: (error: SessionError) => Effect.Effect<HttpServerResponse.HttpServerResponse>
}

/** Opens the session of the request in this context, without I/O. `undefined`: the cookie must not be sent to its host. */
export const begin = <A>(context: Context.Context<never>, service: Shape<A>, page: Page): Edge<A> | undefined => {
  const { cookie } = service
  const request = Context.unsafeGet(context, HttpServerRequest.HttpServerRequest)
  if (!cookie.secure && !isLoopback(request.headers.host)) return undefined
  const session = service.request(request.headers.cookie, {
    prefetch: isPrefetch(request.headers),
    withheld: isWithheld(request, cookie)
  })
  if (request.headers.upgrade !== undefined) watchUpgrade(request, session)
  const answerTo = (error: SessionError) => answer(page, error, request)
  return {
    session,
    answer: answerTo,
    hook: (_, response) =>
      Effect.flatMap(session.finish(response.status), (error) =>
        error === undefined
          ? Effect.succeed(decorate(response, session, cookie))
          : Effect.map(answerTo(error), (failure) => decorate(failure, session, cookie)))
  }
}

/**
 * Tells the session when its request becomes a socket. What does that is a member of the request, and routers copy
 * requests, so both are followed. No cookie can be sent with the upgrade, so one that is owed prevents it.
 */
const watchUpgrade = <A>(request: HttpServerRequest.HttpServerRequest, session: RequestSession<A>): void => {
  const { modify, upgrade } = request
  Object.defineProperties(request, {
    upgrade: {
      // Another session may follow the same request.
      configurable: true,
      value: Effect.suspend(() =>
        session.owed === undefined
          ? Effect.tap(upgrade, () => Effect.sync(session.detach))
          : new HttpServerError.RequestError({
            request,
            reason: "Decode",
            description: "The session owes the browser a cookie, which an upgrade to a socket cannot carry. " +
              "Log in, or create the session, by an ordinary request before it."
          })
      )
    },
    modify: {
      configurable: true,
      value: (options: Parameters<typeof modify>[0]) => {
        const copy = modify.call(request, options)
        watchUpgrade(copy, session)
        return copy
      }
    }
  })
}

/** Adds what a response that used the session must carry, whatever its status. */
const decorate = <A>(
  response: HttpServerResponse.HttpServerResponse,
  session: RequestSession<A>,
  cookie: SessionCookie
): HttpServerResponse.HttpServerResponse => {
  if (!session.accessed) return response
  const { owed, retryAfter } = session
  const varying = HttpServerResponse.setHeader(response, "vary", varyOnCookie(response.headers.vary))
  const answered = retryAfter !== undefined && response.status === 503 ? withRetryAfter(varying, retryAfter) : varying
  if (owed === undefined) return session.uncacheable ? uncacheable(answered) : answered
  return uncacheable(HttpServerResponse.updateCookies(answered, Cookies.setCookie(setCookie(cookie, owed))))
}

/** The cookie that a response owes. One scope makes both, so that a deletion reaches what was set. */
const setCookie = (cookie: SessionCookie, owed: NonNullable<RequestSession<never>["owed"]>): Cookies.Cookie => {
  const lifetime = owed === "expire"
    ? { maxAge: Duration.zero, expires: new Date(0) }
    : owed.maxAge === undefined
    ? {}
    : { maxAge: Duration.seconds(owed.maxAge) }
  // The name was checked when the layer was built, and the alphabet of our values needs no encoding.
  return Cookies.unsafeMakeCookie(cookie.name, owed === "expire" ? "" : Redacted.value(owed.value), {
    ...lifetime,
    ...(cookie.domain === undefined ? {} : { domain: cookie.domain }),
    path: cookie.path,
    secure: cookie.secure,
    httpOnly: true,
    partitioned: cookie.partitioned,
    sameSite: cookie.sameSite
  })
}

const varyOnCookie = (vary: string | undefined): string =>
  vary === undefined || vary.trim() === ""
    ? "Cookie"
    : vary.split(",").some((name) => name.trim() === "*" || name.trim().toLowerCase() === "cookie")
    ? vary
    : `${vary}, Cookie`

/** No cache keeps it, neither one that follows `Cache-Control` nor one that has a header of its own (RFC 9213). */
const uncacheable = (response: HttpServerResponse.HttpServerResponse): HttpServerResponse.HttpServerResponse => {
  const targeted = Object.keys(response.headers).filter((name) => /(?:cdn-cache|surrogate)-control$/.test(name))
  return HttpServerResponse.setHeaders(
    response,
    Object.fromEntries(["cache-control", ...targeted].map((name) => [name, "no-store"]))
  )
}

/** A page that the browser fetches in advance, and that the visitor may never see. */
const isPrefetch = (headers: Headers.Headers): boolean =>
  [headers["sec-purpose"], headers.purpose, headers["x-purpose"], headers["x-moz"]].some((value) =>
    value !== undefined && /prefetch|preview|prerender/i.test(value)
  )

/**
 * Another site made the request, in a way in which a browser does not send our cookie: any with `SameSite=Strict`, all but
 * navigations by a safe method with `Lax`. The browser itself says so, in a header that no page can set.
 */
const isWithheld = ({ headers, method }: HttpServerRequest.HttpServerRequest, { sameSite }: SessionCookie): boolean =>
  headers["sec-fetch-site"] === "cross-site" &&
  (sameSite === "strict" || (sameSite === "lax" && method !== "GET" && method !== "HEAD"))

/** The answer to a host that a development cookie is not for. */
export const notLoopback = HttpServerResponse.text(
  "This server uses a session cookie for development, which is not Secure, and therefore answers on localhost only. " +
    "Use the default cookie with HTTPS elsewhere.\n",
  { status: 500 }
)

const isLoopback = (host: string | undefined): boolean =>
  host !== undefined && /^(?:(?:[a-z0-9-]+\.)*localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i.test(host)
