/**
 * How a request comes to its session: on first use, once, and again where the handler wants the truth.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { SessionUnavailable } from "../../SessionError.js"
import type { Reading } from "../../SessionStore.js"
import type { Core } from "./core.js"
import * as Refusals from "./errors.js"
import { open } from "./open.js"
import type { Open, Progress } from "./progress.js"
import { isReadOnly } from "./progress.js"
import type { Turns } from "./turns.js"

/** What it finds is where the request's progress begins. It keeps what is asked of copies. */
export class Loader<A extends object> {
  readonly #core: Core<A>
  readonly #turns: Turns
  readonly #progress: Progress<A>
  #reading: Reading | undefined

  constructor(core: Core<A>, turns: Turns, progress: Progress<A>) {
    this.#core = core
    this.#turns = turns
    this.#progress = progress
  }

  /** Reads the session. `use`: that counts as a use, which prolongs it. */
  read<B>(f: (open: Open<A>) => B, use = true): Effect.Effect<B, SessionUnavailable> {
    return Effect.suspend(() => {
      this.#progress.accessed = true
      if (use) this.#progress.used = true
      return this.#progress.open === undefined ? Effect.map(this.opened(), f) : Effect.succeed(f(this.#progress.open))
    })
  }

  /** Loads on first use. One load at a time; a branch that is interrupted leaves it to the next. */
  opened(): Effect.Effect<Open<A>, SessionUnavailable> {
    return this.#turns.idle(() =>
      this.#progress.open !== undefined
        ? Effect.succeed(this.#progress.open)
        : this.#turns.exclusively(() =>
          this.#progress.open !== undefined ? Effect.succeed(this.#progress.open) : this.#load()
        )
    )
  }

  /** Goes on from what the store itself says, unless there are changes, which meet it when they are written. */
  get fresh(): Effect.Effect<void, SessionUnavailable> {
    return this.#turns.exclusively(() => {
      this.#progress.accessed = true
      this.#reading = "fresh"
      const { finished, flushed, steps } = this.#progress
      return finished || flushed || steps.length > 0 ? Effect.void : Effect.asVoid(this.#load())
    })
  }

  /** A copy will do from now on while the store is down: whether it is, so that the session can only be read. */
  get readOnlyWhenDown(): Effect.Effect<boolean, SessionUnavailable> {
    return Effect.suspend(() => {
      this.#reading ??= "copy"
      return this.isReadOnly
    })
  }

  get isReadOnly(): Effect.Effect<boolean, SessionUnavailable> {
    return this.read(isReadOnly)
  }

  /** Whether a copy will do. */
  get takesCopies(): boolean {
    return this.#reading === "copy"
  }

  #load(): Effect.Effect<Open<A>, SessionUnavailable> {
    const { opening, partial, presented } = this.#progress
    // The head has left without `Vary`, so what is read now could be cached for others.
    if (this.#progress.finished && this.#progress.open === undefined) {
      const error = Refusals.late(this.#core)
      return Effect.zipRight(Refusals.log(error), Effect.fail(error))
    }
    // What was opened before stays, if it cannot be opened again.
    this.#progress.unreadable = this.#progress.open === undefined
    const seen = this.#progress.open?.draft.value
    return Effect.flatMap(
      Effect.flatMap(
        Clock.currentTimeMillis,
        (now) => open(this.#core, { presented, values: opening, partial, reading: this.#reading }, now)
      ),
      ({ ambiguous, held }) => {
        this.#progress.ambiguous = ambiguous.length > 0
        return Effect.map(
          seen === undefined
            ? Effect.succeed([])
            : this.#core.steps.differing(this.#progress.sightings.read, seen, held?.decoded ?? this.#core.initial),
          (outdated) => this.#progress.begin(held, outdated)
        )
      }
    )
  }
}
