/**
 * Sessions outside a request: for jobs, scripts and administration.
 *
 * @since 0.6.0
 */
import type * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import type * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type * as Stream from "effect/Stream"
import type { LifetimeInput } from "./Lifetime.js"
import type { SessionDirectory } from "./SessionDirectory.js"
import type { SessionError, SessionUnavailable } from "./SessionError.js"
import type { SessionHandle } from "./SessionHandle.js"
import type { SessionId } from "./SessionId.js"
import type { SessionInfo } from "./SessionRecord.js"
import type { SessionRevocation } from "./SessionRevocation.js"
import type { Page } from "./SessionStore.js"

/**
 * A live session in a listing.
 *
 * @since 0.6.0
 * @category models
 */
export interface Entry<A> {
  readonly info: SessionInfo
  readonly value: A
}

/**
 * A live session that cannot be read, and why.
 *
 * @since 0.6.0
 * @category models
 */
export interface Undecodable {
  readonly id: SessionId
  /** There if it is the data that does not fit the schema; absent if the whole record is damaged. */
  readonly info: SessionInfo | undefined
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
  "authenticate" | "authenticateExclusively" | "rotate" | "destroy" | "deleteTestCookie" | "optional" | "token"
>

/**
 * What can be done with sessions outside a request. Nothing is written before `commit`.
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
  /** Writes what was changed: the same as `handle.save`. */
  readonly commit: (handle: Pick<SessionHandle<A>, "save">) => Effect.Effect<void, SessionError>
  /** Whether a token leads to a live session. */
  readonly exists: (token: Redacted.Redacted<string>) => Effect.Effect<boolean, SessionUnavailable>
  /** Ends the session that a token leads to. An unknown token is fine. */
  readonly destroy: (token: Redacted.Redacted<string>) => Effect.Effect<void, SessionUnavailable>
  /** All live sessions of the tag, decoded. Those that cannot be read come as values; the stream goes on. */
  readonly all: Stream.Stream<Either.Either<Entry<A>, Undecodable>, SessionUnavailable, SessionDirectory>
  /**
   * A page of the live sessions of a subject, oldest first: those after `after`, at most `limit` (100 unless it is said). A
   * shorter page is the last one. One whose record is damaged is left out, with a warning in the log.
   *
   * @example
   * ```ts
   * import type { Session, SessionError } from "effect-session"
   * import type { SessionDirectory } from "effect-session/SessionDirectory"
   * import { Effect } from "effect"
   *
   * declare const sessions: SessionService.Sessions<{ readonly name: string }>
   *
   * export const firstTwoPages = Effect.gen(function*() {
   *   const first = yield* sessions.list("ann")
   *   return [first, yield* sessions.list("ann", { after: first.at(-1) })]
   * })
   * ```
   */
  readonly list: (
    subject: string,
    page?: Page
  ) => Effect.Effect<ReadonlyArray<SessionInfo>, SessionUnavailable, SessionDirectory>
  /**
   * All live sessions of a subject, oldest first, read page by page as they are asked for.
   *
   * @since 0.6.0
   */
  readonly listAll: (subject: string) => Stream.Stream<SessionInfo, SessionUnavailable, SessionDirectory>
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
