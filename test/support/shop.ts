/**
 * A small application with a session, and requests to it. The laws about requests run on it.
 */
import * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { it } from "@effect/vitest"
import { Context, Deferred, type Duration, Effect, Exit, Layer, Logger, LogLevel, Option, Schema, Tracer } from "effect"
import { Merge, Session, StoredEngine, StoreKey } from "effect-session"
import type { SessionDirectory } from "effect-session/SessionDirectory"
import type { SessionEngine } from "effect-session/SessionEngine"
import type { SessionHandle } from "effect-session/SessionHandle"
import type { SessionRevocation } from "effect-session/SessionRevocation"
import type { SessionService } from "effect-session/SessionService"
import { SessionStore } from "effect-session/SessionStore"
import type { Operation } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import { inspect } from "node:util"

export class ShopSession extends Session.Tag<ShopSession>()("test/Shop", {
  carryOver: "all",
  schema: Schema.Struct({
    user: Schema.optional(Schema.String),
    count: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    tags: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] }),
    seen: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    visits: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    best: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    notes: Schema.optionalWith(Schema.Record({ key: Schema.String, value: Schema.String }), { default: () => ({}) })
  }),
  merge: { tags: Merge.union, visits: Merge.sum, best: Merge.max }
}) {}

/** A response as a browser sees it. */
export interface Answer {
  readonly status: number
  readonly body: string
  readonly headers: Headers
  /** The value of the session cookie in `Set-Cookie`. An empty one deletes it. */
  readonly cookie: string | undefined
}

/** The services of a handler. */
type Needs =
  | ShopSession
  | SessionService<ShopSession>
  | SessionDirectory
  | SessionRevocation
  | HttpServerRequest.HttpServerRequest

type Handler = Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, Needs>

/** A server. Each request passes its handler. */
export interface Shop {
  /** Every call of the store, in order. */
  readonly calls: Array<Operation>
  /** Intercepts the calls of the store. Tests replace it. */
  intercept: FaultyStore.Interception
  /** The store keys of those calls that have one. */
  readonly keys: Array<StoreKey.StoreKey>
  /** Every logged line. */
  readonly logs: Array<string>
  /** Every span that ended, with its attributes and events, as text. */
  readonly spans: Array<string>
  /** The store without interception. */
  readonly store: Context.Tag.Service<SessionStore>
  readonly request: (handler: Handler, cookie?: string, headers?: Record<string, string>) => Effect.Effect<Answer>
}

/** The default timeouts of the library, for laws about them. */
export const defaultTimeouts = { timeout: "1 second", session: ShopSession.layer } as const

/** Starts a shop on a store, for a scope. The timeouts are long by default, because most laws are about order and not time. */
export const make = <E>(
  storeLayer: Layer.Layer<SessionStore, E>,
  options: {
    /** Whether timeouts and retries apply. Default: as the store claims. */
    readonly remote?: boolean
    readonly session?: Layer.Layer<SessionService<ShopSession>, unknown, SessionEngine>
    /** The timeout of a call. Default: long. */
    readonly timeout?: Duration.DurationInput
  } = {}
) =>
  Effect.gen(function*() {
    const calls: Array<Operation> = []
    const shop: { intercept: FaultyStore.Interception } = { intercept: (_, call) => call }
    const keys: Array<StoreKey.StoreKey> = []
    const logs: Array<string> = []
    const spans: Array<string> = []
    const base = yield* Layer.build(storeLayer)
    const wrapped = Layer.provide(
      FaultyStore.layerIntercepted((operation, call, args) =>
        Effect.suspend(() => {
          calls.push(operation)
          keys.push(...Option.toArray(StoreKey.parse(String(args[0]))))
          return shop.intercept(operation, call, args)
        }), options.remote),
      Layer.succeedContext(base)
    )
    const context = yield* Layer.build(
      (options.session ?? ShopSession.layerWith({ commitTimeout: "20 seconds" })).pipe(
        Layer.provideMerge(StoredEngine.layerWith({ timeout: options.timeout ?? "20 seconds" })),
        Layer.provide(wrapped)
      )
    )
    const runtime = Effect.runtime<SessionService<ShopSession> | SessionDirectory | SessionRevocation>().pipe(
      Effect.provide(context),
      Effect.provide(Layer.mergeAll(
        Logger.replace(Logger.defaultLogger, Logger.map(Logger.stringLogger, (line) => void logs.push(line))),
        Layer.setTracer(recordingTracer(spans)),
        Logger.minimumLogLevel(LogLevel.All)
      ))
    )
    const toWeb = HttpApp.toWebHandlerRuntime(yield* runtime)
    return Object.assign(shop, {
      calls,
      keys,
      logs,
      spans,
      store: Context.get(base, SessionStore),
      request: (handler: Handler, cookie?: string, headers: Record<string, string> = {}) =>
        Effect.promise(async (): Promise<Answer> => {
          const response = await toWeb(ShopSession.middleware(handler))(
            new Request("http://localhost/", {
              headers: cookie === undefined ? headers : { ...headers, cookie: `${cookieName}=${cookie}` }
            })
          )
          const setCookie = response.headers.getSetCookie().filter((header) => header.startsWith(`${cookieName}=`))
          return {
            status: response.status,
            body: await response.text(),
            headers: response.headers,
            cookie: setCookie[0]?.slice(cookieName.length + 1).split(";")[0]
          }
        })
    })
  })

const recordingTracer = (spans: Array<string>): Tracer.Tracer => {
  return Tracer.make({
    span: (name, parent, context, links, startTime, kind) => {
      const attributes = new Map<string, unknown>()
      const seen: Array<unknown> = [name]
      return {
        _tag: "Span",
        name,
        spanId: String(spans.length),
        traceId: "trace",
        parent,
        context,
        status: { _tag: "Started", startTime },
        attributes,
        links,
        sampled: true,
        kind,
        end: (_, exit) => {
          // A successful response carries its cookie by design. Exporters read the failure of an exit only.
          spans.push(inspect([seen, [...attributes], Exit.isFailure(exit) ? exit.cause : undefined], { depth: 20 }))
        },
        attribute: (key, value) => {
          attributes.set(key, value)
        },
        event: (event, _, attributes) => {
          seen.push(event, attributes)
        },
        addLinks: () => {}
      }
    },
    context: (f) => f()
  })
}

export const cookieName = "__Host-Http-session"

/** The cookie that a response sets. Dies if there is none. */
export const cookieOf = ({ body, cookie, status }: Answer): Effect.Effect<string> =>
  cookie === undefined || cookie === ""
    ? Effect.die(new Error(`no cookie was sent; the answer is ${status}: ${body}`))
    : Effect.succeed(cookie)

/** An empty response. */
export const ok = Effect.succeed(HttpServerResponse.empty({ status: 200 }))
/** Responds with the result as JSON. */
export const show = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(effect, (value) => HttpServerResponse.unsafeJson(value))

/** A handler that pauses after its first part until the latch opens, so that another request can run in between. */
export const between = <R, E>(first: Effect.Effect<unknown, E, R>, second: Effect.Effect<unknown, E, R>) =>
  Effect.map(Effect.all([Deferred.make<void>(), Deferred.make<void>()]), ([reached, go]) => ({
    handler: first.pipe(
      Effect.zipRight(Deferred.succeed(reached, undefined)),
      Effect.zipRight(Deferred.await(go)),
      Effect.zipRight(second),
      Effect.zipRight(ok)
    ),
    reached: Deferred.await(reached),
    go: Deferred.succeed(go, undefined)
  }))

/** Pauses one request after `first`, runs another one completely, then resumes the first with `second`. */
export const race = (
  shop: Shop,
  cookie: string,
  story: {
    readonly first: Effect.Effect<unknown, unknown, Needs>
    readonly meanwhile: Effect.Effect<unknown, unknown, Needs>
    readonly second: Effect.Effect<unknown, unknown, Needs>
  }
) =>
  Effect.gen(function*() {
    const { go, handler, reached } = yield* between(story.first, story.second)
    const parked = yield* Effect.fork(shop.request(handler, cookie))
    yield* reached
    const other = yield* shop.request(Effect.zipRight(story.meanwhile, ok), cookie)
    if (other.status !== 200) return yield* Effect.dieMessage(`the request in between was answered ${other.status}`)
    yield* go
    return yield* parked
  })

/** Creates a session with one field, and returns its cookie. */
export const begin = (shop: Shop) =>
  Effect.flatMap(shop.request(Effect.zipRight(ShopSession.set("user", "ann"), ok)), cookieOf)

/** The session's value, as a later request sees it. */
export const valueOf = (shop: Shop, cookie: string) =>
  Effect.map(
    shop.request(show(ShopSession.value), cookie),
    (answer): Context.Tag.Service<typeof ShopSession> extends SessionHandle<infer A> ? A : never =>
      JSON.parse(answer.body)
  )

/** A law about one session: runs on a new shop with the cookie of a new session. */
export const lawOn =
  <E>(layer: () => Layer.Layer<SessionStore, E>, options?: Parameters<typeof make>[1]) =>
  (title: string, body: (shop: Shop, cookie: string) => Effect.Effect<void, unknown>) =>
    it.live(title, () =>
      Effect.gen(function*() {
        const shop = yield* make(layer(), options)
        yield* body(shop, yield* begin(shop))
      }).pipe(Effect.scoped, Effect.orDie))
