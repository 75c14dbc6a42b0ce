/**
 * Session management outside a request, for jobs, scripts and administration.
 *
 * @since 0.6.0
 */
import type * as DateTime from "effect/DateTime"
import type * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import type * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type * as Stream from "effect/Stream"
import type { Lifetime, LifetimeInput } from "./Lifetime.js"
import type { SessionDirectory } from "./SessionDirectory.js"
import type { SessionError, SessionUnavailable } from "./SessionError.js"
import type { LoginOptions, SessionHandle } from "./SessionHandle.js"
import type { SessionId } from "./SessionId.js"
import type { SessionRevocation } from "./SessionRevocation.js"

/**
 * The metadata of a live session, without its data and its token.
 *
 * @since 0.6.0
 * @category models
 */
export interface SessionSummary<C = never> {
  /** The public id: for `openById` and `revoke`. */
  readonly id: SessionId
  /** The subject, usually a user id; absent for an anonymous session. In an impersonation it is who acts. */
  readonly subject: string | undefined
  /** The subject that the session acts for; absent if it acts for its own. */
  readonly impersonating: string | undefined
  readonly createdAt: DateTime.Utc
  /** The last login; absent if there was none. */
  readonly authenticatedAt: DateTime.Utc | undefined
  /** The methods of the login and the step-up. */
  readonly methods: ReadonlyArray<string>
  /** The highest level of the login and the step-up; 0 for an anonymous session. */
  readonly level: number
  /** The login has asked to be remembered. */
  readonly isRemembered: boolean
  /** The context of the login; absent if there is none, or if it does not fit the schema of this version. */
  readonly context: C | undefined
  /** The last change of data, subject or lifetime. */
  readonly modifiedAt: DateTime.Utc
  /** The last use that was written. Uses are written at most once per `touchEvery`, by default a tenth of the idle limit. */
  readonly lastSeenAt: DateTime.Utc
  /** The end of the session if it is not used again. */
  readonly endsAt: DateTime.Utc
  /** The end that no activity can move; absent if the policy has none. */
  readonly deadline: DateTime.Utc | undefined
  /** The lifetime that `setExpiry` has given to this session; absent if the policy applies. */
  readonly lifetime: Lifetime | undefined
  /** The number of writes: grows by one with every save and rotation. */
  readonly version: number
  /** The version of the schema that wrote the data. */
  readonly schemaVersion: number
}

/**
 * A session of one's own: see {@link SessionAdmin.own}.
 *
 * @since 0.6.0
 * @category models
 */
export interface OwnSession<C = never> extends SessionSummary<C> {
  /** It is the session of the request that has asked. */
  readonly isCurrent: boolean
}

/**
 * Options of {@link SessionAdmin.list} and {@link SessionAdmin.own}.
 *
 * @since 0.6.0
 * @category models
 */
export interface ListOptions {
  /** The largest number of sessions of the page. Default 100, also for `NaN`. Fractions are cut off. */
  readonly limit?: number | undefined
  /** The last session of the previous page. It may have ended meanwhile. */
  readonly after?: Pick<SessionSummary, "createdAt" | "id"> | undefined
}

/**
 * A live session of {@link SessionAdmin.all}, with its data.
 *
 * @since 0.6.0
 * @category models
 */
export interface Entry<A, C = never> {
  readonly info: SessionSummary<C>
  readonly value: A
}

/**
 * A live session that cannot be read, and the reason.
 *
 * @since 0.6.0
 * @category models
 */
export interface Undecodable<C = never> {
  readonly id: SessionId
  /** Present if only the data does not fit the schema; absent if the whole record is corrupt. */
  readonly info: SessionSummary<C> | undefined
  /** One sentence, which never contains the data. */
  readonly problem: string
}

/**
 * A handle of a session that was opened by its id: without the members that need its token or would change it.
 *
 * @since 0.6.0
 * @category models
 */
export type HandleById<A, C = never> = Omit<
  SessionHandle<A, never, C>,
  | "authenticate"
  | "authenticateExclusively"
  | "elevate"
  | "drop"
  | "impersonate"
  | "endImpersonation"
  | "revokeOthers"
  | "rotate"
  | "cycleKey"
  | "destroy"
  | "flush"
  | "deleteTestCookie"
  | "optional"
  | "token"
>

/**
 * Session management outside a request. Handles that are opened here write nothing before `save`.
 *
 * @since 0.6.0
 * @category models
 */
export interface SessionAdmin<A, C = never> {
  /**
   * Opens the live session of a token, to read and change it as in a handler. `None` if there is none.
   *
   * @example
   * ```ts
   * import { Effect, type Redacted } from "effect"
   * import type { Sessions } from "effect-session/SessionService"
   *
   * declare const sessions: Sessions<{ readonly plan: string }>
   *
   * export const planOf = (token: Redacted.Redacted<string>) =>
   *   Effect.flatMap(Effect.flatten(sessions.open(token)), (session) => session.get("plan"))
   * ```
   */
  readonly open: (
    token: Redacted.Redacted<string>
  ) => Effect.Effect<Option.Option<SessionHandle<A, never, C>>, SessionUnavailable>
  /**
   * Opens the live session with a public id, to read and change it without its token. `None` if there is none, or if its data
   * cannot be decoded (the log contains the reason), as for all sessions of an engine with `seal: "token"`.
   *
   * A change is replayed if a request of the visitor writes first. It counts as a change but not as a use: it extends
   * `Expiry.sinceModified`, and not `Expiry.idle`. Members that would give the session a new token are missing, because it could
   * not be sent to the visitor.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import type { SessionId } from "effect-session"
   * import type { Sessions } from "effect-session/SessionService"
   *
   * declare const sessions: Sessions<{ readonly plan: string }>
   *
   * export const upgrade = (id: SessionId.SessionId) =>
   *   Effect.flatMap(
   *     Effect.flatten(sessions.openById(id)),
   *     (session) => Effect.zipRight(session.set("plan", "paid"), session.save)
   *   )
   * ```
   */
  readonly openById: (
    id: SessionId
  ) => Effect.Effect<Option.Option<HandleById<A, C>>, SessionUnavailable, SessionDirectory>
  /**
   * Creates and writes a session, even an empty one. Its token is `handle.token`. `lifetime` is the argument of `setExpiry`; with a
   * `subject`, the other options are those of `authenticate`.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import type { Sessions } from "effect-session/SessionService"
   *
   * declare const sessions: Sessions<{ readonly plan: string }>
   *
   * export const invite = Effect.flatMap(
   *   sessions.create({ plan: "trial" }, { subject: "ann" }),
   *   (session) => session.token
   * )
   * ```
   */
  readonly create: (
    fields?: Partial<A>,
    options?: LoginOptions<C> & { readonly subject?: string; readonly lifetime?: LifetimeInput }
  ) => Effect.Effect<SessionHandle<A, never, C>, SessionError>
  /**
   * Fails while the store cannot answer: for the readiness of a server. It loads a record that does not exist, within the engine's `timeout`
   * and past every cache, so it also finds a missing table or permission to read. An engine that keeps nothing outside of the cookie makes no
   * call. Sessions that are full, or a store that is read-only, are not noticed.
   *
   * @example
   * ```ts
   * import { HttpServerResponse } from "@effect/platform"
   * import { Effect, Schema } from "effect"
   * import { Session } from "effect-session"
   *
   * class AppSession extends Session.Tag<AppSession>()("app/Session", { schema: Schema.Struct({}) }) {}
   *
   * // An error is answered with 503.
   * export const ready = Effect.flatMap(AppSession.service, (sessions) =>
   *   Effect.as(sessions.ping, HttpServerResponse.empty()))
   * ```
   *
   * @since 0.6.0
   */
  readonly ping: Effect.Effect<void, SessionUnavailable>
  /** Returns whether a token belongs to a live session. */
  readonly exists: (token: Redacted.Redacted<string>) => Effect.Effect<boolean, SessionUnavailable>
  /** Ends the session of a token. Succeeds if there is none. */
  readonly destroy: (token: Redacted.Redacted<string>) => Effect.Effect<void, SessionUnavailable>
  /**
   * Streams all live sessions of the tag, decoded. Sessions that cannot be decoded are `Left` values and do not fail the stream.
   *
   * @example
   * ```ts
   * import { Either, Stream } from "effect"
   * import type { Sessions } from "effect-session/SessionService"
   *
   * declare const sessions: Sessions<{ readonly plan: string }>
   *
   * export const paying = sessions.all.pipe(
   *   Stream.filterMap(Either.getRight),
   *   Stream.filter(({ value }) => value.plan === "paid"),
   *   Stream.runCount
   * )
   * ```
   */
  readonly all: Stream.Stream<Either.Either<Entry<A, C>, Undecodable<C>>, SessionUnavailable, SessionDirectory>
  /**
   * Returns a page of the live sessions of a subject, oldest first: those after `after`, at most `limit`, 100 by default. A page with
   * fewer is the last one. A session whose record is corrupt is omitted and logged as a warning.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import type { Sessions } from "effect-session/SessionService"
   *
   * declare const sessions: Sessions<{ readonly name: string }>
   *
   * export const firstTwoPages = Effect.gen(function*() {
   *   const first = yield* sessions.list("ann")
   *   return [first, yield* sessions.list("ann", { after: first.at(-1) })]
   * })
   * ```
   */
  readonly list: (
    subject: string,
    page?: ListOptions
  ) => Effect.Effect<ReadonlyArray<SessionSummary<C>>, SessionUnavailable, SessionRevocation>
  /**
   * Streams all live sessions of a subject, oldest first, reading the store page by page.
   *
   * @since 0.6.0
   */
  readonly listAll: (subject: string) => Stream.Stream<SessionSummary<C>, SessionUnavailable, SessionRevocation>
  /**
   * Returns a page of a person's own sessions, as `list` does, with a mark on the session of the request that calls it: "my devices".
   *
   * @example
   * ```ts
   * import { Effect, Option } from "effect"
   * import type { SessionHandle } from "effect-session/SessionHandle"
   * import type { Sessions } from "effect-session/SessionService"
   *
   * declare const session: SessionHandle<object>
   * declare const sessions: Sessions<object>
   *
   * export const devices = Effect.flatMap(
   *   session.subject,
   *   Option.match({ onNone: () => Effect.succeed([]), onSome: (user) => sessions.own(user) })
   * )
   * ```
   *
   * @since 0.6.0
   */
  readonly own: (
    subject: string,
    page?: ListOptions
  ) => Effect.Effect<ReadonlyArray<OwnSession<C>>, SessionUnavailable, SessionRevocation>
  /**
   * Ends one session of a subject by its public id. Returns false, and ends nothing, if there is none or if it belongs to another subject:
   * the store checks that in the step that ends it, so the id may come from the visitor.
   *
   * @since 0.6.0
   */
  readonly revokeOwn: (
    subject: string,
    id: SessionId
  ) => Effect.Effect<boolean, SessionUnavailable, SessionRevocation>
  /** Ends one session by its public id. Returns false if there was none. */
  readonly revoke: (id: SessionId) => Effect.Effect<boolean, SessionUnavailable, SessionRevocation>
  /**
   * Ends every session of a subject but `except`, by one write. If it ends the session of the calling request, a login of the
   * same subject in that request keeps the data. To end the other sessions at a login, use `authenticateExclusively`: before the
   * commit the new session has no id for `except`, and of concurrent logins it leaves exactly one session.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import type { Sessions } from "effect-session/SessionService"
   *
   * declare const sessions: Sessions<{ readonly plan: string }>
   *
   * export const logOutEverywhere = (user: string) =>
   *   Effect.zipRight(sessions.revokeSubject(user), Effect.logInfo(`Ended all sessions of ${user}`))
   * ```
   */
  readonly revokeSubject: (
    subject: string,
    options?: { readonly except?: SessionId | undefined }
  ) => Effect.Effect<void, SessionUnavailable, SessionRevocation>
  /** Ends every session of the tag, by one write. */
  readonly revokeAll: Effect.Effect<void, SessionUnavailable, SessionRevocation>
}
