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
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpServerError from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as HashSet from "effect/HashSet"
import * as Option from "effect/Option"
import type { SessionCookie } from "../../SessionCookie.js"
import type { SessionError } from "../../SessionError.js"
import { answer, asDeclared, declared, SessionErrorPage } from "../../SessionErrorPage.js"
import type { RequestSession, SessionHandle } from "../../SessionHandle.js"
import type { Shape } from "../../SessionService.js"
import * as Done from "../done.js"
import { complete, webResponseOf } from "./headers.js"
import { Facts, hostsOf, isLoopback, isPlainHttp, isWebRequest, sourceOf } from "./request.js"

type Response = HttpServerResponse.HttpServerResponse
type Request = HttpServerRequest.HttpServerRequest

const handlers = HttpApp.currentPreResponseHandlers

/** One session of a request, with what its response needs. */
export class Member<Self, A> {
  readonly session: RequestSession<A>
  readonly cookie: SessionCookie
  readonly #handle: Context.Tag<Self, SessionHandle<A>>
  readonly #request: Request
  /** Where the page for errors is found; absent: errors are answered as an HttpApi declares them. */
  readonly #context: Context.Context<never> | undefined

  constructor(
    handle: Context.Tag<Self, SessionHandle<A>>,
    session: RequestSession<A>,
    cookie: SessionCookie,
    request: Request,
    context: Context.Context<never> | undefined
  ) {
    this.#handle = handle
    this.session = session
    this.cookie = cookie
    this.#request = request
    this.#context = context
  }

  addTo(context: Context.Context<never>): Context.Context<never> {
    return Context.add(context, this.#handle, this.session)
  }

  /** The response to an error that no handler has answered. */
  answer(error: SessionError): Effect.Effect<Response> {
    const page = this.#context === undefined || declared.has(this.session)
      ? asDeclared
      : Context.get(this.#context, SessionErrorPage)
    return answer(page, error, this.#request)
  }
}

type Any = Pick<Member<unknown, never>, "addTo" | "answer" | "cookie"> & {
  readonly session: Pick<RequestSession<never>, "accessed" | "finish" | "owed" | "retryAfter" | "uncacheable">
}

/** All sessions of one request, and its response. */
class Exchange {
  readonly members: Array<Any> = []
  /** The chain of handlers that ends with {@link respond}. */
  installed: Option.Option<HttpApp.PreResponseHandler> | undefined
  finished = false

  /** Whether the response depends on one of the sessions. */
  get accessed(): boolean {
    return this.members.some(({ session }) => session.accessed)
  }

  /** Commits, and completes the response. `last`: no other handler follows. */
  respond(request: Request, response: Response, last: boolean): Effect.Effect<Response> {
    return Done.map(this.commit(request, response), (response) => {
      const used = this.members.filter(({ session }) => session.accessed)
      return used.length === 0 ? response : complete(request, response, used, last)
    })
  }

  /**
   * Commits the sessions once, in the order in which they were opened. The error of one replaces the response, and those after
   * it are not written, as after a failure of the handler; cookies that are owed by then are sent all the same.
   */
  commit(request: Request, response: Response): Effect.Effect<Response> {
    if (this.finished) return Exit.succeed(response)
    this.finished = true
    const commit = (at: number, answered: Response, status: number): Effect.Effect<Response> => {
      const member = this.members[at]
      if (member === undefined) return Done.map(this.#warnOfLostCookies(request), () => answered)
      return Effect.flatMap(member.session.finish(status), (error) =>
        error === undefined
          ? commit(at + 1, answered, status)
          : Effect.flatMap(status >= 500 ? Effect.succeed(answered) : member.answer(error), (failure) =>
            commit(at + 1, failure, 500)))
    }
    return commit(0, response, webResponseOf(response)?.status ?? response.status)
  }

  #warnOfLostCookies(request: Request): Effect.Effect<void> {
    const lost = this.members.find(({ cookie, session }) =>
      cookie.secure && session.owed !== undefined && !warned.has(cookie) && isPlainHttp(request)
    )
    if (lost === undefined) return Exit.void
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

/** The default pre-response handler: runs in the root fiber of every request, before all others. */
const dispatch: HttpApp.PreResponseHandler = (request, response) => {
  const exchange = exchanges.get(sourceOf(request))
  if (exchange === undefined) return Exit.succeed(response)
  return withClient(request, (fiber) => {
    const all = fiber.getFiberRef(handlers)
    // The handler at the end of its own chain has the last word.
    return exchange.respond(request, response, all === byDefault() || all === exchange.installed)
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

/**
 * Puts the handler of this fiber's request behind those that were installed meanwhile, so that it has the last word, where a session
 * was used.
 */
export const becomeLast = (fiber: Done.RuntimeFiber): Effect.Effect<void> => {
  const all = fiber.getFiberRef(handlers)
  // If no other handler is installed, the default one runs last.
  if (all === byDefault()) return Exit.void
  const request = fiber.currentContext.unsafeMap.get(HttpServerRequest.HttpServerRequest.key)
  const exchange = request === undefined ? undefined : exchanges.get(sourceOf(request))
  if (exchange === undefined || !exchange.accessed || all === exchange.installed) return Exit.void
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
  run: (fiber: Done.RuntimeFiber) => Effect.Effect<Response>
): Effect.Effect<Response> =>
  Effect.withFiberRuntime((fiber) =>
    Done.flatMap(run(fiber), (response) => {
      const interruption = fiber.getFiberRef(FiberRef.interruptedCause)
      if (Cause.isEmpty(interruption)) return Exit.succeed(response)
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

/**
 * Opens a session of this fiber's request, without I/O. `undefined`: the cookie must not be sent to the request's host.
 * `context`: where the page for errors is found, if there may be one.
 */
export const begin = <Self, A>(
  fiber: Done.RuntimeFiber,
  handle: Context.Tag<Self, SessionHandle<A>>,
  service: Shape<A>,
  context: Context.Context<never> | undefined
): Member<Self, A> | undefined => {
  const { cookie } = service
  const request = Context.unsafeGet(fiber.currentContext, HttpServerRequest.HttpServerRequest)
  if (!cookie.secure && !hostsOf(request).every(isLoopback)) return undefined
  startDispatching()
  const session = service.request(request.headers.cookie, new Facts(request, cookie))
  if (request.headers.upgrade !== undefined) watchUpgrade(request, session)
  const member = new Member(handle, session, cookie, request, context)
  exchangeOf(request).members.push(member)
  return member
}

/** The sessions that were opened for this fiber's request, whether or not they are in its context. */
export const openedBefore = (fiber: Done.RuntimeFiber): Context.Context<never> => {
  const request = Context.unsafeGet(fiber.currentContext, HttpServerRequest.HttpServerRequest)
  return exchangeOf(request).members.reduce((context, member) => member.addTo(context), Context.empty())
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

/** The answer to a host that a development cookie is not for. */
export const notLoopback = HttpServerResponse.text(
  "This server uses a session cookie for development, which is not Secure, and therefore answers on localhost only. " +
    "Use the default cookie with HTTPS elsewhere.\n",
  { status: 500 }
)
