/**
 * Two stores as one: the back holds the truth, the front answers reads for a while.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { isExpired } from "../../Expiry.js"
import type * as SessionInvalidation from "../../SessionInvalidation.js"
import * as SessionMetrics from "../../SessionMetrics.js"
import type { SessionRecord } from "../../SessionRecord.js"
import type { Loaded, ReadConsistency, SessionStoreError, Store } from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"
import { intercepted } from "../store/intercepted.js"
import type { Front } from "./front.js"

type Read = Effect.Effect<Option.Option<Loaded>, SessionStoreError>
type Revocation = Exclude<SessionInvalidation.InvalidationEvent, { readonly _tag: "Gap" | "Key" }>
type Flight = Deferred.Deferred<Option.Option<SessionRecord>, SessionStoreError>

/** How long a call of the back may take, in milliseconds, before giving it up says something about the back. */
const patience = 500

/** What the metrics call the answers of the front. */
const words = { Copy: "copy", Nothing: "nothing", Closed: "closed" } as const

/** How many reads may fill the front at once. */
const mostFills = 10_000

export class Tiers {
  readonly #front: Front
  readonly #back: Store
  readonly #remote: boolean
  readonly #tell: SessionInvalidation.Channel["publish"]
  /** The last call of the back did not come to its end. */
  #isDown = false
  /** Fills share it; a revocation, which does not know whom it concerns, has it alone. */
  readonly #filling = Effect.unsafeMakeSemaphore(mostFills)
  #revoking = 0
  /** How many revocations there were: a read that saw one happen fills nothing. */
  #revocations = 0
  /** How many writes of a key are under way: meanwhile nothing of it is filled. */
  readonly #writing = new Map<StoreKey, number>()
  /** One read of the back at a time for each key. */
  readonly #flights = new Map<StoreKey, Flight>()

  constructor(front: Front, back: Store, remote: boolean, tell: SessionInvalidation.Channel["publish"]) {
    this.#front = front
    this.#back = intercepted(
      back,
      (_, call) =>
        Effect.flatMap(Clock.currentTimeMillis, (began) => Effect.onExit(call, (exit) => this.#noted(exit, began)))
    )
    this.#remote = remote
    this.#tell = tell
  }

  get store(): Store {
    const back = this.#back
    return {
      create: back.create,
      count: back.count,
      find: back.find,
      list: back.list,
      scan: back.scan,
      capabilities: { ...back.capabilities, remote: this.#remote },
      // Nobody can have read a key before it existed: a create needs no fence.
      load: (key, now, reading) => reading === "fresh" ? back.load(key, now, reading) : this.#load(key, now, reading),
      save: (key, record, options) => this.#fenced([key], options.now, back.save(key, record, options)),
      touch: (key, times) => this.#fenced([key], times.now, back.touch(key, times)),
      rotate: (key, newKey, record, options) =>
        this.#fenced([key, newKey], options.now, back.rotate(key, newKey, record, options)),
      destroy: (key) => Effect.flatMap(Clock.currentTimeMillis, (now) => this.#fenced([key], now, back.destroy(key))),
      // Old copies and fences too, whose number is no news to anybody.
      removeExpired: (options) => Effect.zipLeft(back.removeExpired(options), this.#front.sweep(options.now)),
      revoke: (namespace, id) => this.#revoke({ _tag: "Id", namespace, id }, back.revoke(namespace, id)),
      revokeSubject: (namespace, subject, except) =>
        this.#revoke(
          { _tag: "Subject", namespace, subject, except },
          back.revokeSubject(namespace, subject, except)
        ),
      revokeAll: (namespace) => this.#revoke({ _tag: "Everyone", namespace }, back.revokeAll(namespace))
    }
  }

  /** What another node has done: this one has nothing to tell of it. */
  hear(notice: SessionInvalidation.InvalidationEvent): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (notice._tag === "Gap") return this.#front.doubt
      if (notice._tag !== "Key") return this.#alone(Effect.void, this.#drop(notice))
      this.#flights.delete(notice.key)
      return this.#front.forget(notice.key)
    })
  }

  // ---- reading

  #load(key: StoreKey, now: number, reading: ReadConsistency | undefined): Read {
    const asked = Effect.tap(this.#front.load(key, now), ({ _tag }) => SessionMetrics.countCacheRead(words[_tag]))
    return Effect.flatMap(asked, (answer): Read => {
      if (answer._tag === "Nothing") return this.#together(key, now, answer.place)
      if (answer._tag === "Closed") return this.#back.load(key, now)
      if (!this.#isDown) return Effect.succeedSome(answer.record)
      return reading === "stale" ? Effect.succeedSome({ ...answer.record, stale: true }) : this.#back.load(key, now)
    })
  }

  /** Reads the back, once for all who ask meanwhile. */
  #together(key: StoreKey, now: number, place: number | undefined): Read {
    const flight = this.#flights.get(key)
    if (flight !== undefined) {
      return Effect.matchCauseEffect(Deferred.await(flight), {
        onSuccess: (found) => Effect.succeed(Option.filter(found, (record) => !isExpired(record.expiry, now))),
        // Whoever flew first may have been interrupted: then one of the others flies.
        onFailure: (cause) => Cause.isInterrupted(cause) ? this.#together(key, now, place) : Effect.failCause(cause)
      })
    }
    return Effect.flatMap(
      Deferred.make<Option.Option<SessionRecord>, SessionStoreError>(),
      (flight) => {
        return Effect.onExit(this.#fill(key, now, place, flight), (exit) => {
          if (this.#flights.get(key) === flight) this.#flights.delete(key)
          return Deferred.done(flight, exit)
        })
      }
    )
  }

  /** Reads the back, and leaves a copy in the front unless something has happened to the session meanwhile. */
  #fill(key: StoreKey, now: number, place: number | undefined, flight: Flight): Read {
    return Effect.suspend(() => {
      this.#flights.set(key, flight)
      const before = this.#revocations
      const keep = (record: SessionRecord) =>
        Effect.suspend(() =>
          this.#revoking > 0 || this.#revocations !== before || this.#flights.get(key) !== flight ||
            this.#writing.has(key)
            ? Effect.succeed("refused" as const)
            : this.#front.fill(key, record, now, place)
        ).pipe(
          this.#filling.withPermitsIfAvailable(1),
          Effect.flatMap((outcome) => SessionMetrics.countFill(Option.getOrElse(outcome, () => "refused" as const)))
        )
      return Effect.tap(
        this.#back.load(key, now),
        Option.match({ onNone: () => Effect.void, onSome: keep })
      )
    })
  }

  // ---- writing

  /** Writes to the back behind a fence in the front. A front that is slow may have it up to the moment that the write is confirmed. */
  #fenced<A>(
    keys: ReadonlyArray<StoreKey>,
    now: number,
    write: Effect.Effect<A, SessionStoreError>
  ): Effect.Effect<A, SessionStoreError> {
    // Reads that began before the write are not for those who come after it.
    const land = Effect.sync(() => {
      for (const key of keys) this.#flights.delete(key)
    })
    const tell = Effect.forEach(keys, (key) => this.#tell({ _tag: "Key", key }), { discard: true })
    const count = (by: 1 | -1) =>
      Effect.sync(() => {
        for (const key of keys) {
          const writes = (this.#writing.get(key) ?? 0) + by
          if (writes === 0) this.#writing.delete(key)
          else this.#writing.set(key, writes)
        }
      })
    return Effect.acquireUseRelease(
      count(1),
      () => {
        this.#front.at(now)
        return Effect.flatMap(this.#front.fence(keys), (confirmed) => Effect.zipLeft(write, confirmed))
      },
      () => Effect.zipRight(land, Effect.zipRight(count(-1), tell))
    )
  }

  /** Revokes in the back, then in the front, and tells the others. */
  #revoke<A>(
    notice: Revocation,
    inBack: Effect.Effect<A, SessionStoreError>
  ): Effect.Effect<A, SessionStoreError> {
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      this.#front.at(now)
      return Effect.ensuring(this.#alone(inBack, this.#drop(notice)), this.#tell(notice))
    })
  }

  /** While it runs, nothing is filled; what was read before it fills nothing afterwards. */
  #alone<A, E>(effect: Effect.Effect<A, E>, drop: Effect.Effect<void>): Effect.Effect<A, E> {
    return Effect.acquireUseRelease(
      Effect.sync(() => void this.#revoking++),
      () => Effect.zipLeft(effect, this.#filling.withPermits(mostFills)(drop)),
      () =>
        Effect.sync(() => {
          this.#revoking--
          this.#revocations++
          this.#flights.clear()
        })
    )
  }

  #drop(notice: Revocation): Effect.Effect<void> {
    return this.#front.drop((front): Effect.Effect<unknown, SessionStoreError> => {
      switch (notice._tag) {
        case "Id":
          return front.revoke(notice.namespace, notice.id)
        case "Subject":
          return front.revokeSubject(notice.namespace, notice.subject, notice.except)
        case "Everyone":
          return front.revokeAll(notice.namespace)
      }
    })
  }

  /** What was given up after a while counts, too: what hangs is down. An abort is no news. */
  #noted(exit: Exit.Exit<unknown, SessionStoreError>, began: number): Effect.Effect<void> {
    return Effect.map(Clock.currentTimeMillis, (now) => {
      if (Exit.isInterrupted(exit) && now - began < patience) return
      this.#isDown = Exit.match(exit, {
        onSuccess: () => false,
        onFailure: (cause) =>
          Option.match(Cause.failureOption(cause), {
            onNone: () => true,
            onSome: ({ reason }) => reason === "unavailable" || reason === "timeout"
          })
      })
    })
  }
}
