/**
 * The session in the handlers of an RPC group that is served over HTTP.
 *
 * Only exported by the sub-path `effect-session/SessionRpc`, because `@effect/rpc` is an optional peer dependency.
 *
 * @since 0.3.0
 */
import * as RpcMiddleware from "@effect/rpc/RpcMiddleware"
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { withHelp } from "./internal/help.js"
import type { SessionHandle } from "./SessionHandle.js"

/**
 * The identity of the middleware of one session tag.
 *
 * @since 0.3.0
 * @category models
 */
export interface SessionRpc<in out Self> {
  readonly "~effect-session/SessionRpc": (self: Self) => Self
}

/**
 * The middleware of one session tag, and its layer.
 *
 * @since 0.3.0
 * @category models
 */
export type Middleware<Self, A, C = never> =
  & RpcMiddleware.TagClass<SessionRpc<Self>, string, {
    readonly provides: Context.Tag<Self, SessionHandle<A, never, C>>
    readonly wrap: true
  }>
  & {
    /** The layer that the group requires beside its handlers. */
    readonly layer: Layer.Layer<SessionRpc<Self>>
  }

/**
 * Makes the middleware for an RPC group: its handlers may use the session of the HTTP request that carries the call. The HTTP
 * route itself needs a session middleware, which opens and commits. A procedure must declare the session errors that its handler
 * does not catch.
 *
 * The session comes from the HTTP request and never from the headers of the call, which the client can set.
 *
 * One HTTP request is one commit, before its response: a stream that is being sent can no longer change the session. The commit
 * writes the changes of calls that failed with an error, which are answered with status 200, but not those of a request in which
 * a call has died. If the commit fails, the HTTP response has the status of its error. Clients check the status only if their
 * `HttpClient` is wrapped in `HttpClient.filterStatusOk`; they then fail with `RpcClientError`.
 *
 * @example
 * ```ts
 * import { Rpc, RpcGroup } from "@effect/rpc"
 * import { Array, Layer, Schema } from "effect"
 * import { Session, SessionError } from "effect-session"
 * import * as SessionRpc from "effect-session/SessionRpc"
 *
 * class AppSession extends Session.Tag<AppSession>()("app/Session", {
 *   schema: Schema.Struct({ cart: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] }) })
 * }) {}
 *
 * const WithSession = SessionRpc.make(AppSession)
 *
 * class Cart extends RpcGroup.make(
 *   Rpc.make("Add", { payload: { sku: Schema.String }, error: SessionError.SessionError })
 * ).middleware(WithSession) {}
 *
 * export const handlers = Cart.toLayer({
 *   Add: ({ sku }) => AppSession.update("cart", Array.append(sku))
 * }).pipe(Layer.provideMerge(WithSession.layer))
 * ```
 *
 * @since 0.3.0
 * @category constructors
 */
export const make = <Self, A, C>(handle: Context.Tag<Self, SessionHandle<A, never, C>>): Middleware<Self, A, C> => {
  const tag = RpcMiddleware.Tag<SessionRpc<Self>>()<string, {
    readonly provides: Context.Tag<Self, SessionHandle<A, never, C>>
    readonly wrap: true
  }>(`${handle.key}/Rpc`, { provides: handle, wrap: true })
  const inRequest = Effect.flatMap(
    Effect.serviceOption(handle),
    Option.match({
      onNone: () =>
        Effect.dieMessage(
          withHelp(
            `There is no session of "${handle.key}" around this call: ` +
              "put its middleware around the route that serves the RPC group.",
            "middleware-missing"
          )
        ),
      onSome: Effect.succeed
    })
  )
  return Object.assign(tag, {
    layer: Layer.succeed(tag, ({ next }) =>
      Effect.flatMap(inRequest, (session) =>
        Effect.tapErrorCause(
          Effect.provideService(next, handle, session),
          // The response has status 200 although the handler has died.
          (cause) => Cause.isDie(cause) ? session.discard : Effect.void
        )))
  })
}
