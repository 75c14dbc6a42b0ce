/**
 * HTTP adapter: opens the sessions of a request, commits them before the response, and adds cookies and cache headers. All HTTP
 * integrations use it.
 *
 * The pre-response handler is the only hook that all of Effect's HTTP routers share. It must be total, because a failure leaves
 * the client without a response, and idempotent, because it can run twice. Effect stores it in a FiberRef, which has two
 * consequences: a fiber that fails does not pass its FiberRefs on, so a handler that is installed in a child fiber
 * (`Effect.timeout`, fork and join) is lost when that fiber fails; and a handler that is installed later runs later, and can
 * replace headers. So there are two handlers. {@link dispatch} is the default value of the FiberRef: it runs first, in the root
 * fiber, and commits. The handler of the {@link Exchange} runs last if possible, and completes the headers.
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
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type { SessionCookie } from "../../SessionCookie.js"
import { SessionError } from "../../SessionError.js"
import { SessionErrorPage } from "../../SessionErrorPage.js"
import type { SessionHandle } from "../../SessionHandle.js"
import type { RequestSession, Sessions, Transport } from "../../SessionService.js"
import * as Done from "../done.js"
import { withHelp } from "../help.js"
import { answer, asDeclared, declared } from "./errorPage.js"
import type { Used } from "./headers.js"
import { complete, webResponseOf } from "./headers.js"
import { Facts, hostsOf, isPlainHttp, isWebRequest } from "./request.js"
import { watchUpgrade } from "./upgrade.js"

type Response = HttpServerResponse.HttpServerResponse
type Request = HttpServerRequest.HttpServerRequest

const handlers = HttpApp.currentPreResponseHandlers

/** One session of a request, with its cookie, its transport and its error page. */
export class Member<Self, A, C> {
  readonly session: RequestSession<A, C>
  readonly cookie: SessionCookie
  readonly transport: Transport
  readonly #handle: Context.Tag<Self, SessionHandle<A, never, C>>
  readonly #request: Request
  /** The context of the error page; absent: errors are answered as an HttpApi declares them. */
  readonly #context: Context.Context<never> | undefined

  constructor(
    handle: Context.Tag<Self, SessionHandle<A, never, C>>,
    session: RequestSession<A, C>,
    { cookie, transport }: Pick<Sessions<A, C>, "cookie" | "transport">,
    request: Request,
    context: Context.Context<never> | undefined
  ) {
    this.#handle = handle
    this.session = session
    this.cookie = cookie
    this.transport = transport
    this.#request = request
    this.#context = context
  }

  addTo(context: Context.Context<never>): Context.Context<never> {
    return Context.add(context, this.#handle, this.session)
  }

  /** Renders an error that no handler has answered. */
  answer(error: SessionError): Effect.Effect<Response> {
    const page = this.#context === undefined || declared.has(this.session)
      ? asDeclared
      : Context.get(this.#context, SessionErrorPage)
    return answer(page, error, this.#request)
  }
}

type Any = Pick<Member<unknown, never, never>, "addTo" | "answer" | "cookie" | "transport"> & {
  readonly session: Pick<RequestSession<never>, "finish" | "used">
}

/** All sessions of one request, and its response. */
class Exchange {
  readonly members: Array<Any> = []
  /** The handler chain that ends with {@link respond}. */
  installed: Option.Option<HttpApp.PreResponseHandler> | undefined
  finished = false

  /** The sessions that the response depends on. */
  get used(): ReadonlyArray<Used> {
    return this.members.flatMap(({ cookie, session: { used }, transport }) =>
      used === undefined ? [] : [{ cookie, transport, used }]
    )
  }

  /** Commits, and completes the response. `last`: no other pre-response handler follows. */
  respond(request: Request, response: Response, last: boolean): Effect.Effect<Response> {
    if (this.finished) return Exit.succeed(completed(request, response, this.used, last))
    this.finished = true
    const { body, status } = response
    return this.#commit(
      request,
      response,
      body._tag === "Raw" ? webResponseOf(response)?.status ?? status : status,
      0,
      last
    )
  }

  /**
   * Commits the sessions in the order in which they were opened. An error replaces the response, and later sessions are not
   * written, as after a failure of the handler; cookies that are pending by then are still sent.
   */
  #commit(request: Request, response: Response, status: number, at: number, last: boolean): Effect.Effect<Response> {
    const member = this.members[at]
    if (member === undefined) {
      const { used } = this
      const lost = used.find(({ cookie, used }) =>
        used.setCookie !== undefined && used.transport !== "bearer" && cookie.secure && !warned.has(cookie) &&
        isPlainHttp(request)
      )
      const done = Exit.succeed(completed(request, response, used, last))
      return lost === undefined ? done : Effect.zipRight(warnOfLost(lost.cookie, request), done)
    }
    return Effect.flatMap(member.session.finish(status), (error) =>
      error === undefined
        ? this.#commit(request, response, status, at + 1, last)
        : Effect.flatMap(
          status >= 500 ? Effect.succeed(response) : member.answer(error),
          (failure) => this.#commit(request, failure, 500, at + 1, last)
        ))
  }
}

const completed = (request: Request, response: Response, used: ReadonlyArray<Used>, last: boolean): Response =>
  used.length === 0 ? response : complete(request, response, used, last)

const warnOfLost = (cookie: SessionCookie, request: Request): Effect.Effect<void> =>
  Effect.suspend(() => {
    warned.add(cookie)
    return Effect.logWarning(
      withHelp(
        `The session cookie "${cookie.name}" is Secure, and a browser asked for ${
          hostsOf(request)[0]
        } over plain http: ` +
          "it drops the cookie, and each of its requests begins a new session. Use https, or http://localhost with the " +
          "development cookie.",
        "secure-cookie-over-http"
      )
    )
  })

/** Cookies for which the warning was logged: once for each layer. */
const warned = new WeakSet<SessionCookie>()

/** Exchanges by {@link sourceOf} their request. */
const exchanges = new WeakMap<object, Exchange>()

/** The driver's request object, which stays the same when a router rewrites the request. */
const sourceOf = (request: Request): object => Predicate.isObject(request.source) ? request.source : request

/** The default pre-response handler. Runs in the root fiber of every request, before all others. */
const dispatch: HttpApp.PreResponseHandler = (request, response) => {
  const exchange = exchanges.get(sourceOf(request))
  if (exchange === undefined) return Exit.succeed(response)
  return withClient(request, (fiber) => {
    const all = fiber.getFiberRef(handlers)
    // If our handler is installed at the end of the chain, that one completes the headers.
    return exchange.respond(request, response, all === byDefault() || all === exchange.installed)
  })
}

let isDispatching = false

/**
 * Makes {@link dispatch} the default of the FiberRef. A child fiber cannot set a FiberRef of its root fiber, but a root fiber
 * without its own value reads the default.
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
 * Moves the handler of this fiber's request behind those that were installed meanwhile, if a session was used.
 */
export const becomeLast = (fiber: Done.RuntimeFiber): Effect.Effect<void> => {
  const all = fiber.getFiberRef(handlers)
  // If no other handler is installed, the default one runs last.
  if (all === byDefault()) return Exit.void
  const request = fiber.currentContext.unsafeMap.get(HttpServerRequest.HttpServerRequest.key)
  const exchange = request === undefined ? undefined : exchanges.get(sourceOf(request))
  if (exchange === undefined || exchange.used.length === 0 || all === exchange.installed) return Exit.void
  const handler: HttpApp.PreResponseHandler = (request, response) =>
    withClient(
      request,
      (fiber) => exchange.respond(request, response, fiber.getFiberRef(handlers) === exchange.installed)
    )
  exchange.installed = Option.some(after(all, handler))
  return FiberRef.set(handlers, exchange.installed)
}

/**
 * Runs a commit. If the client has disconnected meanwhile, sends no body: Node never reports the end of a response on a closed
 * socket, so the request's fiber would wait forever. For HEAD that is true of the head, too, so such a request ends without a
 * response.
 */
const withClient = (
  request: Request,
  run: (fiber: Done.RuntimeFiber) => Effect.Effect<Response>
): Effect.Effect<Response> =>
  Effect.withFiberRuntime((fiber) => {
    const whenAlive = (response: Response) => {
      const interruption = fiber.getFiberRef(FiberRef.interruptedCause)
      if (Cause.isEmpty(interruption)) return Exit.succeed(response)
      if (!HashSet.has(Cause.interruptors(interruption), HttpServerError.clientAbortFiberId)) {
        return Effect.succeed(response)
      }
      if (request.method !== "HEAD" || isWebRequest(request.source)) {
        return Effect.succeed(HttpServerResponse.setBody(response, HttpBody.empty))
      }
      Object.assign(request, { [handled]: true })
      return Effect.failCause(Cause.interrupt(HttpServerError.clientAbortFiberId))
    }
    return Effect.flatMap(run(fiber), whenAlive)
  })

/** The property by which the platform marks a request as answered. */
const handled = Symbol.for("@effect/platform/HttpApp/handled")

/**
 * Opens a session of this fiber's request, without I/O. Returns `undefined` if the cookie must not be sent to the request's host.
 * `context`: holds the error page, if one may be used.
 */
export const openSession = <Self, A, C>(
  fiber: Done.RuntimeFiber,
  handle: Context.Tag<Self, SessionHandle<A, never, C>>,
  service: Sessions<A, C>,
  context: Context.Context<never> | undefined
): Member<Self, A, C> | undefined => {
  const request = Context.unsafeGet(fiber.currentContext, HttpServerRequest.HttpServerRequest)
  startDispatching()
  const facts = Facts.of(request, service)
  if (facts === undefined) return undefined
  const session = service.request(request.headers.cookie, facts)
  if (request.headers.upgrade !== undefined) watchUpgrade(request, session)
  const member = new Member(handle, session, service, request, context)
  exchangeOf(request).members.push(member)
  return member
}

/** Returns the sessions that were opened for this fiber's request, whether or not they are in its context. */
export const openedBefore = (fiber: Done.RuntimeFiber): Context.Context<never> => {
  const request = Context.unsafeGet(fiber.currentContext, HttpServerRequest.HttpServerRequest)
  return exchangeOf(request).members.reduce((context, member) => member.addTo(context), Context.empty())
}

/** Returns the exchange of a request. A request object that was answered and is used again gets a new one. */
const exchangeOf = (request: Request): Exchange => {
  const source = sourceOf(request)
  const known = exchanges.get(source)
  if (known !== undefined && !known.finished) return known
  const exchange = new Exchange()
  exchanges.set(source, exchange)
  return exchange
}

/** The response to a host that the development cookie must not be sent to. */
export const notLoopback = HttpServerResponse.text(
  "This server uses a session cookie for development, which is not Secure, and therefore answers on localhost only. " +
    "Use the default cookie with HTTPS elsewhere.\n",
  { status: 500 }
)

/**
 * Wraps an HTTP application so that it can use the session. Nested uses share one session and one commit.
 */
export const around =
  <Self, A, C>(handle: Context.Tag<Self, SessionHandle<A, never, C>>, service: Sessions<A, C>) =>
  <E, R>(app: Effect.Effect<Response, E, R | Self>): Effect.Effect<Response, E, R> =>
    Effect.withFiberRuntime((fiber) => {
      const context: Context.Context<never> = fiber.currentContext
      // An outer middleware has opened the session already.
      if (context.unsafeMap.has(handle.key)) return app as Effect.Effect<Response, E, R>
      const member = openSession(fiber, handle, service, context)
      if (member === undefined) return Effect.succeed(notLoopback)
      const inside = Context.add(context, handle, member.session)
      // Not with `provideService`, which is slower than everything else here. An interruption leaves the session in the context,
      // but the fiber ends then.
      return Effect.zipRight(
        FiberRef.set(FiberRef.currentContext, inside as Context.Context<never>),
        Effect.matchCauseEffect(app as Effect.Effect<Response, E, R>, {
          onSuccess: (response) => Effect.as(restoreContext(fiber, context), response),
          onFailure: (cause) => Effect.zipRight(restoreContext(fiber, context), explained(context, member, cause))
        })
      )
    })

const restoreContext = (fiber: Done.RuntimeFiber, context: Context.Context<never>): Effect.Effect<void> =>
  Effect.zipRight(becomeLast(fiber), FiberRef.set(FiberRef.currentContext, context))

/** Renders a session error of the handler with the application's error page, if there is one. */
const explained = <Self, A, C, E>(
  context: Context.Context<never>,
  member: Member<Self, A, C>,
  cause: Cause.Cause<E>
): Effect.Effect<Response, E> => {
  if (!context.unsafeMap.has(SessionErrorPage.key)) return Effect.failCause(cause)
  return Option.match(Option.filter(Cause.failureOption(cause), isSessionError), {
    onNone: () => Effect.failCause(cause),
    onSome: (error) => member.answer(error)
  })
}

const isSessionError: (u: unknown) => u is SessionError = Schema.is(SessionError)
