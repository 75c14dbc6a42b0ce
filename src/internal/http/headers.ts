/**
 * Adds cookies, bearer tokens and cache headers to a response that depends on sessions.
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
import type { Transport, UsedSession } from "../../SessionService.js"
import { ended } from "../domain/transport.js"

type Response = HttpServerResponse.HttpServerResponse
type Request = HttpServerRequest.HttpServerRequest

/** A session that a request has used, its cookie, and how its tag reads and returns it. */
export interface Used {
  readonly cookie: SessionCookie
  readonly transport: Transport
  readonly used: UsedSession
}

/**
 * Adds cookies, bearer tokens and cache headers to a response, whatever its status. Idempotent.
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
    ...tokensOf(used),
    ...(last ? { vary } : undefined),
    ...retryAfterOf(answered.status, answered.headers, used)
  })
  // `setHeaders` has created a new object, which may be mutated.
  for (const [, capitalized] of cacheHeaders) {
    if (capitalized in completed.headers) Reflect.deleteProperty(completed.headers, capitalized)
  }
  if (!last) {
    Object.assign(completed.headers, { Vary: varyNames(used).join(", ") })
    if (headers["cache-control"] === "no-store") {
      for (const [name, capitalized] of cacheHeaders) {
        if (name === "vary") continue
        Reflect.deleteProperty(completed.headers, name)
        Object.assign(completed.headers, { [capitalized]: "no-store" })
      }
    }
  }
  return cookiesOf(used).reduce(
    (response, cookie) => HttpServerResponse.updateCookies(response, Cookies.setCookie(cookie)),
    completed
  )
}

/** The cookies that a response sets. */
const cookiesOf = (used: ReadonlyArray<Used>): ReadonlyArray<Cookies.Cookie> =>
  used.flatMap(({ cookie, used: { setCookie, transport } }) =>
    setCookie === undefined || transport === "bearer" ? [] : [cookieOf(cookie, setCookie)]
  )

/** The headers with the bearer tokens of a response. */
const tokensOf = (used: ReadonlyArray<Used>): Readonly<Record<string, string>> =>
  Object.fromEntries(
    used.flatMap(({ transport: { header }, used: { setCookie, transport } }) =>
      setCookie === undefined || transport !== "bearer"
        ? []
        : [[header, setCookie === "expire" ? ended : Redacted.value(setCookie.value)]]
    )
  )

/**
 * Completes a web `Response`, keeping its own headers and cookies: the platform would replace them, and fails if they are
 * immutable.
 */
const completeWeb = (response: Response, web: globalThis.Response, used: ReadonlyArray<Used>): Response => {
  if (web.status < 200 || web.bodyUsed) return response
  const copy = new globalThis.Response(web.body, web)
  for (const [name, value] of Object.entries(response.headers)) copy.headers.set(name, value)
  const headers = { ...cachingOf(Object.fromEntries(copy.headers), used), ...tokensOf(used) }
  for (const [name, value] of Object.entries(headers)) copy.headers.set(name, value)
  const ours = cookiesOf(used)
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
 * The cache headers of a response that depends on sessions. A response with our cookie or token must not be stored by any cache,
 * including those with a targeted header (RFC 9213); otherwise a `Cache-Control` of the application is kept.
 */
const cachingOf = (
  headers: Readonly<Record<string, string | undefined>>,
  used: ReadonlyArray<Used>
): Readonly<Record<string, string>> => {
  const vary = varyOf(headers.vary, used)
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

/** The request headers that the sessions depend on. */
const varyNames = (used: ReadonlyArray<Used>): ReadonlyArray<string> => [
  ...(used.some(({ transport }) => transport.accepts !== "bearer") ? ["Cookie"] : []),
  ...(used.some(({ transport }) => transport.accepts !== "cookie") ? ["Authorization"] : [])
]

const varyOf = (vary: string | undefined, used: ReadonlyArray<Used>): string => {
  const names = varyNames(used)
  if (vary === undefined || vary.trim() === "") return names.join(", ")
  const present = vary.split(",").map((name) => name.trim().toLowerCase())
  return present.includes("*")
    ? vary
    : [vary, ...names.filter((name) => !present.includes(name.toLowerCase()))].join(", ")
}

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
