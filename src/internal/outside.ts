/**
 * Sessions outside a request: jobs, scripts, administration.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { SessionDirectory } from "../SessionDirectory.js"
import type { SessionError, SessionUnavailable } from "../SessionError.js"
import type { SessionHandle } from "../SessionHandle.js"
import type { SessionId } from "../SessionId.js"
import type { SessionInfo } from "../SessionRecord.js"
import { SessionRevocation } from "../SessionRevocation.js"
import type { Damaged, Located, Page, SessionStoreError } from "../SessionStore.js"
import type { Core } from "./core.js"
import { isDamaged } from "./damaged.js"
import { Handle } from "./handle.js"
import { LiveSession } from "./liveSession.js"
import { decode } from "./opening.js"
import { listed, pages } from "./pages.js"
import { log, unavailable } from "./refusals.js"

/** A live session in a listing. */
export interface Entry<A> {
  readonly info: SessionInfo
  readonly value: A
}

/** A live session that cannot be read, and why. */
export interface Undecodable {
  readonly id: SessionId
  /** There if it is the data that does not fit the schema; absent if the whole record is damaged. */
  readonly info: SessionInfo | undefined
  readonly problem: string
}

/** What can be done with sessions outside a request. Nothing is written before `commit`. */
export interface Outside<A> {
  /** The live session that a token leads to, to be read and changed as in a handler. */
  readonly open: (
    token: Redacted.Redacted<string>
  ) => Effect.Effect<Option.Option<SessionHandle<A>>, SessionUnavailable>
  /** Makes a session, even an empty one, and writes it. Its token is `handle.token`. */
  readonly create: (
    fields?: Partial<A>,
    options?: { readonly subject?: string }
  ) => Effect.Effect<SessionHandle<A>, SessionError>
  /** Writes what was changed: the same as `handle.save`. */
  readonly commit: (handle: SessionHandle<A>) => Effect.Effect<void, SessionError>
  /** Whether a token leads to a live session. */
  readonly exists: (token: Redacted.Redacted<string>) => Effect.Effect<boolean, SessionUnavailable>
  /** Ends the session that a token leads to. An unknown token is fine. */
  readonly destroy: (token: Redacted.Redacted<string>) => Effect.Effect<void, SessionUnavailable>
  /** All live sessions of the tag, decoded. Those that cannot be read come as values; the stream goes on. */
  readonly sessions: Stream.Stream<Either.Either<Entry<A>, Undecodable>, SessionUnavailable, SessionDirectory>
  /**
   * A page of the live sessions of a subject, oldest first: those after `after`, at most `limit` (100 unless it is said). A
   * shorter page is the last one. One whose record is damaged is left out, with a warning in the log.
   *
   * @example
   * ```ts
   * import type { Session, SessionDirectory, SessionError } from "effect-session"
   * import { Effect } from "effect"
   *
   * declare const sessions: Session.Service<{ readonly name: string }>
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
   * nothing to except: the session that it makes is another one.
   */
  readonly revokeSubject: (
    subject: string,
    options?: { readonly except?: SessionId | undefined }
  ) => Effect.Effect<void, SessionUnavailable, SessionRevocation>
  /** Ends every session of the tag, by one write. */
  readonly revokeAll: Effect.Effect<void, SessionUnavailable, SessionRevocation>
}

/** How many records one page of the stream holds. */
const pageSize = 100

/** The same without their data, of one subject: a page costs some stores a look at all of them. */
const listSize = 1000

export const outside = <A extends object>(core: Core<A>): Outside<A> => {
  const known = <B, R>(effect: Effect.Effect<B, SessionStoreError, R>) =>
    Effect.tapError(Effect.mapError(effect, (error) => unavailable(core, error)), log)

  const entry = (one: Located | Damaged): Effect.Effect<Either.Either<Entry<A>, Undecodable>> => {
    if (isDamaged(one)) {
      return Effect.succeed(Either.left({ id: one.id, info: undefined, problem: one.error.message }))
    }
    const { data, key: _, ...info } = one
    return Effect.either(Effect.mapBoth(decode(core, { ...info, data }), {
      onSuccess: ({ decoded }) => ({ info, value: decoded }),
      onFailure: (problem) => ({ id: info.id, info, problem })
    }))
  }

  const sessions = Stream.unwrap(
    Effect.map(SessionDirectory, (directory) => pages(directory, core.namespace, pageSize))
  )
    .pipe(
      Stream.mapError((error) => unavailable(core, error)),
      Stream.tapError(log),
      Stream.mapEffect(({ found }) => Effect.forEach(found, entry)),
      Stream.flattenIterables
    )

  return {
    open: (token) =>
      Effect.suspend(() => {
        const session = new Handle(
          core,
          new LiveSession(core, { presented: true, values: [Redacted.value(token)] })
        )
        return Effect.map(session.id, Option.as(session))
      }),
    create: (fields = {}, { subject } = {}) =>
      Effect.suspend(() => {
        const session = new Handle(core, new LiveSession(core, { presented: false, values: [] }))
        return Effect.as(
          Effect.all([
            session.setTestCookie,
            session.patch(fields),
            subject === undefined ? Effect.void : session.authenticate(subject),
            session.save
          ]),
          session
        )
      }),
    commit: (handle) => handle.save,
    exists: (token) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.map(known(core.engine.open(token, now)), Option.isSome)),
    destroy: (token) => Effect.zipRight(known(core.engine.destroy(token)), core.watchers.wake(token)),
    sessions,
    list: (subject, page) =>
      Effect.flatMap(
        Clock.currentTimeMillis,
        (now) => known(Effect.flatMap(SessionDirectory, ({ list }) => list(core.namespace, subject, now, page)))
      ),
    listAll: (subject) =>
      Stream.unwrap(Effect.map(SessionDirectory, (directory) => listed(directory, core.namespace, subject, listSize)))
        .pipe(
          Stream.mapError((error) => unavailable(core, error)),
          Stream.tapError(log),
          Stream.flattenIterables
        ),
    revoke: (id) =>
      Effect.zipLeft(
        known(Effect.flatMap(SessionRevocation, ({ revoke }) => revoke(core.namespace, id))),
        core.watchers.wakeAll
      ),
    revokeSubject: (subject, { except } = {}) =>
      Effect.zipLeft(
        known(Effect.flatMap(SessionRevocation, ({ revokeSubject }) => revokeSubject(core.namespace, subject, except))),
        core.watchers.wakeAll
      ),
    revokeAll: Effect.zipLeft(
      known(Effect.flatMap(SessionRevocation, ({ revokeAll }) => revokeAll(core.namespace))),
      core.watchers.wakeAll
    )
  }
}
