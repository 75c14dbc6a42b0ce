/**
 * The cache of a tiered store: entries with a lease, tombstones that stop stale reads from filling the cache again, and a circuit breaker
 * for a cache that fails.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { SessionRecord } from "../../SessionRecord.js"
import type { CreateOutcome, Store, WriteOutcome } from "../../SessionStore.js"
import { SessionStoreError } from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"
import { randomBytes } from "../crypto/primitives.js"
import { isExpired } from "../domain/expiry.js"
import * as Ids from "../domain/id.js"
import * as Outcomes from "../domain/outcomes.js"
import { withHelp } from "../help.js"
import * as Counts from "../metrics.js"
import { isCorrupt } from "../store/corrupt.js"
import * as Limit from "../store/limit.js"
import { asideOf } from "../store/randomKey.js"

/** Lifetime of a tombstone: longer than any read that began before the write, and than the write itself. */
const tombstoneMillis = 15_000

/** Time for which reads bypass a cache that failed. */
const bypassMillis = 1000

/** Time for which an entry is kept after its lease, so that the next entry can replace it. */
const keptMillis = 60_000

/** A time before any expiry. A load with this time as `now` also returns expired records that are still stored. */
const longAgo = 0

/** The tombstone was written; an unreadable record has the key; another write came first. */
type Put = "written" | "unreadable" | "conflict"

/** The result of a read of the cache. */
type Answer =
  | { readonly _tag: "Hit"; readonly record: SessionRecord }
  /** No entry with a lease; `replaces` is the version of the old entry that a new one replaces. */
  | { readonly _tag: "Miss"; readonly replaces: number | undefined }
  /** The cache must be neither read nor filled: a tombstone, a failure, or an invalidated cache. */
  | typeof bypass

const bypass = { _tag: "Bypass" } as const

export class Cache {
  readonly #store: Store
  readonly #lease: number
  readonly #timeout: Duration.Duration
  readonly #invalidationTimeout: Duration.Duration
  /** When an unconfirmed invalidation was last logged. */
  #loggedAt = -Infinity
  /** The latest time of any call. */
  #now = -Infinity
  /** The circuit breaker: reads bypass the cache until then, because it failed. */
  #failsUntil = -Infinity
  /** The distrust window: reads bypass the cache until then, because it may hold entries that should have been removed. */
  #distrustedUntil = -Infinity

  constructor(store: Store, lease: number, timeout: Duration.Duration, invalidationTimeout: Duration.Duration) {
    this.#store = store
    this.#lease = lease
    this.#timeout = timeout
    this.#invalidationTimeout = invalidationTimeout
  }

  /** Records the time of a call, and returns the latest time so far, so that time never goes back. */
  at(now: number): number {
    return (this.#now = Math.max(this.#now, now))
  }

  load(key: StoreKey, now: number): Effect.Effect<Answer> {
    return Effect.suspend(() => {
      this.at(now)
      if (now < this.#distrustedUntil || now < this.#failsUntil) return Effect.succeed(bypass)
      return Effect.map(this.#try(this.#store.load(key, now)), (answer): Answer => {
        if (Option.isNone(answer)) return bypass
        const entry = Option.getOrUndefined(answer.value)
        if (entry === undefined) return { _tag: "Miss", replaces: undefined }
        const found = decodeEntry(entry)
        if (found === undefined) return bypass
        return found.until > now && found.until <= now + this.#lease && !isExpired(found.record.expiry, now)
          ? { _tag: "Hit", record: found.record }
          : { _tag: "Miss", replaces: entry.version }
      })
    })
  }

  /** Writes an entry, unless a tombstone or another entry was written since the read. */
  fill(
    key: StoreKey,
    record: SessionRecord,
    now: number,
    replaces: number | undefined
  ): Effect.Effect<Outcomes.FillOutcome> {
    const entry = encodeEntry(record, now + this.#lease)
    const create = this.#store.create(key, entry, now)
    const put: Effect.Effect<WriteOutcome | CreateOutcome, SessionStoreError> = replaces !== undefined
      ? this.#store.save(key, entry, { expectedVersion: replaces, now })
      : Effect.flatMap(create, (outcome) =>
        // An expired record, usually a tombstone, stays in the store until it is removed.
        outcome === "created" ? Effect.succeed(outcome) : Effect.flatMap(
          this.#removeIf(key, ({ expiry }) => isExpired(expiry, now)),
          (isRemoved) => isRemoved ? create : Effect.succeed(outcome)
        ))
    return Effect.map(
      this.#try(put),
      Option.match({
        onNone: () => "failed",
        onSome: (outcome) => outcome === "created" || outcome === "saved" ? "filled" : "rejected"
      })
    )
  }

  /** Removes expired entries and tombstones. */
  sweep(now: number): Effect.Effect<void> {
    return Effect.asVoid(this.#try(this.#store.removeExpired({ now, limit: sweepLimit })))
  }

  /**
   * Replaces the entries of keys by tombstones, which stop concurrent reads from filling them again. Returns after `cacheTimeout` at the
   * latest, so that the write may begin, with an effect that the write must wait for before it is confirmed. Until the tombstones are
   * confirmed, or `invalidationTimeout` has passed, other processes may read the old entries.
   */
  bury(keys: ReadonlyArray<StoreKey>): Effect.Effect<Effect.Effect<void>> {
    const { remote } = this.#store.capabilities
    const put = Effect.forEach(keys, (key) => this.#putTombstone(key), {
      concurrency: remote ? "unbounded" : 1,
      discard: true
    })
    if (!remote) return Effect.as(this.#invalidate(put), Effect.void)
    return Effect.gen(this, function*() {
      const burying = yield* Effect.forkDaemon(this.#invalidate(put))
      const confirmed = Effect.asVoid(Effect.interruptible(Fiber.await(burying)))
      yield* Effect.timeoutOption(confirmed, this.#timeout)
      return confirmed
    })
  }

  /**
   * Writes a tombstone, in place of an entry or of an older tombstone. It never removes a record first, because that may be the tombstone
   * of another write by then.
   */
  #putTombstone(key: StoreKey, tries = 5): Effect.Effect<void, SessionStoreError> {
    return Effect.suspend(() => {
      const now = this.#now
      const { create, load, save } = this.#store
      const tombstone = makeTombstone(now + tombstoneMillis)
      const put = Effect.flatMap(
        load(key, longAgo),
        (found): Effect.Effect<Put, SessionStoreError> =>
          Option.match(found, {
            onNone: () =>
              Effect.map(create(key, tombstone, now), (outcome) => outcome === "created" ? "written" : "unreadable"),
            // An expired record is replaced too: the save uses a time before its expiry.
            onSome: ({ expiry, version }) =>
              Effect.map(
                save(key, tombstone, { expectedVersion: version, now: Math.min(now, expiry.at - 1) }),
                (outcome) => outcome === "saved" ? "written" : "conflict"
              )
          })
      )
      return Effect.flatMap(put, (outcome): Effect.Effect<void, SessionStoreError> => {
        if (outcome === "written") return Effect.void
        if (tries > 1) return this.#putTombstone(key, tries - 1)
        // A record that can be neither loaded nor replaced was revoked together with its session. It blocks every fill, as a tombstone does.
        return outcome === "unreadable"
          ? Effect.void
          : new SessionStoreError({
            operation: "cache",
            reason: "unavailable",
            cause: new Error("repeated conflicts with concurrent writes")
          })
      })
    })
  }

  /** Removes an entry. A tombstone stays. */
  remove(key: StoreKey): Effect.Effect<void> {
    return this.#invalidate(this.#removeIf(key, (found) => decodeEntry(found) !== undefined))
  }

  /** Removes the entries of a revocation. */
  revoke(call: (store: Store) => Effect.Effect<unknown, SessionStoreError>): Effect.Effect<void> {
    return this.#invalidate(call(this.#store))
  }

  /** Removes a record if it matches and does not change meanwhile. Versions are unique, so the rotation removes this very record. */
  #removeIf(key: StoreKey, matches: (found: SessionRecord) => boolean): Effect.Effect<boolean, SessionStoreError> {
    const { capabilities, destroy, load, rotate } = this.#store
    return Effect.flatMap(load(key, longAgo), (found) => {
      if (Option.isNone(found) || !matches(found.value)) return Effect.succeed(false)
      const { expiry, version } = found.value
      const aside = asideOf(key, capabilities)
      return Effect.flatMap(
        rotate(key, aside, makeTombstone(this.#now), {
          expectedVersion: version,
          now: Math.min(this.#now, expiry.at - 1)
        }),
        (outcome) => outcome === "saved" ? Effect.as(destroy(aside), true) : Effect.succeed(false)
      )
    })
  }

  /** Bypasses the cache until every entry that it holds now has expired. */
  get distrust(): Effect.Effect<void> {
    return this.#distrustFor(this.#lease)
  }

  #distrustFor(millis: number): Effect.Effect<void> {
    return Effect.sync(() => {
      this.#distrustedUntil = Math.max(this.#distrustedUntil, this.#now + millis)
    })
  }

  /** Returns the result, or `None` if the cache fails or times out. A failure opens the circuit breaker for {@link bypassMillis}. */
  #try<A>(call: Effect.Effect<A, SessionStoreError>): Effect.Effect<Option.Option<A>> {
    const limited = this.#store.capabilities.remote
      ? Limit.within(call, Duration.toMillis(this.#timeout), timedOut)
      : call
    return Effect.matchCauseEffect(limited, {
      onSuccess: Effect.succeedSome,
      onFailure: (cause) => {
        if (Cause.isInterruptedOnly(cause)) return Effect.interrupt
        if (isOfOneSession(cause)) return Effect.succeedNone
        this.#failsUntil = this.#now + bypassMillis
        return Effect.as(
          Effect.logDebug("TieredStore: the cache failed. Reads bypass it for one second.", cause),
          Option.none()
        )
      }
    })
  }

  /**
   * Runs an invalidation, for all processes that share the cache. It runs even while the circuit breaker is open, with a longer timeout
   * than a read, and continues in the background after that timeout. If it fails, a concurrent read may still write a stale entry, so the
   * cache is distrusted until such an entry has expired.
   */
  #invalidate(call: Effect.Effect<unknown, SessionStoreError>): Effect.Effect<void> {
    const limited = this.#store.capabilities.remote
      ? Effect.flatMap(
        Effect.forkDaemon(
          Effect.timeoutFail(Effect.interruptible(call), { duration: tombstoneMillis, onTimeout: timedOut })
        ),
        (calling) =>
          Effect.timeoutFail(Effect.interruptible(Fiber.join(calling)), {
            duration: this.#invalidationTimeout,
            onTimeout: timedOut
          })
      )
      : call
    return Effect.matchCauseEffect(limited, {
      onSuccess: () => Counts.countInvalidation("confirmed"),
      onFailure: (cause) => {
        if (Cause.isInterruptedOnly(cause)) return Effect.interrupt
        this.#failsUntil = this.#now + bypassMillis
        return Effect.all([
          this.#distrustFor(tombstoneMillis + this.#lease),
          Counts.countInvalidation("unconfirmed"),
          this.#log(cause)
        ], { discard: true })
      }
    })
  }

  /** Logs at most one warning per second. */
  #log(cause: Cause.Cause<SessionStoreError>): Effect.Effect<void> {
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (now < this.#loggedAt + bypassMillis) return Effect.void
      this.#loggedAt = now
      const lease = Duration.format(Duration.millis(this.#lease))
      return Effect.logWarning(
        withHelp(
          `TieredStore: the cache did not confirm the invalidation of a session (timeout: ${
            Duration.format(this.#invalidationTimeout)
          }). Other processes that share the cache may read the stale session until its lease (${lease}) has passed. Check the cache, or ` +
            "raise invalidationTimeout.",
          "cache-not-confirmed"
        ),
        cause
      )
    })
  }
}

const timedOut = () => new SessionStoreError({ operation: "cache", reason: "timeout" })

/** Expired records that one sweep removes. */
const sweepLimit = 500

/** Whether the failure concerns one session and not the cache: too large, a corrupt entry, or a clock that is ahead. */
const isOfOneSession = (cause: Cause.Cause<SessionStoreError>): boolean =>
  Option.exists(
    Cause.failureOption(cause),
    (error) => error.reason === "size" || error.reason === "clock" || isCorrupt(error)
  )

/** A random version, because entries and tombstones of one key are distinguished by their versions alone. */
const randomVersion = (): number => Math.floor(Math.random() * 2 ** 52)

/**
 * Encodes a record as an entry. The end of the lease, the expiry and the version of the record are put before its data. The entry itself
 * expires after the lease, and has a random version, so that a fill replaces only the entry that it has read.
 */
const encodeEntry = (record: SessionRecord, until: number): SessionRecord => ({
  ...record,
  data: `${until} ${record.expiry.at} ${record.version} ${record.data}`,
  version: randomVersion(),
  expiry: { ...record.expiry, at: until + keptMillis }
})

/** Decodes an entry to its record and the end of its lease; `undefined` for a tombstone. */
const decodeEntry = (entry: SessionRecord): { readonly record: SessionRecord; readonly until: number } | undefined => {
  const [, until, at, version, data] = /^(-?\d+) (-?\d+) (\d+) ([^]*)$/.exec(entry.data) ?? []
  return data === undefined
    ? undefined
    : {
      until: Number(until),
      record: { ...entry, data, version: Number(version), expiry: { ...entry.expiry, at: Number(at) } }
    }
}

/** A tombstone: a record without a subject and without data. */
const makeTombstone = (until: number): SessionRecord => ({
  namespace: "effect-session/fence",
  id: Ids.fromBytes(randomBytes(Ids.byteLength)),
  data: "",
  schemaVersion: 0,
  subject: undefined,
  version: randomVersion(),
  writeId: "",
  createdAt: 0,
  authenticatedAt: undefined,
  modifiedAt: 0,
  lastSeenAt: 0,
  // With a lifetime of its own, a tombstone that replaces an entry or another tombstone does not inherit its expiry.
  expiry: { at: until, deadline: undefined, lifetime: { _tag: "Until", at: until } },
  attributes: undefined
})
