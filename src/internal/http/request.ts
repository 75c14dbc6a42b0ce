/**
 * Facts from the headers of a request: its hosts, prefetch, and whether the browser sends and stores our cookie.
 */
import type * as Headers from "@effect/platform/Headers"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Predicate from "effect/Predicate"
import type { SessionCookie } from "../../SessionCookie.js"
import type { RequestOptions, Transport } from "../../SessionService.js"
import { asking } from "../domain/transport.js"

type Request = HttpServerRequest.HttpServerRequest

export const isWebRequest = (source: unknown): source is globalThis.Request =>
  typeof globalThis.Request === "function" && source instanceof globalThis.Request

/** The facts of a request that a session depends on besides its cookies. Each is computed on demand. */
export class Facts implements RequestOptions {
  readonly #request: Request
  readonly #cookie: SessionCookie
  readonly #transport: Transport

  private constructor(request: Request, cookie: SessionCookie, transport: Transport) {
    this.#request = request
    this.#cookie = cookie
    this.#transport = transport
  }

  /** Returns `undefined` if the cookie must not be sent to a host that the request names. */
  static of(
    request: Request,
    { cookie, transport }: { readonly cookie: SessionCookie; readonly transport: Transport }
  ): Facts | undefined {
    return cookie.secure || transport.accepts === "bearer" || hostsOf(request).every(isLoopback)
      ? new Facts(request, cookie, transport)
      : undefined
  }

  get authorization(): string | undefined {
    return authorizationOf(this.#request)
  }

  get asksForToken(): boolean {
    return this.#request.headers[this.#transport.header] === asking
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

/**
 * Returns the `Authorization` header. `undefined` if the request has several: Node shows the first one only, and a proxy in front of
 * the server may have checked another.
 */
const authorizationOf = ({ headers, source }: Request): string | undefined => {
  if (headers.authorization === undefined || !Predicate.hasProperty(source, "rawHeaders")) return headers.authorization
  const raw = Array.isArray(source.rawHeaders) ? source.rawHeaders : []
  const several = raw.filter((name, at) => at % 2 === 0 && String(name).toLowerCase() === "authorization").length > 1
  return several ? undefined : headers.authorization
}

/** Returns whether the request is a prefetch of the browser: the visitor may never see the page. */
const isPrefetch = (headers: Headers.Headers): boolean =>
  [headers["sec-purpose"], headers.purpose, headers["x-purpose"], headers["x-moz"]].some((value) =>
    value !== undefined && /prefetch|preview|prerender/i.test(value)
  )

/**
 * The treatment of a new session if the request is cross-site and the browser has suppressed our cookie: any request with
 * `SameSite=Strict`, all but navigations by a safe method with `Lax`. Based on `Sec-Fetch-*` headers, which pages cannot set.
 * Following a link is not an error: the new session is discarded.
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

/** The hosts that a request names: `Host`, `:authority` in HTTP/2, and the host of an absolute URL. */
export const hostsOf = (request: Request): readonly [string, ...Array<string>] => {
  const { headers } = request
  const { source } = request
  const url = Predicate.hasProperty(source, "url") && typeof source.url === "string" ? urlOf(source.url) : undefined
  const [first, ...rest] = [headers.host, headers[":authority"], url?.host].filter((host) => host !== undefined)
  return [first ?? "", ...rest]
}

/** Parses an absolute URL. `URL.canParse` is missing on some runtimes, such as Workers with an old compatibility date. */
const urlOf = (text: string): URL | undefined => {
  try {
    return new URL(text)
  } catch {
    return undefined
  }
}

/** Returns whether a host, with or without a port, is this machine. */
export const isLoopback = (host: string): boolean =>
  /^(?:(?:[a-z0-9-]+\.)*localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i.test(host)

/**
 * Returns whether the browser uses plain HTTP: by its own headers, or because the request came without TLS and without a proxy
 * for an address that can have no public certificate. False for loopback, where browsers store Secure cookies.
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
