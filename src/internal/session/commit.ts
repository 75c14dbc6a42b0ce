/**
 * Commits a session, at the end of a request or by `save`: decides which change is needed, and performs it.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import type { SessionExpiry } from "../../Expiry.js"
import type { SessionCookie } from "../../SessionCookie.js"
import type { CookieUpdate, CookieValue } from "../../SessionEngine.js"
import type { SessionError } from "../../SessionError.js"
import { SessionCrossSite, SessionGone } from "../../SessionError.js"
import * as SessionMetrics from "../../SessionMetrics.js"
import type { SessionInfo } from "../../SessionRecord.js"
import type { SessionRevocation } from "../../SessionRevocation.js"
import type { SessionStoreError } from "../../SessionStore.js"
import type { SessionChange, State } from "../domain/change.js"
import { decide } from "../domain/change.js"
import * as CookieRules from "../domain/cookie.js"
import type { Draft, Step } from "../domain/draft.js"
import * as ExpiryRules from "../domain/expiry.js"
import * as LifetimeRules from "../domain/lifetime.js"
import * as Done from "../done.js"
import { withHelp } from "../help.js"
import { causeOf } from "../store/defects.js"
import type { Core } from "./core.js"
import * as Errors from "./errors.js"
import * as Events from "./events.js"
import { spanned } from "./spans.js"
import type { Changes, Loaded, Minted, Work, Written } from "./work.js"
import * as Write from "./write.js"

/** The state of a request that a commit depends on. The commit sets the mutable fields before it decides. */
export interface Uncommitted<A extends object> extends State {
  changed: boolean
  raised: boolean
  rotates: boolean
  lastSeenAt: number
  touchWindow: number | undefined
  /** Absent until the session is opened. */
  readonly draft: Draft<A> | undefined
  readonly loaded: Loaded<A> | undefined
  readonly steps: ReadonlyArray<{ readonly step: Step<A> }>
  /** The fields whose stored value the handler has read. */
  readonly reads: { readonly all: ReadonlyArray<keyof A & string> }
  /** The cookie values that a logout destroys. */
  readonly values: ReadonlyArray<CookieValue>
  readonly ambiguous: boolean
  readonly used: boolean
  /** There is no response that could carry a cookie. */
  readonly detached: boolean
  /** The treatment of a new session if a cross-site request came without the cookie. */
  readonly crossSite: "refuse" | "discard" | undefined
  /** A touch that cannot be written does not fail the request. */
  readonly allowsStale: boolean
  readonly predecessor: Loaded<A> | undefined
  /** The session that `destroy` of this request ends, if it was loaded. */
  readonly endedByUser: SessionInfo | undefined
  /** The identity of the session that the commit writes, if the handler has given it away already. */
  readonly minted: Minted | undefined
  /** Ends the other sessions of the subject after `authenticateExclusively`. */
  readonly revocation: Context.Tag.Service<SessionRevocation> | undefined
}

/** The result of a commit. */
export interface Committed<A> {
  /** The current record; absent: the session has ended. */
  readonly loaded: Loaded<A> | undefined
  readonly setCookie: CookieUpdate | undefined
  /** Fields that have changed since the handler read them. */
  readonly staleFields: ReadonlyArray<keyof A & string>
  /** The session was written, but the other sessions of the subject could not be ended. */
  readonly failed?: SessionError
}

/** Decides and writes. Returns `undefined` if nothing had to be written. */
export const commit = <A extends object>(
  core: Core<A>,
  live: Uncommitted<A>,
  status: number,
  fiber: Done.RuntimeFiber
): Effect.Effect<Committed<A> | undefined, SessionError> => {
  const { draft } = live
  if (draft === undefined) return Exit.succeed(undefined)
  // Without steps, the draft equals the record.
  const changes = live.steps.length === 0 ? noChanges : Write.changesOf(core, draft)
  return Done.isDone(changes) && Exit.isSuccess(changes)
    ? commitChanges(core, live, draft, changes.value, status, fiber)
    : Effect.flatMap(changes, (changes) => commitChanges(core, live, draft, changes, status, fiber))
}

const noChanges: Exit.Exit<Changes> = Exit.succeed(new Map())

const commitChanges = <A extends object>(
  core: Core<A>,
  live: Uncommitted<A>,
  draft: Draft<A>,
  changes: Changes,
  status: number,
  fiber: Done.RuntimeFiber
): Effect.Effect<Committed<A> | undefined, SessionError> => {
  const { predecessor, loaded, steps } = live
  const now = Done.clockIn(fiber.currentDefaultServices).unsafeCurrentTimeMillis()
  const work: Work<A> = { loaded, draft, steps, origin: draft.loaded, changes, predecessor, minted: live.minted }
  live.changed = steps.length > 0 && (changes.size > 0 || Write.isChanged(work))
  live.rotates = draft.rotates
  live.raised = draft.raised
  live.lastSeenAt = loaded?.record.lastSeenAt ?? now
  const lifetime = loaded?.record.expiry.lifetime
  live.touchWindow = !live.used || core.isBackground
    ? undefined
    : lifetime === undefined
    ? core.settings.touchWindow
    : core.settings.touchEvery ?? ExpiryRules.touchWindow(core.settings.expiry, lifetime)
  const change = decide(live, now, status)
  const labels = fiber.getFiberRef(FiberRef.currentMetricLabels)
  SessionMetrics.commits.unsafeUpdate(change, labels)
  core.observer?.decided(change, changes.keys(), live.changed)
  if (change === "Keep") return Exit.succeed(undefined)
  // A new token that cannot be sent to the browser would log the visitor out.
  if (live.detached && needsCookie(core, change)) {
    return change === "Touch" || change === "Reseal"
      ? Exit.succeed(undefined)
      : Exit.fail(Errors.committed(core))
  }
  if (change === "Create" && live.crossSite !== undefined && !draft.authenticated) {
    Events.refused(core, now, loaded, "crossSite")
    return live.crossSite === "refuse" ? Exit.fail(new SessionCrossSite({ session: core.name })) : Effect.as(
      Effect.logDebug(
        `A visitor followed a link from another site, and the browser sent no cookie of "${core.name}" (SameSite=Strict). The ` +
          "new session was dropped: its cookie would have replaced the visitor's own."
      ),
      undefined
    )
  }
  const write = () => runToCompletion(core, () => perform(core, change, live, work, now))
  const performed = Done.isTraced(fiber)
    ? spanned("commit", core.name, Effect.suspend(write), () => change)
    : write()
  return Done.isDone(performed) && Exit.isSuccess(performed)
    ? performed
    : Effect.tapError(
      performed,
      (error) =>
        Effect.sync(() => {
          SessionMetrics.commits.unsafeUpdate(failures[error._tag] ?? "unavailable", labels)
          Events.failed(core, now, loaded, draft, error)
        })
    )
}

const failures: Readonly<Record<string, "conflict" | "gone" | "limit">> = {
  SessionConflict: "conflict",
  SessionGone: "gone",
  SessionLimitReached: "limit"
}

const needsCookie = <A extends object>(core: Core<A>, change: SessionChange): boolean =>
  core.engine.selfContained
    ? change !== "Destroy"
    : change === "Create" || change === "Rotate" || change === "Replace"

/**
 * Runs a write uninterruptibly: neither a client that disconnects nor a timeout of the handler may interrupt it. Only
 * `commitTimeout` ends a write to a remote store.
 */
const runToCompletion = <A extends object, B>(
  core: Core<A>,
  write: () => Effect.Effect<B, SessionError>
): Effect.Effect<B, SessionError> => {
  if (core.isSynchronous) {
    // An exception here is a defect; `Live.finish` handles it.
    const written = write()
    return Done.isDone(written) ? written : Effect.uninterruptible(written)
  }
  const whole = Effect.suspend(write)
  return Effect.uninterruptible(core.engine.remote ? Write.limited(core, whole) : whole)
}

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
      return Effect.as(destroy(core, live, now), { ...unchanged<A>(undefined), setCookie: "expire" as const })
    case "Replace":
      return replace(core, live, work, now)
    case "Create":
      // A login ends all presented sessions, so that no later request is ambiguous.
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
          (error) =>
            Effect.as(Effect.logWarning(withHelp(error.message, error._tag), causeOf(error)), unchanged(work.loaded))
        )
        : touched
    }
    default:
      return write(core, change, live, work, now)
  }
}

const unchanged = <A extends object>(loaded: Loaded<A> | undefined): Committed<A> => ({
  loaded,
  setCookie: undefined,
  staleFields: []
})

/** Destroys the sessions that the request has presented. */
const destroy = <A extends object>(
  core: Core<A>,
  { endedByUser, values }: Pick<Uncommitted<A>, "endedByUser" | "values">,
  now: number
): Effect.Effect<void, SessionError> =>
  Effect.mapBoth(
    Effect.forEach(values, (value) => Effect.zipRight(core.engine.destroy(value), core.watchers.wake(value)), {
      concurrency: 8,
      discard: true
    }),
    {
      onFailure: Errors.failure(core),
      onSuccess: () =>
        endedByUser === undefined ? undefined : Events.ended(core, now, endedByUser, "loggedOut", endedByUser)
    }
  )

/**
 * Replaces the presented sessions by a new one. Writes the new one first, because that may fail (for example if it is too large),
 * and then no session may have ended. If the others cannot be destroyed, destroys the new one.
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
        destroy(core, live, now),
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
  const record = { ...times, expiry: ExpiryRules.next(core.settings.expiry, expiry, times, expiry.lifetime) }
  const resent = change === "Touch" && CookieRules.slides(cookieOf(core, loaded), cookieExpiry(core, record.expiry))
  return Done.map(
    Done.mapError(
      core.engine.write({ _tag: "Touch", value: loaded.value, record, resent }, now),
      Errors.failure(core)
    ),
    (outcome) => {
      switch (outcome._tag) {
        case "Written": {
          const next = { ...loaded, value: outcome.value, record: outcome.record }
          return resent || !isSame(outcome.value, loaded.value)
            ? { ...unchanged(next), setCookie: cookieFor(core, next) }
            : unchanged(next)
        }
        // A concurrent response sends a newer cookie, which this one must not overwrite.
        case "Conflict":
          return unchanged(loaded)
        // A touch of a session that has ended meanwhile does not fail the request.
        case "Full":
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
        () => writeExclusively(core, revocation, work.draft, subject, Write.write(core, change, work, now))
      ),
      ({ failed, written }) =>
        Effect.map(
          committed(core, change, live, work, written),
          (committed) => failed === undefined ? committed : { ...committed, failed }
        )
    )
  }
  const written = Write.write(core, change, work, now)
  return Done.isDone(written) && Exit.isSuccess(written)
    ? committed(core, change, live, work, written.value)
    : Effect.flatMap(written, (written) => committed(core, change, live, work, written))
}

/** Returns the result for the request and its response. */
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
  Events.written(core, loaded.record.modifiedAt, change, before, work.draft, written)
  const expiry = cookieExpiry(core, loaded.record.expiry)
  // The value of a cookie engine changes with each save.
  const lifetime = before?.record.expiry.lifetime
  const isSent = change !== "Save" || !isSame(loaded.value, before?.value) ||
    // Without its own lifetime, the cookie already lasts until the deadline of the policy.
    ((expiry.deadline === undefined || expiry.lifetime !== undefined) &&
      CookieRules.slides(cookieOf(core, loaded), expiry)) ||
    !(lifetime === expiry.lifetime || LifetimeRules.equals(lifetime, expiry.lifetime))
  const setCookie = isSent ? cookieFor(core, loaded) : undefined
  const result: Effect.Effect<Committed<A>> = replayed
    ? Effect.map(
      core.steps.differing(live.reads.all, work.draft.value, loaded.decoded),
      (staleFields) => ({ loaded, setCookie, staleFields })
    )
    : Exit.succeed({ loaded, setCookie, staleFields: [] })
  return change === "Rotate" && before !== undefined
    ? Effect.zipRight(core.watchers.wake(before.value), result)
    : result
}

const isSame = (a: CookieValue, b: CookieValue | undefined): boolean =>
  a === b || (b !== undefined && Redacted.value(a) === Redacted.value(b))

// The record has just been made, so its last use is "now".
const cookieFor = <A extends object>(core: Core<A>, loaded: Loaded<A>): CookieUpdate => ({
  value: loaded.value,
  maxAge: CookieRules.maxAge(cookieOf(core, loaded), cookieExpiry(core, loaded.record.expiry), loaded.record.lastSeenAt)
})

/** Returns the expiry that the cookie follows: without the deadline if another program sets the cookie, too. */
const cookieExpiry = <A extends object>({ engine }: Core<A>, expiry: SessionExpiry): SessionExpiry =>
  engine.sharesCookie === true ? { ...expiry, deadline: undefined } : expiry

/** The cookie of the tag; a login with `remember` decides whether it ends with the browser. */
const cookieOf = <A extends object>(core: Core<A>, { attributes: { remembered } }: Loaded<A>): SessionCookie =>
  remembered === undefined ? core.settings.cookie : { ...core.settings.cookie, browserLength: !remembered }

// ---- logins that end the subject's other sessions

/** The written record, and the error if the other sessions of the subject could not be ended. */
interface ExclusiveLogin<A> {
  readonly written: Written<A>
  readonly failed?: SessionError
}

/**
 * Writes a session, then ends the other sessions of its subject.
 *
 * Two concurrent logins may end each other's session. So each checks whether its own session is still alive, and otherwise
 * creates it again: the login that revokes last finds its own session alive, and no other. Within a process such logins run one
 * after another.
 */
const writeExclusively = <A extends object>(
  core: Core<A>,
  revocation: NonNullable<Uncommitted<A>["revocation"]>,
  draft: Draft<A>,
  subject: string,
  write: Effect.Effect<Written<A>, SessionError>
): Effect.Effect<ExclusiveLogin<A>, SessionError> =>
  Effect.flatMap(write, (written) => {
    if (written === undefined) return Effect.succeed<ExclusiveLogin<A>>({ written })
    const { record, value } = written.loaded
    const revoked = Effect.zipRight(
      Effect.zipRight(revocation.revokeSubject(core.namespace, subject, record.id), core.watchers.wakeAll),
      Effect.withFiberRuntime<Option.Option<unknown>, SessionStoreError>((fiber) =>
        core.engine.open(value, Done.millisOf(fiber), "fresh")
      )
    )
    return Effect.matchEffect(revoked, {
      onFailure: (error) => Effect.succeed<ExclusiveLogin<A>>({ written, failed: Errors.failure(core)(error) }),
      onSuccess: Option.match({
        onSome: () => Effect.succeed<ExclusiveLogin<A>>({ written }),
        // Only a login may begin again: a session that another one has ended stays ended.
        onNone: () =>
          draft.authenticated
            ? Effect.zipRight(
              Effect.flatMap(Random.nextIntBetween(1, 20), (millis) => Effect.sleep(millis)),
              writeExclusively(core, revocation, draft, subject, Write.recreate(core, written.loaded))
            )
            : Effect.fail(new SessionGone({ session: core.name }))
      })
    })
  })
