/**
 * One request's session, alive: changed step by step, settled when the request ends.
 */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import type { Candidates } from "../../CookieHeader.js"
import { aborted } from "../../SessionChange.js"
import type { Draft, Step } from "../../SessionDraft.js"
import * as SessionDraft from "../../SessionDraft.js"
import type { SessionCommitted, SessionError, SessionUnavailable, SessionWriteError } from "../../SessionError.js"
import type { SessionRecord } from "../../SessionRecord.js"
import type { SessionRevocation } from "../../SessionRevocation.js"
import type { Misfit } from "../../SessionSchema.js"
import type { OwedCookie } from "./commit.js"
import { settle } from "./commit.js"
import type { Core } from "./core.js"
import { ended } from "./ended.js"
import * as Refusals from "./errors.js"
import * as InPlace from "./inPlace.js"
import { Loader } from "./loader.js"
import type { Held } from "./open.js"
import { hold } from "./open.js"
import { Presented } from "./presented.js"
import type { Open, Scope } from "./progress.js"
import { isReadOnly, Progress } from "./progress.js"
import type { Sightings } from "./sightings.js"
import { Turns } from "./turns.js"
import { endOf } from "./write.js"

/** A result, the step that changes the draft, and what is to be noted once it has. */
type Change<A, B> = readonly [result: B, step: Step<A>, applied?: (draft: Draft<A>) => void]

type Make<A, B> = (draft: Draft<A>) => Change<A, B> | Effect.Effect<Change<A, B>, Misfit>

/** The innermost part of a handler that this fiber is in, of those whose changes are undone if they fail. */
const currentScope = FiberRef.unsafeMake<Scope | undefined>(undefined)

/**
 * What is behind the handle of `yield* AppSession`. All mutable state is here and in what is only known here; each change of it is
 * one synchronous step, so concurrent branches of a handler may share the handle.
 */
export class LiveSession<A extends object> {
  /** How it is read. */
  readonly loader: Loader<A>
  /** The response is of no use to another request of the same visitor. */
  uncacheable = false

  readonly #core: Core<A>
  readonly #withheld: "refuse" | "discard" | undefined
  readonly #turns = new Turns()
  readonly #progress: Progress<A>
  #discarded = false
  #detached = false
  #optional = false
  /** A change that came too late was reported. */
  #warned = false
  /** Ends the other sessions of a subject that logs in exclusively. */
  #revocation: Context.Tag.Service<SessionRevocation> | undefined
  /** A write whose outcome is not known must not be tried again. */
  #broken: SessionError | undefined

  constructor(core: Core<A>, candidates: Candidates, withheld?: "refuse" | "discard") {
    this.#core = core
    this.#withheld = candidates.presented ? undefined : withheld
    this.#progress = new Progress(
      core.initial,
      { name: core.settings.cookie.name, selfContained: core.engine.selfContained },
      new Presented(candidates)
    )
    this.loader = new Loader(core, this.#turns, this.#progress)
  }

  get accessed(): boolean {
    return this.#progress.accessed
  }

  /** The cookie that the response must carry. */
  get owed(): OwedCookie | undefined {
    return this.#progress.owed
  }

  get sightings(): Sightings<keyof A & string> {
    return this.#progress.sightings
  }

  // ---- reading what may be changed in place

  /** One field: the handler's own copy of it, if it may be changed in place. */
  read<K extends keyof A & string>(key: K): Effect.Effect<A[K], SessionUnavailable> {
    return Effect.flatMap(
      this.loader.read(({ draft }) => {
        this.sightings.look(key)
        return draft
      }),
      (draft) => InPlace.read(this.#core.schema, this.#progress.lent, draft, key)
    )
  }

  /** The whole value, with the handler's copies in it. */
  get whole(): Effect.Effect<A, SessionUnavailable> {
    return Effect.flatMap(
      this.loader.read(({ draft }) => {
        for (const key of this.#core.schema.keys) this.sightings.look(key)
        return draft
      }),
      (draft) => InPlace.readAll(this.#core.schema, this.#progress.lent, draft)
    )
  }

  /** Reads anew, unless something was changed. A change that cannot be made is an error of the commit. */
  get fresh(): Effect.Effect<void, SessionUnavailable> {
    return Effect.matchEffect(this.#setInPlace, {
      onFailure: () => Effect.void,
      onSuccess: () => this.loader.fresh
    })
  }

  /** Sets the fields that the handler has changed in place. */
  get #setInPlace(): Effect.Effect<void, SessionWriteError> {
    return Effect.suspend(() => {
      const { lent, open } = this.#progress
      if (lent.size === 0 || open === undefined || this.#discarded) return Effect.void
      return Effect.flatMap(
        Effect.mapError(
          InPlace.changed(this.#core.schema, lent, open.draft),
          (misfit) => Refusals.refused(this.#core, misfit)
        ),
        (fields) =>
          fields.length === 0
            ? Effect.void
            : Effect.flatMap(FiberRef.get(currentScope), (scope) =>
              this.#change(
                () => this.#assignment(fields, (draft) => InPlace.taken(lent, draft, fields.map(([key]) => key))),
                scope,
                true
              ))
      )
    })
  }

  // ---- ends

  get flush(): Effect.Effect<void, SessionCommitted> {
    return this.#turns.idle(() => {
      this.#progress.accessed = true
      if (this.#progress.finished) return this.#tooLate
      this.#progress.flush()
      return Effect.void
    })
  }

  get discard(): Effect.Effect<void> {
    return Effect.sync(() => void (this.#discarded = true))
  }

  get save(): Effect.Effect<void, SessionError> {
    return this.#turns.idle(() => {
      this.#progress.accessed = true
      this.#progress.used = true
      if (this.#progress.finished) return this.#tooLate
      return this.#broken === undefined
        ? Effect.zipRight(
          this.#setInPlace,
          Effect.tapError(this.#turns.exclusively(() => this.#settle(200)), Refusals.log)
        )
        : Effect.fail(this.#broken)
    })
  }

  // ---- time

  /** When the session ends, in milliseconds; absent while there is none. To ask is no use. */
  get endsAt(): Effect.Effect<number | undefined, SessionUnavailable> {
    return Effect.flatMap(
      Effect.zip(this.loader.read((open) => open, false), Clock.currentTimeMillis),
      ([open, now]) => this.#discarded ? Effect.succeed(open.held?.record.expiry.at) : endOf(this.#core, open, now)
    )
  }

  get isDiscarded(): boolean {
    return this.#discarded
  }

  // ---- parts of a handler that may fail

  /** Undoes the changes that `effect` has made if it does not succeed. */
  withRollback<B, E, R>(effect: Effect.Effect<B, E, R>): Effect.Effect<B, E, R> {
    // What was changed in place until now is not part of it. If that cannot be set, the commit fails with the reason.
    return Effect.flatMap(Effect.zipRight(Effect.ignore(this.#setInPlace), FiberRef.get(currentScope)), (outer) => {
      const scope: Scope = { outer }
      const before = this.sightings.copy()
      return Effect.onExit(
        Effect.locally(effect, currentScope, scope),
        (exit) => Exit.isSuccess(exit) ? Effect.void : this.#rollBack(scope, before)
      )
    })
  }

  #rollBack(scope: Scope, before: Sightings<keyof A & string>): Effect.Effect<void> {
    return this.#turns.exclusively(() =>
      this.#progress.finished
        ? Effect.void
        : Effect.catchAll(this.#progress.rollBack(scope, before), (clash) =>
          // Another branch has acted on a result that is undone: its change must not be written either.
          Effect.sync(() => void (this.#broken = Refusals.refused(this.#core, clash))))
    )
  }

  // ---- for logins that end other sessions

  /** With what the commit ends the other sessions of the subject. */
  revokeBy(revocation: Context.Tag.Service<SessionRevocation>): void {
    this.#revocation = revocation
  }

  /**
   * Runs a revocation. If it ends the session of this very request, a login of the same subject in this request goes on from
   * what the store held until then.
   */
  revoking<B, E>(
    ends: (record: SessionRecord) => boolean,
    revoke: Effect.Effect<B, E>
  ): Effect.Effect<B, E> {
    const own = Effect.flatMap(
      this.loader.opened(),
      ({ held }) =>
        held === undefined || this.#progress.finished || !ends(held.record)
          ? Effect.succeedNone
          : Effect.flatMap(
            Effect.flatMap(Clock.currentTimeMillis, (now) => this.#core.engine.open(held.value, now, "fresh")),
            // Nothing if somebody else has ended it: its data is not to come back.
            Effect.transposeMapOption((opened) => hold(this.#core, opened))
          )
    )
    // A session that cannot be read is no reason not to revoke.
    return Effect.flatMap(
      Effect.orElseSucceed(own, () => Option.none()),
      (own) =>
        Effect.tap(revoke, () =>
          Effect.sync(() => {
            if (Option.isSome(own)) this.#progress.carried = own.value
          }))
    )
  }

  // ---- for connections that outlive the request

  /** The request has become a socket. */
  detach(): void {
    this.#detached = true
  }

  /** Completes when the session has ended. A visitor without one has none that could end. */
  ended(every: number): Effect.Effect<void, SessionUnavailable> {
    return Effect.flatMap(
      this.loader.read(({ held }) => held),
      (held) => held === undefined ? Effect.never : ended(this.#core, held, every)
    )
  }

  // ---- for browsers that fetch in advance

  /** Nothing is taken, and the page without it is not shown to the visitor when they come. */
  get ahead(): Effect.Effect<Option.Option<never>> {
    return Effect.sync(() => {
      this.#progress.accessed = true
      this.uncacheable = true
      return Option.none()
    })
  }

  // ---- for handlers that can do without it

  /** Whether the session can be read. From now on nothing but a change that cannot be saved is an error. */
  get readable(): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      this.#optional = true
      return Effect.match(this.loader.read(() => undefined, false), { onFailure: () => false, onSuccess: () => true })
    })
  }

  /** The session could not be read or written: the seconds after which another try is worthwhile. */
  get retryAfter(): number | undefined {
    return this.#progress.unreadable || this.#broken !== undefined ? this.#core.settings.retryAfter : undefined
  }

  // ---- the end of the request

  /**
   * Decides and writes, once, however often it is called. Total: what goes wrong is the result, and the caller answers
   * with it. `status` is that of the handler's response. After a socket, only `save` has written.
   */
  finish(status: number): Effect.Effect<SessionError | undefined> {
    // A fiber that the handler has forked and not waited for may not have begun, and is interrupted with the request. Now it
    // begins, and reports the change that is lost.
    return Effect.zipLeft(this.#finish(status, undefined), Effect.yieldNow())
  }

  /** `inPlace`: how the fields that the handler has changed in place were set. */
  #finish(
    status: number,
    inPlace: Exit.Exit<void, SessionWriteError> | undefined
  ): Effect.Effect<SessionError | undefined> {
    return this.#turns.idle(() => {
      const before = this.#progress.finished
      if (!before && inPlace === undefined && this.#progress.lent.size > 0) {
        return Effect.flatMap(Effect.exit(this.#setInPlace), (exit) => this.#finish(status, exit))
      }
      this.#progress.finished = true
      if (before || !this.accessed) return Effect.succeed(undefined)
      if (this.#detached) return Effect.as(this.#progress.steps.length > 0 ? this.#logUnsaved : Effect.void, undefined)
      if (this.#broken !== undefined) return Effect.succeed(status >= 500 ? undefined : this.#broken)
      const settled = inPlace !== undefined && Exit.isFailure(inPlace) && status < 500 && status !== aborted
        ? inPlace
        : this.#settle(status)
      return Effect.matchCauseEffect(settled, {
        onSuccess: () => Effect.succeed(undefined),
        onFailure: (cause) => {
          const error = Refusals.from(this.#core, cause)
          return Effect.as(Refusals.log(error), error)
        }
      })
    })
  }

  /** A change after the request was answered. It may come from a fiber whose failure nobody sees, so it is logged, once. */
  get #tooLate(): Effect.Effect<never, SessionCommitted> {
    const error = Refusals.committed(this.#core)
    if (this.#warned) return Effect.fail(error)
    this.#warned = true
    return Effect.zipRight(
      Effect.logWarning(
        `A change to the session "${this.#core.name}" came after its request had been answered, and is lost. ` +
          "Let the handler wait for the fiber that makes it (Fiber.join, or Effect.all in place of Effect.fork), " +
          "or change the session outside the request, with open and commit of its service."
      ),
      Effect.fail(error)
    )
  }

  get #logUnsaved(): Effect.Effect<void> {
    return Effect.logWarning(
      `A socket of "${this.#core.name}" has closed with changes to its session that were never saved. Call save after a change.`
    )
  }

  // ---- changes

  /** Takes a step: applies it to the draft, and keeps it for a replay. */
  change<B>(make: Make<A, B>): Effect.Effect<B, SessionWriteError> {
    return Effect.flatMap(FiberRef.get(currentScope), (scope) => this.#change(make, scope, false))
  }

  /** The same for a function of one field, which it may change in place. */
  changeField<B>(key: keyof A & string, make: (draft: Draft<A>) => Change<A, B>): Effect.Effect<B, SessionWriteError> {
    return this.change((draft) =>
      this.#core.schema.mutable.has(key) ? Effect.map(this.#core.steps.lend(draft, key), make) : make(draft)
    )
  }

  /** `inPlace`: the fields that the handler has changed in place are set. */
  #change<B>(make: Make<A, B>, scope: Scope | undefined, inPlace: boolean): Effect.Effect<B, SessionWriteError> {
    const apply = (open: Open<A> | undefined): Effect.Effect<B, SessionWriteError> => {
      if (this.#progress.finished || open === undefined) return this.#tooLate
      if (isReadOnly(open)) return Effect.fail(Refusals.readOnly(this.#core))
      const change = make(open.draft)
      return Effect.isEffect(change)
        ? Effect.matchEffect(change, {
          onFailure: (error) => Effect.fail(Refusals.refused(this.#core, error)),
          onSuccess: (change) => take(open, change)
        })
        : take(open, change)
    }
    const take = (open: Open<A>, [result, step, applied]: Change<A, B>): Effect.Effect<B, SessionWriteError> =>
      Effect.matchEffect(step(open.draft, undefined), {
        onFailure: (error) => Effect.fail(Refusals.refused(this.#core, error)),
        onSuccess: (draft) => {
          // Encoding a field may take time: another branch of the handler may have been faster, a save may have begun, or
          // the request may have ended.
          if (this.#progress.open !== open || this.#turns.isBusy || this.#progress.finished) {
            return this.#change(make, scope, false)
          }
          this.#progress.take(open, draft, step, scope)
          applied?.(draft)
          return Effect.succeed(result)
        }
      })
    return this.#turns.idle(() => {
      this.#progress.accessed = true
      this.#progress.used = true
      if (!inPlace && this.#progress.lent.size > 0) {
        return Effect.zipRight(this.#setInPlace, this.#change(make, scope, true))
      }
      return this.#progress.open === undefined && !this.#progress.finished
        ? Effect.flatMap(this.loader.opened(), apply)
        : apply(this.#progress.open)
    })
  }

  step(make: () => Step<A>): Effect.Effect<void, SessionWriteError> {
    return this.change(() => [undefined, make()])
  }

  /** Takes notice of what was written aside: from there if nothing is pending here, else by a step of its own. */
  follow(key: keyof A & string, held: Held<A> | undefined): Effect.Effect<void, SessionWriteError> {
    return Effect.flatMap(this.#setInPlace, () => {
      const open = this.#progress.open
      if (held === undefined || open === undefined || this.#progress.steps.length > 0) {
        // What was taken stays taken, whatever becomes of the part of the handler that took it.
        return this.#change(
          () => [undefined, this.#core.steps.assign(key, { present: false }, false)],
          undefined,
          false
        )
      }
      return Effect.map(
        this.#core.steps.differing(this.sightings.read.filter((read) => read !== key), open.draft.value, held.decoded),
        (outdated) => void this.#progress.begin(held, outdated)
      )
    })
  }

  /** Sets or removes fields, all or none. */
  assign(
    fields: ReadonlyArray<readonly [keyof A & string, SessionDraft.Field]>
  ): Effect.Effect<void, SessionWriteError> {
    return this.change(() => this.#assignment(fields))
  }

  #assignment(
    fields: ReadonlyArray<readonly [keyof A & string, SessionDraft.Field]>,
    applied?: (draft: Draft<A>) => void
  ): Change<A, void> | Effect.Effect<Change<A, void>, Misfit> {
    const { mutable } = this.#core.schema
    const assignment = (fields: ReadonlyArray<readonly [keyof A & string, SessionDraft.Field]>): Change<A, void> => {
      const steps = fields.map(([key, field]) =>
        this.sightings.isOutdated(key)
          ? SessionDraft.clashing(key)
          : this.#core.steps.assign(key, field, this.sightings.hasRead(key))
      )
      return [
        undefined,
        (draft, origin) => Effect.reduce(steps, draft, (draft, step) => step(draft, origin)),
        (draft) => {
          for (const [key] of fields) this.sightings.replace(key)
          applied?.(draft)
        }
      ]
    }
    return mutable.size > 0 && fields.some(([key]) => mutable.has(key))
      ? Effect.map(
        Effect.forEach(fields, ([key, field]) =>
          mutable.has(key) && field.present
            ? Effect.map(this.#core.steps.snapshot(key, field), (field) => [key, field] as const)
            : Effect.succeed([key, field] as const)),
        assignment
      )
      : assignment(fields)
  }

  /** Settles what is pending, and goes on from there. */
  #settle(status: number): Effect.Effect<void, SessionError> {
    return Effect.suspend(() =>
      Effect.matchEffect(
        settle(this.#core, {
          ...this.#progress.pending,
          revocation: this.#revocation,
          discarded: this.#discarded,
          detached: this.#detached,
          withheld: this.#withheld,
          optional: this.#optional || this.loader.takesCopies
        }, status),
        {
          onSuccess: (settled) => {
            if (settled !== undefined) this.#progress.proceed(settled)
            if (settled?.failed === undefined) return Effect.void
            // What was written stays, and so does the cookie that leads to it.
            this.#broken = settled.failed
            return Effect.fail(settled.failed)
          },
          onFailure: (error) => {
            if (error._tag === "SessionUnavailable") this.#broken = error
            return Effect.fail(error)
          }
        }
      )
    )
  }
}
