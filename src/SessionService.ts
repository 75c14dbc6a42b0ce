/**
 * The service of a session tag, configured and checked when its layer is built.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Expiry from "./Expiry.js"
import type { SessionAdmin } from "./SessionAdmin.js"
import type * as SessionCookie from "./SessionCookie.js"
import type { CookieUpdate } from "./SessionEngine.js"
import type { SessionError } from "./SessionError.js"
import type { SessionHandle } from "./SessionHandle.js"

/**
 * The identity of the service of one session tag: two tags never share one.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionService<in out Self> {
  readonly "~effect-session/SessionService": (self: Self) => Self
}

/**
 * Settings of a session tag. The tag sets the defaults; `layerWith` overrides them for a deployment.
 *
 * @since 0.1.0
 * @category models
 */
export interface Settings {
  /** The expiry policy. Default `Expiry.standard`: two weeks of inactivity, thirty days in all. */
  readonly expiry?: Expiry.Bounded<
    "A session needs an end that activity cannot move: add Expiry.absolute(…) to the policy with Expiry.earliest"
  >
  /** The cookie. Default `__Host-Http-session`: Secure, HttpOnly, SameSite=Lax, Path=/. */
  readonly cookie?: SessionCookie.CookieOptions
  /**
   * The treatment of changes to a session that has ended meanwhile: `"fail"` (default) answers 409; `"discard"` drops the changes
   * and sends the handler's response.
   */
  readonly onGone?: "fail" | "discard"
  /**
   * The treatment of a session whose data does not fit the schema: `"restart"` (default) makes the request anonymous and leaves
   * the record unchanged; `"fail"` answers 503.
   */
  readonly onUndecodable?: "restart" | "fail"
  /**
   * The time limit of a commit, replays included. Each of two attempts of a write, and the read that resolves an unknown outcome,
   * may take a share of it, and at most the `timeout` of the engine. Default 3 seconds.
   */
  readonly commitTimeout?: Duration.DurationInput
  /** The value of `Retry-After` when the store is down. Default 5 seconds. */
  readonly retryAfter?: Duration.DurationInput
  /**
   * The least time between two writes of a session's last use. Default: a tenth of the idle limit. `0`: every request that uses
   * the session writes it.
   */
  readonly touchEvery?: Duration.DurationInput
  /**
   * The time between two checks of `SessionHandle.awaitEnd` whether the session has ended in another process. Default 30 seconds.
   */
  readonly watchEvery?: Duration.DurationInput
}

/**
 * The service of one session tag.
 *
 * @since 0.1.0
 * @category models
 */
export interface Sessions<A, C = never> extends SessionAdmin<A, C> {
  readonly cookie: SessionCookie.SessionCookie
  /** Makes the session of a request from its raw `Cookie` header. Does no I/O. */
  readonly request: (cookieHeader: string | undefined, options?: RequestOptions) => RequestSession<A, C>
}

/**
 * One request's session, for an HTTP integration: the handle for the handler, and the end of the request.
 *
 * @since 0.1.0
 * @category models
 */
export interface RequestSession<A, C = never> extends SessionHandle<A, never, C> {
  /** The requirements of the session for the response. Absent if the session was not used: the response then does not depend on the cookie. */
  readonly used: UsedSession | undefined
  /**
   * Finalizes the request: writes the session. Call it before the first byte of the response, with the status of the handler's
   * response. Idempotent. Never fails: it returns an error, to be sent as the response.
   */
  readonly finish: (status: number) => Effect.Effect<SessionError | undefined>
  /** Marks the request as upgraded to a socket: no response carries a cookie, and only `save` writes. */
  readonly detach: () => void
}

/**
 * The requirements of a used session for the response.
 *
 * @since 0.6.0
 * @category models
 */
export interface UsedSession {
  /** The cookie that the response must carry: a value with its Max-Age in seconds, or its end. */
  readonly setCookie: CookieUpdate | undefined
  /** The response must not be cached, not even for the same visitor. */
  readonly uncacheable: boolean
  /** Seconds after which a retry is worthwhile; absent unless the session could not be read or written. */
  readonly retryAfter: number | undefined
}

/**
 * Facts of a request besides its cookies, for an HTTP integration.
 *
 * @since 0.3.0
 * @category models
 */
export interface RequestOptions {
  /** The browser prefetches: `take` returns `None` and consumes nothing. */
  readonly prefetch?: boolean
  /** The response has no body: `take` returns the value without consuming it. */
  readonly head?: boolean
  /**
   * The request is cross-site, and the browser has suppressed our cookie. A new session would replace the visitor's own:
   * `"refuse"` fails with `SessionCrossSite` (403), `"discard"` drops the session and sends the handler's response.
   */
  readonly crossSite?: "refuse" | "discard" | undefined
}
