/**
 * What a request has presented, and what it has made of its session so far.
 */
import * as Effect from "effect/Effect"
import type { Draft, Step } from "../../SessionDraft.js"
import * as SessionDraft from "../../SessionDraft.js"
import type { CookieValue } from "../../SessionEngine.js"
import type { OwedCookie, Settled } from "./commit.js"
import type { Lendings } from "./inPlace.js"
import type { Held } from "./open.js"
import type { Presented } from "./presented.js"
import { Sightings } from "./sightings.js"

/** A session that was opened: its record, if it has one, and the draft of the next. */
export interface Open<A> {
  readonly held: Held<A> | undefined
  readonly draft: Draft<A>
}

/** The cookies of a session tag: their name, and whether they hold the session itself. */
export interface Cookies {
  readonly name: string
  readonly selfContained: boolean
}

/** Only a copy of it could be had. */
export const isReadOnly = <A>({ held }: Open<A>): boolean => held?.copied === true

/** A part of a handler whose changes are undone if it fails, and the part around it. */
export interface Scope {
  readonly outer: Scope | undefined
}

const isWithin = (inner: Scope | undefined, scope: Scope): boolean =>
  inner !== undefined && (inner === scope || isWithin(inner.outer, scope))

/** Each method is one synchronous step, but for `rollBack`. */
export class Progress<A extends object> {
  readonly #initial: A
  /** Where the cookies that a response sends are made. */
  readonly #cookies: Cookies
  readonly #presented: Presented
  /** Anything was asked of the session, so that the response depends on the cookie. */
  accessed = false
  /** The session was read or changed, so that it counts as used. */
  used = false
  /** The values that end with the session: those presented, and one that a `save` of this request has made. */
  values: ReadonlyArray<CookieValue>
  ambiguous = false
  flushed = false
  /** The request has ended. */
  finished = false
  /** It could not be opened. */
  unreadable = false
  /** Absent while nothing was opened. */
  open: Open<A> | undefined
  /** The changes since the session was opened or saved, each with the part of the handler that made it. */
  steps: Array<{ readonly step: Step<A>; readonly scope: Scope | undefined }> = []
  /** What this request itself has ended, as it was: a login of the same subject goes on from it. */
  carried: Held<A> | undefined
  readonly sightings = new Sightings<keyof A & string>()
  /** The fields that the handler was given to change in place. */
  readonly lent: Lendings<A> = new Map()
  /** The cookie that the response must carry. */
  owed: OwedCookie | undefined

  constructor(initial: A, cookies: Cookies, presented: Presented) {
    this.#initial = initial
    this.#cookies = cookies
    this.#presented = presented
    this.values = presented.values
  }

  /** A cookie of ours was there, whatever its value. */
  get presented(): boolean {
    return this.#presented.presented
  }

  /** There may have been more values than those that are known. */
  get partial(): boolean {
    return this.#presented.partial
  }

  /** Starts over from a record, or from nothing: another session, unless it is known what has changed in this one. */
  begin(held: Held<A> | undefined, outdated?: ReadonlyArray<keyof A & string>): Open<A> {
    this.steps = []
    this.unreadable = false
    if (outdated === undefined) {
      this.sightings.restart()
      this.lent.clear()
    } else this.sightings.proceed(outdated)
    this.open = { held, draft: this.#start(held) }
    return this.open
  }

  #start(held: Held<A> | undefined): Draft<A> {
    return held === undefined
      ? SessionDraft.start(this.#initial, undefined, undefined)
      : SessionDraft.start(held.decoded, held.record.subject, held.record.expiry.lifetime)
  }

  /** The values that lead to the session. */
  get opening(): ReadonlyArray<CookieValue> {
    const held = this.open?.held
    return held === undefined ? this.values : [held.value]
  }

  /** What is to be settled. */
  get pending() {
    const { ambiguous, carried, flushed, open, presented, unreadable, used, values } = this
    const steps = this.steps.map(({ step }) => step)
    return { open, steps, presented, values, ambiguous, flushed, unreadable, used, carried, reads: this.sightings.read }
  }

  /** Takes a step that has made this draft. */
  take(open: Open<A>, draft: Draft<A>, step: Step<A>, scope: Scope | undefined): void {
    this.open = { ...open, draft }
    this.steps.push({ step, scope })
  }

  /** Undoes the steps of a scope. Those of others are applied again, without them. Nobody else may be at work meanwhile. */
  rollBack(scope: Scope, before: Sightings<keyof A & string>): Effect.Effect<void, SessionDraft.Clash> {
    return Effect.suspend(() => {
      const { open, steps } = this
      // What the handler has changed in place since then is undone, too.
      this.lent.clear()
      const others = steps.filter((one) => !isWithin(one.scope, scope))
      if (open === undefined || others.length === steps.length) return Effect.void
      const start = this.#start(open.held)
      return Effect.map(SessionDraft.replay(start, others.map(({ step }) => step), start.loaded), (draft) => {
        this.open = { ...open, draft }
        this.steps = others
        this.sightings.rollBack(before)
      })
    })
  }

  /** The session is to end. */
  flush(): void {
    const held = this.open?.held
    if (held !== undefined) this.values = [...this.values, held.value]
    this.flushed = true
    this.carried = undefined
    this.begin(undefined)
  }

  /** Goes on from what was written. */
  proceed({ held, outdated, owed }: Settled<A>): void {
    const isLogin = this.open?.draft.authenticated === true
    const { isFull, isSeveral } = this.#presented
    // What the server cannot end, or has not looked at, must not come back beside the new cookie, or in its place.
    if ((isLogin || this.flushed) && (isFull || (this.#cookies.selfContained && (isLogin || isSeveral)))) {
      this.#presented.end()
    }
    if (owed !== undefined) this.owed = this.#presented.cookie(owed, this.#cookies.name)
    this.values = []
    this.ambiguous = false
    this.flushed = false
    this.carried = undefined
    this.begin(held, outdated)
  }
}
