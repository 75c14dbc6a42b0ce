/**
 * The end of a request, or a save in the middle of one: decide what the session needs, and do it.
 */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Expiry from "../../Expiry.js"
import * as Lifetime from "../../Lifetime.js"
import type { SessionChange } from "../../SessionChange.js"
import { decide } from "../../SessionChange.js"
import * as SessionCookie from "../../SessionCookie.js"
import type { Draft, Step } from "../../SessionDraft.js"
import type { CookieValue, OwedCookie } from "../../SessionEngine.js"
import type { SessionError } from "../../SessionError.js"
import { SessionCrossSite } from "../../SessionError.js"
import * as SessionMetrics from "../../SessionMetrics.js"
import type { SessionRevocation } from "../../SessionRevocation.js"
import { causeOf } from "../store/defects.js"
import type { Core } from "./core.js"
import * as Refusals from "./errors.js"
import type { Held } from "./open.js"
import type { Work } from "./write.js"
import * as Commit from "./write.js"

export type { OwedCookie }

/** What a request has made of its session. */
export interface Pending<A extends object> {
  /** Absent while nothing was opened. */
  readonly open: { readonly held: Held<A> | undefined; readonly draft: Draft<A> } | undefined
  readonly steps: ReadonlyArray<Step<A>>
  /** The fields whose stored content the handler has seen. */
  readonly reads: ReadonlyArray<keyof A & string>
  /** A cookie of ours was presented, whatever its value. */
  readonly presented: boolean
  /** The values that end with the session. */
  readonly values: ReadonlyArray<CookieValue>
  readonly ambiguous: boolean
  readonly flushed: boolean
  readonly discarded: boolean
  readonly unreadable: boolean
  /** No response will carry a cookie. */
  readonly detached: boolean
  /** The browser has kept our cookie back from a request of another site, and would take a new one all the same. */
  readonly withheld: "refuse" | "discard" | undefined
  /** The handler can do without the session. */
  readonly optional: boolean
  /** The session was read or changed. */
  readonly used: boolean
  /** What this request itself has ended: a login of the same subject goes on from it. */
  readonly carried: Held<A> | undefined
  /** Ends the other sessions of a subject that logs in exclusively. */
  readonly revocation: Context.Tag.Service<SessionRevocation> | undefined
}

/** What has become of it. */
export interface Settled<A extends object> {
  readonly owed: OwedCookie | undefined
  /** The session from now on; `undefined`: there is none any more. */
  readonly held: Held<A> | undefined
  /** Fields that the handler had read and that turned out to be changed. */
  readonly outdated: ReadonlyArray<keyof A & string>
  /** The session was written, and what had to follow was not done. */
  readonly failed?: SessionError
}

/** Decides and writes. `undefined`: there was nothing to do. */
export const settle = <A extends object>(
  core: Core<A>,
  pending: Pending<A>,
  status: number
): Effect.Effect<Settled<A> | undefined, SessionError> =>
  Effect.gen(function*() {
    const { discarded, flushed, open, presented, unreadable, values } = pending
    if (open === undefined) return undefined
    const now = yield* Clock.currentTimeMillis
    const { draft, held } = open
    const work: Work<A> = {
      held,
      draft,
      steps: pending.steps,
      origin: draft.loaded,
      changes: yield* Commit.changesOf(core, draft),
      carried: pending.carried
    }
    const change = decide(
      {
        settled: unreadable,
        presented: presented || values.length > 0,
        flushed,
        // What was read from a copy is not written: not even the times of its use.
        discarded: discarded || held?.copied === true,
        opened: true,
        isNew: held === undefined,
        changed: Commit.isChanged(work),
        rotates: draft.rotates,
        lastSeenAt: held?.record.lastSeenAt ?? now,
        touchWindow: pending.used && !core.unattended
          ? core.settings.touchEvery ?? Expiry.touchWindow(core.settings.expiry, held?.record.expiry.lifetime)
          : undefined,
        stale: held?.stale ?? false
      },
      now,
      status
    )
    yield* SessionMetrics.countCommit(change)
    if (change === "Keep") return undefined
    // A new token that cannot be sent would lock the visitor out of the session.
    if (pending.detached && needsCookie(core, change)) {
      return change === "Touch" || change === "Reseal" ? undefined : yield* Refusals.committed(core)
    }
    if (pending.withheld !== undefined && change === "Create" && !draft.authenticated) {
      if (pending.withheld === "refuse") return yield* new SessionCrossSite({ session: core.name })
      yield* Effect.logDebug(
        `A visitor came to "${core.name}" by a link of another site, without the session cookie (SameSite=Strict). The new ` +
          "session was dropped: its cookie would have replaced the visitor's own."
      )
      return undefined
    }
    return yield* Effect.tapError(
      Commit.toTheEnd(core, perform(core, change, pending, work, now)),
      (error) => SessionMetrics.countCommit(failures[error._tag] ?? "unavailable")
    )
  })

const failures: Readonly<Record<string, "conflict" | "gone">> = { SessionConflict: "conflict", SessionGone: "gone" }

const needsCookie = <A extends object>(core: Core<A>, change: SessionChange): boolean =>
  core.engine.selfContained
    ? change !== "Destroy"
    : change === "Create" || change === "Rotate" || change === "Replace"

const perform = <A extends object>(
  core: Core<A>,
  change: Exclude<SessionChange, "Keep">,
  pending: Pending<A>,
  work: Work<A>,
  now: number
): Effect.Effect<Settled<A>, SessionError> => {
  switch (change) {
    case "Destroy":
      return Effect.as(destroy(core, pending.values), { owed: "expire", held: undefined, outdated: [] })
    case "Replace":
      return replace(core, pending, work)
    case "Create":
      // Whoever presented several sessions and logs in is rid of all of them: no request of theirs is ambiguous again.
      return pending.ambiguous && work.draft.authenticated
        ? replace(core, pending, work)
        : write(core, "Create", pending, work)
    case "Touch":
    case "Reseal": {
      const touched = touch(core, change, work, now)
      return pending.optional
        ? Effect.catchTag(
          touched,
          "SessionUnavailable",
          (error) => Effect.as(Effect.logWarning(error.message, causeOf(error)), unchanged(work.held))
        )
        : touched
    }
    default:
      return write(core, change, pending, work)
  }
}

const destroy = <A extends object>(
  core: Core<A>,
  values: ReadonlyArray<CookieValue>
): Effect.Effect<void, SessionError> =>
  Effect.mapError(
    Effect.forEach(values, (value) => Effect.zipRight(core.engine.destroy(value), core.watchers.wake(value)), {
      concurrency: 8,
      discard: true
    }),
    Refusals.failure(core)
  )

/**
 * Ends the sessions that were presented, and begins another one. That one is written first, because it may be refused: it may
 * be too large, and then nothing may have ended. If the others cannot be ended, it does not stay either.
 */
const replace = <A extends object>(
  core: Core<A>,
  pending: Pending<A>,
  work: Work<A>
): Effect.Effect<Settled<A>, SessionError> =>
  Effect.flatMap(write(core, "Create", pending, work), (settled) =>
    Effect.as(
      Effect.tapError(
        destroy(core, pending.values),
        () => settled.held === undefined ? Effect.void : Effect.ignore(core.engine.destroy(settled.held.value))
      ),
      settled
    ))

const write = <A extends object>(
  core: Core<A>,
  change: "Create" | "Rotate" | "Save",
  pending: Pending<A>,
  work: Work<A>
): Effect.Effect<Settled<A>, SessionError> =>
  Effect.gen(function*() {
    const { committed, failed } = yield* writeAlone(core, change, pending, work)
    if (committed === undefined) return { owed: undefined, held: undefined, outdated: [] }
    const { held, replayed } = committed
    if (change === "Rotate" && work.held !== undefined) yield* core.watchers.wake(work.held.value)
    const { expiry } = held.record
    // A cookie that holds the session is another one after each save.
    const sent = change !== "Save" || !Equal.equals(held.value, work.held?.value) ||
      SessionCookie.slides(core.settings.cookie, expiry) ||
      !Lifetime.equals(work.held?.record.expiry.lifetime, expiry.lifetime)
    const outdated = replayed ? yield* core.steps.differing(pending.reads, work.draft.value, held.decoded) : []
    return { owed: sent ? cookieFor(core, held) : undefined, held, outdated, ...failed === undefined ? {} : { failed } }
  })

/** What was written, and why the subject's other sessions may be left. */
interface Alone<A> {
  readonly committed: Commit.Committed<A>
  readonly failed?: SessionError
}

/**
 * Writes a session, and for an exclusive login ends the subject's others after it.
 *
 * Of two such logins at once, each may have ended the other's session. So each looks whether its own is still alive, and else
 * makes it once more: whichever revokes last finds its own alive, and no other. Within a process they take turns.
 */
const writeAlone = <A extends object>(
  core: Core<A>,
  change: "Create" | "Rotate" | "Save",
  { revocation }: Pending<A>,
  work: Work<A>
): Effect.Effect<Alone<A>, SessionError> => {
  const { revokeOthers, subject } = work.draft
  if (!revokeOthers || revocation === undefined || subject === undefined) {
    return Effect.map(Commit.write(core, change, work), (committed) => ({ committed }))
  }
  const revokeOther = ({ record, value }: Held<A>) =>
    Effect.zipRight(
      Effect.zipRight(revocation.revokeSubject(core.namespace, subject, record.id), core.watchers.wakeAll),
      Effect.flatMap(Clock.currentTimeMillis, (now) => core.engine.open(value, now, "fresh"))
    )
  const alone = (write: Effect.Effect<Commit.Committed<A>, SessionError>): Effect.Effect<Alone<A>, SessionError> =>
    Effect.flatMap(write, (committed) =>
      committed === undefined
        ? Effect.succeed<Alone<A>>({ committed })
        : Effect.matchEffect(revokeOther(committed.held), {
          onFailure: (error) => Effect.succeed<Alone<A>>({ committed, failed: Refusals.failure(core)(error) }),
          onSuccess: Option.match({
            onSome: () => Effect.succeed<Alone<A>>({ committed }),
            onNone: () =>
              Effect.zipRight(
                Effect.flatMap(Random.nextIntBetween(1, 20), (millis) => Effect.sleep(millis)),
                alone(Commit.again(core, committed.held))
              )
          })
        }))
  return core.queue(`subject ${subject}`, () => alone(Commit.write(core, change, work)))
}

const touch = <A extends object>(
  core: Core<A>,
  change: "Touch" | "Reseal",
  { held }: Work<A>,
  now: number
): Effect.Effect<Settled<A>, SessionError> => {
  if (held === undefined) return Effect.succeed(unchanged(held))
  const times = { ...held.record, lastSeenAt: Math.max(change === "Touch" ? now : 0, held.record.lastSeenAt) }
  const { expiry } = times
  const record = { ...times, expiry: Expiry.proceed(core.settings.expiry, expiry, times, expiry.lifetime) }
  const resent = change === "Touch" && SessionCookie.slides(core.settings.cookie, record.expiry)
  return Effect.map(
    Effect.mapError(
      core.engine.write({ _tag: "Touch", value: held.value, record, resent }, now),
      Refusals.failure(core)
    ),
    (outcome) => {
      switch (outcome._tag) {
        case "Written": {
          const next = { ...held, value: outcome.value, record: outcome.record }
          return resent || !Equal.equals(outcome.value, held.value)
            ? { ...unchanged(next), owed: cookieFor(core, next) }
            : unchanged(next)
        }
        // A newer cookie is on its way to the browser: this one must not come after it.
        case "Conflict":
          return unchanged(held)
        // A session that has ended meanwhile has nothing to lose by it: the handler's response stands.
        case "Gone":
          return unchanged(undefined)
      }
    }
  )
}

const unchanged = <A extends object>(held: Held<A> | undefined): Settled<A> => ({ held, owed: undefined, outdated: [] })

// The clock was read when the record was made: its last use is "now".
const cookieFor = <A extends object>(core: Core<A>, { record, value }: Held<A>): OwedCookie => ({
  value,
  maxAge: SessionCookie.maxAge(core.settings.cookie, record.expiry, record.lastSeenAt)
})
