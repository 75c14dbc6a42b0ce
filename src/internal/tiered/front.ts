/**
 * The front of a tiered store: copies that end with their lease, fences that keep reads from filling it with what is no
 * longer true, and the rule that a front which fails is passed by.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { isExpired } from "../../Expiry.js"
import * as SessionId from "../../SessionId.js"
import * as SessionMetrics from "../../SessionMetrics.js"
import type { SessionRecord } from "../../SessionRecord.js"
import type { Store, WriteOutcome } from "../../SessionStore.js"
import { SessionStoreError } from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"
import { randomBytes } from "../crypto/primitives.js"
import { isCorrupt } from "../store/corrupt.js"
import * as Limit from "../store/limit.js"
import { asideOf } from "../store/randomKey.js"

/** How long a fence stands: longer than any read that began before the write, and any write that it announces. */
const fenceMillis = 15_000

/** How long a front that failed is left alone. */
const pauseMillis = 1000

/** How long a copy is kept beyond its lease, so that the next one can take its place. */
const keptMillis = 60_000

/** A time at which nothing had ended: what has is still to be seen, where it is still there. */
const longAgo = 0

/** A fence was put up; something that cannot be read is in its place; another one was faster. */
type Put = "stands" | "taken" | "moved"

/** What the front says of a key. */
type Answer =
  | { readonly _tag: "Copy"; readonly record: SessionRecord }
  /** Nothing that may be believed; `place` is the version of the old copy whose place a new one takes. */
  | { readonly _tag: "Nothing"; readonly place: number | undefined }
  /** It is not to be asked, and not to be filled. */
  | typeof closed

const closed = { _tag: "Closed" } as const

export class Front {
  readonly #store: Store
  readonly #lease: number
  readonly #timeout: Duration.Duration
  readonly #invalidationTimeout: Duration.Duration
  /** When an invalidation that was not confirmed was logged last. */
  #loggedAt = -Infinity
  /** The latest time that was heard of. */
  #now = -Infinity
  /** Until then it is left alone: it failed. */
  #failsUntil = -Infinity
  /** Until then it is not believed: it may hold what should have been taken from it. */
  #doubtedUntil = -Infinity

  constructor(store: Store, lease: number, timeout: Duration.Duration, invalidationTimeout: Duration.Duration) {
    this.#store = store
    this.#lease = lease
    this.#timeout = timeout
    this.#invalidationTimeout = invalidationTimeout
  }

  /** The time of a call: it does not go back. */
  at(now: number): number {
    return (this.#now = Math.max(this.#now, now))
  }

  load(key: StoreKey, now: number): Effect.Effect<Answer> {
    return Effect.suspend(() => {
      this.at(now)
      if (now < this.#doubtedUntil || now < this.#failsUntil) return Effect.succeed(closed)
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
  fill(
    key: StoreKey,
    record: SessionRecord,
    now: number,
    place: number | undefined
  ): Effect.Effect<SessionMetrics.FillOutcome> {
    const copy = copyOf(record, now + this.#lease)
    const create = this.#store.create(key, copy, now)
    const put: Effect.Effect<WriteOutcome | "created" | "exists", SessionStoreError> = place !== undefined
      ? this.#store.save(key, copy, { expectedVersion: place, now })
      : Effect.flatMap(create, (outcome) =>
        // What has ended, a fence as a rule, lies there until somebody clears it away.
        outcome === "created" ? Effect.succeed(outcome) : Effect.flatMap(
          this.#takeAway(key, ({ expiry }) => isExpired(expiry, now)),
          (taken) => taken ? create : Effect.succeed(outcome)
        ))
    return Effect.map(
      this.#ask(put),
      Option.match({
        onNone: () => "failed",
        onSome: (outcome) => outcome === "created" || outcome === "saved" ? "filled" : "refused"
      })
    )
  }

  /** Clears away what has ended. */
  sweep(now: number): Effect.Effect<void> {
    return Effect.asVoid(this.#ask(this.#store.removeExpired({ now, limit: mostSwept })))
  }

  /**
   * Puts up what keeps others from filling these keys, in place of what the front holds of them. It gives itself no longer than
   * a read before the write may begin, and gives what the write must wait for before it is confirmed: until then, or until
   * `invalidationTimeout` has passed, another process may be answered with what was there before.
   */
  fence(keys: ReadonlyArray<StoreKey>): Effect.Effect<Effect.Effect<void>> {
    const { remote } = this.#store.capabilities
    const put = Effect.forEach(keys, (key) => this.#fenceOne(key), {
      // A remote front is waited for once, and not once for each key.
      concurrency: remote ? "unbounded" : 1,
      discard: true
    })
    if (!remote) return Effect.as(this.#invalidate(put), Effect.void)
    return Effect.gen(this, function*() {
      const fencing = yield* Effect.forkDaemon(this.#invalidate(put))
      const confirmed = Effect.asVoid(Effect.interruptible(Fiber.await(fencing)))
      yield* Effect.timeoutOption(confirmed, this.#timeout)
      return confirmed
    })
  }

  /**
   * A fence that is there stands on for longer, without a gap: nothing is ever taken away to make room, because by then it may
   * be another write's fence.
   */
  #fenceOne(key: StoreKey, tries = 5): Effect.Effect<void, SessionStoreError> {
    return Effect.suspend(() => {
      const now = this.#now
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
                save(key, fence, { expectedVersion: version, now: Math.min(now, expiry.at - 1) }),
                (outcome) => outcome === "saved" ? "stands" : "moved"
              )
          })
      )
      return Effect.flatMap(put, (outcome): Effect.Effect<void, SessionStoreError> => {
        if (outcome === "stands") return Effect.void
        // A read, or another write, has come in between.
        if (tries > 1) return this.#fenceOne(key, tries - 1)
        // What can be neither read nor replaced was revoked, and so was its session: it keeps every copy out.
        return outcome === "taken"
          ? Effect.void
          : new SessionStoreError({ operation: "front", reason: "unavailable", cause: new Error("others came first") })
      })
    })
  }

  /** Takes away a copy, and no fence. */
  forget(key: StoreKey): Effect.Effect<void> {
    return this.#invalidate(this.#takeAway(key, (found) => original(found) !== undefined))
  }

  /** Takes away what a revocation has made untrue. */
  drop(call: (store: Store) => Effect.Effect<unknown, SessionStoreError>): Effect.Effect<void> {
    return this.#invalidate(call(this.#store))
  }

  /**
   * Takes away what it has of a key, if that is what is meant, and still is at that moment: by its version, which nothing
   * else has ever had.
   */
  #takeAway(key: StoreKey, isMeant: (found: SessionRecord) => boolean): Effect.Effect<boolean, SessionStoreError> {
    const { capabilities, destroy, load, rotate } = this.#store
    return Effect.flatMap(load(key, longAgo), (found) => {
      if (Option.isNone(found) || !isMeant(found.value)) return Effect.succeed(false)
      const { expiry, version } = found.value
      const aside = asideOf(key, capabilities)
      return Effect.flatMap(
        rotate(key, aside, marker(this.#now), { expectedVersion: version, now: Math.min(this.#now, expiry.at - 1) }),
        (outcome) => outcome === "saved" ? Effect.as(destroy(aside), true) : Effect.succeed(false)
      )
    })
  }

  /** It is not believed until all that it holds by now has ended. */
  get doubt(): Effect.Effect<void> {
    return Effect.sync(() => {
      this.#doubtedUntil = Math.max(this.#doubtedUntil, this.#now + this.#lease)
    })
  }

  /**
   * A write has no fence, or something untrue was not taken away: what reads that are under way may still leave is not
   * believed until it has ended.
   */
  get #unguarded(): Effect.Effect<void> {
    return Effect.sync(() => {
      this.#doubtedUntil = Math.max(this.#doubtedUntil, this.#now + fenceMillis + this.#lease)
    })
  }

  /** What it answers; nothing if it fails or takes too long. Then it is left alone for a moment. */
  #ask<A>(call: Effect.Effect<A, SessionStoreError>): Effect.Effect<Option.Option<A>> {
    const limited = this.#store.capabilities.remote
      ? Limit.within(call, Duration.toMillis(this.#timeout), tooSlow)
      : call
    return Effect.matchCauseEffect(limited, {
      onSuccess: Effect.succeedSome,
      onFailure: (cause) => {
        if (Cause.isInterruptedOnly(cause)) return Effect.interrupt
        if (isOfOneSession(cause)) return Effect.succeedNone
        this.#failsUntil = this.#now + pauseMillis
        return Effect.as(
          Effect.logDebug("The front of a tiered store failed, and is passed by for a while.", cause),
          Option.none()
        )
      }
    })
  }

  /**
   * Takes away what is no longer true, for all processes that share the front. It is tried also while reads leave the front
   * alone, waited for longer than a read, and goes on when it is not waited for any more: until then other processes read on.
   */
  #invalidate(call: Effect.Effect<unknown, SessionStoreError>): Effect.Effect<void> {
    const limited = this.#store.capabilities.remote
      ? Effect.flatMap(
        Effect.forkDaemon(
          Effect.timeoutFail(Effect.interruptible(call), { duration: fenceMillis, onTimeout: tooSlow })
        ),
        (calling) =>
          Effect.timeoutFail(Effect.interruptible(Fiber.join(calling)), {
            duration: this.#invalidationTimeout,
            onTimeout: tooSlow
          })
      )
      : call
    return Effect.matchCauseEffect(limited, {
      onSuccess: () => SessionMetrics.countInvalidation("confirmed"),
      onFailure: (cause) => {
        if (Cause.isInterruptedOnly(cause)) return Effect.interrupt
        this.#failsUntil = this.#now + pauseMillis
        return Effect.all([
          this.#unguarded,
          SessionMetrics.countInvalidation("unconfirmed"),
          this.#log(cause)
        ], { discard: true })
      }
    })
  }

  /** Warns once a second at the most. */
  #log(cause: Cause.Cause<SessionStoreError>): Effect.Effect<void> {
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (now < this.#loggedAt + pauseMillis) return Effect.void
      this.#loggedAt = now
      const lease = Duration.format(Duration.millis(this.#lease))
      return Effect.logWarning(
        "TieredStore: the front has not confirmed that it dropped a session which was changed or ended (it was waited for " +
          `${
            Duration.format(this.#invalidationTimeout)
          } at the most). Other processes that share the front may read the ` +
          `session as it was before until the lease (${lease}) has passed.`,
        cause
      )
    })
  }
}

const tooSlow = () => new SessionStoreError({ operation: "front", reason: "timeout" })

/** How many old copies are cleared away at once. */
const mostSwept = 500

/** A session that does not fit, or whose copy is damaged, and a clock that is ahead say nothing about the front. */
const isOfOneSession = (cause: Cause.Cause<SessionStoreError>): boolean =>
  Option.exists(
    Cause.failureOption(cause),
    (error) => error.reason === "size" || error.reason === "clock" || isCorrupt(error)
  )

/** A version that nothing else in the front has had: copies and fences are told apart by nothing but it. */
const freshVersion = (): number => Math.floor(Math.random() * 2 ** 52)

/**
 * A copy for the front. Its data is preceded by its lease, and by what the front has of its own: an end after the lease, and a
 * version that no other copy has, so that a new one takes only the place of the one that was seen.
 */
const copyOf = (record: SessionRecord, until: number): SessionRecord => ({
  ...record,
  data: `${until} ${record.expiry.at} ${record.version} ${record.data}`,
  version: freshVersion(),
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
  version: freshVersion(),
  writeId: "",
  createdAt: 0,
  authenticatedAt: undefined,
  modifiedAt: 0,
  lastSeenAt: 0,
  // A lifetime of its own, so that a fence which takes the place of a copy, or of another fence, ends when it should.
  expiry: { at: until, deadline: undefined, lifetime: { _tag: "Until", at: until } },
  attributes: undefined
})
