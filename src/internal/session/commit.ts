/**
 * The end of a request, or a save in the middle of one: decides what the session needs, and writes it. On a conflict, the steps
 * of the request are replayed on the fresh record.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Expiry from "../../Expiry.js"
import * as Lifetime from "../../Lifetime.js"
import type { SessionChange, State } from "../../SessionChange.js"
import { decide } from "../../SessionChange.js"
import * as SessionCookie from "../../SessionCookie.js"
import type { Draft, Step } from "../../SessionDraft.js"
import * as SessionDraft from "../../SessionDraft.js"
import type { CookieValue, OwedCookie, Write } from "../../SessionEngine.js"
import type { SessionError } from "../../SessionError.js"
import { SessionConflict, SessionCrossSite, SessionGone } from "../../SessionError.js"
import * as SessionId from "../../SessionId.js"
import * as SessionMetrics from "../../SessionMetrics.js"
import type { SessionRecord } from "../../SessionRecord.js"
import type { SessionRevocation } from "../../SessionRevocation.js"
import { SessionStoreError } from "../../SessionStore.js"
import { randomBytes } from "../crypto/primitives.js"
import * as Done from "../done.js"
import type { Json, JsonRecord } from "../json.js"
import * as Deadline from "../store/deadline.js"
import { causeOf } from "../store/defects.js"
import type { Core } from "./core.js"
import * as EngineById from "./engineById.js"
import * as Errors from "./errors.js"
import type { Loaded } from "./open.js"
import { decode, labelsOf, load } from "./open.js"

/** The state of a request, as far as a commit depends on it. It decides by the fields that it sets itself first. */
export interface Uncommitted<A extends object> extends State {
  changed: boolean
  rotates: boolean
  lastSeenAt: number
  touchWindow: number | undefined
  /** Absent while nothing was opened. */
  readonly draft: Draft<A> | undefined
  readonly loaded: Loaded<A> | undefined
  readonly steps: ReadonlyArray<{ readonly step: Step<A> }>
  /** The fields whose stored content the handler has seen. */
  readonly reads: { readonly all: ReadonlyArray<keyof A & string> }
  /** The cookie values that end with the session. */
  readonly values: ReadonlyArray<CookieValue>
  readonly ambiguous: boolean
  readonly used: boolean
  /** No response will carry a cookie. */
  readonly detached: boolean
  /** What becomes of a new session, if another site made the request and the browser did not send the cookie. */
  readonly withheld: "refuse" | "discard" | undefined
  /** A touch that cannot be written is no error. */
  readonly allowsStale: boolean
  readonly carried: Loaded<A> | undefined
  /** Ends the other sessions of a subject that logs in exclusively. */
  readonly revocation: Context.Tag.Service<SessionRevocation> | undefined
}

/** What a commit leaves. */
export interface Committed<A> {
  /** The record from now on; absent: there is none any more. */
  readonly loaded: Loaded<A> | undefined
  readonly owed: OwedCookie | undefined
  /** Fields that the handler had read and that turned out to be changed. */
  readonly outdated: ReadonlyArray<keyof A & string>
  /** The session was written, and what had to follow was not done. */
  readonly failed?: SessionError
}

type Changes = ReadonlyMap<string, Json | undefined>

/** A draft to write, the record that it is written over, and what leads from one to the other. */
interface Work<A> {
  readonly loaded: Loaded<A> | undefined
  readonly draft: Draft<A>
  readonly steps: ReadonlyArray<{ readonly step: Step<A> }>
  /** The value that the handler had loaded. */
  readonly origin: A
  /** The encoded fields that differ. */
  readonly changes: Changes
  /** The record of a session that has ended, whose data a new session of the same subject starts from. */
  readonly carried: Loaded<A> | undefined
}

/** A record that was written or found, and whether the steps were replayed on it. Absent: the session had ended, and that was fine. */
type Written<A> = { readonly loaded: Loaded<A>; readonly replayed: boolean } | undefined

/** Decides and writes. Gives nothing where there was nothing to do. */
export const commit = <A extends object>(
  core: Core<A>,
  live: Uncommitted<A>,
  status: number,
  fiber: Done.RuntimeFiber
): Effect.Effect<Committed<A> | undefined, SessionError> => {
  const { draft, loaded } = live
  if (draft === undefined) return Exit.succeed(undefined)
  return Done.flatMap(changesOf(core, draft), (changes) => {
    const now = Done.millisOf(fiber)
    const { carried, steps } = live
    const work: Work<A> = { loaded, draft, steps, origin: draft.loaded, changes, carried }
    live.changed = isChanged(work)
    live.rotates = draft.rotates
    live.lastSeenAt = loaded?.record.lastSeenAt ?? now
    live.touchWindow = live.used && !core.unattended ? touchWindow(core, loaded) : undefined
    const change = decide(live, now, status)
    const count = (outcome: SessionMetrics.CommitOutcome) =>
      SessionMetrics.commits.unsafeUpdate(outcome, labelsOf(fiber))
    count(change)
    if (change === "Keep") return Exit.succeed(undefined)
    // A new token that cannot be sent would lock the visitor out of the session.
    if (live.detached && needsCookie(core, change)) {
      return change === "Touch" || change === "Reseal"
        ? Exit.succeed(undefined)
        : Exit.fail(Errors.committed(core))
    }
    if (live.withheld !== undefined && change === "Create" && !draft.authenticated) {
      return live.withheld === "refuse" ? Exit.fail(new SessionCrossSite({ session: core.name })) : Effect.as(
        Effect.logDebug(
          `A visitor came to "${core.name}" by a link of another site, without the session cookie (SameSite=Strict). The ` +
            "new session was dropped: its cookie would have replaced the visitor's own."
        ),
        undefined
      )
    }
    const performed = toTheEnd(core, () => perform(core, change, live, work, now))
    return Done.isDone(performed) && Exit.isSuccess(performed)
      ? performed
      : Effect.tapError(performed, ({ _tag }) => Effect.sync(() => count(failures[_tag] ?? "unavailable")))
  })
}

const failures: Readonly<Record<string, "conflict" | "gone">> = { SessionConflict: "conflict", SessionGone: "gone" }

const touchWindow = <A extends object>({ settings }: Core<A>, loaded: Loaded<A> | undefined): number | undefined => {
  const lifetime = loaded?.record.expiry.lifetime
  return settings.touchEvery ??
    (lifetime === undefined ? settings.touchWindow : Expiry.touchWindow(settings.expiry, lifetime))
}

const needsCookie = <A extends object>(core: Core<A>, change: SessionChange): boolean =>
  core.engine.selfContained
    ? change !== "Destroy"
    : change === "Create" || change === "Rotate" || change === "Replace"

/** What differs between a draft and its record. The steps checked every value, so it cannot fail to encode. */
const changesOf = <A extends object>(core: Core<A>, draft: Draft<A>): Effect.Effect<Changes, SessionError> =>
  draft.touched.size === 0 ? Exit.succeed(noChanges) : Done.mapError(
    SessionDraft.diff(core.schema, draft),
    (misfit) => Errors.invalid(core, misfit)
  )

const noChanges: Changes = new Map()

/** Whether data or metadata differ from the record. */
const isChanged = <A extends object>(
  { changes, draft, loaded }: Pick<Work<A>, "changes" | "draft" | "loaded">
): boolean =>
  changes.size > 0 ||
  (loaded === undefined
    ? draft.subject !== undefined || draft.lifetime !== undefined || draft.kept
    : draft.cleared || draft.renewed || draft.forceSave || draft.subject !== loaded.record.subject ||
      (draft.lifetime !== loaded.record.expiry.lifetime &&
        !Lifetime.equals(draft.lifetime, loaded.record.expiry.lifetime)))

/**
 * Runs a write to its end: neither a client that hangs up nor a handler's timeout may cut it in two. Only the commit's own limit
 * may. The error says who has used the time up: other commits of the same session, or the store.
 */
const toTheEnd = <A extends object, B>(
  core: Core<A>,
  write: () => Effect.Effect<B, SessionError>
): Effect.Effect<B, SessionError> => {
  if (core.isSynchronous) {
    const written = Done.attempt(write)
    return Done.isDone(written) ? written : Effect.uninterruptible(written)
  }
  if (!core.engine.remote) return Effect.uninterruptible(Effect.suspend(write))
  const { commitTimeout } = core.settings
  const limited = Deadline.within(commitTimeout, (deadline) =>
    Effect.mapError(
      Effect.timeoutFail(Effect.interruptible(Effect.disconnect(Effect.suspend(write))), {
        duration: commitTimeout,
        onTimeout: () => Errors.unavailable(core, new SessionStoreError({ operation: "commit", reason: "timeout" }))
      }),
      (error) => isTimeout(error) && Deadline.wasBusy(deadline) ? Errors.busy(core) : error
    ))
  return Effect.uninterruptible(Effect.flatMap(Effect.forkDaemon(Effect.interruptible(limited)), (fiber) => fiber))
}

const isTimeout = ({ _tag, cause }: SessionError): boolean =>
  _tag === "SessionUnavailable" && cause instanceof SessionStoreError && cause.reason === "timeout"

// ---- the changes

const perform = <A extends object>(
  core: Core<A>,
  change: Exclude<SessionChange, "Keep">,
  live: Uncommitted<A>,
  work: Work<A>,
  now: number
): Effect.Effect<Committed<A>, SessionError> => {
  switch (change) {
    case "Destroy":
      return Effect.as(destroy(core, live.values), { ...unchanged<A>(undefined), owed: "expire" as const })
    case "Replace":
      return replace(core, live, work, now)
    case "Create":
      // Whoever presented several sessions and logs in is rid of all of them: no request of theirs is ambiguous again.
      return live.ambiguous && work.draft.authenticated
        ? replace(core, live, work, now)
        : write(core, "Create", live, work, now)
    case "Touch":
    case "Reseal": {
      const touched = touch(core, change, work.loaded, now)
      return live.allowsStale
        ? Effect.catchTag(
          touched,
          "SessionUnavailable",
          (error) => Effect.as(Effect.logWarning(error.message, causeOf(error)), unchanged(work.loaded))
        )
        : touched
    }
    default:
      return write(core, change, live, work, now)
  }
}

const unchanged = <A extends object>(loaded: Loaded<A> | undefined): Committed<A> => ({
  loaded,
  owed: undefined,
  outdated: []
})

const destroy = <A extends object>(
  core: Core<A>,
  values: ReadonlyArray<CookieValue>
): Effect.Effect<void, SessionError> =>
  Effect.mapError(
    Effect.forEach(values, (value) => Effect.zipRight(core.engine.destroy(value), core.watchers.wake(value)), {
      concurrency: 8,
      discard: true
    }),
    Errors.failure(core)
  )

/**
 * Ends the sessions that were presented, and begins another one. That one is written first, because it may be refused: it may
 * be too large, and then nothing may have ended. If the others cannot be ended, it does not stay either.
 */
const replace = <A extends object>(
  core: Core<A>,
  live: Uncommitted<A>,
  work: Work<A>,
  now: number
): Effect.Effect<Committed<A>, SessionError> =>
  Effect.flatMap(write(core, "Create", live, work, now), (committed) =>
    Effect.as(
      Effect.tapError(
        destroy(core, live.values),
        () => committed.loaded === undefined ? Effect.void : Effect.ignore(core.engine.destroy(committed.loaded.value))
      ),
      committed
    ))

const touch = <A extends object>(
  core: Core<A>,
  change: "Touch" | "Reseal",
  loaded: Loaded<A> | undefined,
  now: number
): Effect.Effect<Committed<A>, SessionError> => {
  if (loaded === undefined) return Exit.succeed(unchanged(loaded))
  const times = { ...loaded.record, lastSeenAt: Math.max(change === "Touch" ? now : 0, loaded.record.lastSeenAt) }
  const { expiry } = times
  const record = { ...times, expiry: Expiry.proceed(core.settings.expiry, expiry, times, expiry.lifetime) }
  const resent = change === "Touch" && SessionCookie.slides(core.settings.cookie, record.expiry)
  return Done.map(
    Done.mapError(
      core.engine.write({ _tag: "Touch", value: loaded.value, record, resent }, now),
      Errors.failure(core)
    ),
    (outcome) => {
      switch (outcome._tag) {
        case "Written": {
          const next = { ...loaded, value: outcome.value, record: outcome.record }
          return resent || !Equal.equals(outcome.value, loaded.value)
            ? { ...unchanged(next), owed: cookieFor(core, next) }
            : unchanged(next)
        }
        // A newer cookie is on its way to the browser: this one must not come after it.
        case "Conflict":
          return unchanged(loaded)
        // A session that has ended meanwhile has nothing to lose by it: the handler's response stands.
        case "Gone":
          return unchanged<A>(undefined)
      }
    }
  )
}

const write = <A extends object>(
  core: Core<A>,
  change: "Create" | "Rotate" | "Save",
  live: Uncommitted<A>,
  work: Work<A>,
  now: number
): Effect.Effect<Committed<A>, SessionError> => {
  const { revokeOthers, subject } = work.draft
  const { revocation } = live
  if (revokeOthers && revocation !== undefined && subject !== undefined) {
    return Effect.flatMap(
      core.queue(
        `subject ${subject}`,
        () => alone(core, revocation, subject, writeOnce(core, change, work, now))
      ),
      ({ failed, written }) =>
        Effect.map(
          committed(core, change, live, work, written),
          (committed) => failed === undefined ? committed : { ...committed, failed }
        )
    )
  }
  return Done.flatMap(writeOnce(core, change, work, now), (written) => committed(core, change, live, work, written))
}

/** What a write leaves to the request, and to its response. */
const committed = <A extends object>(
  core: Core<A>,
  change: "Create" | "Rotate" | "Save",
  live: Uncommitted<A>,
  work: Work<A>,
  written: Written<A>
): Effect.Effect<Committed<A>, SessionError> => {
  if (written === undefined) return Exit.succeed(unchanged<A>(undefined))
  const { loaded, replayed } = written
  const before = work.loaded
  const { expiry } = loaded.record
  // A cookie that holds the session is another one after each save.
  const isSent = change !== "Save" || !Equal.equals(loaded.value, before?.value) ||
    SessionCookie.slides(core.settings.cookie, expiry) ||
    !Lifetime.equals(before?.record.expiry.lifetime, expiry.lifetime)
  const owed = isSent ? cookieFor(core, loaded) : undefined
  const woken = change === "Rotate" && before !== undefined ? core.watchers.wake(before.value) : Exit.void
  return Done.flatMap(woken, () =>
    replayed
      ? Effect.map(
        core.steps.differing(live.reads.all, work.draft.value, loaded.decoded),
        (outdated) => ({ loaded, owed, outdated })
      )
      : Exit.succeed({ loaded, owed, outdated: [] }))
}

// The clock was read when the record was made: its last use is "now".
const cookieFor = <A extends object>(core: Core<A>, { record, value }: Loaded<A>): OwedCookie => ({
  value,
  maxAge: SessionCookie.maxAge(core.settings.cookie, record.expiry, record.lastSeenAt)
})

// ---- one write, kept at until its outcome is certain

const writeOnce = <A extends object>(
  core: Core<A>,
  change: "Create" | "Rotate" | "Save",
  work: Work<A>,
  now: number
): Effect.Effect<Written<A>, SessionError> => {
  const id = work.loaded?.record.id
  // Commits of one session take turns within this process, so that a hot session converges. One that had to wait knows that
  // its version is no longer current. Where a write is one synchronous step, there is nothing to wait for.
  return id === undefined || core.isSynchronous
    ? attempt(core, change, work, now, false)
    : Effect.flatMap(Deadline.overtaken, (overtaken) =>
      core.queue(
        id,
        (waited) =>
          Effect.withFiberRuntime((fiber) =>
            waited && !core.engine.selfContained
              ? replay(core, change, work)
              : attempt(core, change, work, Done.millisOf(fiber), false)
          ),
        overtaken
      ))
}

const attempt = <A extends object>(
  core: Core<A>,
  change: "Create" | "Rotate" | "Save",
  work: Work<A>,
  now: number,
  replayed: boolean
): Effect.Effect<Written<A>, SessionError> => {
  const loaded = change === "Create" ? undefined : work.loaded
  const { raw, record } = build(core, loaded === work.loaded ? work : { ...work, loaded }, now)
  const request: Write = loaded === undefined || change === "Create"
    ? { _tag: "Create", record }
    : { _tag: change, value: loaded.value, record, expectedVersion: loaded.record.version }
  return Done.matchEffect(core.engine.write(request, now), {
    onFailure: (error) => Exit.fail(Errors.failure(core, raw)(error)),
    onSuccess: (outcome): Effect.Effect<Written<A>, SessionError> => {
      switch (outcome._tag) {
        case "Written":
          return Exit.succeed({
            loaded: { value: outcome.value, record: outcome.record, stale: false, raw, decoded: work.draft.value },
            replayed
          })
        case "Conflict":
          return core.engine.selfContained
            ? conflict(core, "another request has saved it")
            : Effect.zipRight(Effect.flatten(Deadline.overtaken), replay(core, change, work))
        case "Gone":
          return gone(core, work)
      }
    }
  })
}

const conflict = <A extends object>(core: Core<A>, what: string): Effect.Effect<never, SessionConflict> =>
  Exit.fail(new SessionConflict({ session: core.name, what }))

/** Applies the steps to the fresh record, and writes again. */
const replay = <A extends object>(
  core: Core<A>,
  change: "Create" | "Rotate" | "Save",
  work: Work<A>
): Effect.Effect<Written<A>, SessionError> =>
  Effect.withFiberRuntime((fiber) => {
    SessionMetrics.commits.unsafeUpdate("replayed", labelsOf(fiber))
    const now = Done.millisOf(fiber)
    const found = work.loaded === undefined ? Effect.succeedNone : Effect.mapError(
      core.engine.open(work.loaded.value, now, "fresh"),
      Errors.failure(core)
    )
    return Effect.flatMap(found, (opened) => {
      if (Option.isNone(opened)) return gone(core, work)
      return Effect.flatMap(load(core, opened.value), (loaded) => {
        if (loaded === undefined) return conflict(core, "it no longer fits this version")
        const start = SessionDraft.start(loaded.decoded, loaded.record.subject, loaded.record.expiry.lifetime)
        return Effect.flatMap(
          rework(core, { ...work, loaded }, start),
          (next): Effect.Effect<Written<A>, SessionError> =>
            // The other request may have made the very same change.
            isChanged(next) || change === "Rotate"
              ? attempt(core, change, next, now, true)
              : Effect.succeed({ loaded, replayed: true })
        )
      })
    })
  })

/** The record has ended. A login begins another session; other changes have nowhere to go. */
const gone = <A extends object>(
  core: Core<A>,
  work: Work<A>
): Effect.Effect<Written<A>, SessionError> => {
  if (!work.draft.authenticated) {
    return core.settings.onGone === "discard"
      ? Effect.succeed(undefined)
      : Effect.fail(new SessionGone({ session: core.name }))
  }
  return Effect.flatMap(continued(core, work), (carried) => {
    const start = carried === undefined
      ? SessionDraft.start(core.initial, undefined, undefined)
      : SessionDraft.start(carried.decoded, carried.record.subject, carried.record.expiry.lifetime)
    return Effect.flatMap(
      rework(core, { ...work, loaded: undefined, carried }, start),
      (next) => Effect.withFiberRuntime((fiber) => attempt(core, "Create", next, Done.millisOf(fiber), true))
    )
  })
}

/** The steps of the request, applied to another start. */
const rework = <A extends object>(
  core: Core<A>,
  work: Work<A>,
  start: Draft<A>
): Effect.Effect<Work<A>, SessionError> =>
  Effect.flatMap(
    Effect.catchAll(
      SessionDraft.replay(start, work.steps.map(({ step }) => step), work.origin),
      ({ what }) => conflict(core, what)
    ),
    (draft) => Effect.map(changesOf(core, draft), (changes) => ({ ...work, draft, changes }))
  )

/**
 * The record that a login of the same subject continues from although its own has ended: the one that the request itself has
 * revoked, or the one that another login of the subject has moved to a new token, if this login ends that one. A session that somebody
 * else has ended is neither: its data does not come back.
 */
const continued = <A extends object>(
  core: Core<A>,
  { carried, draft, loaded }: Work<A>
): Effect.Effect<Loaded<A> | undefined, SessionError> => {
  const subject = loaded?.record.subject
  if (loaded === undefined || draft.renewed || subject === undefined || subject !== draft.subject) {
    return Effect.succeed(undefined)
  }
  // Only a login that ends the other one may take its data: else the same data would live twice.
  if (carried !== undefined || !draft.revokeOthers || Option.isNone(core.directory)) return Effect.succeed(carried)
  const byId = EngineById.make(core, core.directory.value)
  return Effect.withFiberRuntime((fiber) =>
    Effect.flatMap(
      Effect.mapError(byId.open(Redacted.make(loaded.record.id), Done.millisOf(fiber)), Errors.failure(core)),
      Option.match({
        onNone: () => Effect.succeed(undefined),
        onSome: (moved) =>
          moved.record.subject === subject
            ? Effect.match(decode(core, moved.record), {
              // Data that only a token opens stays with it.
              onFailure: () => undefined,
              onSuccess: (data) => ({ ...moved, ...data })
            })
            : Effect.succeed(undefined)
      })
    )
  )
}

// ---- logins that end the subject's other sessions

/** What was written, and why the subject's other sessions may be left. */
interface Alone<A> {
  readonly written: Written<A>
  readonly failed?: SessionError
}

/**
 * Writes a session, and ends the subject's others after it.
 *
 * Of two such logins at once, each may have ended the other's session. So each looks whether its own is still alive, and else
 * makes it once more: whichever revokes last finds its own alive, and no other. Within a process they take turns.
 */
const alone = <A extends object>(
  core: Core<A>,
  revocation: NonNullable<Uncommitted<A>["revocation"]>,
  subject: string,
  write: Effect.Effect<Written<A>, SessionError>
): Effect.Effect<Alone<A>, SessionError> =>
  Effect.flatMap(write, (written) => {
    if (written === undefined) return Effect.succeed<Alone<A>>({ written })
    const { record, value } = written.loaded
    const revoked = Effect.zipRight(
      Effect.zipRight(revocation.revokeSubject(core.namespace, subject, record.id), core.watchers.wakeAll),
      Effect.withFiberRuntime<Option.Option<unknown>, SessionStoreError>((fiber) =>
        core.engine.open(value, Done.millisOf(fiber), "fresh")
      )
    )
    return Effect.matchEffect(revoked, {
      onFailure: (error) => Effect.succeed<Alone<A>>({ written, failed: Errors.failure(core)(error) }),
      onSuccess: Option.match({
        onSome: () => Effect.succeed<Alone<A>>({ written }),
        onNone: () =>
          Effect.zipRight(
            Effect.flatMap(Random.nextIntBetween(1, 20), (millis) => Effect.sleep(millis)),
            alone(core, revocation, subject, again(core, written.loaded))
          )
      })
    })
  })

/** Makes a session with the content of one that was written, after another login of its subject has ended that one. */
const again = <A extends object>(
  core: Core<A>,
  carried: Loaded<A>
): Effect.Effect<Written<A>, SessionError> => {
  const { expiry: { lifetime }, subject } = carried.record
  const start = SessionDraft.start(carried.decoded, subject, lifetime)
  const draft = { ...start, authenticated: true, revokeOthers: true, kept: true }
  return Effect.withFiberRuntime((fiber) =>
    attempt(
      core,
      "Create",
      {
        loaded: undefined,
        draft,
        steps: [],
        origin: carried.decoded,
        changes: noChanges,
        carried
      },
      Done.millisOf(fiber),
      false
    )
  )
}

// ---- the record

/** The record that a draft makes of the one before it, if there was one. */
const build = <A extends object>(
  core: Core<A>,
  { carried, changes, draft, loaded }: Work<A>,
  now: number
): { readonly raw: JsonRecord; readonly record: SessionRecord } => {
  const source = draft.renewed ? undefined : loaded ?? carried
  const raw = SessionDraft.patch(source === undefined || draft.cleared ? core.initialRaw : source.raw, changes)
  const old = draft.renewed ? undefined : loaded?.record
  const times = timesOf(core, { draft, loaded }, now)
  return {
    raw,
    record: {
      namespace: core.namespace,
      id: old?.id ?? SessionId.fromBytes(randomBytes(SessionId.byteLength)),
      data: core.codec.encode(raw),
      // A newer version that runs beside this one has its own; its mark stays.
      schemaVersion: Math.max(core.history.version, source?.record.schemaVersion ?? 0),
      subject: draft.subject,
      version: (loaded?.record.version ?? 0) + 1,
      writeId: Encoding.encodeBase64Url(randomBytes(12)),
      ...times
    }
  }
}

/** The times that a draft written at `now` gives its record, and its end. */
const timesOf = <A extends object>(
  core: Core<A>,
  { draft, loaded }: Pick<Work<A>, "draft" | "loaded">,
  now: number
): Expiry.Times & Pick<SessionRecord, "expiry"> => {
  const old = draft.renewed ? undefined : loaded?.record
  const times: Expiry.Times = {
    createdAt: old?.createdAt ?? now,
    authenticatedAt: draft.authenticated ? now : old?.authenticatedAt,
    modifiedAt: Math.max(now, old?.modifiedAt ?? now),
    // What is changed without its visitor was not used by them.
    lastSeenAt: core.unattended && old !== undefined ? old.lastSeenAt : Math.max(now, old?.lastSeenAt ?? now)
  }
  return {
    ...times,
    expiry: old === undefined || draft.authenticated
      ? Expiry.begin(core.settings.expiry, times, draft.lifetime)
      : Expiry.proceed(core.settings.expiry, old.expiry, times, draft.lifetime)
  }
}

/** When the session ends, in milliseconds: as it is stored, or as its pending changes leave it if they are written at `now`. */
export const endOf = <A extends object>(
  core: Core<A>,
  loaded: Loaded<A> | undefined,
  draft: Draft<A>,
  now: number
): Effect.Effect<number | undefined> =>
  Effect.map(
    Effect.match(changesOf(core, draft), {
      onFailure: () => true,
      onSuccess: (changes) => isChanged({ changes, draft, loaded }) || (loaded !== undefined && draft.rotates)
    }),
    (pending) => pending ? timesOf(core, { draft, loaded }, now).expiry.at : loaded?.record.expiry.at
  )
