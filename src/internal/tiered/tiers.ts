/**
 * A store over two stores: the origin is authoritative, and the cache answers reads until the lease of an entry ends.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as SessionInvalidation from "../../SessionInvalidation.js"
import type { SessionRecord } from "../../SessionRecord.js"
import type {
  CreateOutcome,
  Loaded,
  ReadConsistency,
  RotateOutcome,
  SessionStoreError,
  Store,
  SubjectLimit
} from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"
import { isExpired } from "../domain/expiry.js"
import * as Counts from "../metrics.js"
import { intercepted } from "../store/intercepted.js"
import type { Cache } from "./cache.js"

type Read = Effect.Effect<Option.Option<Loaded>, SessionStoreError>
type Revocation = Exclude<SessionInvalidation.InvalidationEvent, { readonly _tag: "Lost" | "Key" }>
type InFlight = Deferred.Deferred<Option.Option<SessionRecord>, SessionStoreError>

/** Milliseconds after which an interrupted call of the origin counts as a timeout. */
const timeoutMillis = 500

/** The labels of the metric `session_cache_reads`. */
const labels = { Hit: "hit", Miss: "miss", Bypass: "bypass" } as const

/** Concurrent fills of the cache. */
const maxFills = 10_000

export class Tiers {
  readonly #cache: Cache
  readonly #origin: Store
  readonly #remote: boolean
  readonly #publish: SessionInvalidation.Channel["publish"]
  /** The last call of the origin failed as unreachable or timed out. */
  #isDown = false
  /** Read/write lock: cache fills share it, a revocation takes it exclusively because it does not know which keys are affected. */
  readonly #fillLock = Effect.unsafeMakeSemaphore(maxFills)
  /** Revocations that are running. */
  #revoking = 0
  /** Counts completed revocations: a read during which one completed fills nothing. */
  #revocations = 0
  /** The number of running writes by key: meanwhile the key is not filled. */
  readonly #writing = new Map<StoreKey, number>()
  /** In-flight loads of the origin by key: at most one at a time. */
  readonly #inFlight = new Map<StoreKey, InFlight>()

  constructor(cache: Cache, origin: Store, remote: boolean, publish: SessionInvalidation.Channel["publish"]) {
    this.#cache = cache
    this.#origin = intercepted(
      origin,
      (_, call) =>
        Effect.flatMap(Clock.currentTimeMillis, (began) => Effect.onExit(call, (exit) => this.#observe(exit, began)))
    )
    this.#remote = remote
    this.#publish = publish
  }

  get store(): Store {
    const origin = this.#origin
    return {
      // No tombstone: a key cannot have been cached before its session existed.
      create: (key, record, now, limit) => this.#evicting(record, limit, origin.create(key, record, now, limit)),
      count: origin.count,
      find: origin.find,
      list: origin.list,
      scan: origin.scan,
      capabilities: { ...origin.capabilities, remote: this.#remote },
      load: (key, now, reading) => reading === "fresh" ? origin.load(key, now, reading) : this.#load(key, now, reading),
      save: (key, record, options) => this.#write([key], options.now, origin.save(key, record, options)),
      touch: (key, times) => this.#write([key], times.now, origin.touch(key, times)),
      rotate: (key, newKey, record, options) =>
        this.#evicting(
          record,
          options.limit,
          this.#write([key, newKey], options.now, origin.rotate(key, newKey, record, options))
        ),
      destroy: (key) => Effect.flatMap(Clock.currentTimeMillis, (now) => this.#write([key], now, origin.destroy(key))),
      // The count does not include expired entries and tombstones of the cache.
      removeExpired: (options) => Effect.zipLeft(origin.removeExpired(options), this.#cache.sweep(options.now)),
      // The entry is removed whatever the result is: `false` may be the result of a second try, whose first reply was lost.
      revoke: (namespace, id, subject) =>
        this.#revoke({ _tag: "Id", namespace, id }, origin.revoke(namespace, id, subject)),
      revokeSubject: (namespace, subject, except) =>
        this.#revoke(
          { _tag: "Subject", namespace, subject, except },
          origin.revokeSubject(namespace, subject, except)
        ),
      revokeAll: (namespace) => this.#revoke({ _tag: "Namespace", namespace }, origin.revokeAll(namespace)),
      endReason: origin.endReason
    }
  }

  /** Applies the invalidation event of another node to the cache, and does not publish it again. */
  onEvent(event: SessionInvalidation.InvalidationEvent): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (event._tag === "Lost") return this.#cache.distrust
      if (event._tag !== "Key") return this.#exclusively(Effect.void, this.#revokeInCache(event))
      this.#inFlight.delete(event.key)
      return this.#cache.remove(event.key)
    })
  }

  // ---- reading

  #load(key: StoreKey, now: number, reading: ReadConsistency | undefined): Read {
    const cached = Effect.tap(this.#cache.load(key, now), ({ _tag }) => Counts.countCacheRead(labels[_tag]))
    return Effect.flatMap(cached, (answer): Read => {
      if (answer._tag === "Miss") return this.#loadOnce(key, now, answer.replaces)
      if (answer._tag === "Bypass") return this.#origin.load(key, now)
      if (!this.#isDown) return Effect.succeedSome(answer.record)
      return reading === "stale" ? Effect.succeedSome({ ...answer.record, stale: true }) : this.#origin.load(key, now)
    })
  }

  /** Loads from the origin, once for all concurrent reads of the key (single-flight). */
  #loadOnce(key: StoreKey, now: number, replaces: number | undefined): Read {
    const running = this.#inFlight.get(key)
    if (running !== undefined) {
      return Effect.matchCauseEffect(Deferred.await(running), {
        onSuccess: (found) => Effect.succeed(Option.filter(found, (record) => !isExpired(record.expiry, now))),
        // The leader may have been interrupted; a waiter then becomes the leader.
        onFailure: (cause) => Cause.isInterrupted(cause) ? this.#loadOnce(key, now, replaces) : Effect.failCause(cause)
      })
    }
    return Effect.flatMap(
      Deferred.make<Option.Option<SessionRecord>, SessionStoreError>(),
      (inFlight) => {
        return Effect.onExit(this.#loadAndFill(key, now, replaces, inFlight), (exit) => {
          if (this.#inFlight.get(key) === inFlight) this.#inFlight.delete(key)
          return Deferred.done(inFlight, exit)
        })
      }
    )
  }

  /** Loads from the origin, and fills the cache unless a write or a revocation of the session has begun meanwhile. */
  #loadAndFill(key: StoreKey, now: number, replaces: number | undefined, inFlight: InFlight): Read {
    return Effect.suspend(() => {
      this.#inFlight.set(key, inFlight)
      const before = this.#revocations
      const fill = (record: SessionRecord) =>
        Effect.suspend(() =>
          this.#revoking > 0 || this.#revocations !== before || this.#inFlight.get(key) !== inFlight ||
            this.#writing.has(key)
            ? Effect.succeed("rejected" as const)
            : this.#cache.fill(key, record, now, replaces)
        ).pipe(
          this.#fillLock.withPermitsIfAvailable(1),
          Effect.flatMap((outcome) => Counts.countFill(Option.getOrElse(outcome, () => "rejected" as const)))
        )
      return Effect.tap(
        this.#origin.load(key, now),
        Option.match({ onNone: () => Effect.void, onSome: fill })
      )
    })
  }

  // ---- writing

  /** Writes tombstones to the cache, then writes to the origin. A slow cache may confirm the tombstones after the origin has written. */
  #write<A>(
    keys: ReadonlyArray<StoreKey>,
    now: number,
    write: Effect.Effect<A, SessionStoreError>
  ): Effect.Effect<A, SessionStoreError> {
    // A read that starts after the write must not share a load that began before it.
    const detach = Effect.sync(() => {
      for (const key of keys) this.#inFlight.delete(key)
    })
    const publish = Effect.forEach(keys, (key) => this.#publish({ _tag: "Key", key }), { discard: true })
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
        this.#cache.at(now)
        return Effect.flatMap(this.#cache.bury(keys), (confirmed) => Effect.zipLeft(write, confirmed))
      },
      () => Effect.zipRight(detach, Effect.zipRight(count(-1), publish))
    )
  }

  /**
   * Runs a write that may evict sessions of its subject, and then removes these from the cache and publishes their events. Reads that began
   * before do not fill the cache afterwards. If the outcome does not name the evicted sessions, all of the subject are removed:
   * after an error or an interruption, and after an outcome that a second try has if the first one was executed and its reply was lost.
   */
  #evicting<A extends CreateOutcome | RotateOutcome>(
    { namespace, subject }: SessionRecord,
    limit: SubjectLimit | undefined,
    write: Effect.Effect<A, SessionStoreError>
  ): Effect.Effect<A, SessionStoreError> {
    if (subject === undefined || limit?.onFull !== "oldest") return write
    return Effect.onExit(write, (exit) => {
      const events = Exit.match(exit, {
        onFailure: (): ReadonlyArray<Revocation> => [{ _tag: "Subject", namespace, subject }],
        onSuccess: (outcome): ReadonlyArray<Revocation> =>
          outcome === "created" || outcome === "saved" || outcome === "full"
            ? []
            : typeof outcome === "object"
            ? outcome.ids.map((id) => ({ _tag: "Id", namespace, id }))
            : [{ _tag: "Subject", namespace, subject }]
      })
      if (events.length === 0) return Effect.void
      // In a fiber of its own: in one that is interrupted, the wait for a remote cache would be interrupted, too.
      const removal = Effect.forEach(events, (event) => this.#revoke(event, Effect.void), { discard: true })
      return Effect.flatMap(Effect.forkDaemon(removal), Fiber.join)
    })
  }

  /** Revokes in the origin, then in the cache, and publishes the event to other nodes. */
  #revoke<A, E>(event: Revocation, inOrigin: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      this.#cache.at(now)
      return Effect.ensuring(this.#exclusively(inOrigin, this.#revokeInCache(event)), this.#publish(event))
    })
  }

  /** Runs a revocation without concurrent fills. Reads that began before its end do not fill the cache afterwards. */
  #exclusively<A, E>(inOrigin: Effect.Effect<A, E>, inCache: Effect.Effect<void>): Effect.Effect<A, E> {
    return Effect.acquireUseRelease(
      Effect.sync(() => void this.#revoking++),
      () => Effect.zipLeft(inOrigin, this.#fillLock.withPermits(maxFills)(inCache)),
      () =>
        Effect.sync(() => {
          this.#revoking--
          this.#revocations++
          this.#inFlight.clear()
        })
    )
  }

  #revokeInCache(event: Revocation): Effect.Effect<void> {
    return this.#cache.revoke((store): Effect.Effect<unknown, SessionStoreError> => {
      switch (event._tag) {
        case "Id":
          return store.revoke(event.namespace, event.id)
        case "Subject":
          return store.revokeSubject(event.namespace, event.subject, event.except)
        case "Namespace":
          return store.revokeAll(event.namespace)
      }
    })
  }

  /** Notes whether the origin is down. A call that timed out counts as a failure; an early interruption does not count. */
  #observe(exit: Exit.Exit<unknown, SessionStoreError>, began: number): Effect.Effect<void> {
    return Effect.map(Clock.currentTimeMillis, (now) => {
      if (Exit.isInterrupted(exit) && now - began < timeoutMillis) return
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
