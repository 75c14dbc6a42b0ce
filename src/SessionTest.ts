/**
 * Test layers for handlers, without HTTP.
 *
 * Also exported by `effect-session/testing`.
 *
 * @since 0.4.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as MemoryEngine from "./MemoryEngine.js"
import type { Provided } from "./Session.js"
import type { SessionConfigError } from "./SessionConfigError.js"
import type { SessionError } from "./SessionError.js"
import type { SessionHandle } from "./SessionHandle.js"
import type { Sessions, SessionService } from "./SessionService.js"
import type * as StoredEngine from "./StoredEngine.js"

/**
 * The part of a session tag that tests need.
 *
 * @since 0.4.0
 * @category models
 */
export interface TestedTag<Self, A, R, C = never> extends Context.Tag<Self, SessionHandle<A, never, C>> {
  readonly service: Context.Tag<SessionService<Self>, Sessions<A, C>>
  readonly layer: Layer.Layer<Provided<Self>, SessionConfigError, R>
}

/**
 * Options of the session.
 *
 * @since 0.4.0
 * @category models
 */
export interface SessionTestOptions {
  /** The subject of the session. Default: anonymous. */
  readonly subject?: string
}

/**
 * Provides a handle with these fields, on its own `MemoryStore`. Changes of a handler can be read at once, and are in the store
 * after `save`.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Session } from "effect-session"
 * import { SessionTest } from "effect-session/testing"
 *
 * class AppSession extends Session.Tag<AppSession>()("app/Session", {
 *   schema: Schema.Struct({ user: Schema.optional(Schema.String) })
 * }) {}
 *
 * const greeting = Effect.map(AppSession.get("user"), (user) => `Hello ${user ?? "stranger"}`)
 *
 * export const test = greeting.pipe(Effect.provide(SessionTest.layer(AppSession, { user: "u1" })))
 * ```
 *
 * @since 0.4.0
 * @category layers
 */
export const layer = <Self, A, R, C>(
  tag: TestedTag<Self, A, R, C>,
  fields?: Partial<A>,
  options?: SessionTestOptions
): Layer.Layer<
  Self | Provided<Self> | StoredEngine.Provided,
  SessionConfigError | SessionError,
  Exclude<R, StoredEngine.Provided>
> => handle(tag, fields, options).pipe(Layer.provideMerge(tag.layer), Layer.provideMerge(MemoryEngine.layerWith({})))

/**
 * Provides the handle alone, for any engine: `SessionTest.handle(AppSession).pipe(Layer.provide(AppSession.layer),
 * Layer.provide(SqlEngine.layer))`.
 *
 * @since 0.4.0
 * @category layers
 */
export const handle = <Self, A, R, C>(
  tag: TestedTag<Self, A, R, C>,
  fields: Partial<A> = {},
  options: SessionTestOptions = {}
): Layer.Layer<Self, SessionError, SessionService<Self>> =>
  Layer.effect(tag, Effect.flatMap(tag.service, (service) => service.create(fields, options)))

/**
 * Provides the handle of a request that presents a token: as a bearer token if the tag accepts them, else in the cookie. A token that opens
 * no session makes the request anonymous.
 *
 * @example
 * ```ts
 * import { Effect, Option, Schema } from "effect"
 * import { Session } from "effect-session"
 * import { SessionTest } from "effect-session/testing"
 *
 * class ApiSession extends Session.Tag<ApiSession>()("app/Api", {
 *   schema: Schema.Struct({ user: Schema.optional(Schema.String) }),
 *   transport: "bearer"
 * }) {}
 *
 * export const test = Effect.gen(function*() {
 *   const token = Option.getOrThrow(yield* ApiSession.token)
 *   return yield* Effect.provide(ApiSession.get("user"), SessionTest.presenting(ApiSession, token))
 * }).pipe(Effect.provide(SessionTest.layer(ApiSession, { user: "u1" })))
 * ```
 *
 * @since 0.6.0
 * @category layers
 */
export const presenting = <Self, A, C>(
  tag: Pick<TestedTag<Self, A, never, C>, "service"> & Context.Tag<Self, SessionHandle<A, never, C>>,
  token: Redacted.Redacted<string>
): Layer.Layer<Self, never, SessionService<Self>> =>
  Layer.effect(
    tag,
    Effect.map(tag.service, ({ cookie, request, transport }) =>
      transport.accepts === "cookie"
        ? request(`${cookie.name}=${Redacted.value(token)}`)
        : request(undefined, { authorization: `Bearer ${Redacted.value(token)}` }))
  )
