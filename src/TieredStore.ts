/**
 * A store in front of another: the back holds the truth, the front answers reads for a short lease.
 *
 * A write fences its key in the front before it reaches the back: whatever the front held is gone, and a marker keeps reads
 * that are under way from filling it again with what they read before. So after a write through this store, or through
 * another one with the same front, no read is answered with what was there before it. What is written past the front (on
 * another node with a front of its own, or by a revocation of a subject on a node that shares it) is seen at the latest
 * when the lease has passed.
 *
 * @since 0.5.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { isExpired } from "./Expiry.js"
import { randomBytes } from "./internal/crypto.js"
import { SessionConfigError } from "./SessionConfigError.js"
import * as SessionId from "./SessionId.js"
import type { SessionRecord } from "./SessionRecord.js"
import type { Shape } from "./SessionStore.js"
import { SessionStore, SessionStoreError } from "./SessionStore.js"
import type { StoreKey } from "./StoreKey.js"

/**
 * @since 0.5.0
 * @category models
 */
export interface Options {
  /**
   * How long the front may answer for the back: the longest time after which a logout on another node is known here.
   * From 1 millisecond to 1 minute.
   */
  readonly lease: Duration.DurationInput
  /** How long the front may take to answer before it is passed by. Default 50 milliseconds. */
  readonly frontTimeout?: Duration.DurationInput
}

/** How long a fence stands: longer than any read that began before the write, and any write that it announces. */
const fenceMillis = 15_000

/** How long a front that failed is left alone, besides the lease. */
const pauseMillis = 1000

/**
 * Makes a store of two.
 *
 * @since 0.5.0
 * @category constructors
 */
export const make = (front: Shape, back: Shape, options: Options): Effect.Effect<Shape, SessionConfigError> => {
  const lease = Duration.toMillis(options.lease)
  if (!(lease >= 1 && lease <= 60_000)) {
    return new SessionConfigError({
      subject: "TieredStore",
      problem: "The lease is from 1 millisecond to 1 minute: it is how long a logout elsewhere may go unnoticed."
    })
  }
  return Effect.sync(() => new Tiers(front, back, lease, Duration.decode(options.frontTimeout ?? "50 millis")).store)
}

class Tiers {
  readonly #front: Shape
  readonly #back: Shape
  readonly #lease: number
  readonly #frontTimeout: Duration.Duration
  /** The latest time that was heard of. */
  #now = -Infinity
  /** Until then the front is not asked: it failed, and may hold what should have been taken from it. */
  #passedByUntil = -Infinity
  /** Fills share it; a revocation, which does not know whom it concerns, has it alone. */
  readonly #filling = Effect.unsafeMakeSemaphore(mostFills)
  #revoking = 0
  /** How many revocations there were: a read that saw one happen fills nothing. */
  #revocations = 0
  /** One read of the back at a time for each key. */
  readonly #flights = new Map<StoreKey, Deferred.Deferred<Option.Option<SessionRecord>, SessionStoreError>>()

  constructor(front: Shape, back: Shape, lease: number, frontTimeout: Duration.Duration) {
    this.#front = front
    this.#back = back
    this.#lease = lease
    this.#frontTimeout = frontTimeout
  }

  get store(): Shape {
    const back = this.#back
    const front = this.#front
    return {
      capabilities: { ...back.capabilities, remote: back.capabilities.remote || front.capabilities.remote },
      // Nobody can have read a key before it existed.
      create: back.create,
      load: (key, now, fresh) => fresh === "fresh" ? back.load(key, now) : this.#load(key, now),
      save: (key, record, version, now) => this.#fenced([key], now, back.save(key, record, version, now)),
      touch: (key, seen, end, now) => this.#fenced([key], now, back.touch(key, seen, end, now)),
      rotate: (key, newKey, record, version, now) =>
        this.#fenced([key, newKey], now, back.rotate(key, newKey, record, version, now)),
      destroy: (key) => Effect.flatMap(Clock.currentTimeMillis, (now) => this.#fenced([key], now, back.destroy(key))),
      removeExpired: back.removeExpired,
      count: back.count,
      list: back.list,
      find: back.find,
      scan: back.scan,
      revoke: (namespace, id) => this.#alone(back.revoke(namespace, id), front.revoke(namespace, id)),
      revokeSubject: (namespace, subject, except) =>
        this.#alone(back.revokeSubject(namespace, subject, except), front.revokeSubject(namespace, subject, except)),
      revokeAll: (namespace) => this.#alone(back.revokeAll(namespace), front.revokeAll(namespace))
    }
  }

  // ---- reading

  #load(key: StoreKey, now: number): Effect.Effect<Option.Option<SessionRecord>, SessionStoreError> {
    return Effect.suspend(() => {
      this.#now = Math.max(this.#now, now)
      if (now < this.#passedByUntil) return this.#back.load(key, now)
      return Effect.flatMap(
        this.#ask(this.#front.load(key, now)),
        Option.match({
          onNone: () => this.#back.load(key, now),
          onSome: Option.match({
            onNone: () => this.#together(key, now),
            onSome: (copy) =>
              Option.match(original(copy), {
                onNone: () => this.#back.load(key, now),
                onSome: Effect.succeedSome
              })
          })
        })
      )
    })
  }

  /** Reads the back, once for all who ask meanwhile. */
  #together(key: StoreKey, now: number): Effect.Effect<Option.Option<SessionRecord>, SessionStoreError> {
    const flight = this.#flights.get(key)
    if (flight !== undefined) {
      return Effect.matchCauseEffect(Deferred.await(flight), {
        onSuccess: (found) => Effect.succeed(Option.filter(found, (record) => !isExpired(record.expiry, now))),
        // Whoever flew first may have been interrupted.
        onFailure: (cause) => Cause.isInterrupted(cause) ? this.#back.load(key, now) : Effect.failCause(cause)
      })
    }
    return Effect.flatMap(
      Deferred.make<Option.Option<SessionRecord>, SessionStoreError>(),
      (flight) => {
        this.#flights.set(key, flight)
        return Effect.onExit(this.#fill(key, now), (exit) => {
          if (this.#flights.get(key) === flight) this.#flights.delete(key)
          return Deferred.done(flight, exit)
        })
      }
    )
  }

  /** Reads the back, and leaves a copy in the front unless something has happened to the session meanwhile. */
  #fill(key: StoreKey, now: number): Effect.Effect<Option.Option<SessionRecord>, SessionStoreError> {
    return Effect.suspend(() => {
      const before = this.#revocations
      const keep = (record: SessionRecord) =>
        this.#filling.withPermitsIfAvailable(1)(Effect.suspend(() =>
          this.#revoking > 0 || this.#revocations !== before
            ? Effect.void
            // A fence, or another copy, stands in the way of this one.
            : this.#ask(this.#front.create(key, copyOf(record, now + this.#lease), now))
        ))
      return Effect.tap(
        this.#back.load(key, now),
        Option.match({ onNone: () => Effect.void, onSome: keep })
      )
    })
  }

  // ---- writing

  /** Writes to the back behind a fence in the front. */
  #fenced<A>(
    keys: ReadonlyArray<StoreKey>,
    now: number,
    write: Effect.Effect<A, SessionStoreError>
  ): Effect.Effect<A, SessionStoreError> {
    const landed = Effect.sync(() => {
      for (const key of keys) this.#flights.delete(key)
    })
    return Effect.suspend(() => {
      this.#now = Math.max(this.#now, now)
      return Effect.forEach(keys, (key) => this.#fence(key, this.#now), { discard: true }).pipe(
        Effect.zipRight(landed),
        Effect.zipRight(write),
        // Reads that began before the write are not for those who come after it.
        Effect.ensuring(landed)
      )
    })
  }

  /** Takes away what the front holds, and puts up what keeps others from filling it. */
  #fence(key: StoreKey, now: number, tries = 5): Effect.Effect<void> {
    if (now < this.#passedByUntil) return Effect.void
    const { destroy, create } = this.#front
    const put = Effect.zipRight(destroy(key), Effect.suspend(() => create(key, marker(now + fenceMillis), now)))
    return Effect.flatMap(this.#ask(put), (outcome) => {
      if (Option.isNone(outcome) || outcome.value === "created") return Effect.void
      // A read has filled it in between.
      return tries > 1 ? this.#fence(key, now, tries - 1) : this.#passBy
    })
  }

  /** Revokes in the back, then in the front, while nothing is filled. */
  #alone<A>(inBack: Effect.Effect<A, SessionStoreError>, inFront: Effect.Effect<unknown, SessionStoreError>) {
    const both = Effect.zipLeft(inBack, this.#ask(inFront))
    return Effect.acquireUseRelease(
      Effect.sync(() => void this.#revoking++),
      () => this.#filling.withPermits(mostFills)(both),
      () =>
        Effect.sync(() => {
          this.#revoking--
          this.#revocations++
          this.#flights.clear()
        })
    )
  }

  // ---- the front

  /** What the front answers; nothing if it fails or takes too long. Then it is passed by for a while. */
  #ask<A>(call: Effect.Effect<A, SessionStoreError>): Effect.Effect<Option.Option<A>> {
    const limited = this.#front.capabilities.remote
      ? Effect.timeoutFail(Effect.interruptible(Effect.disconnect(call)), {
        duration: this.#frontTimeout,
        onTimeout: () => new SessionStoreError({ operation: "front", reason: "timeout" })
      })
      : call
    return Effect.matchCauseEffect(limited, {
      onSuccess: Effect.succeedSome,
      onFailure: (cause) =>
        Cause.isInterruptedOnly(cause)
          ? Effect.interrupt
          : Effect.zipRight(
            Effect.logDebug("The front of a tiered store failed, and is passed by for a while.", cause),
            Effect.as(this.#passBy, Option.none())
          )
    })
  }

  get #passBy(): Effect.Effect<void> {
    return Effect.sync(() => {
      this.#passedByUntil = this.#now + this.#lease + pauseMillis
    })
  }
}

/** How many reads may fill the front at once. */
const mostFills = 10_000

/** A copy for the front: it ends with the lease, and carries its true end beside its data. */
const copyOf = (record: SessionRecord, until: number): SessionRecord => ({
  ...record,
  data: `${record.expiry.at} ${record.data}`,
  expiry: { ...record.expiry, at: Math.min(record.expiry.at, until) }
})

/** What a copy was made of; nothing if it is no copy, but a fence. */
const original = (copy: SessionRecord): Option.Option<SessionRecord> => {
  const end = copy.data.indexOf(" ")
  const at = Number(copy.data.slice(0, end))
  return end <= 0 || !Number.isSafeInteger(at)
    ? Option.none()
    : Option.some({ ...copy, data: copy.data.slice(end + 1), expiry: { ...copy.expiry, at } })
}

/** A fence: a record of nobody's, which says nothing. */
const marker = (until: number): SessionRecord => ({
  namespace: "effect-session/fence",
  id: SessionId.fromBytes(randomBytes(SessionId.byteLength)),
  data: "",
  schemaVersion: 0,
  subject: undefined,
  version: 1,
  writeId: "",
  createdAt: 0,
  authenticatedAt: undefined,
  modifiedAt: 0,
  lastSeenAt: 0,
  expiry: { at: until, deadline: undefined, lifetime: undefined }
})

/**
 * A store of two layers: `TieredStore.layer(front, back, { lease: "5 seconds" })`.
 *
 * @since 0.5.0
 * @category layers
 */
export const layer = <E1, R1, E2, R2>(
  front: Layer.Layer<SessionStore, E1, R1>,
  back: Layer.Layer<SessionStore, E2, R2>,
  options: Options
): Layer.Layer<SessionStore, E1 | E2 | SessionConfigError, R1 | R2> =>
  Layer.scoped(
    SessionStore,
    Effect.gen(function*() {
      const built = Effect.map(
        Effect.all([Layer.build(front), Layer.build(back)]),
        ([front, back]) => [Context.get(front, SessionStore), Context.get(back, SessionStore)] as const
      )
      const [front_, back_] = yield* built
      return yield* make(front_, back_, options)
    })
  )
