/**
 * The front of a tiered store: copies that end with their lease, fences that keep reads from filling it with what is no
 * longer true, and the rule that a front which fails is passed by.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { isExpired } from "../Expiry.js"
import * as SessionId from "../SessionId.js"
import type { FillOutcome } from "../SessionMetrics.js"
import type { SessionRecord } from "../SessionRecord.js"
import type { Shape, WriteOutcome } from "../SessionStore.js"
import { SessionStoreError } from "../SessionStore.js"
import type { StoreKey } from "../StoreKey.js"
import { randomBytes } from "./crypto.js"

/** How long a fence stands: longer than any read that began before the write, and any write that it announces. */
const fenceMillis = 15_000

/** How long a front that failed is left alone. */
const pauseMillis = 1000

/** How long a copy is kept beyond its lease, so that the next one can take its place. */
const keptMillis = 60_000

/** The version of fences, which no copy has. */
const fenceVersion = 2 ** 50

/** A time at which nothing had ended: what has is still to be seen, where it is still there. */
const longAgo = 0

/** A fence was put up; something that cannot be read is in its place; another one was faster. */
type Put = "stands" | "taken" | "moved"

/** What the front says of a key. */
export type Answer =
  | { readonly _tag: "Copy"; readonly record: SessionRecord }
  /** Nothing that may be believed; `place` is the version of the old copy whose place a new one takes. */
  | { readonly _tag: "Nothing"; readonly place: number | undefined }
  /** It is not to be asked, and not to be filled. */
  | typeof closed

const closed = { _tag: "Closed" } as const

export class Front {
  readonly #store: Shape
  readonly #lease: number
  readonly #timeout: Duration.Duration
  /** The latest time that was heard of. */
  #now = -Infinity
  /** Until then it is left alone: it failed. Writes have no fence. */
  #failsUntil = -Infinity
  /** Until then it is not believed: it may hold what should have been taken from it. */
  #doubtedUntil = -Infinity
  #sweptAt = -Infinity

  constructor(store: Shape, lease: number, timeout: Duration.Duration) {
    this.#store = store
    this.#lease = lease
    this.#timeout = timeout
  }

  /** The time of a call: it does not go back. */
  at(now: number): number {
    return (this.#now = Math.max(this.#now, now))
  }

  load(key: StoreKey, now: number): Effect.Effect<Answer> {
    return Effect.suspend(() => {
      this.at(now)
      if (now < this.#doubtedUntil) return Effect.succeed(closed)
      return Effect.map(this.#ask(this.#store.load(key, now)), (answer): Answer => {
        if (Option.isNone(answer)) return closed
        const copy = Option.getOrUndefined(answer.value)
        if (copy === undefined) return { _tag: "Nothing", place: undefined }
        const found = original(copy)
        if (found === undefined) return closed
        return found.until > now && found.until <= now + this.#lease && !isExpired(found.record.expiry, now)
          ? { _tag: "Copy", record: found.record }
          : { _tag: "Nothing", place: copy.version }
      })
    })
  }

  /** Leaves a copy, unless a fence or another copy has come in its way. */
  fill(key: StoreKey, record: SessionRecord, now: number, place: number | undefined): Effect.Effect<FillOutcome> {
    const copy = copyOf(record, now + this.#lease)
    const create = this.#ask(this.#store.create(key, copy, now))
    const put: Effect.Effect<Option.Option<WriteOutcome | "created" | "exists">> = place !== undefined
      ? this.#ask(this.#store.save(key, copy, place, now))
      : Effect.flatMap(create, (outcome) =>
        // An old copy, or an old fence, may lie in its place. Where nobody else clears it away, this does.
        Option.getOrUndefined(outcome) !== "exists" || now < this.#sweptAt + sweepMillis
          ? Effect.succeed(outcome)
          : Effect.zipRight(this.sweep(now), create))
    return Effect.map(
      put,
      Option.match({
        onNone: () => "failed",
        onSome: (outcome) => outcome === "created" || outcome === "saved" ? "filled" : "refused"
      })
    )
  }

  /** Clears away what has ended. */
  sweep(now: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#sweptAt = now
      return this.#ask(this.#store.removeExpired(now, mostSwept))
    })
  }

  /**
   * Puts up what keeps others from filling a key, in place of what the front holds of it. A fence that is there stands on
   * for longer, without a gap: nothing is ever taken away to make room, because by then it may be another write's fence.
   */
  fence(key: StoreKey, tries = 5): Effect.Effect<void> {
    return Effect.suspend(() => {
      const now = this.#now
      if (now < this.#failsUntil) return Effect.void
      const { create, load, save } = this.#store
      const fence = marker(now + fenceMillis)
      const put = Effect.flatMap(
        load(key, longAgo),
        (found): Effect.Effect<Put, SessionStoreError> =>
          Option.match(found, {
            onNone: () => Effect.map(create(key, fence, now), (outcome) => outcome === "created" ? "stands" : "taken"),
            // Also in the place of what has ended, as of a moment at which it had not.
            onSome: ({ expiry, version }) =>
              Effect.map(
                save(key, fence, version, Math.min(now, expiry.at - 1)),
                (outcome) => outcome === "saved" ? "stands" : "moved"
              )
          })
      )
      return Effect.flatMap(this.#ask(put), (answer) => {
        const outcome = Option.getOrElse(answer, () => "stands")
        if (outcome === "stands") return Effect.void
        // A read, or another write, has come in between.
        if (tries > 1) return this.fence(key, tries - 1)
        // What can be neither read nor replaced was revoked, and so was its session: it keeps every copy out.
        return outcome === "taken" ? Effect.void : this.#failed
      })
    })
  }

  /** Takes away a copy, and no fence. */
  forget(key: StoreKey): Effect.Effect<void> {
    const { load, revoke } = this.#store
    return this.#ask(
      Effect.flatMap(load(key, longAgo), (found) =>
        Option.match(
          Option.filter(found, (copy) => original(copy) !== undefined),
          {
            onNone: () => Effect.void,
            onSome: ({ id, namespace }) => revoke(namespace, id)
          }
        ))
    )
  }

  /** Takes away what a revocation has made untrue. */
  drop(call: (store: Shape) => Effect.Effect<unknown, SessionStoreError>): Effect.Effect<void> {
    return this.#ask(call(this.#store))
  }

  /** It is not believed until all that it holds by now has ended. */
  get doubt(): Effect.Effect<void> {
    return Effect.sync(() => {
      this.#doubtedUntil = Math.max(this.#doubtedUntil, this.#now + this.#lease)
    })
  }

  /**
   * It is left alone for a moment. A write that has no fence meanwhile may take its time, and another node may have filled what
   * was there before: it is not believed until that has ended, too.
   */
  get #failed(): Effect.Effect<void> {
    return Effect.sync(() => {
      this.#failsUntil = this.#now + pauseMillis
      this.#doubtedUntil = this.#failsUntil + fenceMillis + this.#lease
    })
  }

  /** What it answers; nothing if it fails or takes too long. */
  #ask<A>(call: Effect.Effect<A, SessionStoreError>): Effect.Effect<Option.Option<A>> {
    const limited = this.#store.capabilities.remote
      ? Effect.timeoutFail(Effect.interruptible(Effect.disconnect(call)), {
        duration: this.#timeout,
        onTimeout: () => new SessionStoreError({ operation: "front", reason: "timeout" })
      })
      : call
    return Effect.matchCauseEffect(limited, {
      onSuccess: Effect.succeedSome,
      onFailure: (cause) =>
        Cause.isInterruptedOnly(cause)
          ? Effect.interrupt
          : isTooLarge(cause)
          ? Effect.succeedNone
          : Effect.zipRight(
            Effect.logDebug("The front of a tiered store failed, and is passed by for a while.", cause),
            Effect.as(this.#failed, Option.none())
          )
    })
  }
}

/** How many old copies are cleared away at once, and how often at the most because one of them was in the way. */
const mostSwept = 500
const sweepMillis = 5000

/** A session that does not fit says nothing about the front. */
const isTooLarge = (cause: Cause.Cause<SessionStoreError>): boolean =>
  Option.exists(Cause.failureOption(cause), ({ reason }) => reason === "size")

/**
 * A copy for the front. Its data is preceded by its lease, and by what the front has of its own: an end after the lease, and a
 * version that no other copy has, so that a new one takes only the place of the one that was seen.
 */
const copyOf = (record: SessionRecord, until: number): SessionRecord => ({
  ...record,
  data: `${until} ${record.expiry.at} ${record.version} ${record.data}`,
  version: Math.floor(Math.random() * 2 ** 48),
  expiry: { ...record.expiry, at: until + keptMillis }
})

/** What a copy was made of, and its lease; nothing if it is no copy, but a fence. */
const original = (copy: SessionRecord): { readonly record: SessionRecord; readonly until: number } | undefined => {
  const [, until, at, version, data] = /^(-?\d+) (-?\d+) (\d+) ([^]*)$/.exec(copy.data) ?? []
  return data === undefined
    ? undefined
    : {
      until: Number(until),
      record: { ...copy, data, version: Number(version), expiry: { ...copy.expiry, at: Number(at) } }
    }
}

/** A fence: a record of nobody's, which says nothing. */
const marker = (until: number): SessionRecord => ({
  namespace: "effect-session/fence",
  id: SessionId.fromBytes(randomBytes(SessionId.byteLength)),
  data: "",
  schemaVersion: 0,
  subject: undefined,
  version: fenceVersion,
  writeId: "",
  createdAt: 0,
  authenticatedAt: undefined,
  modifiedAt: 0,
  lastSeenAt: 0,
  // A lifetime of its own, so that a fence which takes the place of a copy, or of another fence, ends when it should.
  expiry: { at: until, deadline: undefined, lifetime: { _tag: "Until", at: until } }
})
