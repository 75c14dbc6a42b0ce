/**
 * Sessions outside a request: for jobs, scripts and administration.
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
import type { SessionHandle } from "./SessionHandle.js"
import type { SessionId } from "./SessionId.js"
import type { SessionRevocation } from "./SessionRevocation.js"

/**
 * The metadata of a live session, without its data and its token.
 *
 * @since 0.6.0
 * @category models
 */
export interface SessionSummary {
  /** The public id: for `openById` and `revoke`. */
  readonly id: SessionId
  /** The subject, usually a user id; absent for an anonymous session. */
  readonly subject: string | undefined
  readonly createdAt: DateTime.Utc
  /** The last login; absent if nobody has logged in. */
  readonly authenticatedAt: DateTime.Utc | undefined
  /** The last change of data, subject or lifetime. */
  readonly modifiedAt: DateTime.Utc
  /** The last use that was written: at most once per touch window, a tenth of the idle limit unless `touchEvery` is set. */
  readonly lastSeenAt: DateTime.Utc
  /** The end of the session if it is not used again. */
  readonly endsAt: DateTime.Utc
  /** The end that no activity moves; absent if the policy has none. */
  readonly deadline: DateTime.Utc | undefined
  /** The lifetime that `setExpiry` has given to this session; absent if the policy applies. */
  readonly lifetime: Lifetime | undefined
  /** The encoded attributes of the record; absent if it has none. */
  readonly attributes: string | undefined
  /** The number of writes: grows by one with every save and rotation. */
  readonly version: number
  /** The version of the schema that wrote the data. */
  readonly schemaVersion: number
}

/**
 * One page of {@link SessionAdmin.list}.
 *
 * @since 0.6.0
 * @category models
 */
export interface ListOptions {
  /** The largest number of sessions of the page. Default 100. */
  readonly limit?: number | undefined
  /** The last session of the page before. It may have ended meanwhile. */
  readonly after?: Pick<SessionSummary, "createdAt" | "id"> | undefined
}

/**
 * A live session of {@link SessionAdmin.all}, with its data.
 *
 * @since 0.6.0
 * @category models
 */
export interface Entry<A> {
  readonly info: SessionSummary
  readonly value: A
}

/**
 * A live session that cannot be read, and the reason.
 *
 * @since 0.6.0
 * @category models
 */
export interface Undecodable {
  readonly id: SessionId
  /** Present if only the data does not fit the schema; absent if the whole record is corrupt. */
  readonly info: SessionSummary | undefined
  /** One sentence, which never contains the data. */
  readonly problem: string
}

/**
 * A session that was opened by its id: without what needs its token, or would give it another one.
 *
 * @since 0.6.0
 * @category models
 */
export type HandleById<A> = Omit<
  SessionHandle<A>,
  | "authenticate"
  | "authenticateExclusively"
  | "rotate"
  | "cycleKey"
  | "destroy"
  | "flush"
  | "deleteTestCookie"
  | "optional"
  | "token"
>

/**
 * What can be done with sessions outside a request. A handle that is opened here writes nothing before its `save`.
 *
 * @since 0.6.0
 * @category models
 */
export interface SessionAdmin<A> {
  /** The live session that a token leads to, to be read and changed as in a handler. */
  readonly open: (
    token: Redacted.Redacted<string>
  ) => Effect.Effect<Option.Option<SessionHandle<A>>, SessionUnavailable>
  /**
   * The live session with a public id, to be read and changed without its token: for jobs and administration. Nothing if there is
   * none, or if its data cannot be read (the log says why); the latter holds for all sessions of an engine with `seal: "token"`.
   *
   * A change is replayed if a request of the visitor is faster. It counts as a change, and not as a use: it moves an end that is
   * counted from the last change (`Expiry.sinceModified`), and none that is counted from the last use. What would give the session
   * a new token is not offered, because the visitor could not be sent it.
   */
  readonly openById: (
    id: SessionId
  ) => Effect.Effect<Option.Option<HandleById<A>>, SessionUnavailable, SessionDirectory>
  /**
   * Makes a session, even an empty one, and writes it. Its token is `handle.token`. `lifetime` is what `setExpiry` takes.
   */
  readonly create: (
    fields?: Partial<A>,
    options?: { readonly subject?: string; readonly lifetime?: LifetimeInput }
  ) => Effect.Effect<SessionHandle<A>, SessionError>
  /** Whether a token leads to a live session. */
  readonly exists: (token: Redacted.Redacted<string>) => Effect.Effect<boolean, SessionUnavailable>
  /** Ends the session that a token leads to. An unknown token is fine. */
  readonly destroy: (token: Redacted.Redacted<string>) => Effect.Effect<void, SessionUnavailable>
  /** All live sessions of the tag, decoded. Those that cannot be read come as values; the stream goes on. */
  readonly all: Stream.Stream<Either.Either<Entry<A>, Undecodable>, SessionUnavailable, SessionDirectory>
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
  ) => Effect.Effect<ReadonlyArray<SessionSummary>, SessionUnavailable, SessionDirectory>
  /**
   * All live sessions of a subject, oldest first, read from the store page by page as the stream is pulled.
   *
   * @since 0.6.0
   */
  readonly listAll: (subject: string) => Stream.Stream<SessionSummary, SessionUnavailable, SessionDirectory>
  /** Ends one session by its public id. False if there was none. */
  readonly revoke: (id: SessionId) => Effect.Effect<boolean, SessionUnavailable, SessionRevocation>
  /**
   * Ends every session of a subject but `except`, by one write. At a login, before `authenticate` has been written, there is
   * nothing to except: the session that it makes is another one. If it ends the session of the request that calls it, a login of
   * the same subject in that request keeps the data. For a login that ends the others, `authenticateExclusively` is better: it
   * also leaves one session where two such logins come at once.
   */
  readonly revokeSubject: (
    subject: string,
    options?: { readonly except?: SessionId | undefined }
  ) => Effect.Effect<void, SessionUnavailable, SessionRevocation>
  /** Ends every session of the tag, by one write. */
  readonly revokeAll: Effect.Effect<void, SessionUnavailable, SessionRevocation>
}
