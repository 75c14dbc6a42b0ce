/**
 * The store in memory, for any container of its entries: a map, or a bounded cache.
 */
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { Epochs, SessionRecord } from "../../SessionRecord.js"
import {
  applySave,
  applyTouch,
  bounded,
  boundedTouch,
  byAge,
  clockSlack,
  isAlive,
  toInfo
} from "../../SessionRecord.js"
import type { EndReason, Evicted, Located, Store, SubjectLimit } from "../../SessionStore.js"
import { checkClock, pageOf } from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"
import { isExpired } from "../domain/expiry.js"
import * as Done from "../done.js"
import { intercepted } from "../store/intercepted.js"
import { register } from "../store/synchronous.js"
import { MemoryIndex } from "./indexes.js"

/** A record, and the epochs at its insertion. */
export interface Entry extends Epochs {
  readonly record: SessionRecord
}

/** The container of the entries. If it evicts an entry, it calls `forget`. */
interface Table {
  /** Reads an entry, which counts as a use of it. */
  readonly get: (key: StoreKey) => Entry | undefined
  /** Reads an entry without counting as a use. */
  readonly peek: (key: StoreKey) => Entry | undefined
  readonly has: (key: StoreKey) => boolean
  readonly size: number
  readonly set: (key: StoreKey, entry: Entry) => unknown
  readonly delete: (key: StoreKey) => unknown
  /** Whether another entry must be removed before this record is stored. */
  readonly isFull: (key: StoreKey, record: SessionRecord) => boolean
  /** Whether its limit is the size of its records: a save can then exceed it. */
  readonly bySize?: boolean
  /** Returns the key of the oldest entry, for removal. Absent if the container evicts entries by itself. */
  readonly takeOldest?: () => StoreKey | undefined
}

/** The maximum number of reasons that are kept of sessions that have ended. The oldest are dropped first. */
const maxReasons = 10_000

/** Makes the store. Every operation is one synchronous step, so it is atomic. */
export const make = (makeTable: (forget: (key: StoreKey, entry: Entry) => void) => Table): Store => {
  const entries = makeTable((key, { record }) => forget(key, record))
  const index = new MemoryIndex()
  const epochs = new Map<string, number>() // by namespace, and by namespace and subject
  /** Why sessions that are no longer in the table have ended, each until the session would have expired. */
  const reasons = new Map<StoreKey, { readonly reason: EndReason; readonly until: number }>()
  /** The time of the last write. */
  let clock = -Infinity

  const epoch = (namespace: string, subject?: string) =>
    epochs.size === 0 ? 0 : epochs.get(epochOf(namespace, subject)) ?? 0
  const epochsOf = ({ namespace, subject }: SessionRecord): Epochs => ({
    namespaceEpoch: epoch(namespace),
    subjectEpoch: subject === undefined ? 0 : epoch(namespace, subject)
  })

  const alive = (key: StoreKey | undefined, now: number): Entry | undefined => {
    const entry = key === undefined ? undefined : entries.peek(key)
    return entry !== undefined && isAlive(entry.record, entry, epochsOf(entry.record), now) ? entry : undefined
  }

  const put = (key: StoreKey, entry: Entry) => {
    const old = entries.peek(key)
    if (old === undefined) index.add(key, entry.record)
    else index.move(key, old.record, entry.record)
    entries.set(key, entry)
  }

  /** Inserts a record with the current epochs, so that only later revocations end it. */
  const insert = (key: StoreKey, record: SessionRecord, now: number) => {
    // The reason why an earlier session of the key has ended is not that of this one.
    reasons.delete(key)
    makeRoom(key, record, now)
    put(key, { record, ...epochsOf(record) })
  }

  /** Removes expired records before live ones are evicted. */
  const makeRoom = (key: StoreKey, record: SessionRecord, now: number) => {
    while (entries.isFull(key, record)) {
      if (removeExpired(Math.min(now, clock + clockSlack), 1) > 0) continue
      remove(entries.takeOldest?.())
      return
    }
  }

  const endAt = (key: StoreKey) => entries.peek(key)?.record.expiry.at

  /** Removes an entry. Keeps the reason, if there is one. */
  const remove = (key: StoreKey | undefined, reason?: EndReason) => {
    const entry = key === undefined ? undefined : entries.peek(key)
    if (key === undefined || entry === undefined) return false
    // A revocation has ended the session before.
    if (reason !== undefined) keep(key, revokedBy(entry) ?? reason, entry.record.expiry.at)
    entries.delete(key)
    forget(key, entry.record)
    return true
  }

  const keep = (key: StoreKey, reason: EndReason, until: number) => {
    const [oldest] = reasons.size < maxReasons ? [] : reasons.keys()
    if (oldest !== undefined) reasons.delete(oldest)
    reasons.set(key, { reason, until })
  }

  /** Returns the kind of the revocation that has ended an entry; `undefined` if there is none. */
  const revokedBy = ({ namespaceEpoch, record, subjectEpoch }: Entry): EndReason | undefined => {
    const current = epochsOf(record)
    if (namespaceEpoch < current.namespaceEpoch) return "allRevoked"
    return subjectEpoch < current.subjectEpoch ? "subjectRevoked" : undefined
  }

  /**
   * Returns the sessions to remove before one more session of the subject is within the limit, or `undefined` if the limit denies it.
   * `replaced`: the key of the session that the record replaces.
   */
  const surplus = (
    { id, namespace, subject }: SessionRecord,
    limit: SubjectLimit | undefined,
    now: number,
    replaced?: StoreKey
  ): ReadonlyArray<readonly [StoreKey, SessionRecord]> | undefined => {
    if (limit === undefined || subject === undefined) return []
    const others = [...index.ofSubject(namespace, subject)].flatMap((key) => {
      const record = alive(key, now)?.record
      return record === undefined || record.id === id || key === replaced ? [] : [[key, record] as const]
    })
    const tooMany = others.length + 1 - limit.max
    if (tooMany <= 0) return []
    return limit.onFull === "deny" ? undefined : others.sort(([, a], [, b]) => byAge(a, b)).slice(0, tooMany)
  }

  const evict = <A extends string>(
    ended: ReadonlyArray<readonly [StoreKey, SessionRecord]>,
    outcome: A
  ): A | Evicted => {
    for (const [key] of ended) remove(key, "limit")
    return ended.length === 0 ? outcome : { _tag: "Evicted", ids: ended.map(([, { id }]) => id) }
  }

  const forget = (key: StoreKey, record: SessionRecord) => {
    index.remove(key, record)
    if (epochs.size === 0) return
    // A revocation is needed only while there is a record that it may have ended.
    if (record.subject !== undefined && index.ofSubject(record.namespace, record.subject).size === 0) {
      epochs.delete(epochOf(record.namespace, record.subject))
    }
    if (!index.has(record.namespace)) epochs.delete(epochOf(record.namespace))
  }

  const removeExpired = (now: number, limit: number) => {
    let removed = 0
    while (removed < limit && remove(index.firstExpired(now))) removed++
    return removed
  }

  /** Reads the clock of this process, which may be a simulated one. */
  const tick = () => {
    const fiber = Fiber.getCurrentFiber()
    const real = Date.now()
    return clock = Option.isNone(fiber)
      ? real
      : Math.max(Done.clockIn(fiber.value.currentDefaultServices).unsafeCurrentTimeMillis(), real)
  }

  const synchronous: Store = {
    capabilities: { durableDestroy: false, remote: false, limitsSubjects: true },

    create: (key, proposed, now, limit) =>
      done(() => {
        const record = bounded(proposed, now, tick())
        if (entries.has(key) || index.keyOf(record.namespace, record.id) !== undefined) return "exists"
        const ended = surplus(record, limit, now)
        if (ended === undefined) return "full"
        const outcome = evict(ended, "created")
        insert(key, record, now)
        return outcome
      }),

    load: (key, now) =>
      done(() => {
        const entry = alive(key, now)
        if (entry === undefined) return Option.none()
        entries.get(key)
        return Option.some(entry.record)
      }),

    save: (key, proposed, { expectedVersion, now }) =>
      done(() => {
        const record = bounded(proposed, now, tick(), endAt(key))
        const entry = alive(key, now)
        if (entry === undefined) return "gone"
        if (entry.record.version !== expectedVersion) return "conflict"
        const next = applySave(entry.record, record)
        if (entries.bySize === true) makeRoom(key, next, now)
        put(key, { ...entry, record: next })
        return "saved"
      }),

    touch: (key, times) =>
      done(() => {
        const touched = boundedTouch(times, tick())
        const entry = alive(key, times.now)
        if (entry === undefined) return "gone"
        put(key, { ...entry, record: applyTouch(entry.record, touched) })
        return "touched"
      }),

    rotate: (key, newKey, proposed, { expectedVersion, limit, now }) =>
      done(() => {
        const record = bounded(proposed, now, tick(), endAt(key))
        const entry = alive(key, now)
        if (entry === undefined) return "gone"
        const idOwner = index.keyOf(record.namespace, record.id)
        if (entry.record.version !== expectedVersion || entries.has(newKey) || (idOwner ?? key) !== key) {
          return "conflict"
        }
        const ended = surplus(record, limit, now, key)
        if (ended === undefined) return "full"
        const outcome = evict(ended, "saved")
        // The record is alive, so no revocation until now applies to it, and it gets the current epochs.
        remove(key, "rotated")
        insert(newKey, { ...record, version: expectedVersion + 1 }, now)
        return outcome
      }),

    destroy: (key) => done(() => void remove(key, "loggedOut")),

    // Checked against the machine's clock, so that a simulated time does not remove live sessions.
    removeExpired: ({ now, limit }) =>
      Done.flatMap(checkClock(now, Date.now()), () => done(() => removeExpired(now, limit))),

    count: (now) =>
      done(() => {
        const expired = index.expired(now)
        return { current: entries.size - expired, expired }
      }),

    list: (namespace, subject, now, page = {}) =>
      done(() =>
        pageOf([...index.ofSubject(namespace, subject)].flatMap((key) => alive(key, now)?.record ?? []), page).map(
          toInfo
        )
      ),

    find: (namespace, id, now) =>
      done(() => Option.map(Option.fromNullable(alive(index.keyOf(namespace, id), now)), (entry) => entry.record)),

    scan: (namespace, { after, limit, now }) =>
      done(() => {
        const page: Array<Located> = []
        for (const key of index.afterId(namespace, after)) {
          if (page.length >= limit) break
          const entry = alive(key, now)
          if (entry !== undefined) page.push({ ...entry.record, key })
        }
        return page
      }),

    revoke: (namespace, id, subject) =>
      done(() => {
        const key = index.keyOf(namespace, id)
        const isOthers = subject !== undefined && key !== undefined && entries.peek(key)?.record.subject !== subject
        return !isOthers && remove(key, "revoked")
      }),

    revokeSubject: (namespace, subject, except) =>
      done(() => {
        if (index.ofSubject(namespace, subject).size === 0) return
        const next = epoch(namespace, subject) + 1
        const key = except === undefined ? undefined : index.keyOf(namespace, except)
        const spared = key === undefined ? undefined : entries.peek(key)
        epochs.set(epochOf(namespace, subject), next)
        if (key !== undefined && spared?.record.subject === subject && spared.subjectEpoch === next - 1) {
          put(key, { ...spared, subjectEpoch: next })
        }
      }),

    revokeAll: (namespace) =>
      done(() => {
        if (index.has(namespace)) epochs.set(epochOf(namespace), epoch(namespace) + 1)
      }),

    endReason: (key, now) =>
      done(() => {
        const entry = entries.peek(key)
        if (entry !== undefined) {
          return Option.fromNullable(isExpired(entry.record.expiry, now) ? "expired" : revokedBy(entry))
        }
        const ended = reasons.get(key)
        return ended === undefined || ended.until <= now ? Option.none() : Option.some(ended.reason)
      })
  }

  return register(intercepted(synchronous, (_, call) => call), synchronous)
}

const done = <A>(run: () => A): Effect.Effect<A> => Exit.succeed(run())

// The length prefix separates the two parts, whatever they contain.
const epochOf = (namespace: string, subject?: string): string =>
  subject === undefined ? `:${namespace}` : `${namespace.length}:${namespace}${subject}`
