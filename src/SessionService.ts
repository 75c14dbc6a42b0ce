/**
 * The service behind a session tag: configured and checked once, when its layer is built.
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
 * What a deployment may choose. A session tag gives its own defaults; `layerWith` overrides them.
 *
 * @since 0.1.0
 * @category models
 */
export interface Settings {
  /** When sessions end. Default `Expiry.standard`: two weeks of inactivity, thirty days in all. */
  readonly expiry?: Expiry.Bounded<
    "A session needs an end that activity cannot move: add Expiry.absolute(…) to the policy with Expiry.earliest"
  >
  /** The cookie. Default `__Host-Http-session`: Secure, HttpOnly, SameSite=Lax, Path=/. */
  readonly cookie?: SessionCookie.CookieOptions
  /**
   * What becomes of changes to a session that has ended meanwhile: `"fail"` answers 409 and is the default;
   * `"discard"` lets the handler's response stand and drops the changes.
   */
  readonly onGone?: "fail" | "discard"
  /**
   * What becomes of a session whose data does not fit the schema: `"restart"` treats the visitor as anonymous and
   * leaves the record alone, and is the default; `"fail"` answers 503.
   */
  readonly onUndecodable?: "restart" | "fail"
  /**
   * How long a commit may take in all, replays included. Each of two tries of a write, and the question what became of them,
   * may take a share of it, and at most the `timeout` of the engine. Default 3 seconds.
   */
  readonly commitTimeout?: Duration.DurationInput
  /** What `Retry-After` says when the store is down. Default 5 seconds. */
  readonly retryAfter?: Duration.DurationInput
  /**
   * How often the use of a session is written down. Default: once per tenth of the idle limit. `0`: with every request
   * that uses the session.
   */
  readonly touchEvery?: Duration.DurationInput
  /**
   * How often a connection that outlives its request looks whether its session has ended elsewhere: see
   * `SessionHandle.awaitEnd`. Default 30 seconds.
   */
  readonly watchEvery?: Duration.DurationInput
}

/**
 * The service of one session tag.
 *
 * @since 0.1.0
 * @category models
 */
export interface Sessions<A> extends SessionAdmin<A> {
  readonly cookie: SessionCookie.SessionCookie
  /** The session of a request with this raw `Cookie` header. Does no I/O. */
  readonly request: (cookieHeader: string | undefined, options?: RequestOptions) => RequestSession<A>
}

/**
 * One request's session, for a front end: the handle that the handler gets, and the end of the request.
 *
 * @since 0.1.0
 * @category models
 */
export interface RequestSession<A> extends SessionHandle<A> {
  /** The requirements of the session for the response. Absent if the session was not used: the response then does not depend on the cookie. */
  readonly used: UsedSession | undefined
  /**
   * Decides and writes, once, however often it is called, before the first byte of the response. Total: an error is
   * its result, and the front end answers with it.
   */
  readonly finish: (status: number) => Effect.Effect<SessionError | undefined>
  /** The request has become a socket: no response will carry a cookie, and from now on only `save` writes. */
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
  /** The response is of no use to another request of the same visitor. */
  readonly uncacheable: boolean
  /** The session could not be read or written: the seconds after which another try is worthwhile. */
  readonly retryAfter: number | undefined
}

/**
 * What a front end knows of a request besides its cookies.
 *
 * @since 0.3.0
 * @category models
 */
export interface RequestOptions {
  /** The browser fetches in advance, and takes no value that is read once. */
  readonly prefetch?: boolean
  /** The response has no body, so a value that is read once is shown to the handler and stays. */
  readonly head?: boolean
  /**
   * The browser says that another site made this request, in a way in which it does not send our cookie. A session that is
   * made for it would replace the visitor's own: `"refuse"` fails with `SessionCrossSite` (403), `"discard"` drops it and lets the
   * handler's response stand.
   */
  readonly crossSite?: "refuse" | "discard" | undefined
}
