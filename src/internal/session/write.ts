/**
 * From a draft to a written record: build it, write it, and on a conflict replay the steps on the fresh record.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Expiry from "../../Expiry.js"
import type { Json, JsonRecord } from "../../Json.js"
import * as Lifetime from "../../Lifetime.js"
import type { SessionChange } from "../../SessionChange.js"
import type { Draft, Step } from "../../SessionDraft.js"
import * as SessionDraft from "../../SessionDraft.js"
import type { Write } from "../../SessionEngine.js"
import type { SessionError } from "../../SessionError.js"
import { SessionConflict, SessionGone } from "../../SessionError.js"
import * as SessionId from "../../SessionId.js"
import * as SessionMetrics from "../../SessionMetrics.js"
import type { SessionRecord } from "../../SessionRecord.js"
import { SessionStoreError } from "../../SessionStore.js"
import { randomBytes } from "../crypto/primitives.js"
import * as Deadline from "../store/deadline.js"
import type { Core } from "./core.js"
import * as EngineById from "./engineById.js"
import { busy, failure, invalid, unavailable } from "./errors.js"
import type { Held } from "./open.js"
import { decode, hold } from "./open.js"

/** What is to be written: a draft, the record it belongs to, and the steps from one to the other. */
export interface Work<A extends object> {
  readonly held: Held<A> | undefined
  readonly draft: Draft<A>
  readonly steps: ReadonlyArray<Step<A>>
  /** The value that the handler had loaded. */
  readonly origin: A
  /** The encoded fields that differ. */
  readonly changes: ReadonlyMap<string, Json | undefined>
  /** The record of a session that has ended, whose data a new session of the same subject starts from. */
  readonly carried?: Held<A> | undefined
}

/** What differs between a draft and its record. The steps checked every value, so it cannot fail to encode. */
export const changesOf = <A extends object>(core: Core<A>, draft: Draft<A>) =>
  draft.touched.size === 0 ? Effect.succeed(noChanges) : Effect.mapError(
    SessionDraft.diff(core.schema, draft),
    (misfit) => invalid(core, misfit)
  )

const noChanges: ReadonlyMap<string, Json | undefined> = new Map()

/** Whether data or metadata differ from the record. */
export const isChanged = <A extends object>(
  { changes, draft, held }: Pick<Work<A>, "changes" | "draft" | "held">
): boolean =>
  changes.size > 0 ||
  (held === undefined
    ? draft.subject !== undefined || draft.lifetime !== undefined || draft.kept
    : draft.cleared || draft.renewed || draft.forceSave || draft.subject !== held.record.subject ||
      !Lifetime.equals(draft.lifetime, held.record.expiry.lifetime))

/** What a write left: the record that is now current, or nothing where the session had ended and that was fine. */
export type Committed<A> = { readonly held: Held<A>; readonly replayed: boolean } | undefined

/** Writes, and keeps at it until the outcome is certain. */
export const write = <A extends object>(
  core: Core<A>,
  change: SessionChange & ("Create" | "Rotate" | "Save"),
  work: Work<A>
): Effect.Effect<Committed<A>, SessionError> => {
  const attempt = (change: "Create" | "Rotate" | "Save", work: Work<A>, replayed: boolean): Effect.Effect<
    Committed<A>,
    SessionError
  > =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const held = change === "Create" ? undefined : work.held
      const { raw, record } = build(core, { ...work, held }, now)
      const request: Write = held === undefined || change === "Create"
        ? { _tag: "Create", record }
        : { _tag: change, value: held.value, record, expectedVersion: held.record.version }
      return Effect.flatMap(
        Effect.mapError(core.engine.write(request, now), failure(core, raw)),
        (outcome): Effect.Effect<Committed<A>, SessionError> => {
          switch (outcome._tag) {
            case "Written":
              return Effect.succeed({
                held: { value: outcome.value, record: outcome.record, stale: false, raw, decoded: work.draft.value },
                replayed
              })
            case "Conflict":
              return core.engine.selfContained
                ? conflict("another request has saved it")
                : Effect.zipRight(Effect.flatten(Deadline.overtaken), replay(change, work))
            case "Gone":
              return gone(work)
          }
        }
      )
    })

  const replay = (change: "Create" | "Rotate" | "Save", work: Work<A>): Effect.Effect<Committed<A>, SessionError> =>
    Effect.gen(function*() {
      yield* SessionMetrics.countCommit("replayed")
      const now = yield* Clock.currentTimeMillis
      const fresh = work.held === undefined
        ? Option.none()
        : yield* Effect.mapError(core.engine.open(work.held.value, now, "fresh"), failure(core))
      if (Option.isNone(fresh)) return yield* gone(work)
      const held = yield* hold(core, fresh.value)
      if (held === undefined) return yield* conflict("it no longer fits this version")
      const start = SessionDraft.start(held.decoded, held.record.subject, held.record.expiry.lifetime)
      const next = yield* rework({ ...work, held }, start)
      // The other request may have made the very same change.
      return isChanged(next) || change === "Rotate"
        ? yield* attempt(change, next, true)
        : { held, replayed: true }
    })

  /** The record has ended. A login begins another session; other changes have nowhere to go. */
  const gone = (work: Work<A>): Effect.Effect<Committed<A>, SessionError> => {
    if (work.draft.authenticated) {
      return Effect.flatMap(continued(core, work), (carried) => {
        const start = carried === undefined
          ? SessionDraft.start(core.initial, undefined, undefined)
          : SessionDraft.start(carried.decoded, carried.record.subject, carried.record.expiry.lifetime)
        return Effect.flatMap(
          rework({ ...work, held: undefined, carried }, start),
          (next) => attempt("Create", next, true)
        )
      })
    }
    return core.settings.onGone === "discard"
      ? Effect.succeed(undefined)
      : Effect.fail(new SessionGone({ session: core.name }))
  }

  const rework = (work: Work<A>, start: Draft<A>): Effect.Effect<Work<A>, SessionError> =>
    Effect.gen(function*() {
      const draft = yield* Effect.catchAll(
        SessionDraft.replay(start, work.steps, work.origin),
        ({ what }) => conflict(what)
      )
      return { ...work, draft, changes: yield* changesOf(core, draft) }
    })

  const conflict = (what: string) => Effect.fail(new SessionConflict({ session: core.name, what }))

  // Commits of one session take turns within this process, so that a hot session converges. Who had to wait knows that
  // its version is no longer current.
  const id = work.held?.record.id
  return id === undefined
    ? attempt(change, work, false)
    : Effect.flatMap(Deadline.overtaken, (overtaken) =>
      core.queue(
        id,
        (waited) => waited && !core.engine.selfContained ? replay(change, work) : attempt(change, work, false),
        overtaken
      ))
}

/**
 * The record that a login of the same subject continues from although its own has ended: the one that the request itself has
 * revoked, or the one that another login of the subject has moved to a new token, if this login ends that one. A session that somebody
 * else has ended is neither: its data does not come back.
 */
const continued = <A extends object>(
  core: Core<A>,
  { carried, draft, held }: Work<A>
): Effect.Effect<Held<A> | undefined, SessionError> => {
  const subject = held?.record.subject
  if (held === undefined || draft.renewed || subject === undefined || subject !== draft.subject) {
    return Effect.succeed(undefined)
  }
  // Only a login that ends the other one may take its data: else the same data would live twice.
  if (carried !== undefined || !draft.revokeOthers || Option.isNone(core.directory)) return Effect.succeed(carried)
  const byId = EngineById.make(core, core.directory.value)
  return Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.flatMap(
      Effect.mapError(byId.open(Redacted.make(held.record.id), now), failure(core)),
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
    ))
}

/**
 * Makes a session with the content of one that was written, after another login of its subject has ended that one.
 */
export const again = <A extends object>(
  core: Core<A>,
  carried: Held<A>
): Effect.Effect<Committed<A>, SessionError> => {
  const { expiry: { lifetime }, subject } = carried.record
  const start = SessionDraft.start(carried.decoded, subject, lifetime)
  const draft = { ...start, authenticated: true, revokeOthers: true, kept: true }
  return write(core, "Create", {
    held: undefined,
    draft,
    steps: [],
    origin: carried.decoded,
    changes: noChanges,
    carried
  })
}

/** When the session ends, in milliseconds: as it is stored, or as its pending changes leave it if they are written at `now`. */
export const endOf = <A extends object>(
  core: Core<A>,
  { draft, held }: Pick<Work<A>, "draft" | "held">,
  now: number
): Effect.Effect<number | undefined> =>
  Effect.map(
    Effect.match(changesOf(core, draft), {
      onFailure: () => true,
      onSuccess: (changes) => isChanged({ changes, draft, held }) || (held !== undefined && draft.rotates)
    }),
    (pending) => pending ? timesOf(core, { draft, held }, now).expiry.at : held?.record.expiry.at
  )

/**
 * Runs a write to its end: neither a client that hangs up nor a handler's timeout may cut it in two. Only the commit's own limit
 * may. The error says who has used the time up: other commits of the same session, or the store.
 */
export const toTheEnd = <A extends object, B>(
  core: Core<A>,
  effect: Effect.Effect<B, SessionError>
): Effect.Effect<B, SessionError> => {
  if (!core.engine.remote) return Effect.uninterruptible(effect)
  const { commitTimeout } = core.settings
  const limited = Deadline.within(commitTimeout, (deadline) =>
    Effect.mapError(
      Effect.timeoutFail(Effect.interruptible(Effect.disconnect(effect)), {
        duration: commitTimeout,
        onTimeout: () => unavailable(core, new SessionStoreError({ operation: "commit", reason: "timeout" }))
      }),
      (error) => isTimeout(error) && Deadline.wasBusy(deadline) ? busy(core) : error
    ))
  return Effect.uninterruptible(Effect.flatMap(Effect.forkDaemon(Effect.interruptible(limited)), (fiber) => fiber))
}

const isTimeout = ({ _tag, cause }: SessionError): boolean =>
  _tag === "SessionUnavailable" && cause instanceof SessionStoreError && cause.reason === "timeout"

/** The record that a draft makes of the one before it, if there was one. */
const build = <A extends object>(
  core: Core<A>,
  { carried, changes, draft, held }: Work<A>,
  now: number
): { readonly raw: JsonRecord; readonly record: SessionRecord } => {
  const source = draft.renewed ? undefined : held ?? carried
  const raw = SessionDraft.patch(source === undefined || draft.cleared ? core.initialRaw : source.raw, changes)
  const old = draft.renewed ? undefined : held?.record
  return {
    raw,
    record: {
      namespace: core.namespace,
      id: old?.id ?? SessionId.fromBytes(randomBytes(SessionId.byteLength)),
      data: core.codec.encode(raw),
      // A newer version that runs beside this one has its own; its mark stays.
      schemaVersion: Math.max(core.history.version, source?.record.schemaVersion ?? 0),
      subject: draft.subject,
      version: (held?.record.version ?? 0) + 1,
      writeId: Encoding.encodeBase64Url(randomBytes(12)),
      ...timesOf(core, { draft, held }, now)
    }
  }
}

/** The times that a draft written at `now` gives its record, and its end. */
const timesOf = <A extends object>(
  core: Core<A>,
  { draft, held }: Pick<Work<A>, "draft" | "held">,
  now: number
): Expiry.Times & Pick<SessionRecord, "expiry"> => {
  const old = draft.renewed ? undefined : held?.record
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
