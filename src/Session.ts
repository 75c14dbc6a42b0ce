/**
 * Session tags: a class that declares a session, with its handle, layers and middleware.
 *
 * @since 0.1.0
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Record from "effect/Record"
import type * as Schema from "effect/Schema"
import * as TransportRules from "./internal/domain/transport.js"
import * as HttpApiMiddleware from "./internal/http/httpApi.js"
import * as Server from "./internal/http/server.js"
import type { Definition } from "./internal/session/service.js"
import type { Merge } from "./Merge.js"
import type { SessionConfigError } from "./SessionConfigError.js"
import * as SessionCookie from "./SessionCookie.js"
import type { SessionEngine } from "./SessionEngine.js"
import type { SessionHandle } from "./SessionHandle.js"
import type * as SessionHistory from "./SessionHistory.js"
import type * as SessionHttpApi from "./SessionHttpApi.js"
import type * as SessionMiddleware from "./SessionMiddleware.js"
import type { SessionRevocation } from "./SessionRevocation.js"
import type * as SessionSchema from "./SessionSchema.js"
import type * as SessionService from "./SessionService.js"
import type { SubjectLimit } from "./SessionStore.js"

/**
 * Options of a session tag. `initial` is required exactly if `{}` does not decode.
 *
 * @since 0.1.0
 * @category models
 */
export type TagOptions<S extends SessionSchema.Any> =
  & TagOptionsBase<S>
  & ({} extends Schema.Schema.Encoded<S> ? { readonly initial?: Schema.Schema.Type<S> }
    : { readonly initial: Schema.Schema.Type<S> })

/**
 * The options that do not depend on whether `{}` decodes.
 *
 * @since 0.1.0
 * @category models
 */
export interface TagOptionsBase<S extends SessionSchema.Any> extends SessionService.Settings {
  /** A Struct, or a Class of one. It must encode to JSON. */
  readonly schema: S
  /** Separates the sessions of several tags in one store. Default: the tag's id. */
  readonly namespace?: string
  /**
   * The credential of requests. `"cookie"` (default); `"bearer"`: `Authorization: Bearer …` for clients that are not browsers;
   * `"both"`. See `docs/http.md`.
   *
   * @since 0.6.0
   */
  readonly transport?: "cookie" | "bearer" | "both"
  /**
   * The response header that carries a new bearer token. With `"both"`, a request without a cookie asks for one by the value `request`.
   * Default `Session-Token`.
   *
   * @since 0.6.0
   */
  readonly bearerHeader?: string
  /** The earlier schemas, and the upgrade from each to the next. Ends with `schema`. */
  readonly history?: SessionHistory.SessionHistory<NoInfer<S>>
  /** The merge functions of fields that this request has read and set while another request has changed them. */
  readonly merge?: { readonly [K in keyof Schema.Schema.Type<S> & string]?: Merge<Schema.Schema.Type<S>[K]> }
  /**
   * The part of an anonymous visitor's data that a login keeps. Default: none, because an attacker may have planted it in the visitor's
   * browser before the login. Fields that the request of the login sets itself are always kept.
   */
  readonly carryOver?: CarryOver<Extract<Schema.Schema.Type<S>, object>>
}

/**
 * The options of a tag that change its type. `C` is the context of a session, `L` the limit of a subject.
 *
 * @since 0.6.0
 * @category models
 */
export interface PersonOptions<C, CI, L extends number | SubjectLimit | undefined> {
  /** The schema of the context of a session: what a list of devices shows, such as browser and place. It must encode to JSON. */
  readonly context?: Schema.Schema<C, CI>
  /**
   * The maximum number of live sessions of one subject. A login beyond it ends the oldest session, or is denied with `onFull: "deny"`
   * (`SessionLimitReached`, 403). The store counts and writes in one step, so it holds for concurrent logins, too. Requires an engine that
   * provides `SessionRevocation`.
   */
  readonly maxPerSubject?: L
}

/**
 * The part of an anonymous visitor's data that a login keeps: `"all"`, some fields, or what a function makes of the visitor's value and
 * of the initial one. It must be pure, because it runs again if another request changes the session meanwhile.
 *
 * @since 0.6.0
 * @category models
 */
export type CarryOver<A> = "all" | ReadonlyArray<keyof A & string> | ((visitor: A, fresh: A) => A)

/**
 * The services that the layer of a session tag provides: its sessions, and its middleware for HttpApi.
 *
 * @since 0.3.0
 * @category models
 */
export type Provided<Self> = SessionService.SessionService<Self> | SessionHttpApi.SessionHttpApi<Self>

/**
 * The declaration of a session tag.
 *
 * @since 0.5.0
 * @category models
 */
export interface Declared<S extends SessionSchema.Any> {
  readonly schema: S
  readonly namespace: string
}

/** The members of a handle, which are statics of the tag, too. The type rejects an incomplete table. */
const members = {
  value: "effect",
  get: "function",
  getOption: "function",
  getOrElse: "function",
  getOrSet: "function",
  has: "function",
  set: "function",
  update: "function",
  modify: "function",
  patch: "function",
  pop: "function",
  popOrElse: "function",
  take: "function",
  remove: "function",
  clear: "effect",
  rotate: "effect",
  cycleKey: "effect",
  destroy: "effect",
  flush: "effect",
  authenticate: "function",
  authenticateExclusively: "function",
  elevate: "function",
  drop: "effect",
  impersonate: "function",
  endImpersonation: "effect",
  requireFresh: "function",
  revokeOthers: "effect",
  withRollback: "function",
  touch: "effect",
  endsAt: "effect",
  timeLeft: "effect",
  subject: "effect",
  requireSubject: "effect",
  impersonator: "effect",
  authenticatedAt: "effect",
  methods: "effect",
  level: "effect",
  isRemembered: "effect",
  clientContext: "effect",
  setClientContext: "function",
  absence: "effect",
  token: "effect",
  id: "effect",
  isEmpty: "effect",
  setExpiry: "function",
  expiryDate: "function",
  expiryAge: "function",
  expireAtBrowserClose: "effect",
  cookieAge: "effect",
  setTestCookie: "effect",
  testCookieWorked: "effect",
  deleteTestCookie: "effect",
  discard: "effect",
  save: "effect",
  optional: "effect",
  reload: "effect",
  allowStale: "effect",
  isReadOnly: "effect",
  awaitEnd: "function"
} as const satisfies {
  readonly [K in keyof SessionHandle<object>]-?: SessionHandle<object>[K] extends Effect.Effect<
    unknown,
    unknown,
    unknown
  > ? "effect"
    : "function"
}

/** The members of the request's handle, each in one step. */
const membersOf = <Self, A, C>(
  handle: Context.Tag<Self, SessionHandle<A, never, C>>
): Readonly<Record<string, unknown>> =>
  Record.map(members, (kind, name) => {
    const member = (session: object) => Reflect.get(session, name)
    return kind === "effect"
      ? Effect.flatMap(handle, member)
      : (...args: ReadonlyArray<unknown>) => Effect.flatMap(handle, (session) => member(session).call(session, ...args))
  })

/** The services that the layer of a tag requires beside the engine. */
type Required<S extends SessionSchema.Any, L> =
  | Schema.Schema.Context<S>
  | (L extends undefined ? never : SessionRevocation)

type MissingSelf = "Missing `Self` generic - use `class AppSession extends Session.Tag<AppSession>()(…) {}`"

/**
 * The class that {@link Tag} returns. `yield*` of it gives the request's session; its statics do the same in one step.
 *
 * @since 0.1.0
 * @category models
 */
export interface TagClass<Self, Id extends string, A extends object, R, C = never>
  extends Context.TagClass<Self, Id, SessionHandle<A, never, C>>, SessionHandle<A, Self, C>
{
  /** The long-lived service of this session. */
  readonly service: Context.Tag<SessionService.SessionService<Self>, SessionService.Sessions<A, C>>
  /** The service with the tag's own settings, for all HTTP integrations. */
  readonly layer: Layer.Layer<Provided<Self>, SessionConfigError, SessionEngine | R>
  /** The service with other settings, for this deployment. */
  readonly layerWith: (
    settings: SessionService.Settings
  ) => Layer.Layer<Provided<Self>, SessionConfigError, SessionEngine | R>
  /** The service with the tag's own settings, overridden by environment variables: see `docs/settings.md`. */
  readonly layerConfig: Layer.Layer<Provided<Self>, SessionConfigError | ConfigError, SessionEngine | R>
  /** For `HttpRouter.use` and `HttpServer.serve`. */
  readonly middleware: <E, R>(
    app: HttpApp.Default<E, R>
  ) => HttpApp.Default<E, Exclude<R, Self> | SessionService.SessionService<Self>>
  /** For HttpLayerRouter: `Layer.provide(AppSession.routes.layer)` gives some routes the session. */
  readonly routes: SessionMiddleware.Routes<Self>
  /** For HttpLayerRouter: provides the session to every request, including those that match no route. */
  readonly allRoutes: SessionMiddleware.AllRoutes<Self>
  /**
   * For HttpApi: `group.middleware(AppSession.HttpApi)`. The errors of the session join those of the endpoints, and the
   * description of the API contains the cookie, the bearer token, or both.
   */
  readonly HttpApi: SessionHttpApi.Tag<Self, A, Id, C>
}

/**
 * Declares a session.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Session } from "effect-session"
 *
 * export class AppSession extends Session.Tag<AppSession>()("app/Session", {
 *   schema: Schema.Struct({
 *     user: Schema.optional(Schema.String),
 *     visits: Schema.optionalWith(Schema.Number, { default: () => 0 })
 *   })
 * }) {}
 *
 * export const visit = AppSession.update("visits", (n) => n + 1)
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const Tag = <Self = never>() =>
<
  const Id extends string,
  S extends SessionSchema.Any,
  C = never,
  CI = unknown,
  L extends number | SubjectLimit | undefined = undefined
>(
  id: Id,
  options: TagOptions<S> & PersonOptions<C, CI, L>
): [Self] extends [never] ? MissingSelf
  : TagClass<Self, Id, Extract<Schema.Schema.Type<S>, object>, Required<S, L>, C> & Declared<S> =>
{
  type A = Extract<Schema.Schema.Type<S>, object>
  type R = Required<S, L>
  const {
    bearerHeader,
    carryOver,
    context,
    history,
    maxPerSubject,
    merge,
    namespace = id,
    schema,
    transport: accepts,
    ...settings
  }:
    & TagOptionsBase<S>
    & PersonOptions<C, CI, L> = options
  const transport = TransportRules.withDefaults({ transport: accepts, bearerHeader })
  const definition: Definition<A, C, CI> = {
    name: id,
    namespace,
    schema,
    initial: options.initial,
    history,
    // Type-checked by `TagOptions`; here only the names of the fields matter.
    merges: (merge ?? {}) as Readonly<Record<string, Merge<unknown>>>,
    carryOver: carryOver ?? [],
    context,
    limit: typeof maxPerSubject === "number" ? { max: maxPerSubject, onFull: "oldest" } : maxPerSubject,
    transport,
    settings
  }

  class Handle extends Context.Tag(id)<Self, SessionHandle<A, never, C>>() {}
  const service = Context.GenericTag<SessionService.SessionService<Self>, SessionService.Sessions<A, C>>(
    `${id}/Service`
  )
  const HttpApi = HttpApiMiddleware.make<Self, A, Id, C>(
    Handle,
    id,
    SessionCookie.make(settings.cookie, id).name,
    transport
  )
  const complete = <E, R>(layer: Layer.Layer<SessionService.SessionService<Self>, E, R>) =>
    Layer.provideMerge(HttpApiMiddleware.layer(HttpApi, Handle, service), layer)
  const layerWith = (overrides: SessionService.Settings) =>
    complete(Server.layer<Self, A, C, CI, R>(service, definition, overrides))

  type Class = TagClass<Self, Id, A, R, C>
  const statics: Omit<
    Class,
    keyof Context.TagClass<Self, Id, SessionHandle<A, never, C>> | keyof SessionHandle<A>
  > = {
    service,
    // Layers are shared by reference, so this is one value and not a getter.
    layer: layerWith({}),
    layerWith,
    layerConfig: complete(Server.layerConfig<Self, A, C, CI, R>(service, definition)),
    middleware: Server.middleware(Handle, service),
    ...Server.forLayerRouter(Handle, service),
    HttpApi
  }
  // `statics` and `members` are checked to be complete. The cast is needed because the class's own symbols name the bare tag, and
  // because without `Self` the type of the result is a sentence with the error.
  return Object.assign(Handle, membersOf(Handle), statics, { schema, namespace }) as unknown as [Self] extends [never] ?
    MissingSelf
    : Class & Declared<S>
}
