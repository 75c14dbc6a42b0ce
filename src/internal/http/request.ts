/**
 * Facts from the headers of a request: the hosts that it names, whether the browser prefetches, and whether it sends and keeps our cookie.
 */
import type * as Headers from "@effect/platform/Headers"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Predicate from "effect/Predicate"
import type { SessionCookie } from "../../SessionCookie.js"
import type { RequestOptions } from "../../SessionService.js"

type Request = HttpServerRequest.HttpServerRequest

export const isWebRequest = (source: unknown): source is globalThis.Request =>
  typeof globalThis.Request === "function" && source instanceof globalThis.Request

/** The facts of a request that a session depends on besides its cookies. Each is looked up on demand. */
export class Facts implements RequestOptions {
  readonly #request: Request
  readonly #cookie: SessionCookie

  private constructor(request: Request, cookie: SessionCookie) {
    this.#request = request
    this.#cookie = cookie
  }

  /** `undefined`: the cookie must not be sent to the hosts that the request names. */
  static of(request: Request, cookie: SessionCookie): Facts | undefined {
    return cookie.secure || hostsOf(request).every(isLoopback) ? new Facts(request, cookie) : undefined
  }

  get prefetch(): boolean {
    return isPrefetch(this.#request.headers)
  }

  get head(): boolean {
    return this.#request.method === "HEAD"
  }

  get crossSite(): "refuse" | "discard" | undefined {
    return crossSiteOf(this.#request, this.#cookie)
  }
}

/** A page that the browser fetches in advance, and that the visitor may never see. */
const isPrefetch = (headers: Headers.Headers): boolean =>
  [headers["sec-purpose"], headers.purpose, headers["x-purpose"], headers["x-moz"]].some((value) =>
    value !== undefined && /prefetch|preview|prerender/i.test(value)
  )

/**
 * What becomes of a new session if another site made the request, in a way in which a browser does not send our cookie: any
 * with `SameSite=Strict`, all but navigations by a safe method with `Lax`. The browser states it in headers that no page can
 * set. A visitor who followed a link is not refused.
 */
const crossSiteOf = (
  { headers, method }: Request,
  { sameSite }: SessionCookie
): "refuse" | "discard" | undefined => {
  if (headers["sec-fetch-site"] !== "cross-site" || sameSite === "none") return undefined
  if (method !== "GET" && method !== "HEAD") return "refuse"
  if (sameSite === "lax") return undefined
  return headers["sec-fetch-mode"] === "navigate" ? "discard" : "refuse"
}

/** The hosts that a request names: its `Host`, in HTTP/2 `:authority`, and that of a URL which is complete. */
export const hostsOf = (request: Request): readonly [string, ...Array<string>] => {
  const { headers } = request
  const { source } = request
  const url = Predicate.hasProperty(source, "url") && typeof source.url === "string" ? urlOf(source.url) : undefined
  const [first, ...rest] = [headers.host, headers[":authority"], url?.host].filter((host) => host !== undefined)
  return [first ?? "", ...rest]
}

/** A complete URL. `URL.canParse` is not everywhere, such as in a Worker of an old compatibility date. */
const urlOf = (text: string): URL | undefined => {
  try {
    return new URL(text)
  } catch {
    return undefined
  }
}

const isLoopback = (host: string): boolean =>
  /^(?:(?:[a-z0-9-]+\.)*localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i.test(host)

/**
 * The browser speaks plain http: it says so itself, or its request came without TLS, past no proxy, for an address that has no
 * public certificate. Loopback is different: browsers keep Secure cookies there.
 */
export const isPlainHttp = (request: Request): boolean => {
  const { headers } = request
  const { source } = request
  const host = hostsOf(request)[0]
  if (isLoopback(host)) return false
  if (
    [headers.origin, headers.referer].some((from) => from !== undefined && `${from}/`.startsWith(`http://${host}/`))
  ) return true
  return isPrivate(host) && headers["x-forwarded-proto"] === undefined && headers.forwarded === undefined &&
    !(Predicate.hasProperty(source, "socket") && Predicate.hasProperty(source.socket, "encrypted")) &&
    !isWebRequest(source)
}

const isPrivate = (host: string): boolean =>
  /^(?:10(?:\.\d{1,3}){3}|192\.168(?:\.\d{1,3}){2}|172\.(?:1[6-9]|2\d|3[01])(?:\.\d{1,3}){2}|[a-z0-9-]+\.local)(?::\d+)?$/i
    .test(host)
