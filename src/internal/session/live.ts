/**
 * Mutable state of one request's session: loaded on first use, changed step by step, committed when the request ends. `commit.ts`
 * decides and writes.
 */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { CookieUpdate, CookieValue } from "../../SessionEngine.js"
import type { SessionCommitted, SessionError, SessionUnavailable, SessionWriteError } from "../../SessionError.js"
import type { Absence } from "../../SessionHandle.js"
import type { SessionRecord } from "../../SessionRecord.js"
import type { SessionRevocation } from "../../SessionRevocation.js"
import type { RequestOptions } from "../../SessionService.js"
import type { ReadConsistency } from "../../SessionStore.js"
import { aborted } from "../domain/change.js"
import type { Candidates } from "../domain/cookieHeader.js"
import type { Draft, Field, Step } from "../domain/draft.js"
import * as SessionDraft from "../domain/draft.js"
import * as Done from "../done.js"
import { withHelp } from "../help.js"
import { wholeOf } from "../schema/lazy.js"
import type { ValidationIssue } from "../schema/prepared.js"
import { awaitEnd } from "./awaitEnd.js"
import type { Committed, Uncommitted } from "./commit.js"
import { commit } from "./commit.js"
import type { Core } from "./core.js"
import * as Errors from "./errors.js"
import * as Events from "./events.js"
import * as Forgery from "./forgery.js"
import type { Copies } from "./inPlace.js"
import * as InPlace from "./inPlace.js"
import { Mutex } from "./mutex.js"
import type { Found } from "./open.js"
import { load, open } from "./open.js"
import { Presented, separator } from "./presented.js"
import { Reads } from "./reads.js"
import { spanned } from "./spans.js"
import type { Loaded, Minted } from "./work.js"
import { endOf } from "./write.js"

/** A `withRollback` region of a handler, and the region around it. */
interface Scope {
  readonly outer: Scope | undefined
}

const isWithin = (inner: Scope | undefined, scope: Scope): boolean =>
  inner !== undefined && (inner === scope || isWithin(inner.outer, scope))

/** The innermost `withRollback` region that this fiber runs in. */
const currentScope = FiberRef.unsafeMake<Scope | undefined>(undefined)

/** A result, the step that changes the draft, and a callback for after the step was applied. */
type Change<A, B> = readonly [result: B, step: Step<A>, taken?: (draft: Draft<A>) => void]

type Make<A, B> = (draft: Draft<A>) => Change<A, B> | Effect.Effect<Change<A, B>, ValidationIssue>

type Fields<A> = ReadonlyArray<readonly [keyof A & string, Field]>

/**
 * One request's session. Each change of its state is one synchronous step or runs under the mutex, so concurrent branches of a
 * handler may share it.
 */
export class Live<A extends object> implements Uncommitted<A> {
  // ---- input of the decision: see `State` of `change.ts`

  /** The session could not be opened. */
  answered = false
  presented: boolean
  destroyed = false
  discarded = false
  opened = false
  isNew = true
  changed = false
  raised = false
  rotates = false
  lastSeenAt = 0
  touchWindow: number | undefined
  needsReseal = false
  stale = false

  // ---- output for the response

  /** The transport of the request, and of `setCookie`: see `RequestSession`. */
  readonly transport: "cookie" | "bearer" | undefined
  /** The session was used, so the response depends on the cookie. */
  accessed = false
  /** The response must not be cached, not even for the same visitor. */
  uncacheable = false
  /** The cookie that the response must set. */
  setCookie: CookieUpdate | undefined

  // ---- current state

  /** The record that was loaded, or written by a `save`; absent for a visitor without a session. */
  loaded: Loaded<A> | undefined
  /** The value that the handler sees; absent until the session is opened. */
  draft: Draft<A> | undefined
  /** The changes since the session was opened or saved, each with the `withRollback` region that it belongs to. */
  steps: ReadonlyArray<{ readonly step: Step<A>; readonly scope: Scope | undefined }> = []
  /** The cookie values that a logout destroys: those presented, and one that a `save` of this request has created. */
  values: ReadonlyArray<CookieValue>
  ambiguous = false
  /** Why there was no session when it was opened; absent if there was one, or before it is opened. */
  absence: Absence | undefined
  /** The session was read or changed, so the request counts as a use. */
  used = false
  /** The request has ended. */
  finished = false
  /** The request was upgraded to a socket. */
  detached = false
  /** The handler can do without the session. */
  optional = false
  /** The record that this request itself has revoked: a login of the same subject keeps its data. */
  predecessor: Loaded<A> | undefined
  /** The session that `destroy` of this request ends, if it was loaded. */
  endedByUser: SessionRecord | undefined
  /** The identity of the session that the commit writes, if the handler has given it away in a token against forged requests. */
  minted: Minted | undefined
  /** Ends the other sessions of the subject after `authenticateExclusively`. */
  revocation: Context.Tag.Service<SessionRevocation> | undefined
  /** The stored fields that the handler has read. */
  readonly reads = new Reads<keyof A & string>()

  readonly #core: Core<A>
  readonly #candidates: Candidates
  readonly #options: RequestOptions | undefined
  #presentedValues: Presented | undefined
  /** The handler's copies of fields that may be changed in place. */
  readonly #copies: Copies<A> = new Map()
  #reading: ReadConsistency | undefined
  readonly #mutex = new Mutex()
  /** A change after the end of the request has been logged. */
  #warned = false
  /** The error of a write whose outcome is unknown. It must not be retried. */
  #broken: SessionError | undefined

  constructor(core: Core<A>, candidates: Candidates, options?: RequestOptions, transport?: "cookie" | "bearer") {
    this.#core = core
    this.transport = transport
    this.#candidates = candidates
    this.#options = options
    this.presented = candidates.presented
    const { values } = candidates
    this.values = values.length > 1 || values[0]?.includes(separator) === true
      ? this.#presented.values
      : values.map((value) => Redacted.make(value))
  }

  get #presented(): Presented {
    return this.#presentedValues ??= new Presented(this.#candidates)
  }

  /** The treatment of a new session if a cross-site request came without the cookie. */
  get crossSite(): "refuse" | "discard" | undefined {
    return this.#candidates.presented || this.transport === "bearer" ? undefined : this.#options?.crossSite
  }

  /** Seconds after which a retry is worthwhile; absent unless the session could not be read or written. */
  get retryAfter(): number | undefined {
    return this.answered || this.#broken !== undefined ? this.#core.settings.retryAfter : undefined
  }

  /** A touch that cannot be written does not fail the request. */
  get allowsStale(): boolean {
    return this.optional || this.#reading === "stale"
  }

  // ---- open

  /** Reads the session; loads it on first use. `use`: the read counts as a use, which prolongs the session. */
  read<B>(f: (draft: Draft<A>) => B, use = true): Effect.Effect<B, SessionUnavailable> {
    return Effect.withFiberRuntime((fiber) => {
      this.accessed = true
      if (use) this.used = true
      if (this.draft !== undefined) return Exit.succeed(f(this.draft))
      const opened = this.#opened(fiber)
      return Done.isDone(opened) && Exit.isSuccess(opened)
        ? Exit.succeed(f(opened.value))
        : Effect.map(opened, f)
    })
  }

  /** Returns the draft. Loads are single-flight: if the loading branch is interrupted, the next one loads. */
  #opened(fiber: Done.RuntimeFiber): Effect.Effect<Draft<A>, SessionUnavailable> {
    if (this.draft !== undefined) return Exit.succeed(this.draft)
    const isSynchronous = this.#core.isSynchronous && this.#mutex.busy === undefined
    const loaded = isSynchronous ? this.#load(fiber) : undefined
    return loaded !== undefined && Done.isDone(loaded)
      ? loaded
      : this.#mutex.exclusively(() => this.draft !== undefined ? Exit.succeed(this.draft) : loaded ?? this.#load(fiber))
  }

  #load(fiber: Done.RuntimeFiber): Effect.Effect<Draft<A>, SessionUnavailable> {
    const core = this.#core
    // The response head was sent without `Vary`, so a response that depends on the session could be cached for other visitors.
    if (this.finished && this.draft === undefined) {
      const error = Errors.late(core)
      return Effect.zipRight(Errors.log(error), Effect.fail(error))
    }
    // A session that was opened before stays usable if a reload fails.
    this.answered = this.draft === undefined
    const seen = this.draft?.value
    const values = this.loaded === undefined ? this.values : [this.loaded.value]
    const partial = this.#presentedValues?.partial ?? this.#candidates.partial === true
    const found = Done.isTraced(fiber)
      ? this.#openInSpan(values, partial)
      : open(core, this.presented, values, partial, this.#reading, fiber)
    if (seen === undefined && Done.isDone(found) && Exit.isSuccess(found)) return Exit.succeed(this.#found(found.value))
    return Effect.flatMap(found, (found) =>
      seen === undefined ? Exit.succeed(this.#found(found)) : Effect.map(
        core.steps.differing(this.reads.all, seen, found.loaded?.decoded ?? core.initial),
        (staleFields) => this.#found(found, staleFields)
      ))
  }

  #openInSpan(values: ReadonlyArray<CookieValue>, partial: boolean): Effect.Effect<Found<A>, SessionUnavailable> {
    let outcome = "unknown"
    const opened = Effect.withFiberRuntime<Found<A>, SessionUnavailable>((fiber) =>
      open(this.#core, this.presented, values, partial, this.#reading, fiber, (known) => void (outcome = known))
    )
    return spanned("open", this.#core.name, opened, () => outcome)
  }

  #found({ absence, ambiguous, loaded }: Found<A>, staleFields: ReadonlyArray<keyof A & string> = []): Draft<A> {
    this.ambiguous = ambiguous
    this.absence = absence
    return this.#startFrom(loaded, staleFields)
  }

  /**
   * Restarts from a record, or without one. `staleFields`: it is the same session, and these fields have changed since they were
   * read; absent: it is another session.
   */
  #startFrom(loaded: Loaded<A> | undefined, staleFields?: ReadonlyArray<keyof A & string>): Draft<A> {
    if (this.steps.length > 0) this.steps = []
    this.answered = false
    if (staleFields === undefined) {
      this.reads.restart()
      this.#copies.clear()
    } else if (staleFields.length > 0 || this.reads.written !== undefined) this.reads.refresh(staleFields)
    this.opened = true
    this.isNew = loaded === undefined
    this.needsReseal = loaded?.needsReseal === true
    this.stale = loaded?.stale === true
    this.loaded = loaded
    return this.draft = SessionDraft.startFrom(this.#core.initial, loaded)
  }

  /**
   * Loads the session again, past every cache. Does nothing if there are pending changes, which are merged with the stored record
   * when they are written. A change in place that cannot be encoded fails the commit, not the reload.
   */
  get reload(): Effect.Effect<void, SessionUnavailable> {
    return Effect.matchEffect(this.#setInPlace, {
      onFailure: () => Effect.void,
      onSuccess: () =>
        this.#mutex.exclusively(() =>
          Effect.withFiberRuntime<void, SessionUnavailable>((fiber) => {
            this.accessed = true
            this.#reading = "fresh"
            return this.finished || this.destroyed || this.steps.length > 0
              ? Effect.void
              : Effect.asVoid(this.#load(fiber))
          })
        )
    })
  }

  /** Accepts a cached record while the store is down. Returns whether the session is one, which cannot be changed. */
  get allowStale(): Effect.Effect<boolean, SessionUnavailable> {
    return Effect.suspend(() => {
      this.#reading ??= "stale"
      return this.read(() => this.stale)
    })
  }

  /** Returns whether the session can be read. From then on, only a change that cannot be saved fails the request. */
  get readable(): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      this.optional = true
      return Effect.match(this.read(() => undefined, false), { onFailure: () => false, onSuccess: () => true })
    })
  }

  // ---- read

  /** Reads a field: the handler's own copy, if it may be changed in place. */
  get<K extends keyof A & string>(key: K): Effect.Effect<A[K], SessionUnavailable> {
    const { schema } = this.#core
    const draft = this.read((draft) => {
      this.reads.add(key)
      return draft
    })
    return schema.mutable.has(key)
      ? Effect.flatMap(draft, (draft) => InPlace.read(schema, this.#copies, draft, key))
      : Effect.map(draft, ({ value }) => value[key])
  }

  /** Reads the whole value, with the handler's own copies in it. */
  get whole(): Effect.Effect<A, SessionUnavailable> {
    const { isClass, keys, mutable } = this.#core.schema
    const draft = this.read((draft) => {
      for (const key of keys) this.reads.add(key)
      return draft
    })
    return isClass || mutable.size > 0
      ? Effect.flatMap(draft, (draft) => InPlace.readAll(this.#core.schema, this.#copies, draft))
      : Effect.map(draft, ({ value }) => wholeOf(value, keys))
  }

  /**
   * Prefetch: consumes nothing, and marks the response uncacheable, so that the visitor does not see a page without the value.
   */
  get prefetched(): Effect.Effect<Option.Option<never>> {
    return Effect.sync(() => {
      this.accessed = true
      this.uncacheable = true
      return Option.none()
    })
  }

  /** The end of the session in milliseconds; absent if there is no session. Does not count as a use. */
  get endsAt(): Effect.Effect<number | undefined, SessionUnavailable> {
    return Effect.flatMap(
      Effect.zip(this.read((draft) => draft, false), Clock.currentTimeMillis),
      ([draft, now]) =>
        this.discarded
          ? Effect.succeed(this.loaded?.record.expiry.at)
          : endOf(this.#core, this.loaded, draft, now)
    )
  }

  /** Completes when the session has ended; never for a visitor without a session. */
  awaitEnd(every: number): Effect.Effect<void, SessionUnavailable> {
    return Effect.flatMap(
      this.read(() => this.loaded),
      (loaded) => loaded === undefined ? Effect.never : awaitEnd(this.#core, loaded, every)
    )
  }

  /** The token against forged requests, and its check. */
  get forgery(): Forgery.Forgery {
    return {
      transport: this.transport,
      token: Effect.zipRight(
        Effect.ignore(this.#setInPlace),
        Effect.flatMap(this.read((draft) => draft), (draft) => Forgery.tokenAfter(this.#core, this, draft))
      ),
      verify: Effect.flatMap(
        this.read(() => this.loaded, false),
        (loaded) =>
          Effect.transposeMapOption(Option.fromNullable(loaded), (loaded) => Forgery.verifierOf(this.#core, loaded))
      ),
      refuse: Effect.map(Clock.currentTimeMillis, (now) => {
        this.discarded = true
        Events.refused(this.#core, now, this.loaded, "csrf")
      })
    }
  }

  // ---- change

  /** Applies a step to the draft, and records it for a replay. */
  change<B>(make: Make<A, B>): Effect.Effect<B, SessionWriteError> {
    return this.#change(make, true)
  }

  /** As `change`, for a function that may change the value of one field in place. */
  changeField<B>(key: keyof A & string, make: (draft: Draft<A>) => Change<A, B>): Effect.Effect<B, SessionWriteError> {
    return this.change((draft) =>
      this.#core.schema.mutable.has(key) ? Effect.map(this.#core.steps.withOwnCopy(draft, key), make) : make(draft)
    )
  }

  step(make: () => Step<A>): Effect.Effect<void, SessionWriteError> {
    return this.change(() => [undefined, make()])
  }

  /** Sets or removes fields, all or none. */
  assign(fields: Fields<A>): Effect.Effect<void, SessionWriteError> {
    return this.change(() => this.#assignment(fields))
  }

  /** `scoped`: a rollback undoes the change. */
  #change<B>(make: Make<A, B>, scoped: boolean, inPlaceIsSet = false): Effect.Effect<B, SessionWriteError> {
    const apply = (draft: Draft<A> | undefined, fiber: Done.RuntimeFiber): Effect.Effect<B, SessionWriteError> => {
      if (this.finished || draft === undefined) return this.#tooLate
      if (this.stale) return Exit.fail(Errors.readOnly(this.#core))
      const change = make(draft)
      return Effect.isEffect(change)
        ? Done.matchEffect(change, {
          onFailure: (error) => Exit.fail(Errors.stepError(this.#core, error)),
          onSuccess: (change) => take(draft, change, fiber)
        })
        : take(draft, change, fiber)
    }
    const take = (
      draft: Draft<A>,
      [result, step, taken]: Change<A, B>,
      fiber: Done.RuntimeFiber
    ): Effect.Effect<B, SessionWriteError> => {
      const took = (next: Draft<A>): Effect.Effect<B, SessionWriteError> => {
        // Encoding a field may be asynchronous: meanwhile another branch of the handler may have changed the draft, a save may
        // have begun, or the request may have ended.
        if (this.draft !== draft || this.#mutex.busy !== undefined || this.finished) return this.#change(make, scoped)
        this.draft = next
        this.steps = [...this.steps, { step, scope: scoped ? fiber.getFiberRef(currentScope) : undefined }]
        taken?.(next)
        return Exit.succeed(result)
      }
      const next = step(draft, undefined)
      return Done.isDone(next) && Exit.isSuccess(next) ? took(next.value) : Effect.matchEffect(next, {
        onFailure: (error) => Exit.fail(Errors.stepError(this.#core, error)),
        onSuccess: took
      })
    }
    const now = (fiber: Done.RuntimeFiber): Effect.Effect<B, SessionWriteError> => {
      this.accessed = true
      this.used = true
      if (!inPlaceIsSet && this.#copies.size > 0) {
        return Effect.zipRight(this.#setInPlace, this.#change(make, scoped, true))
      }
      if (this.draft !== undefined || this.finished) return apply(this.draft, fiber)
      const opened = this.#opened(fiber)
      return Done.isDone(opened) && Exit.isSuccess(opened)
        ? apply(opened.value, fiber)
        : Effect.flatMap(opened, (draft) => apply(draft, fiber))
    }
    return Effect.withFiberRuntime((fiber) => this.#mutex.busy === undefined ? now(fiber) : this.#mutex.whenIdle(now))
  }

  #assignment(
    fields: Fields<A>,
    taken?: (draft: Draft<A>) => void
  ): Change<A, void> | Effect.Effect<Change<A, void>, ValidationIssue> {
    const { schema: { mutable }, steps } = this.#core
    const assignment = (fields: Fields<A>): Change<A, void> => {
      const all = fields.map(([key, field]) =>
        this.reads.isStale(key) ? SessionDraft.conflictOn(key) : steps.assign(key, field, this.reads.has(key))
      )
      return [
        undefined,
        (draft, origin) => Done.reduce(all, draft, (draft, step) => step(draft, origin)),
        (draft) => {
          for (const [key] of fields) this.reads.replace(key)
          taken?.(draft)
        }
      ]
    }
    return mutable.size > 0 && fields.some(([key]) => mutable.has(key))
      ? Effect.map(
        Effect.forEach(fields, ([key, field]) =>
          mutable.has(key) && field.present
            ? Effect.map(steps.snapshot(key, field), (field) => [key, field] as const)
            : Effect.succeed([key, field] as const)),
        assignment
      )
      : assignment(fields)
  }

  /** Turns changes in place into steps. */
  get #setInPlace(): Effect.Effect<void, SessionWriteError> {
    return Effect.suspend(() => {
      const { draft } = this
      if (this.#copies.size === 0 || draft === undefined || this.discarded) return Effect.void
      return Effect.flatMap(
        Effect.mapError(
          InPlace.changed(this.#core.schema, this.#copies, draft),
          (issue) => Errors.stepError(this.#core, issue)
        ),
        (fields) =>
          fields.length === 0
            ? Effect.void
            : this.#change(
              () =>
                this.#assignment(fields, (draft) => InPlace.markSet(this.#copies, draft, fields.map(([key]) => key))),
              true,
              true
            )
      )
    })
  }

  /**
   * Adopts the record written by `take`: as it is if there are no pending changes, otherwise by a step that removes the field.
   */
  follow(key: keyof A & string, loaded: Loaded<A> | undefined): Effect.Effect<void, SessionWriteError> {
    return Effect.flatMap(this.#setInPlace, () => {
      const { draft } = this
      if (loaded === undefined || draft === undefined || this.steps.length > 0) {
        // A rollback does not restore a consumed value.
        return this.#change(
          () => [undefined, this.#core.steps.assign(key, { present: false }, false)],
          false
        )
      }
      return Effect.map(
        this.#core.steps.differing(this.reads.all.filter((read) => read !== key), draft.value, loaded.decoded),
        (staleFields) => void this.#startFrom(loaded, staleFields)
      )
    })
  }

  /** Runs `effect`, and undoes its changes if it does not succeed. */
  withRollback<B, E, R>(effect: Effect.Effect<B, E, R>): Effect.Effect<B, E, R> {
    // Earlier changes in place do not belong to the region. If they cannot be encoded, the commit fails with the reason.
    return Effect.flatMap(Effect.zipRight(Effect.ignore(this.#setInPlace), FiberRef.get(currentScope)), (outer) => {
      const scope: Scope = { outer }
      const before = this.reads.copy()
      return Effect.onExit(
        Effect.locally(effect, currentScope, scope),
        (exit) => Exit.isSuccess(exit) ? Effect.void : this.#rollBack(scope, before)
      )
    })
  }

  /** Undoes the steps of a region: replays all other steps without them. */
  #rollBack(scope: Scope, before: Reads<keyof A & string>): Effect.Effect<void> {
    return this.#mutex.exclusively(() => {
      if (this.finished) return Effect.void
      // This also drops changes in place since then.
      this.#copies.clear()
      const others = this.steps.filter((one) => !isWithin(one.scope, scope))
      if (this.draft === undefined || others.length === this.steps.length) return Effect.void
      const start = SessionDraft.startFrom(this.#core.initial, this.loaded)
      return Effect.match(SessionDraft.replay(start, others.map(({ step }) => step), start.loaded), {
        onSuccess: (draft) => {
          this.draft = draft
          this.steps = others
          this.reads.rollBack(before)
        },
        // Another branch has used a result that is undone: its change must not be written either.
        onFailure: (conflict) => void (this.#broken = Errors.stepError(this.#core, conflict))
      })
    })
  }

  /**
   * Runs a revocation. If it ends the session of this request, a login of the same subject in this request keeps the data that
   * the store held before.
   */
  revoking<B, E>(ends: (record: SessionRecord) => boolean, revoke: Effect.Effect<B, E>): Effect.Effect<B, E> {
    const own = Effect.flatMap(
      Effect.withFiberRuntime<Draft<A>, SessionUnavailable>((fiber) => this.#opened(fiber)),
      () => {
        const { loaded } = this
        return loaded === undefined || this.finished || !ends(loaded.record) ? Effect.succeedNone : Effect.flatMap(
          Effect.flatMap(Clock.currentTimeMillis, (now) => this.#core.engine.open(loaded.value, now, "fresh")),
          // None if the session had already ended: its data must not be restored.
          Effect.transposeMapOption((opened) => load(this.#core, opened))
        )
      }
    )
    // Revoke even if the session cannot be read.
    return Effect.flatMap(
      Effect.orElseSucceed(own, () => Option.none()),
      (own) =>
        Effect.tap(revoke, () =>
          Effect.sync(() => {
            if (Option.isSome(own)) this.predecessor = own.value
          }))
    )
  }

  // ---- end

  /** Ends the session when the request ends. Loads it first only if its end is published as an event, which names it. */
  get destroy(): Effect.Effect<void, SessionCommitted> {
    return Effect.suspend(() =>
      this.#core.events === undefined || this.draft !== undefined || this.finished
        ? this.#destroyed
        : Effect.zipRight(Effect.ignore(this.read(() => undefined, false)), this.#destroyed)
    )
  }

  get #destroyed(): Effect.Effect<void, SessionCommitted> {
    return this.#mutex.whenIdle(() => {
      this.accessed = true
      if (this.finished) return this.#tooLate
      if (this.loaded !== undefined) {
        this.values = [...this.values, this.loaded.value]
        this.presented = true
        this.endedByUser = this.loaded.record
      }
      this.destroyed = true
      this.predecessor = undefined
      this.#startFrom(undefined)
      return Exit.void
    })
  }

  /** Writes the pending changes now, and continues from the written record. */
  get save(): Effect.Effect<void, SessionError> {
    return this.#mutex.whenIdle(() => {
      this.accessed = true
      this.used = true
      if (this.finished) return this.#tooLate
      if (this.#broken !== undefined) return Exit.fail(this.#broken)
      return Effect.zipRight(
        this.#setInPlace,
        Effect.tapError(
          this.#mutex.exclusively(() =>
            Effect.withFiberRuntime<void, SessionError>((fiber) => this.#commit(200, fiber))
          ),
          Errors.log
        )
      )
    })
  }

  /**
   * Finalizes the request: decides and writes. Idempotent and total: an error is the result, and the caller answers with it.
   * `status` is that of the handler's response. After an upgrade to a socket only `save` writes. `branches`: forked fibers of the
   * handler are still running. A fiber that has not started is interrupted with the request: the yield lets it start, and report
   * a change that is lost.
   */
  finish(status: number, fiber: Done.RuntimeFiber, branches: boolean): Effect.Effect<SessionError | undefined> {
    const finished = this.#mutex.busy === undefined
      ? this.#finish(status, undefined, fiber)
      : this.#mutex.whenIdle((fiber) => this.#finish(status, undefined, fiber))
    return branches ? Effect.zipLeft(finished, Effect.yieldNow()) : finished
  }

  /** `inPlace`: the result of `#setInPlace`; absent before it has run. */
  #finish(
    status: number,
    inPlace: Exit.Exit<void, SessionWriteError> | undefined,
    fiber: Done.RuntimeFiber
  ): Effect.Effect<SessionError | undefined> {
    const before = this.finished
    if (!before && inPlace === undefined && this.#copies.size > 0) {
      return Effect.flatMap(
        Effect.exit(this.#setInPlace),
        (exit) => this.#mutex.whenIdle((fiber) => this.#finish(status, exit, fiber))
      )
    }
    this.finished = true
    if (before || !this.accessed) return fine
    if (this.detached) return this.steps.length > 0 ? Effect.as(this.#logUnsaved, undefined) : fine
    if (this.#broken !== undefined) return status >= 500 ? fine : Exit.succeed(this.#broken)
    const failed = inPlace !== undefined && Exit.isFailure(inPlace) && status < 500 && status !== aborted
    const committed = failed ? inPlace : this.#attempted(status, fiber)
    return Exit.isExit(committed) && Exit.isSuccess(committed) ? fine : Effect.matchCauseEffect(committed, {
      onSuccess: () => fine,
      onFailure: (cause) => {
        const error = Errors.from(this.#core, cause)
        return Effect.as(Errors.log(error), error)
      }
    })
  }

  #attempted(status: number, fiber: Done.RuntimeFiber): Effect.Effect<void, SessionError> {
    try {
      return this.#commit(status, fiber)
    } catch (defect) {
      return Exit.die(defect)
    }
  }

  /** Commits the pending changes, and continues from the written record. */
  #commit(status: number, fiber: Done.RuntimeFiber): Effect.Effect<void, SessionError> {
    const committed = commit(this.#core, this, status, fiber)
    return Done.isDone(committed) && Exit.isSuccess(committed)
      ? this.#committed(committed.value)
      : Effect.matchEffect(committed, {
        onSuccess: (committed) => this.#committed(committed),
        onFailure: (error) => {
          if (error._tag === "SessionUnavailable") this.#broken = error
          return Exit.fail(error)
        }
      })
  }

  #committed(committed: Committed<A> | undefined): Exit.Exit<void, SessionError> {
    if (committed === undefined) return Exit.void
    this.#continueFrom(committed.loaded, committed.staleFields, committed.setCookie)
    if (committed.failed === undefined) return Exit.void
    // The written record and its cookie stay.
    this.#broken = committed.failed
    return Exit.fail(committed.failed)
  }

  /** Continues from the written record. */
  #continueFrom(
    loaded: Loaded<A> | undefined,
    staleFields: ReadonlyArray<keyof A & string>,
    setCookie: CookieUpdate | undefined
  ): void {
    const isLogin = this.draft?.authenticated === true
    // Sessions that the server cannot destroy, or has not opened, must not be presented again beside the new cookie or in its
    // place.
    if (isLogin || this.destroyed) {
      const { isFull, hasSeveral } = this.#presented
      if (isFull || (this.#core.engine.selfContained && (isLogin || hasSeveral))) this.#presented.end()
    }
    if (setCookie !== undefined) {
      if (this.transport !== "bearer") {
        this.setCookie = this.#presentedValues?.cookie(setCookie, this.#core.settings.cookie.name) ?? setCookie
        // A bearer token has no Max-Age, so the one that the client has presented need not be sent again.
      } else if (setCookie === "expire" || !this.#candidates.values.includes(Redacted.value(setCookie.value))) {
        this.setCookie = setCookie
      }
    }
    this.values = []
    this.presented = this.#candidates.presented
    this.ambiguous = false
    this.destroyed = false
    this.predecessor = undefined
    this.endedByUser = undefined
    this.minted = undefined
    this.#startFrom(loaded, staleFields)
  }

  /** Fails a change after the request was answered. The failure of a forked fiber is not observed, so the first one is logged. */
  get #tooLate(): Effect.Effect<never, SessionCommitted> {
    const error = Errors.committed(this.#core)
    if (this.#warned) return Effect.fail(error)
    this.#warned = true
    return Effect.zipRight(
      Effect.logWarning(
        withHelp(
          `A change to the session "${this.#core.name}" came after its request had been answered, and is lost. ` +
            "Let the handler wait for the fiber that makes it (Fiber.join, or Effect.all in place of Effect.fork), " +
            "or change the session after the request: open it with the service of the tag, and call save.",
          "change-after-response"
        )
      ),
      Effect.fail(error)
    )
  }

  get #logUnsaved(): Effect.Effect<void> {
    return Effect.logWarning(
      withHelp(
        `A socket of "${this.#core.name}" has closed with changes to its session that were not saved and are lost. Call save after a change.`,
        "socket-changes-lost"
      )
    )
  }
}

const fine = Exit.succeed(undefined)
