/**
 * Sessions outside a request: jobs, scripts, administration.
 */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import type { LifetimeInput } from "../Lifetime.js"
import { SessionDirectory } from "../SessionDirectory.js"
import type { SessionError, SessionUnavailable } from "../SessionError.js"
import type { SessionHandle } from "../SessionHandle.js"
import type { SessionId } from "../SessionId.js"
import type { SessionInfo, SessionRecord } from "../SessionRecord.js"
import { SessionRevocation } from "../SessionRevocation.js"
import type { Damaged, Located, SessionStoreError } from "../SessionStore.js"
import type { Core } from "./core.js"
import { isDamaged } from "./damaged.js"
import * as EngineById from "./engineById.js"
import { Handle } from "./handle.js"
import { LiveSession } from "./liveSession.js"
import { decode } from "./opening.js"
import { pages } from "./pages.js"
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
  readonly sessions: Stream.Stream<Either.Either<Entry<A>, Undecodable>, SessionUnavailable, SessionDirectory>
  /** The live sessions of a subject, oldest first. One whose record is damaged is left out, with a warning in the log. */
  readonly list: (
    subject: string
  ) => Effect.Effect<ReadonlyArray<SessionInfo>, SessionUnavailable, SessionDirectory>
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

/**
 * A session that was opened by its id: without what needs its token, or would give it another one.
 *
 * @since 0.6.0
 */
export type HandleById<A> = Omit<
  SessionHandle<A>,
  "authenticate" | "authenticateExclusively" | "cycleKey" | "flush" | "deleteTestCookie" | "optional" | "token"
>

/** How many records one page of the stream holds. */
const pageSize = 100

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

  /** Runs a revocation; the request that it is called in, if any, learns whether it has ended its own session. */
  const revoking = <B, R>(
    ends: (record: SessionRecord) => boolean,
    revoke: Effect.Effect<B, SessionStoreError, R>
  ): Effect.Effect<B, SessionUnavailable, R> =>
    Effect.contextWithEffect((context: Context.Context<R>) => {
      // The tag of a session has the name of its core, and its handle is among the services of a request.
      const live = Handle.liveOf(core, context.unsafeMap.get(core.name))
      const done = Effect.provide(known(revoke), context)
      return Effect.zipLeft(live === undefined ? done : live.revoking(ends, done), core.watchers.wakeAll)
    })

  return {
    openById: (id) =>
      Effect.flatMap(SessionDirectory, (directory) => {
        const live = new LiveSession({ ...core, engine: EngineById.make(core, directory), unattended: true }, {
          presented: true,
          values: [id]
        })
        // No response carries a cookie.
        live.detach()
        const session = new Handle(core, live)
        return Effect.map(session.id, Option.as(session))
      }),
    open: (token) =>
      Effect.suspend(() => {
        const session = new Handle(
          core,
          new LiveSession(core, { presented: true, values: [Redacted.value(token)] })
        )
        return Effect.map(session.id, Option.as(session))
      }),
    create: (fields = {}, { lifetime, subject } = {}) =>
      Effect.suspend(() => {
        const session = new Handle(core, new LiveSession(core, { presented: false, values: [] }))
        return Effect.as(
          Effect.all([
            session.setTestCookie,
            session.patch(fields),
            subject === undefined ? Effect.void : session.authenticate(subject),
            lifetime === undefined ? Effect.void : session.setExpiry(lifetime),
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
    list: (subject) =>
      Effect.flatMap(
        Clock.currentTimeMillis,
        (now) => known(Effect.flatMap(SessionDirectory, ({ list }) => list(core.namespace, subject, now)))
      ),
    revoke: (id) =>
      revoking(
        (record) => record.id === id,
        Effect.flatMap(SessionRevocation, ({ revoke }) => revoke(core.namespace, id))
      ),
    revokeSubject: (subject, { except } = {}) =>
      revoking(
        (record) => record.subject === subject && record.id !== except,
        Effect.flatMap(SessionRevocation, ({ revokeSubject }) => revokeSubject(core.namespace, subject, except))
      ),
    revokeAll: revoking(() => true, Effect.flatMap(SessionRevocation, ({ revokeAll }) => revokeAll(core.namespace)))
  }
}
