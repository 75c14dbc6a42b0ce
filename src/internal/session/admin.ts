/**
 * Session management outside a request: for jobs, scripts and administration.
 */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import type { Entry, ListOptions, SessionAdmin, SessionSummary, Undecodable } from "../../SessionAdmin.js"
import { SessionDirectory } from "../../SessionDirectory.js"
import type { SessionUnavailable } from "../../SessionError.js"
import type { SessionId } from "../../SessionId.js"
import type { SessionInfo, SessionRecord } from "../../SessionRecord.js"
import { SessionRevocation } from "../../SessionRevocation.js"
import type { Corrupt, EndReason, Located, SessionStoreError } from "../../SessionStore.js"
import * as Attributes from "../domain/attributes.js"
import { isCorruptEntry } from "../store/corrupt.js"
import { listed as allListed, pages } from "../store/pages.js"
import type { ContextCodec } from "./context.js"
import type { Core } from "./core.js"
import * as EngineById from "./engineById.js"
import { log, unavailable } from "./errors.js"
import * as Events from "./events.js"
import { Handle } from "./handle.js"
import { Live } from "./live.js"
import { decode } from "./open.js"
import { spannedIfTraced } from "./spans.js"

/** Records in one page of the stream. */
const pageSize = 100

/**
 * Records in one page of a subject's list, without data. Large, because some stores read all records of the subject for each
 * page.
 */
const listSize = 1000

/** Converts the metadata of a record to the public summary. */
const summaryOf =
  <C>(name: string, context: ContextCodec<C>) => (record: SessionInfo): Effect.Effect<SessionSummary<C>> => {
    // Attributes that cannot be decoded make the session unreadable, but do not hide it from a list.
    const attributes = Option.getOrElse(Attributes.decode(record.attributes), () => Attributes.none)
    return Effect.map(
      context.decode(name, attributes.context),
      (context) => summarized(record, attributes, Option.getOrUndefined(context))
    )
  }

const summarized = <C>(
  record: SessionInfo,
  attributes: Attributes.Attributes,
  context: C | undefined
): SessionSummary<C> => {
  const { authenticatedAt, expiry, id, schemaVersion, subject, version } = record
  const { level, methods } = Attributes.authentication(attributes, subject === undefined ? undefined : authenticatedAt)
  return {
    id,
    subject,
    impersonating: attributes.impersonating,
    methods,
    level,
    isRemembered: attributes.remembered === true,
    context,
    createdAt: DateTime.unsafeMake(record.createdAt),
    authenticatedAt: authenticatedAt === undefined ? undefined : DateTime.unsafeMake(authenticatedAt),
    modifiedAt: DateTime.unsafeMake(record.modifiedAt),
    lastSeenAt: DateTime.unsafeMake(record.lastSeenAt),
    endsAt: DateTime.unsafeMake(expiry.at),
    deadline: expiry.deadline === undefined ? undefined : DateTime.unsafeMake(expiry.deadline),
    lifetime: expiry.lifetime,
    version,
    schemaVersion
  }
}

export const adminOf = <A extends object, C>(core: Core<A>, context: ContextCodec<C>): SessionAdmin<A, C> => {
  const summary = summaryOf(core.name, context)
  const known = <B, R>(effect: Effect.Effect<B, SessionStoreError, R>) =>
    Effect.tapError(Effect.mapError(effect, (error) => unavailable(core, error)), log)

  const entry = (one: Located | Corrupt): Effect.Effect<Either.Either<Entry<A, C>, Undecodable<C>>> => {
    if (isCorruptEntry(one)) {
      return Effect.succeed(Either.left({ id: one.id, info: undefined, problem: one.error.message }))
    }
    return Effect.flatMap(summary(one), (info) =>
      Effect.either(Effect.mapBoth(decode(core, one), {
        onSuccess: ({ decoded }) => ({ info, value: decoded }),
        onFailure: (problem) => ({ id: info.id, info, problem })
      })))
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

  /** Returns a page of the sessions of a subject, without their data. */
  const listed = (subject: string, { after, limit = pageSize }: ListOptions = {}) => {
    const page = {
      // A limit may come from a query string: the databases reject fractions and NaN, which is no outage.
      limit: Number.isNaN(limit) ? pageSize : Math.min(Math.max(Math.trunc(limit), 0), Number.MAX_SAFE_INTEGER),
      after: after === undefined ? undefined : { id: after.id, createdAt: DateTime.toEpochMillis(after.createdAt) }
    }
    return Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Effect.flatMap(
        known(Effect.flatMap(SessionRevocation, ({ list }) => list(core.namespace, subject, now, page))),
        Effect.forEach(summary)
      ))
  }

  /** Returns the state of the request that calls: its handle is among its services, under a tag with the name of the core. */
  const requestIn = (context: Context.Context<never>): Live<A> | undefined =>
    Handle.liveOf(core, context.unsafeMap.get(core.name))

  /** Returns the id of the session of the request that calls, if there is one. */
  const currentId = Effect.contextWithEffect((context: Context.Context<never>) => {
    const live = requestIn(context)
    return live === undefined
      ? Effect.succeed(undefined)
      : Effect.orElseSucceed(live.read(() => live.loaded?.record.id, false), () => undefined)
  })

  /** Runs a revocation. If it is called in a request, that request detects whether it has ended its own session. */
  const revoking = <B, R>(
    reason: EndReason,
    which: { readonly id?: SessionId; readonly subject?: string },
    ends: (record: SessionRecord) => boolean,
    revoke: Effect.Effect<B, SessionStoreError, R>
  ): Effect.Effect<B, SessionUnavailable, R> =>
    Effect.contextWithEffect((context: Context.Context<R>) => {
      const live = requestIn(context)
      const done = spannedIfTraced("revoke", core.name, Effect.provide(known(revoke), context))
      const ended = Effect.zipLeft(live === undefined ? done : live.revoking(ends, done), core.watchers.wakeAll)
      return Effect.zipLeft(
        ended,
        Effect.map(Clock.currentTimeMillis, (now) => {
          Events.ended(core, now, which, reason, live?.loaded?.record)
        })
      )
    })

  return {
    openById: (id) =>
      Effect.flatMap(SessionDirectory, (directory) => {
        const byId: Core<A> = {
          ...core,
          engine: EngineById.make(core, directory),
          isSynchronous: false,
          isBackground: true
        }
        const live = new Live(byId, { presented: true, values: [id] })
        // There is no response that could carry a cookie.
        live.detached = true
        const session = Handle.of(byId, context, live)
        return Effect.map(session.id, Option.as(session))
      }),
    open: (token) =>
      Effect.suspend(() => {
        const session = Handle.of(
          core,
          context,
          new Live(core, { presented: true, values: [Redacted.value(token)] })
        )
        return Effect.map(session.id, Option.as(session))
      }),
    create: (fields = {}, { lifetime, subject, ...login } = {}) =>
      Effect.suspend(() => {
        const session = Handle.of(core, context, new Live(core, { presented: false, values: [] }))
        return Effect.as(
          Effect.all([
            session.setTestCookie,
            session.patch(fields),
            subject === undefined ? Effect.void : session.authenticate(subject, login),
            lifetime === undefined ? Effect.void : session.setExpiry(lifetime),
            session.save
          ]),
          session
        )
      }),
    ping: Effect.flatMap(Clock.currentTimeMillis, (now) => known(core.engine.ping?.(now) ?? Effect.void)),
    exists: (token) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.map(known(core.engine.open(token, now)), Option.isSome)),
    destroy: (token) => Effect.zipRight(known(core.engine.destroy(token)), core.watchers.wake(token)),
    all: sessions,
    list: listed,
    listAll: (subject) =>
      Stream.unwrap(
        Effect.map(SessionRevocation, (directory) => allListed(directory, core.namespace, subject, listSize))
      )
        .pipe(
          Stream.mapError((error) => unavailable(core, error)),
          Stream.tapError(log),
          Stream.flattenIterables,
          Stream.mapEffect(summary)
        ),
    own: (subject, page) =>
      Effect.zipWith(
        listed(subject, page),
        currentId,
        (sessions, current) => sessions.map((one) => ({ ...one, isCurrent: one.id === current }))
      ),
    revokeOwn: (subject, id) =>
      revoking(
        "revoked",
        { id, subject },
        (record) => record.id === id && record.subject === subject,
        Effect.flatMap(SessionRevocation, ({ revoke }) => revoke(core.namespace, id, subject))
      ),
    revoke: (id) =>
      revoking(
        "revoked",
        { id },
        (record) => record.id === id,
        Effect.flatMap(SessionRevocation, ({ revoke }) => revoke(core.namespace, id))
      ),
    revokeSubject: (subject, { except } = {}) =>
      revoking(
        "subjectRevoked",
        { subject },
        (record) => record.subject === subject && record.id !== except,
        Effect.flatMap(SessionRevocation, ({ revokeSubject }) => revokeSubject(core.namespace, subject, except))
      ),
    revokeAll: revoking(
      "allRevoked",
      {},
      () => true,
      Effect.flatMap(SessionRevocation, ({ revokeAll }) => revokeAll(core.namespace))
    )
  }
}
