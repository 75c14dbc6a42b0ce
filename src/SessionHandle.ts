/**
 * The session as a handler sees it.
 *
 * @since 0.1.0
 */
import type * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type { Option } from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type * as Lifetime from "./Lifetime.js"
import type * as ReadOnce from "./ReadOnce.js"
import type { CompileError } from "./SessionConfigError.js"
import type { SessionDirectory } from "./SessionDirectory.js"
import type { CookieUpdate } from "./SessionEngine.js"
import type { SessionCommitted, SessionError, SessionUnavailable, SessionWriteError } from "./SessionError.js"
import type { SessionId } from "./SessionId.js"
import type { SessionRevocation } from "./SessionRevocation.js"

/**
 * The fields of a session that may be absent: those that can be removed.
 *
 * @since 0.1.0
 * @category models
 */
export type OptionalKey<A> = { [K in keyof A & string]-?: Pick<A, K> extends Required<Pick<A, K>> ? never : K }[
  & keyof A
  & string
]

/**
 * The key of a field that may be absent. Of other fields the compiler prints what to do instead.
 *
 * @since 0.6.0
 * @category models
 */
export type IfOptional<A, K extends keyof A & string> = K extends OptionalKey<A> ? K
  : K & CompileError<"This field is never absent, because it is required or has a default: use get, set and update">

/**
 * The key of a field that is read once. Of other fields the compiler prints what to do instead.
 *
 * @since 0.6.0
 * @category models
 */
export type IfReadOnce<A, K extends keyof A & string> = K extends ReadOnce.Key<A> ? K
  : K & CompileError<"take is for a field that the schema declares with ReadOnce.field: use get, or pop to remove it">

/**
 * What an expiry is asked for.
 *
 * @since 0.2.0
 * @category models
 */
export interface ExpiryOptions {
  readonly modification?: DateTime.Utc
  readonly expiry?: Lifetime.LifetimeInput
}

/**
 * How the end of a session is waited for.
 *
 * @since 0.3.0
 * @category models
 */
export interface AwaitEndOptions {
  /** How often the store is asked. Default: the tag's `watchEvery`, 30 seconds. */
  readonly every?: Duration.DurationInput
}

/**
 * One request's session. `yield* AppSession` gives it and does no I/O; the first use loads the record, once.
 *
 * A change is a pure step: nothing is written before the response is decided, and then everything at once. If another
 * request changed the session meanwhile, the steps are replayed on the fresh value, so no update is lost.
 *
 * The statics of a session tag are the same, for the session of the request in which they are run: `R` is what they need.
 *
 * A value read after `update` in the same request is provisional until the commit. Where the answer must hold, use the
 * result of `modify`, or call `save` first.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionHandle<A, R = never> {
  /** The whole session. What of it may be changed in place is this request's own: see {@link SessionHandle.get}. */
  readonly value: Effect.Effect<A, SessionUnavailable, R>

  /**
   * One field. If its type may be changed in place (a `Map`, a `Date`, a class), it is this request's own copy, and what is
   * changed in it counts as a `set`.
   */
  readonly get: <K extends keyof A & string>(key: K) => Effect.Effect<A[K], SessionUnavailable, R>

  /** A field that may be absent: one that is `undefined`. One that holds `null` is there. */
  readonly getOption: <K extends keyof A & string>(
    key: IfOptional<A, K>
  ) => Effect.Effect<Option<Exclude<A[K], undefined>>, SessionUnavailable, R>

  /** A field that may be absent, or something else in its place. */
  readonly getOrElse: <K extends keyof A & string, B>(
    key: IfOptional<A, K>,
    orElse: () => B
  ) => Effect.Effect<Exclude<A[K], undefined> | B, SessionUnavailable, R>

  /** Whether a field is there, even if it holds `null`. */
  readonly has: (key: keyof A & string) => Effect.Effect<boolean, SessionUnavailable, R>

  /**
   * Sets a field. If this request had read the field and another one changed it meanwhile, the field's merge decides,
   * or the commit fails with `SessionConflict`. A field that was never read is simply replaced. A value that may be changed
   * in place is kept as it is now.
   */
  readonly set: <K extends keyof A & string>(
    key: K,
    value: Required<A>[K]
  ) => Effect.Effect<void, SessionWriteError, R>

  /** Changes a field by a pure function, which is replayed on the fresh value if another request was faster. */
  readonly update: <K extends keyof A & string>(
    key: K,
    f: (value: A[K]) => Required<A>[K]
  ) => Effect.Effect<void, SessionWriteError, R>

  /**
   * As `update`, with a result. A replay whose result differs from the one given here (by `Equal`, or by `same`) fails
   * the commit with `SessionConflict`: the handler has acted on an answer that no longer holds.
   */
  readonly modify: <K extends keyof A & string, B>(
    key: K,
    f: (value: A[K]) => readonly [result: B, next: Required<A>[K]],
    same?: (a: B, b: B) => boolean
  ) => Effect.Effect<B, SessionWriteError, R>

  /** Sets several fields, as `set` does each. */
  readonly patch: (fields: Partial<A>) => Effect.Effect<void, SessionWriteError, R>

  /** Removes a field and gives what it held. At most one of two racing requests gets it. */
  readonly pop: <K extends keyof A & string>(
    key: IfOptional<A, K>
  ) => Effect.Effect<Option<Exclude<A[K], undefined>>, SessionWriteError, R>

  /** As `pop`, or something else in its place. */
  readonly popOrElse: <K extends keyof A & string, B>(
    key: IfOptional<A, K>,
    orElse: () => B
  ) => Effect.Effect<Exclude<A[K], undefined> | B, SessionWriteError, R>

  /** What a field holds; if it is absent, it is set first. */
  readonly getOrSet: <K extends keyof A & string>(
    key: IfOptional<A, K>,
    value: Exclude<A[K], undefined>
  ) => Effect.Effect<Exclude<A[K], undefined>, SessionWriteError, R>

  /**
   * Takes a value that is read once, and writes that at once: of several requests at most one gets it, and a request
   * that the browser makes in advance gets nothing. Asks for the directory, which only stored engines provide: a cookie
   * cannot keep such a promise.
   */
  readonly take: <K extends keyof A & string>(
    key: IfReadOnce<A, K>
  ) => Effect.Effect<Option<ReadOnce.Content<A[K]>>, SessionError, SessionDirectory | R>

  /** Removes a field. */
  readonly remove: <K extends keyof A & string>(key: IfOptional<A, K>) => Effect.Effect<void, SessionWriteError, R>

  /**
   * Sets all data back to the initial value, unknown fields included, and the lifetime back to the policy's, as in Django. Subject,
   * id and token stay.
   */
  readonly clear: Effect.Effect<void, SessionWriteError, R>

  /** Moves the session to a new token at the commit; the old one is dead from then on. */
  readonly rotate: Effect.Effect<void, SessionWriteError, R>

  /**
   * Ends the session: logout. Needs no load. The cookie is expired once the store has confirmed, whatever the status
   * of the response. Changes made afterwards begin another session.
   */
  readonly destroy: Effect.Effect<void, SessionCommitted, R>

  /**
   * Says whose session it is, and always moves it to a new token. Data of an anonymous session, or of the same
   * subject, is carried over; another subject starts from the initial value under a new id, so set what belongs to the
   * new one after it. Check the password before it, or call `discard` if a later check fails.
   */
  readonly authenticate: (subject: string) => Effect.Effect<void, SessionWriteError, R>

  /**
   * As `authenticate`, and ends every other session of the subject right after the new one is written: one session for each user.
   * Of several such logins at once exactly one session is left, that of the one that is written last. Data is carried over as by
   * `authenticate`. Asks for `SessionRevocation`, which stored engines and `CookieEngine.layerLedger` provide. If the others
   * cannot be ended, the response is 503 and carries the cookie of the new session.
   *
   * @since 0.6.0
   */
  readonly authenticateExclusively: (
    subject: string
  ) => Effect.Effect<void, SessionWriteError, SessionRevocation | R>

  /** Whose session it is. */
  readonly subject: Effect.Effect<Option<string>, SessionUnavailable, R>

  /** The secret that the browser holds, redacted; absent until a new session is written. */
  readonly token: Effect.Effect<Option<Redacted.Redacted<string>>, SessionUnavailable, R>

  /** Whether the data is the initial value. */
  readonly isEmpty: Effect.Effect<boolean, SessionUnavailable, R>

  /**
   * Gives this session a lifetime of its own, or the policy's again. The fixed end of the policy still caps it. A length between zero
   * and one second is `SessionInvalid`: a number means milliseconds.
   */
  readonly setExpiry: (lifetime: Lifetime.LifetimeInput) => Effect.Effect<void, SessionWriteError, R>

  /**
   * Moves the end of the session as a change does, by a save at the end of the request, even if nothing was changed: `modified =
   * True` of Django. The fixed end of the policy stays, and so does a lifetime that ends at a moment. A visitor without a session gets
   * none.
   *
   * @since 0.6.0
   */
  readonly touch: Effect.Effect<void, SessionWriteError, R>

  /**
   * When the session ends: the end that is stored, or the one that the pending changes of this request give it. Nothing for a visitor
   * who has no session and gets none by those changes. To ask is no use of the session and does not prolong it; a request
   * that also reads or changes the session may, so a page that polls calls `discard` first.
   *
   * @since 0.6.0
   */
  readonly endsAt: Effect.Effect<Option<DateTime.Utc>, SessionUnavailable, R>

  /**
   * The time from now until `endsAt`, never negative.
   *
   * @since 0.6.0
   */
  readonly timeLeft: Effect.Effect<Option<Duration.Duration>, SessionUnavailable, R>

  /**
   * When the session ends if it was last changed and used at `modification` (default: now; after `discard`, which makes this request
   * no use: when it really was). With `expiry` given, that is asked instead of the session, and nothing is loaded. The real end is
   * `endsAt`.
   */
  readonly expiryDate: (options?: ExpiryOptions) => Effect.Effect<DateTime.Utc, SessionUnavailable, R>

  /** The same as a length from `modification` on; zero when it has passed. */
  readonly expiryAge: (options?: ExpiryOptions) => Effect.Effect<Duration.Duration, SessionUnavailable, R>

  /** Whether the cookie ends with the browser. */
  readonly expireAtBrowserClose: Effect.Effect<boolean, SessionUnavailable, R>

  /** How long a session of this tag lives if it is not used, by the policy. */
  readonly cookieAge: Effect.Effect<Duration.Duration, never, R>

  /** Makes sure that the visitor gets a cookie, even if nothing is set: to see whether it comes back. */
  readonly setTestCookie: Effect.Effect<void, SessionWriteError, R>

  /** Whether a cookie came back: the request presented a live session. */
  readonly testCookieWorked: Effect.Effect<boolean, SessionUnavailable, R>

  /** Ends the session if nothing else is in it. */
  readonly deleteTestCookie: Effect.Effect<void, SessionWriteError, R>

  /**
   * Runs a part of a handler; if it fails, dies or is interrupted, the changes that it has made to the session are undone: for
   * `Effect.retry`, and for steps that may fail. Parts may be nested. It writes nothing and locks nothing: the changes of a part that
   * succeeds are written at the end of the request, or undone with the part around it.
   *
   * A change belongs to the part whose fiber makes it, forked fibers included; what other branches of the handler change meanwhile
   * stays, without what was undone. `authenticate`, `clear`, `setExpiry`, `rotate` and `touch` are changes. What is not undone: a
   * `destroy` (a logout stays one), what `save` has written, what `take` has taken, `discard`.
   *
   * @since 0.6.0
   */
  readonly withRollback: <B, E, R1>(effect: Effect.Effect<B, E, R1>) => Effect.Effect<B, E, R1 | R>

  /** Nothing of this request's changes is written, and the request is no use that prolongs the session. */
  readonly discard: Effect.Effect<void, never, R>

  /**
   * Writes now. For handlers that stream, and where a result must be certain before the handler goes on. The cookie
   * that this causes is sent with the response, whatever its status.
   */
  readonly save: Effect.Effect<void, SessionError, R>

  /** The public handle of the session; absent until a new session is written. */
  readonly id: Effect.Effect<Option<SessionId>, SessionUnavailable, R>

  /**
   * The session, or nothing while it cannot be read: for routes that must work while the store is down. The response then
   * carries no cookie and deletes none. A change that cannot be saved is still answered with 503.
   */
  readonly optional: Effect.Effect<Option<SessionHandle<A>>, never, R>

  /**
   * From here on the session is what the store itself holds, not a copy of it in front of the store (`TieredStore`): for a
   * payment, a change of password. Call it before the first change: what was changed already meets the store at the commit.
   */
  readonly reload: Effect.Effect<void, SessionUnavailable, R>

  /**
   * From here on a copy will do while the store is down: for pages that only show something. Says whether it is one; it is
   * at most as old as the lease of its store, `authenticate` and every other change fail with `SessionUnavailable`
   * (`readOnly`), and its use is not written down. Without a copy, and by default, the store that is down is 503.
   */
  readonly allowStale: Effect.Effect<boolean, SessionUnavailable, R>

  /** Whether the session is a copy that cannot be changed, because the store is down: see `allowStale`. */
  readonly isReadOnly: Effect.Effect<boolean, SessionUnavailable, R>

  /**
   * Completes when the session has ended, by logout, revocation or expiry, or has moved to another token: for streams
   * and sockets, which outlive their request. What this process ends is known at once, the rest within `every`. The
   * open connection counts as no activity: it does not keep the session alive. While the store is down nothing ends but
   * by the absolute deadline. For a visitor without a session it never completes: ask for the `subject` first.
   */
  readonly awaitEnd: (options?: AwaitEndOptions) => Effect.Effect<void, SessionUnavailable, R>
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
