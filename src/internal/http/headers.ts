/**
 * Adds cookies and cache headers to a response that depends on sessions.
 */
import * as Cookies from "@effect/platform/Cookies"
import type * as Headers from "@effect/platform/Headers"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Duration from "effect/Duration"
import { NodeInspectSymbol } from "effect/Inspectable"
import * as Redacted from "effect/Redacted"
import type { SessionCookie } from "../../SessionCookie.js"
import type { CookieUpdate } from "../../SessionEngine.js"
import type { UsedSession } from "../../SessionService.js"

type Response = HttpServerResponse.HttpServerResponse
type Request = HttpServerRequest.HttpServerRequest

/** A session that a request has used, and its cookie. */
export interface Used {
  readonly cookie: SessionCookie
  readonly used: UsedSession
}

/**
 * Adds cookies and cache headers to a response, whatever its status. Idempotent.
 *
 * A handler that runs later replaces headers of the same name, and Effect writes names in lower case. Field names are
 * case-insensitive and may be repeated (RFC 9110, 5.1 and 5.3), so unless this is the last handler, the names are capitalized:
 * they then stay beside those of later handlers.
 */
export const complete = (
  request: Request,
  response: Response,
  used: ReadonlyArray<Used>,
  last: boolean
): Response => {
  const web = webResponseOf(response)
  if (web !== undefined && request.method !== "HEAD") return completeWeb(response, web, used)
  const answered = web === undefined ? response : HttpServerResponse.fromWeb(web)
  const { vary, ...headers } = cachingOf(answered.headers, used)
  const completed = HttpServerResponse.setHeaders(answered, {
    ...headers,
    ...(last ? { vary } : undefined),
    ...retryAfterOf(answered.status, answered.headers, used)
  })
  // `setHeaders` has created a new object, which may be mutated.
  for (const [, capitalized] of cacheHeaders) {
    if (capitalized in completed.headers) Reflect.deleteProperty(completed.headers, capitalized)
  }
  if (!last) {
    Object.assign(completed.headers, { Vary: "Cookie" })
    if (headers["cache-control"] === "no-store") {
      for (const [name, capitalized] of cacheHeaders) {
        if (name === "vary") continue
        Reflect.deleteProperty(completed.headers, name)
        Object.assign(completed.headers, { [capitalized]: "no-store" })
      }
    }
  }
  return used.reduce(
    (response, { cookie, used: { setCookie } }) =>
      setCookie === undefined
        ? response
        : HttpServerResponse.updateCookies(response, Cookies.setCookie(cookieOf(cookie, setCookie))),
    completed
  )
}

/**
 * Completes a web `Response`, keeping its own headers and cookies: the platform would replace them, and fails if they are
 * immutable.
 */
const completeWeb = (response: Response, web: globalThis.Response, used: ReadonlyArray<Used>): Response => {
  if (web.status < 200 || web.bodyUsed) return response
  const copy = new globalThis.Response(web.body, web)
  for (const [name, value] of Object.entries(response.headers)) copy.headers.set(name, value)
  const headers = cachingOf(Object.fromEntries(copy.headers), used)
  for (const [name, value] of Object.entries(headers)) copy.headers.set(name, value)
  const ours = used.flatMap(({ cookie, used: { setCookie } }) =>
    setCookie === undefined ? [] : [cookieOf(cookie, setCookie)]
  )
  const others = copy.headers.getSetCookie().filter((line) => !ours.some(({ name }) => line.startsWith(`${name}=`)))
  copy.headers.delete("set-cookie")
  const added = ours.reduce(Cookies.setCookie, response.cookies)
  for (const line of [...others, ...Cookies.toSetCookieHeaders(added)]) copy.headers.append("set-cookie", line)
  return HttpServerResponse.raw(copy, { status: copy.status, statusText: copy.statusText })
}

export const webResponseOf = ({ body }: Response): globalThis.Response | undefined =>
  body._tag === "Raw" && typeof globalThis.Response === "function" && body.body instanceof globalThis.Response
    ? body.body
    : undefined

/**
 * The cache headers of a response that depends on sessions. A response that sets our cookie must not be stored by any cache,
 * including those with a targeted header (RFC 9213); otherwise a `Cache-Control` of the application is kept.
 */
const cachingOf = (
  headers: Readonly<Record<string, string | undefined>>,
  used: ReadonlyArray<Used>
): Readonly<Record<string, string>> => {
  const vary = varyOnCookie(headers.vary)
  if (!used.some(({ used }) => used.uncacheable || used.setCookie !== undefined)) {
    return headers["cache-control"] === undefined ? { vary, "cache-control": "private" } : { vary }
  }
  const targeted = Object.keys(headers).filter((name) => /(?:cdn-cache|surrogate)-control$/.test(name))
  return { vary, ...Object.fromEntries(["cache-control", ...targeted].map((name) => [name, "no-store"])) }
}

/** Cache headers that a later handler may add, in lower case and capitalized. */
const cacheHeaders: ReadonlyArray<readonly [name: string, capitalized: string]> = [
  ["vary", "Vary"],
  ["cache-control", "Cache-Control"],
  ["cdn-cache-control", "Cdn-Cache-Control"],
  ["surrogate-control", "Surrogate-Control"]
]

const retryAfterOf = (status: number, headers: Headers.Headers, used: ReadonlyArray<Used>) => {
  if (status !== 503 || headers["retry-after"] !== undefined) return undefined
  const seconds = used.find(({ used }) => used.retryAfter !== undefined)?.used.retryAfter
  return seconds === undefined ? undefined : { "retry-after": String(seconds) }
}

const varyOnCookie = (vary: string | undefined): string =>
  vary === undefined || vary.trim() === ""
    ? "Cookie"
    : vary.split(",").some((name) => name.trim() === "*" || name.trim().toLowerCase() === "cookie")
    ? vary
    : `${vary}, Cookie`

/**
 * Makes the pending cookie of a response. Setting and deleting use the same scope, so that a deletion reaches the cookie that was
 * set. Its value is hidden from logs and traces, which may print a response that fails while it is sent.
 */
const cookieOf = (cookie: SessionCookie, update: CookieUpdate): Cookies.Cookie => {
  const lifetime = update === "expire"
    ? { maxAge: Duration.zero, expires: new Date(0) }
    : update.maxAge === undefined
    ? {}
    : { maxAge: Duration.seconds(update.maxAge) }
  // The name was checked when the layer was built, and the alphabet of our values needs no encoding.
  const made = Cookies.unsafeMakeCookie(cookie.name, update === "expire" ? "" : Redacted.value(update.value), {
    ...lifetime,
    ...(cookie.domain === undefined ? {} : { domain: cookie.domain }),
    path: cookie.path,
    secure: cookie.secure,
    httpOnly: true,
    partitioned: cookie.partitioned,
    sameSite: cookie.sameSite
  })
  return Object.defineProperties(made, unprintable)
}

function shown({ name, options }: Cookies.Cookie) {
  return { _id: "@effect/platform/Cookies/Cookie", name, value: "<redacted>", options }
}

/** Property descriptors that keep the value of a cookie out of JSON, strings and `inspect`. */
const unprintable: PropertyDescriptorMap & ThisType<Cookies.Cookie> = {
  value: { enumerable: false },
  valueEncoded: { enumerable: false },
  toJSON: {
    value() {
      return shown(this)
    }
  },
  toString: {
    value() {
      return JSON.stringify(shown(this))
    }
  },
  [NodeInspectSymbol]: {
    value() {
      return shown(this)
    }
  }
}
