/**
 * One request's session, alive: loaded at most once, changed step by step, settled when the request ends.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { Candidates } from "../CookieHeader.js"
import type { Draft, Step } from "../SessionDraft.js"
import * as SessionDraft from "../SessionDraft.js"
import type { CookieValue } from "../SessionEngine.js"
import type { SessionError, SessionWriteError } from "../SessionError.js"
import { SessionCommitted, SessionConflict, SessionInvalid, SessionUnavailable } from "../SessionError.js"
import type { Misfit } from "../SessionSchema.js"
import type { Core } from "./core.js"
import { ended } from "./ended.js"
import type { Held } from "./opening.js"
import { open } from "./opening.js"
import type { OwedCookie } from "./settlement.js"
import { settle } from "./settlement.js"
import { Sightings } from "./sightings.js"

/** A session that was opened: its record, if it has one, and what the request has made of it so far. */
interface Open<A> {
  readonly held: Held<A> | undefined
  readonly draft: Draft<A>
}

/**
 * What is behind the handle of `yield* AppSession`. All mutable state is confined to this class, and each change of it is one
 * synchronous step, so concurrent branches of a handler may share the handle.
 */
export class LiveSession<A extends object> {
  /** Anything was asked of the session, so that the response depends on the cookie. */
  accessed = false
  /** The response is of no use to another request of the same visitor. */
  uncacheable = false
  /** The cookie that the response must carry. */
  owed: OwedCookie | undefined

  readonly #core: Core<A>
  readonly #presented: boolean
  readonly #withheld: boolean
  readonly #partial: boolean
  /** The values that end with the session: those presented, and one that a `save` of this request has made. */
  #values: ReadonlyArray<CookieValue>
  #ambiguous = false
  #open: Open<A> | undefined
  #unreadable = false
  /** Completed when the load, or the save, that is under way has ended. */
  #busy: Deferred.Deferred<void> | undefined
  #steps: Array<Step<A>> = []
  readonly sightings = new Sightings<keyof A & string>()
  #flushed = false
  #discarded = false
  #detached = false
  #optional = false
  #finished = false
  /** A write whose outcome is not known must not be tried again. */
  #broken: SessionError | undefined

  constructor(core: Core<A>, { partial, presented, values }: Candidates, withheld = false) {
    this.#core = core
    this.#withheld = withheld && !presented
    this.#partial = partial ?? false
    this.#presented = presented
    this.#values = values.map((value) => Redacted.make(value))
  }

  // ---- ends

  get flush(): Effect.Effect<void, SessionCommitted> {
    return this.#idle(() => {
      this.accessed = true
      if (this.#finished) return Effect.fail(this.#committed())
      const held = this.#open?.held
      if (held !== undefined) this.#values = [...this.#values, held.value]
      this.#flushed = true
      this.#unreadable = false
      this.#begin(undefined)
      return Effect.void
    })
  }

  get discard(): Effect.Effect<void> {
    return Effect.sync(() => void (this.#discarded = true))
  }

  get save(): Effect.Effect<void, SessionError> {
    return this.#idle(() => {
      this.accessed = true
      if (this.#finished) return Effect.fail(this.#committed())
      return this.#broken === undefined ? this.#exclusively(this.#settle(200)) : Effect.fail(this.#broken)
    })
  }

  // ---- for connections that outlive the request

  /** The request has become a socket. */
  detach(): void {
    this.#detached = true
  }

  /** Completes when the session has ended. A visitor without one has none that could end. */
  ended(every: number): Effect.Effect<void, SessionUnavailable> {
    return Effect.flatMap(
      this.read(({ held }) => held),
      (held) => held === undefined ? Effect.never : ended(this.#core, held, every)
    )
  }

  // ---- for browsers that fetch in advance

  /** Nothing is taken, and the page without it is not shown to the visitor when they come. */
  get ahead(): Effect.Effect<Option.Option<never>> {
    return Effect.sync(() => {
      this.accessed = true
      this.uncacheable = true
      return Option.none()
    })
  }

  // ---- for handlers that can do without it

  /** Whether the session can be read. From now on nothing but a change that cannot be saved is an error. */
  get readable(): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      this.#optional = true
      return Effect.match(this.read(() => undefined), { onFailure: () => false, onSuccess: () => true })
    })
  }

  /** The session could not be read or written: the seconds after which another try is worthwhile. */
  get retryAfter(): number | undefined {
    return this.#unreadable || this.#broken !== undefined ? this.#core.settings.retryAfter : undefined
  }

  // ---- the end of the request

  /**
   * Decides and writes, once, however often it is called. Total: what goes wrong is the result, and the caller answers
   * with it. `status` is that of the handler's response. After a socket, only `save` has written.
   */
  finish(status: number): Effect.Effect<SessionError | undefined> {
    return this.#idle(() => {
      const before = this.#finished
      this.#finished = true
      if (before || !this.accessed) return Effect.succeed(undefined)
      if (this.#detached) return Effect.as(this.#steps.length > 0 ? this.#logUnsaved : Effect.void, undefined)
      if (this.#broken !== undefined) return Effect.succeed(status >= 500 ? undefined : this.#broken)
      return Effect.matchCauseEffect(this.#settle(status), {
        onSuccess: () => Effect.succeed(undefined),
        onFailure: (cause) => {
          const error = Option.getOrElse(
            Cause.failureOption(cause),
            () =>
              SessionUnavailable.because({
                session: this.#core.name,
                reason: "store",
                retryAfter: this.#core.settings.retryAfter
              }, cause)
          )
          return Effect.as(logFailure(error), error)
        }
      })
    })
  }

  get #logUnsaved(): Effect.Effect<void> {
    return Effect.logWarning(
      `A socket of "${this.#core.name}" has closed with changes to its session that were never saved. Call save after a change.`
    )
  }

  // ---- machinery

  /** Runs when no load and no save is under way. */
  #idle<B, E>(run: () => Effect.Effect<B, E>): Effect.Effect<B, E> {
    return Effect.suspend(() =>
      this.#busy === undefined ? run() : Effect.zipRight(Deferred.await(this.#busy), this.#idle(run))
    )
  }

  /** Keeps others out until the effect has ended, however it ends. */
  #exclusively<B, E>(effect: Effect.Effect<B, E>): Effect.Effect<B, E> {
    return Effect.withFiberRuntime((fiber) => {
      const done = Deferred.unsafeMake<void>(fiber.id())
      this.#busy = done
      return Effect.ensuring(
        effect,
        Effect.sync(() => {
          this.#busy = undefined
          Deferred.unsafeDone(done, Exit.void)
        })
      )
    })
  }

  /** Loads on first use. One load at a time; a branch that is interrupted leaves it to the next. */
  opened(): Effect.Effect<Open<A>, SessionUnavailable> {
    return this.#idle((): Effect.Effect<Open<A>, SessionUnavailable> =>
      this.#open !== undefined ? Effect.succeed(this.#open) : this.#exclusively(this.#load())
    )
  }

  #load(): Effect.Effect<Open<A>, SessionUnavailable> {
    this.#unreadable = true
    return Effect.map(
      Effect.flatMap(
        Clock.currentTimeMillis,
        (now) => open(this.#core, { presented: this.#presented, values: this.#values, partial: this.#partial }, now)
      ),
      ({ ambiguous, held }) => {
        this.#unreadable = false
        this.#ambiguous = ambiguous.length > 0
        return this.#begin(held)
      }
    )
  }

  /** Starts over from a record, or from nothing. */
  #begin(held: Held<A> | undefined): Open<A> {
    this.#steps = []
    this.sightings.restart()
    this.#open = {
      held,
      draft: held === undefined
        ? SessionDraft.start(this.#core.initial, undefined, undefined)
        : SessionDraft.start(held.decoded, held.record.subject, held.record.expiry.lifetime)
    }
    return this.#open
  }

  read<B>(f: (open: Open<A>) => B): Effect.Effect<B, SessionUnavailable> {
    return Effect.suspend(() => {
      this.accessed = true
      return this.#open === undefined ? Effect.map(this.opened(), f) : Effect.succeed(f(this.#open))
    })
  }

  /** Takes a step: applies it to the draft, and keeps it for a replay. */
  change<B>(
    make: (draft: Draft<A>) => readonly [result: B, step: Step<A>, applied?: () => void]
  ): Effect.Effect<B, SessionWriteError> {
    const apply = (open: Open<A> | undefined): Effect.Effect<B, SessionWriteError> => {
      if (this.#finished || open === undefined) return Effect.fail(this.#committed())
      const [result, step, applied] = make(open.draft)
      return Effect.matchEffect(step(open.draft, undefined), {
        onFailure: (error) => Effect.fail(this.refused(error)),
        onSuccess: (draft) => {
          // Encoding a field may take time: another branch of the handler may have been faster, a save may have begun, or
          // the request may have ended.
          if (this.#open !== open || this.#busy !== undefined || this.#finished) return this.change(make)
          this.#open = { ...open, draft }
          this.#steps.push(step)
          applied?.()
          return Effect.succeed(result)
        }
      })
    }
    return this.#idle(() => {
      this.accessed = true
      return this.#open === undefined && !this.#finished ? Effect.flatMap(this.opened(), apply) : apply(this.#open)
    })
  }

  step(make: () => Step<A>): Effect.Effect<void, SessionWriteError> {
    return this.change(() => [undefined, make()])
  }

  /** Takes notice of what was written aside: from there if nothing is pending here, else by a step of its own. */
  follow(key: keyof A & string, held: Held<A> | undefined): Effect.Effect<void, SessionWriteError> {
    const open = this.#open
    if (held === undefined || open === undefined || this.#steps.length > 0) {
      return this.step(() => this.#core.steps.assign(key, { present: false }, false))
    }
    return Effect.map(
      this.#core.steps.differing(this.sightings.read.filter((read) => read !== key), open.draft.value, held.decoded),
      (outdated) => {
        this.#begin(held)
        this.sightings.restart(outdated)
      }
    )
  }

  /** Sets or removes fields, all or none. */
  assign(
    fields: ReadonlyArray<readonly [keyof A & string, SessionDraft.Field]>
  ): Effect.Effect<void, SessionWriteError> {
    return this.change(() => {
      const steps = fields.map(([key, field]) =>
        this.sightings.isOutdated(key)
          ? SessionDraft.clashing(key)
          : this.#core.steps.assign(key, field, this.sightings.hasRead(key))
      )
      return [
        undefined,
        (draft, origin) => Effect.reduce(steps, draft, (draft, step) => step(draft, origin)),
        () => {
          for (const [key] of fields) this.sightings.replace(key)
        }
      ]
    })
  }

  #committed(): SessionCommitted {
    return new SessionCommitted({ session: this.#core.name })
  }

  refused(error: Misfit | SessionDraft.Clash): SessionInvalid | SessionConflict {
    return error._tag === "Misfit"
      ? new SessionInvalid({ session: this.#core.name, field: error.field, problem: error.problem })
      : new SessionConflict({ session: this.#core.name, what: error.what })
  }

  /** Settles what is pending, and goes on from there. */
  #settle(status: number): Effect.Effect<void, SessionError> {
    return Effect.suspend(() =>
      Effect.matchEffect(
        settle(this.#core, {
          open: this.#open,
          steps: this.#steps,
          reads: this.sightings.read,
          presented: this.#presented,
          values: this.#values,
          ambiguous: this.#ambiguous,
          flushed: this.#flushed,
          discarded: this.#discarded,
          unreadable: this.#unreadable,
          detached: this.#detached,
          withheld: this.#withheld,
          optional: this.#optional
        }, status),
        {
          onSuccess: (settled) => {
            if (settled === undefined) return Effect.void
            this.owed = settled.owed ?? this.owed
            this.#values = []
            this.#ambiguous = false
            this.#flushed = false
            this.#begin(settled.held)
            this.sightings.restart(settled.outdated)
            return Effect.void
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

const logFailure = (error: SessionError): Effect.Effect<void> =>
  error._tag === "SessionUnavailable" ? Effect.logError(error.message, error.cause) : Effect.logDebug(error.message)
