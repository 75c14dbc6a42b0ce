/**
 * The session handle: reads and changes one request's session.
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
import type {
  SessionCommitted,
  SessionError,
  SessionNotFresh,
  SessionUnavailable,
  SessionWriteError
} from "./SessionError.js"
import type { SessionId } from "./SessionId.js"
import type { SessionRevocation } from "./SessionRevocation.js"
import type { EndReason } from "./SessionStore.js"

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
 * The key of a field that may be absent. For other fields the compiler prints an alternative.
 *
 * @since 0.6.0
 * @category models
 */
export type IfOptional<A, K extends keyof A & string> = K extends OptionalKey<A> ? K
  : K & CompileError<"This field is never absent, because it is required or has a default: use get, set and update">

/**
 * The key of a field that is read once. For other fields the compiler prints an alternative.
 *
 * @since 0.6.0
 * @category models
 */
export type IfReadOnce<A, K extends keyof A & string> = K extends ReadOnce.Key<A> ? K
  : K & CompileError<"take is for a field that the schema declares with ReadOnce.field: use get, or pop to remove it">

/**
 * Options of `expiryDate` and `expiryAge`.
 *
 * @since 0.2.0
 * @category models
 */
export interface ExpiryOptions {
  /** The last change and use. Default: now. */
  readonly modification?: DateTime.Utc
  /** A lifetime to use in place of the session's own. */
  readonly expiry?: Lifetime.LifetimeInput
}

/**
 * Options of `awaitEnd`.
 *
 * @since 0.3.0
 * @category models
 */
export interface AwaitEndOptions {
  /** The time between two reads of the store. Default: the tag's `watchEvery`, 30 seconds. */
  readonly every?: Duration.DurationInput
}

/**
 * Options of `authenticate`. `C` is the context that the tag declares.
 *
 * @since 0.6.0
 * @category models
 */
export interface LoginOptions<C = never> {
  /** The methods by which the visitor has proved their identity, for instance `["pwd", "otp"]` (RFC 8176 has a list of names). Default: none. */
  readonly methods?: ReadonlyArray<string>
  /** The strength of the login: a whole number, for instance the authentication assurance level 1 to 3 of NIST SP 800-63B. Default 1. */
  readonly level?: number
  /**
   * `true`: the cookie stays in the browser until the end of the session, and `requireFresh` refuses the session. `false`: the cookie ends
   * with the browser. Absent: the tag's cookie options decide.
   */
  readonly remember?: boolean
  /** The client, for a list of devices: browser, place, label. Encoded at most 2,048 characters. */
  readonly context?: C
}

/**
 * Options of `elevate`.
 *
 * @since 0.6.0
 * @category models
 */
export interface ElevateOptions {
  /** The methods by which the visitor has just proved their identity. */
  readonly methods: ReadonlyArray<string>
  /** The strength of that proof: a whole number. */
  readonly level: number
}

/**
 * The requirements of `requireFresh`. Those that are absent do not apply.
 *
 * @since 0.6.0
 * @category models
 */
export interface FreshRequirements {
  /** The maximum age of the last login or step-up. */
  readonly within?: Duration.DurationInput
  /** Methods that the fresh logins and step-ups must all have used. */
  readonly methods?: ReadonlyArray<string>
  /** The minimum level of a fresh login or step-up. */
  readonly level?: number
  /** Accepts the login of a session with `remember`. Default: only a step-up counts in such a session. */
  readonly allowRemembered?: boolean
  /** Accepts a session that acts for another subject. Default: it is refused. */
  readonly allowImpersonating?: boolean
}

/**
 * Why a request has no session.
 *
 * - `noCookie`: the request has presented none. `malformed`: what it presented has not the form of ours.
 * - `unknown`: the store has no trace of it: it was invented, or its trace is gone.
 * - `ambiguous`: several live sessions were presented, and none is trusted.
 * - `undecodable`: its data does not fit this version of the application.
 * - the other reasons are those of the end of a session: see `SessionStore.EndReason`.
 *
 * @since 0.6.0
 * @category models
 */
export type Absence = EndReason | "noCookie" | "malformed" | "unknown" | "ambiguous" | "undecodable"

/**
 * One request's session. `yield* AppSession` returns it and does no I/O; the first use loads the record, once.
 *
 * A change is a pure step: all changes are written together after the handler has returned its response. If another request has
 * changed the session meanwhile, the steps are replayed on the fresh value, so no update is lost.
 *
 * A session tag has the same members as statics, for the session of the current request: `R` is their requirement.
 *
 * A value read after `update` in the same request is provisional until the commit. If it must be final, use the result of
 * `modify`, or call `save` first.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionHandle<A, R = never, C = never> {
  /**
   * Reads the whole value of the session. Fields that may be changed in place are copies of this request: see
   * {@link SessionHandle.get}.
   */
  readonly value: Effect.Effect<A, SessionUnavailable, R>

  /**
   * Reads one field. If its type may be changed in place (a `Map`, a `Date`, a class), the value is this request's own copy, and a change
   * of it counts as a `set`.
   *
   * @example
   * ```ts
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<{ readonly visits: number }>
   *
   * export const visits = session.get("visits")
   * ```
   */
  readonly get: <K extends keyof A & string>(key: K) => Effect.Effect<A[K], SessionUnavailable, R>

  /**
   * Reads a field that may be absent: `None` if it is `undefined`. `null` is a value.
   */
  readonly getOption: <K extends keyof A & string>(
    key: IfOptional<A, K>
  ) => Effect.Effect<Option<Exclude<A[K], undefined>>, SessionUnavailable, R>

  /**
   * Reads a field that may be absent, or returns a fallback.
   */
  readonly getOrElse: <K extends keyof A & string, B>(
    key: IfOptional<A, K>,
    orElse: () => B
  ) => Effect.Effect<Exclude<A[K], undefined> | B, SessionUnavailable, R>

  /**
   * Returns whether a field is present. A field that holds `null` is present.
   */
  readonly has: (key: keyof A & string) => Effect.Effect<boolean, SessionUnavailable, R>

  /**
   * Sets a field, or fails with `SessionInvalid` if the value does not fit the schema. If this request has read the field and
   * another one has changed it meanwhile, the field's merge decides, or the commit fails with `SessionConflict`. A field that was
   * never read is replaced. A value that may be changed in place is copied.
   *
   * @example
   * ```ts
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<{ readonly visits: number }>
   *
   * export const reset = session.set("visits", 0)
   * ```
   */
  readonly set: <K extends keyof A & string>(
    key: K,
    value: Required<A>[K]
  ) => Effect.Effect<void, SessionWriteError, R>

  /**
   * Changes a field by a pure function. If another request has changed the session meanwhile, the function runs again on the fresh value.
   *
   * @example
   * ```ts
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<{ readonly visits: number }>
   *
   * export const visit = session.update("visits", (n) => n + 1)
   * ```
   */
  readonly update: <K extends keyof A & string>(
    key: K,
    f: (value: A[K]) => Required<A>[K]
  ) => Effect.Effect<void, SessionWriteError, R>

  /**
   * Changes a field by a pure function, and returns a result. If a replay on a fresh value has another result (by `Equal`, or by
   * `same`), the commit fails with `SessionConflict`, because the handler has used the first result.
   *
   * @example
   * ```ts
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<{ readonly visits: number }>
   *
   * // The ticket number of this request.
   * export const ticket = session.modify("visits", (n) => [n, n + 1])
   * ```
   */
  readonly modify: <K extends keyof A & string, B>(
    key: K,
    f: (value: A[K]) => readonly [result: B, next: Required<A>[K]],
    same?: (a: B, b: B) => boolean
  ) => Effect.Effect<B, SessionWriteError, R>

  /**
   * Sets several fields, all or none, with the rules of `set`.
   *
   * @example
   * ```ts
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<{ readonly sort: string; readonly page: number }>
   *
   * export const sorted = session.patch({ sort: "price", page: 1 })
   * ```
   */
  readonly patch: (fields: Partial<A>) => Effect.Effect<void, SessionWriteError, R>

  /**
   * Removes a field and returns its value. Of two concurrent requests at most one commits the removal; the other fails with
   * `SessionConflict`.
   *
   * @example
   * ```ts
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<{ readonly next?: string }>
   *
   * export const next = session.pop("next") // Option<string>
   * ```
   */
  readonly pop: <K extends keyof A & string>(
    key: IfOptional<A, K>
  ) => Effect.Effect<Option<Exclude<A[K], undefined>>, SessionWriteError, R>

  /**
   * Removes a field and returns its value, or a fallback.
   */
  readonly popOrElse: <K extends keyof A & string, B>(
    key: IfOptional<A, K>,
    orElse: () => B
  ) => Effect.Effect<Exclude<A[K], undefined> | B, SessionWriteError, R>

  /**
   * Reads a field, and sets it first if it is absent.
   */
  readonly getOrSet: <K extends keyof A & string>(
    key: IfOptional<A, K>,
    value: Exclude<A[K], undefined>
  ) => Effect.Effect<Exclude<A[K], undefined>, SessionWriteError, R>

  /**
   * Consumes a `ReadOnce` value: removes it from the store at once, and returns its content. Of several requests at most one gets
   * it. A prefetch of the browser gets `None`.
   *
   * Requires `SessionDirectory`, which only stored engines provide, as evidence of a store: a browser that keeps an older cookie of a
   * cookie engine would get the value again. If the directory belongs to another engine than the session, `take` dies.
   *
   * @example
   * ```ts
   * import type { ReadOnce } from "effect-session"
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<{ readonly notice?: ReadOnce.ReadOnce<string> }>
   *
   * export const notice = session.take("notice") // Option<string>
   * ```
   */
  readonly take: <K extends keyof A & string>(
    key: IfReadOnce<A, K>
  ) => Effect.Effect<Option<ReadOnce.Content<A[K]>>, SessionError, SessionDirectory | R>

  /** Removes a field. */
  readonly remove: <K extends keyof A & string>(key: IfOptional<A, K>) => Effect.Effect<void, SessionWriteError, R>

  /**
   * Resets all data to the initial value, unknown fields included, and the lifetime to the policy's, as Django does. Subject, id and token stay.
   */
  readonly clear: Effect.Effect<void, SessionWriteError, R>

  /**
   * Moves the session to a new token at the commit. The old token is invalid from then on.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<{ readonly admin: boolean }>
   *
   * export const sudo = Effect.zipRight(session.set("admin", true), session.rotate)
   * ```
   */
  readonly rotate: Effect.Effect<void, SessionWriteError, R>

  /**
   * Alias of `rotate`, under the name that Django uses.
   *
   * @see {@link SessionHandle.rotate}
   * @since 0.1.0
   */
  readonly cycleKey: Effect.Effect<void, SessionWriteError, R>

  /**
   * Ends the session: logout. Needs no load. The cookie is expired once the store has confirmed the deletion, whatever the status of the
   * response; if the store does not confirm, the response is 503 and the cookie stays. Later changes begin another session.
   *
   * @example
   * ```ts
   * import { HttpServerResponse } from "@effect/platform"
   * import { Effect } from "effect"
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<object>
   *
   * export const logOut = Effect.as(session.destroy, HttpServerResponse.redirect("/"))
   * ```
   */
  readonly destroy: Effect.Effect<void, SessionCommitted, R>

  /**
   * Alias of `destroy`, under the name that Django uses.
   *
   * @see {@link SessionHandle.destroy}
   * @since 0.1.0
   */
  readonly flush: Effect.Effect<void, SessionCommitted, R>

  /**
   * Logs a subject in: sets the subject of the session, and always moves it to a new token. Both deadlines begin anew. Data of the same
   * subject is kept. Of what an anonymous visitor had, the tag's `carryOver` and the fields that this request has set are kept, and nothing
   * else. Another subject starts from the initial value under a new id, so set its data afterwards.
   *
   * Nothing is written before the response, and a response with 401 or 403 does not log in: then all changes of the request are dropped.
   * Fails with `SessionInvalid` unless the subject has 1 to 255 characters, none of them a control character. If the tag has
   * `maxPerSubject`, the commit ends the oldest session of the subject, or fails with `SessionLimitReached` (403): to handle that error,
   * call `save` after this.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<{ readonly visits: number }>
   *
   * export const logIn = (userId: string) => Effect.zipRight(session.authenticate(userId), session.set("visits", 0))
   * ```
   */
  readonly authenticate: (subject: string, options?: LoginOptions<C>) => Effect.Effect<void, SessionWriteError, R>

  /**
   * Sets the subject as `authenticate` does, and ends every other session of the subject right after the new one is written. Of several such
   * logins at once exactly one session is left, the one that is written last. Requires `SessionRevocation`, which stored engines and
   * `CookieEngine.layerLedger` provide. If the others cannot be ended, the response is 503 and carries the cookie of the new session.
   *
   * @example
   * ```ts
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<{ readonly visits: number }>
   *
   * export const logIn = (userId: string) => session.authenticateExclusively(userId)
   * ```
   *
   * @since 0.6.0
   */
  readonly authenticateExclusively: (
    subject: string,
    options?: LoginOptions<C>
  ) => Effect.Effect<void, SessionWriteError, SessionRevocation | R>

  /**
   * Records that the subject has just proved its identity once more (step-up), and moves the session to a new token. `methods`, `level` and
   * `authenticatedAt` include it until `drop`. The deadlines stay: only a login moves them. Fails with `SessionInvalid` if no subject is logged
   * in.
   *
   * @example
   * ```ts
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<object>
   *
   * // After the code of an authenticator app was checked.
   * export const sudo = session.elevate({ methods: ["otp"], level: 2 })
   * ```
   *
   * @since 0.6.0
   */
  readonly elevate: (options: ElevateOptions) => Effect.Effect<void, SessionWriteError, R>

  /**
   * Ends what `elevate` has added, and moves the session to a new token.
   *
   * @since 0.6.0
   */
  readonly drop: Effect.Effect<void, SessionWriteError, R>

  /**
   * Acts for another subject from now on, under a new token and with the initial value: `subject` is then the other one, and `impersonator`
   * who acts. The session stays one of its own subject: it ends with the revocation of that one, keeps its deadlines, and is in its list.
   * `requireFresh` refuses it. Fails with `SessionInvalid` for an anonymous visitor, or if the session acts for another subject already.
   * Check first that the visitor may do it.
   *
   * @example
   * ```ts
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<object>
   *
   * export const actFor = (customer: string) => session.impersonate(customer)
   * ```
   *
   * @since 0.6.0
   */
  readonly impersonate: (subject: string) => Effect.Effect<void, SessionWriteError, R>

  /**
   * Ends an impersonation: the session is that of its own subject again, under a new token and with the initial value. Does nothing if there
   * is none.
   *
   * @since 0.6.0
   */
  readonly endImpersonation: Effect.Effect<void, SessionWriteError, R>

  /**
   * Fails with `SessionNotFresh` (401) unless the last login or step-up is recent and strong enough: for a change of password or a payment.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<object>
   * declare const changePassword: Effect.Effect<void>
   *
   * export const guarded = Effect.zipRight(
   *   session.requireFresh({ within: "10 minutes", level: 2 }),
   *   changePassword
   * )
   * ```
   *
   * @since 0.6.0
   */
  readonly requireFresh: (
    requirements: FreshRequirements
  ) => Effect.Effect<void, SessionNotFresh | SessionUnavailable, R>

  /**
   * Ends all other sessions of the subject and moves this one to a new token, at once: pending changes are written, too. For a change of
   * password. If another session does the same at the same moment, the one that comes second wins, and this one fails with `SessionGone`.
   * Fails with `SessionInvalid` for an anonymous visitor, or if the session acts for another subject: use `revokeSubject` then.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<object>
   * declare const storePassword: Effect.Effect<void>
   *
   * export const changePassword = Effect.zipRight(storePassword, session.revokeOthers)
   * ```
   *
   * @since 0.6.0
   */
  readonly revokeOthers: Effect.Effect<void, SessionError, SessionRevocation | R>

  /**
   * Reads the subject that the session acts for, usually a user id; `None` for an anonymous visitor. In an impersonation it is the other
   * subject.
   */
  readonly subject: Effect.Effect<Option<string>, SessionUnavailable, R>

  /**
   * Reads the subject, or fails with `SessionNotFresh` (401, `anonymous`): for handlers that need a user.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<object>
   *
   * export const greeting = Effect.map(session.requireSubject, (user) => `Hello ${user}`)
   * ```
   *
   * @since 0.6.0
   */
  readonly requireSubject: Effect.Effect<string, SessionNotFresh | SessionUnavailable, R>

  /**
   * Reads the subject who acts, in an impersonation; otherwise `None`.
   *
   * @since 0.6.0
   */
  readonly impersonator: Effect.Effect<Option<string>, SessionUnavailable, R>

  /**
   * Reads the time of the last login or step-up; `None` for an anonymous visitor.
   *
   * @since 0.6.0
   */
  readonly authenticatedAt: Effect.Effect<Option<DateTime.Utc>, SessionUnavailable, R>

  /**
   * Reads the methods of the login and the step-up.
   *
   * @since 0.6.0
   */
  readonly methods: Effect.Effect<ReadonlyArray<string>, SessionUnavailable, R>

  /**
   * Reads the highest level of the login and the step-up; 0 for an anonymous visitor.
   *
   * @since 0.6.0
   */
  readonly level: Effect.Effect<number, SessionUnavailable, R>

  /**
   * Returns whether the last login has asked to be remembered.
   *
   * @since 0.6.0
   */
  readonly isRemembered: Effect.Effect<boolean, SessionUnavailable, R>

  /**
   * Reads the context, typed by the schema that the tag declares. `None` if there is none, or if it does not fit the schema of this version.
   *
   * @since 0.6.0
   */
  readonly clientContext: Effect.Effect<Option<C>, SessionUnavailable, R>

  /**
   * Sets the context, which a list of devices shows. `authenticate` sets it, too.
   *
   * @since 0.6.0
   */
  readonly setClientContext: (context: C) => Effect.Effect<void, SessionWriteError, R>

  /**
   * Reads why the request has come without a session, as far as it is known; `None` if it has come with one. For a login page: "you were
   * logged out on another device".
   *
   * @example
   * ```ts
   * import { Effect, Option } from "effect"
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<object>
   *
   * export const wasLoggedOut = Effect.map(
   *   session.absence,
   *   Option.exists((reason) => reason === "revoked" || reason === "subjectRevoked" || reason === "limit")
   * )
   * ```
   *
   * @since 0.6.0
   */
  readonly absence: Effect.Effect<Option<Absence>, SessionUnavailable, R>

  /**
   * Reads the secret in the cookie, redacted; `None` until a new session is written.
   */
  readonly token: Effect.Effect<Option<Redacted.Redacted<string>>, SessionUnavailable, R>

  /**
   * Returns whether the data equals the initial value.
   */
  readonly isEmpty: Effect.Effect<boolean, SessionUnavailable, R>

  /**
   * Sets the session's own lifetime, or removes it (`Lifetime.byPolicy`). The fixed end of the policy still limits it. A number
   * means milliseconds: a length between zero and one second fails with `SessionInvalid`.
   *
   * @example
   * ```ts
   * import { Lifetime } from "effect-session"
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<object>
   *
   * export const rememberMe = session.setExpiry(Lifetime.inactivity("30 days"))
   * ```
   */
  readonly setExpiry: (lifetime: Lifetime.LifetimeInput) => Effect.Effect<void, SessionWriteError, R>

  /**
   * Writes the session at the end of the request even if nothing has changed, so that its end moves as by a change: Django's
   * `modified = True`. The fixed end of the policy stays, and so does a lifetime that ends at a moment. Makes no session for a
   * visitor without one.
   *
   * @example
   * ```ts
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<{ readonly visits: number }>
   *
   * export const stillHere = session.touch
   * ```
   *
   * @since 0.6.0
   */
  readonly touch: Effect.Effect<void, SessionWriteError, R>

  /**
   * Reads the end of the session: the stored end, or the end that the pending changes of this request give it. `None` if the
   * visitor has no session and gets none by those changes. Does not count as a use; a request that also reads or changes the
   * session may prolong it, so a page that polls calls `discard` first.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<object>
   *
   * // For a page that polls every minute, and must not prolong the session.
   * export const poll = Effect.zipRight(session.discard, session.endsAt)
   * ```
   *
   * @since 0.6.0
   */
  readonly endsAt: Effect.Effect<Option<DateTime.Utc>, SessionUnavailable, R>

  /**
   * Reads the time from now until `endsAt`, never negative.
   *
   * @since 0.6.0
   */
  readonly timeLeft: Effect.Effect<Option<Duration.Duration>, SessionUnavailable, R>

  /**
   * Computes the end of the session if it was last changed and used at `modification` (default: now; after `discard`: the stored
   * times). With `expiry`, computes from that lifetime in place of the session's, and loads nothing. The actual end is `endsAt`.
   */
  readonly expiryDate: (options?: ExpiryOptions) => Effect.Effect<DateTime.Utc, SessionUnavailable, R>

  /** Computes the time from `modification` until `expiryDate`; zero if it has passed. */
  readonly expiryAge: (options?: ExpiryOptions) => Effect.Effect<Duration.Duration, SessionUnavailable, R>

  /**
   * Returns whether the cookie ends with the browser.
   */
  readonly expireAtBrowserClose: Effect.Effect<boolean, SessionUnavailable, R>

  /**
   * Computes the lifetime of an unused session by the policy of the tag.
   */
  readonly cookieAge: Effect.Effect<Duration.Duration, never, R>

  /**
   * Creates a session even if nothing is set, to test whether the browser accepts cookies.
   */
  readonly setTestCookie: Effect.Effect<void, SessionWriteError, R>

  /**
   * Returns whether the request presented a live session, so the browser accepts cookies.
   */
  readonly testCookieWorked: Effect.Effect<boolean, SessionUnavailable, R>

  /**
   * Ends the session if it has no data and no subject.
   */
  readonly deleteTestCookie: Effect.Effect<void, SessionWriteError, R>

  /**
   * Runs an effect; if it fails, dies or is interrupted, undoes its changes of the session: for `Effect.retry`, and for steps
   * that may fail. May be nested. Writes nothing and locks nothing: the changes of an effect that succeeds are written at the end
   * of the request, or undone with the outer one.
   *
   * A change belongs to the effect whose fiber makes it, including forked fibers; concurrent changes of other branches of the
   * handler stay. `authenticate`, `clear`, `setExpiry`, `rotate` and `touch` are changes. Not undone are `destroy`, `discard`,
   * changes that `save` has written, and values that `take` has consumed.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<{ readonly visits: number }>
   *
   * declare const charge: Effect.Effect<void, Error>
   *
   * export const order = session.update("visits", (n) => n + 1).pipe(
   *   Effect.zipRight(charge),
   *   session.withRollback,
   *   Effect.retry({ times: 2 })
   * )
   * ```
   *
   * @since 0.6.0
   */
  readonly withRollback: <B, E, R1>(effect: Effect.Effect<B, E, R1>) => Effect.Effect<B, E, R1 | R>

  /**
   * Drops all changes of this request, and does not count the request as a use.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<{ readonly visits: number }>
   *
   * export const preview = Effect.zipRight(session.set("visits", 0), session.discard)
   * ```
   */
  readonly discard: Effect.Effect<void, never, R>

  /**
   * Writes the changes now: for handlers that stream, or that need a confirmed write before they continue. A new cookie is sent
   * with the response, whatever its status. Fails if the write fails.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<{ readonly visits: number }>
   *
   * export const order = Effect.zipRight(session.update("visits", (n) => n + 1), session.save)
   * ```
   */
  readonly save: Effect.Effect<void, SessionError, R>

  /**
   * Reads the public id of the session, safe to show and to log; `None` until a new session is written.
   */
  readonly id: Effect.Effect<Option<SessionId>, SessionUnavailable, R>

  /**
   * Returns the session, or `None` if it cannot be read: for routes that must work while the store is down. The response then
   * carries no cookie and deletes none. A change that cannot be saved is still answered with 503.
   *
   * @example
   * ```ts
   * import { Effect, Option } from "effect"
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<object>
   *
   * export const name = Effect.map(session.optional, Option.isSome)
   * ```
   */
  readonly optional: Effect.Effect<Option<SessionHandle<A, never, C>>, never, R>

  /**
   * Loads the session again, past every cache (`TieredStore`): for a payment or a change of password. Call it before the first
   * change: with pending changes it does nothing, and the commit merges them with the stored record.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<{ readonly visits: number }>
   *
   * export const pay = Effect.zipRight(session.reload, session.get("visits"))
   * ```
   */
  readonly reload: Effect.Effect<void, SessionUnavailable, R>

  /**
   * Accepts a cached session while the store is down, and returns whether the session is such a stale one: for pages that only
   * display data. A stale session is at most as old as the lease of its cache; every change of it fails with `SessionUnavailable`
   * (`readOnly`), and its use is not written. Without a cached session, and by default, the response is 503 while the store is
   * down.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<{ readonly visits: number }>
   *
   * export const page = Effect.zipRight(session.allowStale, session.get("visits"))
   * ```
   */
  readonly allowStale: Effect.Effect<boolean, SessionUnavailable, R>

  /**
   * Returns whether the session is stale, and cannot be changed, because the store is down: see `allowStale`.
   */
  readonly isReadOnly: Effect.Effect<boolean, SessionUnavailable, R>

  /**
   * Completes when the session has ended, by logout, revocation or expiry, or has moved to another token: for streams and
   * sockets. An end in this process is detected at once, any other within `every`. The open connection does not count as a use.
   * While the store is down only the fixed end ends a session. Never completes for a visitor without a session: check `subject`
   * first.
   *
   * @example
   * ```ts
   * import { Stream } from "effect"
   * import type { SessionHandle } from "effect-session/SessionHandle"
   *
   * declare const session: SessionHandle<object>
   *
   * declare const ticks: Stream.Stream<string>
   *
   * export const feed = ticks.pipe(Stream.interruptWhen(session.awaitEnd({ every: "10 seconds" })))
   * ```
   */
  readonly awaitEnd: (options?: AwaitEndOptions) => Effect.Effect<void, SessionUnavailable, R>
}
