/**
 * The HTTP adapter of the session: opens the sessions of a request, commits them before the response, and adds what the
 * response must carry. Every front end uses it.
 *
 * The pre-response handler is the one hook that all of Effect's HTTP front ends share. It must be total, because one that
 * fails leaves the client without an answer, and idempotent, because it can run twice. Effect keeps it in a FiberRef, which
 * has two consequences: a fiber that fails does not pass its FiberRefs on, so a handler that is installed in a child fiber
 * (`Effect.timeout`, fork and join) is lost when the application breaks off there; and a handler that is installed later runs
 * later, and can replace headers. So ours runs at both ends. {@link dispatch} is the default value of the FiberRef: it runs
 * first, in the root fiber, wherever the session was opened, and commits. The handler of the {@link Exchange} runs last where
 * it can, and completes the headers.
 */
import * as Cookies from "@effect/platform/Cookies"
import type * as Headers from "@effect/platform/Headers"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpServerError from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as HashSet from "effect/HashSet"
import { NodeInspectSymbol } from "effect/Inspectable"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type { SessionCookie } from "../../SessionCookie.js"
import type { SessionError } from "../../SessionError.js"
import { answer } from "../../SessionErrorPage.js"
import type { Shape as Page } from "../../SessionErrorPage.js"
import type { RequestSession, SessionHandle } from "../../SessionHandle.js"
import type { Shape } from "../../SessionService.js"

type Response = HttpServerResponse.HttpServerResponse
type Request = HttpServerRequest.HttpServerRequest
type RuntimeFiber = Fiber.RuntimeFiber<unknown, unknown>

const handlers = HttpApp.currentPreResponseHandlers

/** A request whose session is open. */
export interface Edge<A> {
  readonly session: RequestSession<A>
  /** The response to an error that no handler has answered. */
  readonly answer: (error: SessionError) => Effect.Effect<Response>
}

/** One session of a request, with what its response needs. */
interface Member {
  readonly session: Pick<RequestSession<never>, "accessed" | "finish" | "owed" | "retryAfter" | "uncacheable">
  readonly cookie: SessionCookie
  readonly answer: (error: SessionError) => Effect.Effect<Response>
}

/** All sessions of one request, and its response. */
class Exchange {
  readonly members: Array<Member> = []
  handles: Context.Context<never> = Context.empty()
  /** The chain of handlers that ends with {@link respond}. */
  installed: Option.Option<HttpApp.PreResponseHandler> | undefined
  finished = false

  /** Commits, and completes the response. `last`: no other handler follows. */
  respond(request: Request, response: Response, last: boolean): Effect.Effect<Response> {
    return Effect.map(this.commit(request, response), (response) => {
      const used = this.members.filter(({ session }) => session.accessed)
      return used.length === 0 ? response : complete(request, response, used, last)
    })
  }

  /**
   * Commits the sessions once, in the order in which they were opened. The error of one replaces the response, and those after
   * it are not written, as after a failure of the handler; cookies that are owed by then are sent all the same.
   */
  commit(request: Request, response: Response): Effect.Effect<Response> {
    if (this.finished) return Effect.succeed(response)
    this.finished = true
    const commit = (at: number, answered: Response, status: number): Effect.Effect<Response> => {
      const member = this.members[at]
      if (member === undefined) return Effect.succeed(answered)
      return Effect.flatMap(member.session.finish(status), (error) =>
        error === undefined
          ? commit(at + 1, answered, status)
          : Effect.flatMap(status >= 500 ? Effect.succeed(answered) : member.answer(error), (failure) =>
            commit(at + 1, failure, 500)))
    }
    return Effect.tap(
      commit(0, response, webResponseOf(response)?.status ?? response.status),
      () => this.#warnOfLostCookies(request)
    )
  }

  #warnOfLostCookies(request: Request): Effect.Effect<void> {
    const lost = this.members.find(({ cookie, session }) =>
      cookie.secure && session.owed !== undefined && !warned.has(cookie) && isPlainHttp(request)
    )
    if (lost === undefined) return Effect.void
    warned.add(lost.cookie)
    return Effect.logWarning(
      `The session cookie "${lost.cookie.name}" is Secure, and a browser asked for ${
        hostsOf(request)[0]
      } over plain http: ` +
        "it drops the cookie, and each of its requests begins a new session. Use https, or http://localhost with the " +
        "development cookie."
    )
  }
}

/** The cookies whose loss was reported: once for each layer. */
const warned = new WeakSet<SessionCookie>()

/** By the driver's request, which routers that rewrite the request keep. */
const exchanges = new WeakMap<object, Exchange>()

const sourceOf = (request: Request): object => Predicate.isObject(request.source) ? request.source : request

/** The default pre-response handler: runs in the root fiber of every request, before all others. */
const dispatch: HttpApp.PreResponseHandler = (request, response) => {
  const exchange = exchanges.get(sourceOf(request))
  if (exchange === undefined) return Effect.succeed(response)
  return withClient(request, (fiber) => {
    const all = fiber.getFiberRef(handlers)
    // The handler at the end of this chain completes the response.
    return all === exchange.installed
      ? exchange.commit(request, response)
      : exchange.respond(request, response, all === byDefault())
  })
}

let isDispatching = false

/**
 * Makes {@link dispatch} the default of the FiberRef. A child fiber has no way to reach the root fiber of its request, but a
 * root fiber without a value of its own reads the default.
 */
const startDispatching = (): void => {
  if (isDispatching) return
  isDispatching = true
  Object.assign(handlers, { initial: Option.some(after(byDefault(), dispatch)) })
}

const byDefault = () => FiberRefs.getOrDefault(FiberRefs.empty(), handlers)

const after = (before: Option.Option<HttpApp.PreResponseHandler>, handler: HttpApp.PreResponseHandler) =>
  Option.match(before, {
    onNone: () => handler,
    onSome: (before): HttpApp.PreResponseHandler => (request, response) =>
      Effect.flatMap(before(request, response), (response) => handler(request, response))
  })

/** Puts the handler of this fiber's request behind those that were installed meanwhile, so that it has the last word. */
export const becomeLast = (fiber: RuntimeFiber): Effect.Effect<void> => {
  const request = fiber.currentContext.unsafeMap.get(HttpServerRequest.HttpServerRequest.key)
  const exchange = request === undefined ? undefined : exchanges.get(sourceOf(request))
  return exchange === undefined ? Effect.void : install(fiber, exchange)
}

const install = (fiber: RuntimeFiber, exchange: Exchange): Effect.Effect<void> => {
  const all = fiber.getFiberRef(handlers)
  if (all === exchange.installed) return Effect.void
  const handler: HttpApp.PreResponseHandler = (request, response) =>
    withClient(
      request,
      (fiber) => exchange.respond(request, response, fiber.getFiberRef(handlers) === exchange.installed)
    )
  exchange.installed = Option.some(after(all, handler))
  return FiberRef.set(handlers, exchange.installed)
}

/**
 * Runs a commit, and sends no body to a client that has hung up meanwhile: Node never reports the end of a response on a
 * closed socket, so the fiber of the request would wait for it for ever. Of a HEAD it waits for the head, too: such a request
 * ends without a response.
 */
const withClient = (
  request: Request,
  run: (fiber: RuntimeFiber) => Effect.Effect<Response>
): Effect.Effect<Response> =>
  Effect.withFiberRuntime((fiber) =>
    Effect.flatMap(run(fiber), (response) => {
      const interruption = fiber.getFiberRef(FiberRef.interruptedCause)
      if (Cause.isEmpty(interruption)) return Effect.succeed(response)
      if (!HashSet.has(Cause.interruptors(interruption), HttpServerError.clientAbortFiberId)) {
        return Effect.succeed(response)
      }
      if (request.method !== "HEAD" || isWebRequest(sourceOf(request))) {
        return Effect.succeed(HttpServerResponse.setBody(response, HttpBody.empty))
      }
      Object.assign(request, { [handled]: true })
      return Effect.failCause(Cause.interrupt(HttpServerError.clientAbortFiberId))
    })
  )

/** By this property the platform knows that a request has its response. */
const handled = Symbol.for("@effect/platform/HttpApp/handled")

const isWebRequest = (source: object): source is globalThis.Request =>
  typeof globalThis.Request === "function" && source instanceof globalThis.Request

/** Opens a session of this fiber's request, without I/O. `undefined`: the cookie must not be sent to the request's host. */
export const begin = <Self, A>(
  fiber: RuntimeFiber,
  handle: Context.Tag<Self, SessionHandle<A>>,
  service: Shape<A>,
  page: (session: RequestSession<A>) => Page
): Effect.Effect<Edge<A> | undefined> => {
  const { cookie } = service
  const request = Context.unsafeGet(fiber.currentContext, HttpServerRequest.HttpServerRequest)
  if (!cookie.secure && !hostsOf(request).every(isLoopback)) return Effect.succeed(undefined)
  startDispatching()
  const session = service.request(request.headers.cookie, {
    prefetch: isPrefetch(request.headers),
    head: request.method === "HEAD",
    withheld: withheldFrom(request, cookie)
  })
  if (request.headers.upgrade !== undefined) watchUpgrade(request, session)
  const answerTo = (error: SessionError) => answer(page(session), error, request)
  const exchange = exchangeOf(request)
  exchange.members.push({ session, cookie, answer: answerTo })
  exchange.handles = Context.add(exchange.handles, handle, session)
  return Effect.as(install(fiber, exchange), { session, answer: answerTo })
}

/** The sessions that were opened for this fiber's request, whether or not they are in its context. */
export const openedBefore = (fiber: RuntimeFiber): Context.Context<never> => {
  const request = Context.unsafeGet(fiber.currentContext, HttpServerRequest.HttpServerRequest)
  return exchangeOf(request).handles
}

/** The exchange of a request. A request object that was answered and is used again begins another one. */
const exchangeOf = (request: Request): Exchange => {
  const source = sourceOf(request)
  const known = exchanges.get(source)
  if (known !== undefined && !known.finished) return known
  const exchange = new Exchange()
  exchanges.set(source, exchange)
  return exchange
}

/**
 * Detaches the session when its request is upgraded to a socket. `upgrade` is a member of the request, and routers copy
 * requests, so copies are watched, too. The upgrade cannot carry a cookie, so one that is owed prevents it.
 */
const watchUpgrade = <A>(request: Request, session: RequestSession<A>): void => {
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

/**
 * Adds what a response that used sessions must carry, whatever its status. Can be repeated.
 *
 * Handlers that run later can replace what they set by the same name, and Effect writes the names of headers in lower case. A
 * field name is case-insensitive and may be repeated (RFC 9110, 5.1 and 5.3), so where others may follow, ours are written with
 * capitals, and stand beside theirs.
 */
const complete = (request: Request, response: Response, used: ReadonlyArray<Member>, last: boolean): Response => {
  const web = webResponseOf(response)
  if (web !== undefined && request.method !== "HEAD") return completeWeb(response, web, used)
  const answered = web === undefined ? response : HttpServerResponse.fromWeb(web)
  const { vary, ...headers } = cachingOf(new Map(Object.entries(answered.headers)), used)
  const completed = HttpServerResponse.setHeaders(answered, {
    ...headers,
    ...(last ? { vary } : undefined),
    ...retryAfterOf(answered.status, answered.headers, used)
  })
  // `setHeaders` has made these headers anew, so they may be changed.
  for (const name of ["vary", ...cacheHeaders]) Reflect.deleteProperty(completed.headers, capitalized(name))
  if (!last) {
    Object.assign(completed.headers, { [capitalized("vary")]: "Cookie" })
    if (headers["cache-control"] === "no-store") {
      for (const name of cacheHeaders) {
        Reflect.deleteProperty(completed.headers, name)
        Object.assign(completed.headers, { [capitalized(name)]: "no-store" })
      }
    }
  }
  return used.reduce(
    (response, { cookie, session }) =>
      session.owed === undefined
        ? response
        : HttpServerResponse.updateCookies(response, Cookies.setCookie(cookieOf(cookie, session.owed))),
    completed
  )
}

/**
 * A web `Response` that is passed on as it is keeps its own headers and cookies: the platform would replace them, and fails
 * where they cannot be changed.
 */
const completeWeb = (response: Response, web: globalThis.Response, used: ReadonlyArray<Member>): Response => {
  if (web.status < 200 || web.bodyUsed) return response
  const copy = new globalThis.Response(web.body, web)
  for (const [name, value] of Object.entries(response.headers)) copy.headers.set(name, value)
  const headers = cachingOf(new Map(copy.headers), used)
  for (const [name, value] of Object.entries(headers)) copy.headers.set(name, value)
  const ours = used.flatMap(({ cookie, session }) => session.owed === undefined ? [] : [cookieOf(cookie, session.owed)])
  const others = copy.headers.getSetCookie().filter((line) => !ours.some(({ name }) => line.startsWith(`${name}=`)))
  copy.headers.delete("set-cookie")
  const added = ours.reduce(Cookies.setCookie, response.cookies)
  for (const line of [...others, ...Cookies.toSetCookieHeaders(added)]) copy.headers.append("set-cookie", line)
  return HttpServerResponse.raw(copy, { status: copy.status, statusText: copy.statusText })
}

const webResponseOf = ({ body }: Response): globalThis.Response | undefined =>
  body._tag === "Raw" && typeof globalThis.Response === "function" && body.body instanceof globalThis.Response
    ? body.body
    : undefined

/**
 * The headers that caches follow, for a response that used sessions. Nothing stores one that sets our cookie, whether it follows
 * `Cache-Control` or a header of its own (RFC 9213); of others the application may say so itself.
 */
const cachingOf = (
  headers: ReadonlyMap<string, string>,
  used: ReadonlyArray<Member>
): Readonly<Record<string, string>> => {
  const vary = { vary: varyOnCookie(headers.get("vary")) }
  if (!used.some(({ session }) => session.uncacheable || session.owed !== undefined)) {
    return headers.has("cache-control") ? vary : { ...vary, "cache-control": "private" }
  }
  const targeted = [...headers.keys()].filter((name) => /(?:cdn-cache|surrogate)-control$/.test(name))
  return { ...vary, ...Object.fromEntries(["cache-control", ...targeted].map((name) => [name, "no-store"])) }
}

/** The headers that caches follow, and that a handler may add later. */
const cacheHeaders = ["cache-control", "cdn-cache-control", "surrogate-control"]

const capitalized = (name: string): string => name.replaceAll(/\b[a-z]/g, (letter) => letter.toUpperCase())

const retryAfterOf = (status: number, headers: Headers.Headers, used: ReadonlyArray<Member>) => {
  const seconds = used.find(({ session }) => session.retryAfter !== undefined)?.session.retryAfter
  return status === 503 && seconds !== undefined && headers["retry-after"] === undefined
    ? { "retry-after": String(seconds) }
    : undefined
}

const varyOnCookie = (vary: string | undefined): string =>
  vary === undefined || vary.trim() === ""
    ? "Cookie"
    : vary.split(",").some((name) => name.trim() === "*" || name.trim().toLowerCase() === "cookie")
    ? vary
    : `${vary}, Cookie`

/**
 * The cookie that a response owes. One scope makes both forms, so that a deletion reaches what was set. Its value is not shown
 * by logs and traces, which print a response that breaks off while it is sent.
 */
const cookieOf = (cookie: SessionCookie, owed: NonNullable<RequestSession<never>["owed"]>): Cookies.Cookie => {
  const lifetime = owed === "expire"
    ? { maxAge: Duration.zero, expires: new Date(0) }
    : owed.maxAge === undefined
    ? {}
    : { maxAge: Duration.seconds(owed.maxAge) }
  // The name was checked when the layer was built, and the alphabet of our values needs no encoding.
  const made = Cookies.unsafeMakeCookie(cookie.name, owed === "expire" ? "" : Redacted.value(owed.value), {
    ...lifetime,
    ...(cookie.domain === undefined ? {} : { domain: cookie.domain }),
    path: cookie.path,
    secure: cookie.secure,
    httpOnly: true,
    partitioned: cookie.partitioned,
    sameSite: cookie.sameSite
  })
  const shown = () => ({
    _id: "@effect/platform/Cookies/Cookie",
    name: made.name,
    value: "<redacted>",
    options: made.options
  })
  return Object.defineProperties(made, {
    value: { enumerable: false },
    valueEncoded: { enumerable: false },
    toJSON: { value: shown },
    toString: { value: () => JSON.stringify(shown()) },
    [NodeInspectSymbol]: { value: shown }
  })
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
const withheldFrom = (
  { headers, method }: Request,
  { sameSite }: SessionCookie
): "refuse" | "discard" | undefined => {
  if (headers["sec-fetch-site"] !== "cross-site" || sameSite === "none") return undefined
  if (method !== "GET" && method !== "HEAD") return "refuse"
  if (sameSite === "lax") return undefined
  return headers["sec-fetch-mode"] === "navigate" ? "discard" : "refuse"
}

/** The answer to a host that a development cookie is not for. */
export const notLoopback = HttpServerResponse.text(
  "This server uses a session cookie for development, which is not Secure, and therefore answers on localhost only. " +
    "Use the default cookie with HTTPS elsewhere.\n",
  { status: 500 }
)

/** The hosts that a request names: its `Host`, in HTTP/2 `:authority`, and that of a URL which is complete. */
const hostsOf = (request: Request): readonly [string, ...Array<string>] => {
  const { headers } = request
  const source = sourceOf(request)
  const url = "url" in source && typeof source.url === "string" ? urlOf(source.url) : undefined
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
const isPlainHttp = (request: Request): boolean => {
  const { headers } = request
  const source = sourceOf(request)
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
