/**
 * Writes a session. On a conflict, replays the steps of the request on the fresh record and writes again.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Expiry from "../../Expiry.js"
import type { JsonRecord } from "../../Json.js"
import type { CookieValue, Write, Written as EngineWritten } from "../../SessionEngine.js"
import type { SessionError } from "../../SessionError.js"
import { SessionConflict, SessionGone, SessionLimitReached, SessionUnavailable } from "../../SessionError.js"
import * as SessionMetrics from "../../SessionMetrics.js"
import type { SessionRecord } from "../../SessionRecord.js"
import { SessionStoreError } from "../../SessionStore.js"
import { encodeBase64Url, nameBytes } from "../crypto/primitives.js"
import * as Attributes from "../domain/attributes.js"
import type { Draft } from "../domain/draft.js"
import * as SessionDraft from "../domain/draft.js"
import * as ExpiryRules from "../domain/expiry.js"
import * as Ids from "../domain/id.js"
import * as LifetimeRules from "../domain/lifetime.js"
import * as Done from "../done.js"
import * as Deadline from "../store/deadline.js"
import * as Limit from "../store/limit.js"
import type { Core } from "./core.js"
import * as EngineById from "./engineById.js"
import * as Errors from "./errors.js"
import { decode, labelsOf, load } from "./open.js"
import type { Changes, Loaded, Work, Written } from "./work.js"

/**
 * Limits a write to a remote store by the `commitTimeout`. The error distinguishes other commits of the same session (`busy`)
 * from a slow store.
 */
export const limited = <A extends object, B, E>(
  core: Core<A>,
  write: Effect.Effect<B, E | SessionError>
): Effect.Effect<B, E | SessionError> => {
  const { commitTimeout } = core.settings
  return Deadline.within(
    commitTimeout,
    (deadline) =>
      Effect.mapError(
        Limit.within(write, commitTimeout, () => unanswered(core)),
        (error) => isTimeout(error) && Deadline.wasBusy(deadline) ? Errors.busy(core) : error
      )
  )
}

const unanswered = <A extends object>(core: Core<A>) =>
  Errors.unavailable(core, new SessionStoreError({ operation: "commit", reason: "timeout" }))

const isTimeout = (error: unknown): boolean =>
  error instanceof SessionUnavailable && error.cause instanceof SessionStoreError && error.cause.reason === "timeout"

/** The encoded fields that differ between a draft and its record. The steps have checked every value, so encoding cannot fail. */
export const changesOf = <A extends object>(core: Core<A>, draft: Draft<A>): Effect.Effect<Changes, SessionError> => {
  const changes = SessionDraft.diff(core.schema, draft)
  return Done.isDone(changes) && Exit.isSuccess(changes)
    ? Exit.succeed(changes.value)
    : Effect.mapError(changes, (issue) => Errors.invalid(core, issue))
}

const noChanges: Changes = new Map()

/** Returns whether data or metadata differ from the record. */
export const isChanged = <A extends object>(
  { changes, draft, loaded }: Pick<Work<A>, "changes" | "draft" | "loaded">
): boolean =>
  changes.size > 0 ||
  (loaded === undefined
    ? draft.subject !== undefined || draft.lifetime !== undefined || draft.forceCreate ||
      draft.attributes !== Attributes.none
    : draft.cleared || draft.subjectChanged || draft.forceSave || draft.subject !== loaded.record.subject ||
      (draft.attributes !== loaded.attributes &&
        Attributes.encode(draft.attributes) !== Attributes.encode(loaded.attributes)) ||
      !LifetimeRules.equals(draft.lifetime, loaded.record.expiry.lifetime))

/** Writes a draft. On a conflict, replays its steps on the fresh record. */
export const write = <A extends object>(
  core: Core<A>,
  change: "Create" | "Rotate" | "Save",
  work: Work<A>,
  now: number
): Effect.Effect<Written<A>, SessionError> => {
  const { loaded } = work
  const { selfContained } = core.engine
  // A synchronous write needs no lock.
  if (loaded === undefined || core.isSynchronous) return attempt(core, change, work, now, false)
  const alone = Effect.withFiberRuntime<Written<A>, SessionError>((fiber) =>
    attempt(core, change, work, Done.millisOf(fiber), false)
  )
  // Commits of one session run one after another within this process, so that concurrent commits do not conflict repeatedly. A commit that had to wait
  // knows that its version is no longer current.
  return Effect.flatMap(Deadline.overtaken, (overtaken) => {
    const turn = (run: (waited: boolean) => Effect.Effect<Written<A>, SessionError>) =>
      core.queue(loaded.record.id, run, overtaken)
    if (selfContained) return turn(() => alone)
    const after = replay(core, change, work)
    return change === "Save"
      ? core.saves.join(
        // A request that presents another token must not get the token of this batch.
        Redacted.value(loaded.value),
        work,
        { alone, after, together: (works) => saveBatch(core, works) },
        turn
      )
      : turn((waited) => waited ? after : alone)
  })
}

/**
 * Writes the changes of several requests to one session with one save: the steps of each are replayed on the result of the
 * previous one. A request whose steps cannot be replayed fails alone. `None`: nothing was written, because the result is too
 * large for one record or the first request is inside a transaction of the application; each may succeed alone.
 */
const saveBatch = <A extends object>(
  core: Core<A>,
  works: ReadonlyArray<Work<A>>
): Effect.Effect<Option.Option<ReadonlyArray<Exit.Exit<Written<A>, SessionError>>>> => {
  const saved = saveBatchOnce(core, works)
  return Effect.matchCause(core.engine.remote ? limited(core, saved) : saved, {
    onSuccess: Option.some,
    onFailure: (cause) =>
      Option.exists(
          Cause.failureOption(cause),
          ({ _tag }) => _tag === "SessionTooLarge" || _tag === "SessionInTransaction"
        )
        ? Option.none()
        : Option.some(works.map(() => Exit.failCause(cause)))
  })
}

const saveBatchOnce = <A extends object>(
  core: Core<A>,
  works: ReadonlyArray<Work<A>>
): Effect.Effect<ReadonlyArray<Exit.Exit<Written<A>, SessionError>>, SessionError> =>
  Effect.withFiberRuntime((fiber) =>
    Effect.gen(function*() {
      const now = Done.millisOf(fiber)
      const gones = Effect.forEach(works, (work) => Effect.exit(gone(core, work)))
      const fresh = yield* reloaded(core, works[0]?.loaded, now)
      if (fresh === undefined) return yield* gones
      let current = fresh
      const failures: Array<Exit.Exit<never, SessionError> | undefined> = []
      for (const work of works) {
        SessionMetrics.commits.unsafeUpdate("replayed", labelsOf(fiber))
        const reworked = yield* Effect.exit(replaySteps(core, { ...work, loaded: current }, current))
        failures.push(Exit.isFailure(reworked) ? Exit.failCause(reworked.cause) : undefined)
        // Another request may have made the very same change.
        if (Exit.isFailure(reworked) || !isChanged(reworked.value)) continue
        const { raw, record } = build(core, reworked.value, now)
        const { draft } = reworked.value
        current = {
          ...current,
          raw,
          record: { ...record, version: fresh.record.version + 1 },
          decoded: draft.value,
          attributes: draft.attributes
        }
      }
      const done = (loaded: Loaded<A>): ReadonlyArray<Exit.Exit<Written<A>, SessionError>> =>
        failures.map((failure) => failure ?? Exit.succeed({ loaded, replayed: true, evicted: noIds }))
      if (current === fresh) return done(fresh)
      const outcome = yield* Effect.mapError(
        core.engine.write(
          { _tag: "Save", value: fresh.value, record: current.record, expectedVersion: fresh.record.version },
          now
        ),
        Errors.failure(core, current.raw)
      )
      switch (outcome._tag) {
        case "Written":
          return done({ ...current, value: outcome.value, record: outcome.record, needsReseal: false })
        case "Conflict":
          return yield* saveBatchOnce(core, works)
        case "Gone":
        case "Full":
          return yield* gones
      }
    })
  )

/** The record as it is stored now; absent if the session has ended. */
const reloaded = <A extends object>(
  core: Core<A>,
  loaded: Loaded<A> | undefined,
  now: number
): Effect.Effect<Loaded<A> | undefined, SessionError> =>
  loaded === undefined ? Effect.succeed(undefined) : Effect.flatMap(
    Effect.mapError(core.engine.open(loaded.value, now, "fresh"), Errors.failure(core)),
    Option.match({
      onNone: () => Effect.succeed(undefined),
      onSome: (opened) =>
        Effect.filterOrElse(
          load(core, opened),
          (fresh) => fresh !== undefined,
          () => conflict(core, "it no longer fits this version")
        )
    })
  )

const attempt = <A extends object>(
  core: Core<A>,
  change: "Create" | "Rotate" | "Save",
  work: Work<A>,
  now: number,
  replayed: boolean
): Effect.Effect<Written<A>, SessionError> => {
  const loaded = change === "Create" ? undefined : work.loaded
  const draft = change === "Save" ? work.draft : withRotationMark(core, work)
  const { raw, record } = build(
    core,
    loaded === work.loaded && draft === work.draft ? work : { ...work, draft, loaded },
    now
  )
  const { limit } = core.settings
  const request: Write = loaded === undefined || change === "Create"
    ? { _tag: "Create", record, limit, minted: work.minted?.value }
    : change === "Save"
    ? { _tag: change, value: loaded.value, record, expectedVersion: loaded.record.version }
    : {
      _tag: change,
      value: loaded.value,
      record,
      expectedVersion: loaded.record.version,
      minted: work.minted?.value,
      // Another token for a session that the subject has already is not one more session.
      limit: record.subject === loaded.record.subject ? undefined : limit
    }
  const handleOutcome = (outcome: EngineWritten): Effect.Effect<Written<A>, SessionError> => {
    switch (outcome._tag) {
      case "Written":
        return Exit.succeed({
          loaded: {
            value: outcome.value,
            record: outcome.record,
            needsReseal: false,
            raw,
            decoded: draft.value,
            attributes: draft.attributes
          },
          replayed,
          evicted: outcome.evicted ?? noIds
        })
      case "Conflict":
        return core.engine.selfContained
          ? conflict(core, "another request has saved it")
          : Effect.zipRight(Effect.flatten(Deadline.overtaken), replay(core, change, work))
      case "Gone":
        return gone(core, work)
      case "Full":
        return Exit.fail(new SessionLimitReached({ session: core.name, max: core.settings.limit?.max ?? 0 }))
    }
  }
  const outcome = core.engine.write(request, now)
  return Done.isDone(outcome) && Exit.isSuccess(outcome) ? handleOutcome(outcome.value) : Effect.matchEffect(outcome, {
    onFailure: (error) => Exit.fail(Errors.failure(core, raw)(error)),
    onSuccess: handleOutcome
  })
}

/** Marks a rotation in the record, for engines whose cookie value changes with every write. */
const withRotationMark = <A extends object>(core: Core<A>, { draft, minted }: Work<A>): Draft<A> =>
  core.engine.selfContained
    ? { ...draft, attributes: { ...draft.attributes, rotation: minted?.rotation ?? encodeBase64Url(nameBytes(9)) } }
    : draft

const noIds: ReadonlyArray<never> = []

const conflict = <A extends object>(core: Core<A>, what: string): Effect.Effect<never, SessionConflict> =>
  Exit.fail(new SessionConflict({ session: core.name, what }))

/** Replays the steps on the fresh record, and writes again. */
const replay = <A extends object>(
  core: Core<A>,
  change: "Create" | "Rotate" | "Save",
  work: Work<A>
): Effect.Effect<Written<A>, SessionError> =>
  Effect.withFiberRuntime((fiber) => {
    SessionMetrics.commits.unsafeUpdate("replayed", labelsOf(fiber))
    const now = Done.millisOf(fiber)
    return Effect.flatMap(reloaded(core, work.loaded, now), (loaded) =>
      loaded === undefined ? gone(core, work) : Effect.flatMap(
        replaySteps(core, { ...work, loaded }, loaded),
        (next): Effect.Effect<Written<A>, SessionError> =>
          // The other request may have made the very same change.
          isChanged(next) || change === "Rotate"
            ? attempt(core, change, next, now, true)
            : Effect.succeed({ loaded, replayed: true, evicted: noIds })
      ))
  })

/** The value and the record that the work leads to, before it is written. The value is absent if the engine derives it from the record. */
export const upcoming = <A extends object>(
  core: Core<A>,
  change: "Create" | "Rotate",
  work: Work<A>,
  now: number
): { readonly value: CookieValue | undefined; readonly record: SessionRecord } => {
  const draft = withRotationMark(core, work)
  const loaded = change === "Create" ? undefined : work.loaded
  return { value: work.minted?.value, record: build(core, { ...work, draft, loaded }, now).record }
}

/** Handles a session that has ended: a login starts a new one, other changes are discarded or fail. */
const gone = <A extends object>(
  core: Core<A>,
  work: Work<A>
): Effect.Effect<Written<A>, SessionError> => {
  if (!work.draft.authenticated) {
    return core.settings.onGone === "discard"
      ? Effect.succeed(undefined)
      : Effect.fail(new SessionGone({ session: core.name }))
  }
  return Effect.flatMap(predecessorOf(core, work), (predecessor) =>
    Effect.flatMap(
      replaySteps(core, { ...work, loaded: undefined, predecessor }, predecessor),
      (next) => Effect.withFiberRuntime((fiber) => attempt(core, "Create", next, Done.millisOf(fiber), true))
    ))
}

/** Replays the steps of the request on another record, or on a new session. */
const replaySteps = <A extends object>(
  core: Core<A>,
  work: Work<A>,
  from: Loaded<A> | undefined
): Effect.Effect<Work<A>, SessionError> =>
  Effect.flatMap(
    Effect.catchAll(
      SessionDraft.replay(SessionDraft.startFrom(core.initial, from), work.steps.map(({ step }) => step), work.origin),
      ({ what }) => conflict(core, what)
    ),
    (draft) => Effect.map(changesOf(core, draft), (changes) => ({ ...work, draft, changes }))
  )

/**
 * The record whose data a login of the same subject keeps although its session has ended: the record that the request itself has
 * revoked, or the record that another login of the subject has moved to a new token, if this login ends that one. The data of a
 * session that was ended otherwise is not restored.
 */
const predecessorOf = <A extends object>(
  core: Core<A>,
  { predecessor, draft, loaded }: Work<A>
): Effect.Effect<Loaded<A> | undefined, SessionError> => {
  const subject = loaded?.record.subject
  if (loaded === undefined || draft.subjectChanged || subject === undefined || subject !== draft.subject) {
    return Effect.succeed(undefined)
  }
  // Only a login that ends the other session may copy its data: otherwise the data would exist twice.
  if (predecessor !== undefined || !draft.revokeOthers || Option.isNone(core.directory)) {
    return Effect.succeed(predecessor)
  }
  const byId = EngineById.make(core, core.directory.value)
  return Effect.withFiberRuntime((fiber) =>
    Effect.flatMap(
      Effect.mapError(byId.open(Redacted.make(loaded.record.id), Done.millisOf(fiber)), Errors.failure(core)),
      Option.match({
        onNone: () => Effect.succeed(undefined),
        onSome: (moved) =>
          moved.record.subject === subject
            // The attributes decide what the login keeps: nothing of a time in which the session acted for another subject.
            ? Effect.match(Effect.all([decode(core, moved.record), Attributes.decode(moved.record.attributes)]), {
              // Data that is sealed with the token cannot be read without it.
              onFailure: () => undefined,
              onSuccess: ([data, attributes]) => ({ ...moved, ...data, attributes })
            })
            : Effect.succeed(undefined)
      })
    )
  )
}

/** Creates a session with the content of one that was written, after another login of its subject has ended that one. */
export const recreate = <A extends object>(
  core: Core<A>,
  predecessor: Loaded<A>
): Effect.Effect<Written<A>, SessionError> => {
  const draft = {
    ...SessionDraft.startFrom(core.initial, predecessor),
    authenticated: true,
    raised: true,
    revokeOthers: true
  }
  return Effect.withFiberRuntime((fiber) =>
    attempt(
      core,
      "Create",
      {
        loaded: undefined,
        draft,
        steps: [],
        origin: predecessor.decoded,
        changes: noChanges,
        predecessor
      },
      Done.millisOf(fiber),
      false
    )
  )
}

// ---- the record

/** Builds the record of a draft from the previous record, if there is one. */
const build = <A extends object>(
  core: Core<A>,
  { predecessor, changes, draft, loaded, minted }: Work<A>,
  now: number
): { readonly raw: JsonRecord; readonly record: SessionRecord } => {
  const source = draft.subjectChanged ? undefined : loaded ?? predecessor
  const raw = SessionDraft.patch(source === undefined || draft.cleared ? core.initialRaw : source.raw, changes)
  const old = draft.subjectChanged ? undefined : loaded?.record
  const times = timesOf(core, { draft, loaded }, now)
  return {
    raw,
    record: {
      namespace: core.namespace,
      id: old?.id ?? minted?.id ?? Ids.fromBytes(nameBytes(Ids.byteLength)),
      data: core.codec.encode(raw),
      // During a deploy, a newer version of the application may have written its own schema version: keep it.
      schemaVersion: Math.max(core.history.version, source?.record.schemaVersion ?? 0),
      subject: draft.subject,
      version: (loaded?.record.version ?? 0) + 1,
      writeId: encodeBase64Url(nameBytes(12)),
      attributes: Attributes.encode(draft.attributes),
      ...times
    }
  }
}

/** The times and the end of a record that is written at `now`. */
const timesOf = <A extends object>(
  core: Core<A>,
  { draft, loaded }: Pick<Work<A>, "draft" | "loaded">,
  now: number
): Expiry.Times & Pick<SessionRecord, "expiry"> => {
  const old = draft.subjectChanged ? undefined : loaded?.record
  const times: Expiry.Times = {
    createdAt: old?.createdAt ?? now,
    authenticatedAt: draft.authenticated ? now : old?.authenticatedAt,
    modifiedAt: Math.max(now, old?.modifiedAt ?? now),
    // A change by a job does not count as a use by the visitor.
    lastSeenAt: core.isBackground && old !== undefined ? old.lastSeenAt : Math.max(now, old?.lastSeenAt ?? now)
  }
  return {
    ...times,
    expiry: old === undefined || draft.authenticated
      ? ExpiryRules.initial(core.settings.expiry, times, draft.lifetime)
      : ExpiryRules.next(core.settings.expiry, old.expiry, times, draft.lifetime)
  }
}

/** The end of the session in milliseconds: the stored end, or the end after its pending changes if they were written at `now`. */
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
