/**
 * The session tag: one class that declares a session, and everything an application needs of it.
 *
 * @since 0.1.0
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import type * as Lifetime from "./Lifetime.js"
import type { Merge } from "./Merge.js"
import * as SessionConfig from "./SessionConfig.js"
import type { SessionConfigError } from "./SessionConfigError.js"
import * as SessionCookie from "./SessionCookie.js"
import type { SessionEngine } from "./SessionEngine.js"
import type { AwaitEndOptions, ExpiryOptions, IfOptional, IfReadOnce, SessionHandle } from "./SessionHandle.js"
import type * as SessionHistory from "./SessionHistory.js"
import * as SessionHttpApi from "./SessionHttpApi.js"
import * as SessionMiddleware from "./SessionMiddleware.js"
import type * as SessionSchema from "./SessionSchema.js"
import * as SessionService from "./SessionService.js"

/**
 * What declares a session. `initial` is asked for if, and only if, `{}` does not decode.
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
  /** Keeps the sessions of several tags apart in one store. Default: the tag's id. */
  readonly namespace?: string
  /** The earlier schemas, and the way from each to the next. It ends with `schema`. */
  readonly history?: SessionHistory.SessionHistory<NoInfer<S>>
  /** How a field that this request read and set is merged when another request changed it meanwhile. */
  readonly merge?: { readonly [K in keyof Schema.Schema.Type<S> & string]?: Merge<Schema.Schema.Type<S>[K]> }
}

/**
 * What the layer of a session tag provides: the service, and its middleware for HttpApi.
 *
 * @since 0.3.0
 * @category models
 */
export type Provided<Self> = SessionService.SessionService<Self> | SessionHttpApi.SessionHttpApi<Self>

/**
 * How a session tag was declared.
 *
 * @since 0.5.0
 * @category models
 */
export interface Declared<S extends SessionSchema.Any> {
  readonly schema: S
  readonly namespace: string
}

type MissingSelf = "Missing `Self` generic - use `class AppSession extends Session.Tag<AppSession>()(…) {}`"

/**
 * The class that {@link Tag} returns. `yield*` of it gives the request's session; its statics do the same in one step.
 *
 * @since 0.1.0
 * @category models
 */
export interface TagClass<Self, Id extends string, A extends object, R>
  extends Context.TagClass<Self, Id, SessionHandle<A>>, SessionHandle<A, Self>
{
  /** The long-lived service of this session. */
  readonly service: Context.Tag<SessionService.SessionService<Self>, SessionService.Sessions<A>>
  /** The service with the tag's own settings, for all front ends. */
  readonly layer: Layer.Layer<Provided<Self>, SessionConfigError, SessionEngine | R>
  /** The service with other settings, for this deployment. */
  readonly layerWith: (
    settings: SessionService.Settings
  ) => Layer.Layer<Provided<Self>, SessionConfigError, SessionEngine | R>
  /** The service with the tag's own settings and the environment's over them: see `SessionConfig.settings`. */
  readonly layerConfig: Layer.Layer<Provided<Self>, SessionConfigError | ConfigError, SessionEngine | R>
  /** For `HttpRouter.use` and `HttpServer.serve`. */
  readonly middleware: <E, R>(
    app: HttpApp.Default<E, R>
  ) => HttpApp.Default<E, Exclude<R, Self> | SessionService.SessionService<Self>>
  /** For HttpLayerRouter: `Layer.provide(AppSession.routes.layer)` gives some routes the session. */
  readonly routes: SessionMiddleware.Routes<Self>
  /** For HttpLayerRouter: gives every request the session, also one that no route answers. */
  readonly allRoutes: SessionMiddleware.AllRoutes<Self>
  /**
   * For HttpApi: `group.middleware(AppSession.HttpApi)`. The errors of the session join those of the endpoints, and the
   * description of the API shows the cookie, under the name that the tag gives it.
   */
  readonly HttpApi: SessionHttpApi.Tag<Self, A, Id>
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
<const Id extends string, S extends SessionSchema.Any>(
  id: Id,
  options: TagOptions<S>
): [Self] extends [never] ? MissingSelf
  : TagClass<Self, Id, Extract<Schema.Schema.Type<S>, object>, Schema.Schema.Context<S>> & Declared<S> =>
{
  type A = Extract<Schema.Schema.Type<S>, object>
  const { history, merge, namespace = id, schema, ...settings }: TagOptionsBase<S> = options
  const definition: SessionService.Definition<A> = {
    name: id,
    namespace,
    schema,
    initial: options.initial,
    history,
    // Each merge was checked against its field's type above; here only their names matter.
    merges: (merge ?? {}) as Readonly<Record<string, Merge<unknown>>>,
    settings
  }

  class Handle extends Context.Tag(id)<Self, SessionHandle<A>>() {}
  const service = Context.GenericTag<SessionService.SessionService<Self>, SessionService.Sessions<A>>(`${id}/Service`)
  const HttpApi = SessionHttpApi.make<Self, A, Id>(Handle, id, SessionCookie.make(settings.cookie, id).name)
  const complete = <E, R>(layer: Layer.Layer<SessionService.SessionService<Self>, E, R>) =>
    Layer.provideMerge(SessionHttpApi.layer(HttpApi, Handle, service), layer)
  const layerWith = (overrides: SessionService.Settings) =>
    complete(SessionService.layer<Self, A, Schema.Schema.Context<S>>(service, definition, overrides))

  type Class = TagClass<Self, Id, A, Schema.Schema.Context<S>>
  const statics: Omit<Class, keyof Context.TagClass<Self, Id, SessionHandle<A>>> = {
    service,
    // Layers are shared by reference, so this is one value and not a getter.
    layer: layerWith({}),
    layerWith,
    layerConfig: complete(SessionConfig.layer<Self, A, Schema.Schema.Context<S>>(service, definition)),
    middleware: SessionMiddleware.make(Handle, service),
    ...SessionMiddleware.forLayerRouter(Handle, service),
    HttpApi,
    value: Effect.flatMap(Handle, (session) => session.value),
    get: <K extends keyof A & string>(key: K) => Effect.flatMap(Handle, (session) => session.get(key)),
    getOption: <K extends keyof A & string>(key: IfOptional<A, K>) =>
      Effect.flatMap(Handle, (session) => session.getOption<K>(key)),
    getOrElse: <K extends keyof A & string, B>(key: IfOptional<A, K>, orElse: () => B) =>
      Effect.flatMap(Handle, (session) => session.getOrElse<K, B>(key, orElse)),
    getOrSet: <K extends keyof A & string>(key: IfOptional<A, K>, value: Exclude<A[K], undefined>) =>
      Effect.flatMap(Handle, (session) => session.getOrSet<K>(key, value)),
    has: (key: keyof A & string) => Effect.flatMap(Handle, (session) => session.has(key)),
    set: <K extends keyof A & string>(key: K, value: Required<A>[K]) =>
      Effect.flatMap(Handle, (session) => session.set(key, value)),
    update: <K extends keyof A & string>(key: K, f: (value: A[K]) => Required<A>[K]) =>
      Effect.flatMap(Handle, (session) => session.update(key, f)),
    modify: <K extends keyof A & string, B>(
      key: K,
      f: (value: A[K]) => readonly [result: B, next: Required<A>[K]],
      same?: (a: B, b: B) => boolean
    ) => Effect.flatMap(Handle, (session) => session.modify(key, f, same)),
    patch: (fields: Partial<A>) => Effect.flatMap(Handle, (session) => session.patch(fields)),
    pop: <K extends keyof A & string>(key: IfOptional<A, K>) =>
      Effect.flatMap(Handle, (session) => session.pop<K>(key)),
    popOrElse: <K extends keyof A & string, B>(key: IfOptional<A, K>, orElse: () => B) =>
      Effect.flatMap(Handle, (session) => session.popOrElse<K, B>(key, orElse)),
    take: <K extends keyof A & string>(key: IfReadOnce<A, K>) =>
      Effect.flatMap(Handle, (session) => session.take<K>(key)),
    remove: <K extends keyof A & string>(key: IfOptional<A, K>) =>
      Effect.flatMap(Handle, (session) => session.remove<K>(key)),
    clear: Effect.flatMap(Handle, (session) => session.clear),
    rotate: Effect.flatMap(Handle, (session) => session.rotate),
    destroy: Effect.flatMap(Handle, (session) => session.destroy),
    authenticate: (subject: string) => Effect.flatMap(Handle, (session) => session.authenticate(subject)),
    authenticateExclusively: (subject: string) =>
      Effect.flatMap(Handle, (session) => session.authenticateExclusively(subject)),
    withRollback: <B, E, R1>(effect: Effect.Effect<B, E, R1>) =>
      Effect.flatMap(Handle, (session) => session.withRollback(effect)),
    touch: Effect.flatMap(Handle, (session) => session.touch),
    endsAt: Effect.flatMap(Handle, (session) => session.endsAt),
    timeLeft: Effect.flatMap(Handle, (session) => session.timeLeft),
    subject: Effect.flatMap(Handle, (session) => session.subject),
    token: Effect.flatMap(Handle, (session) => session.token),
    isEmpty: Effect.flatMap(Handle, (session) => session.isEmpty),
    setExpiry: (lifetime: Lifetime.LifetimeInput) => Effect.flatMap(Handle, (session) => session.setExpiry(lifetime)),
    expiryDate: (options?: ExpiryOptions) => Effect.flatMap(Handle, (session) => session.expiryDate(options)),
    expiryAge: (options?: ExpiryOptions) => Effect.flatMap(Handle, (session) => session.expiryAge(options)),
    expireAtBrowserClose: Effect.flatMap(Handle, (session) => session.expireAtBrowserClose),
    cookieAge: Effect.flatMap(Handle, (session) => session.cookieAge),
    setTestCookie: Effect.flatMap(Handle, (session) => session.setTestCookie),
    testCookieWorked: Effect.flatMap(Handle, (session) => session.testCookieWorked),
    deleteTestCookie: Effect.flatMap(Handle, (session) => session.deleteTestCookie),
    discard: Effect.flatMap(Handle, (session) => session.discard),
    save: Effect.flatMap(Handle, (session) => session.save),
    optional: Effect.flatMap(Handle, (session) => session.optional),
    reload: Effect.flatMap(Handle, (session) => session.reload),
    allowStale: Effect.flatMap(Handle, (session) => session.allowStale),
    isReadOnly: Effect.flatMap(Handle, (session) => session.isReadOnly),
    awaitEnd: (options?: AwaitEndOptions) => Effect.flatMap(Handle, (session) => session.awaitEnd(options)),
    id: Effect.flatMap(Handle, (session) => session.id)
  }
  // The statics are checked above. What remains cannot be said in types: the class's own symbols name the bare tag, and
  // with `Self` missing the result's type is the sentence that says so.
  return Object.assign(Handle, statics, { schema, namespace }) as unknown as [Self] extends [never] ? MissingSelf
    : Class & Declared<S>
}
