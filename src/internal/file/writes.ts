/**
 * The writes of a file store. Each prepares a content file, and takes effect by renaming a marker.
 */
import { SystemError } from "@effect/platform/Error"
import type { PlatformError } from "@effect/platform/Error"
import * as Effect from "effect/Effect"
import type { SessionId } from "../../SessionId.js"
import type { SessionRecord } from "../../SessionRecord.js"
import { applySave, applyTouch, bounded, boundedTouch, byAge } from "../../SessionRecord.js"
import type { CreateOutcome, Evicted, RotateOutcome, SubjectLimit, WriteOutcome } from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"
import type { Disk } from "./disk.js"
import type { Epochs } from "./epochs.js"
import type { Index } from "./indexes.js"
import type { Locks } from "./locks.js"
import type { LookUp } from "./lookUp.js"
import type { Marker } from "./names.js"
import { contentName, markerName } from "./names.js"
import type { Reasons } from "./reasons.js"
import type { CorruptFile, Records, StoredRecord } from "./records.js"

type Written<A> = Effect.Effect<A, PlatformError | CorruptFile>

interface Writes {
  readonly create: (
    key: StoreKey,
    record: SessionRecord,
    now: number,
    limit: SubjectLimit | undefined
  ) => Written<CreateOutcome>
  readonly save: (key: StoreKey, record: SessionRecord, expected: number, now: number) => Written<WriteOutcome>
  readonly touch: (
    key: StoreKey,
    lastSeenAt: number,
    expiresAt: number,
    now: number
  ) => Written<"touched" | "gone">
  readonly rotate: (
    key: StoreKey,
    newKey: StoreKey,
    record: SessionRecord,
    expected: number,
    now: number,
    limit: SubjectLimit | undefined
  ) => Written<RotateOutcome>
}

/** The parts of the store that the writes use. */
interface Parts {
  readonly disk: Disk
  readonly index: Index
  readonly epochs: Epochs
  readonly reasons: Reasons
  readonly records: Records
  readonly lookUp: LookUp
  readonly locks: Locks
}

/** The number of times that a write begins again after it has lost its lock or its prepared files. Then it fails. */
const maxRetries = 5

export const make = ({ disk, epochs, index, locks, lookUp, reasons, records }: Parts): Writes => {
  const { directoryOf } = records

  const subjectEpoch = ({ namespace, subject }: SessionRecord) =>
    subject === undefined ? Effect.succeed(0) : epochs.current(namespace, subject)

  /** Reserves the key, then the id, and inserts the index entries. The record is then complete but for its marker. */
  const prepare = (key: StoreKey, stored: StoredRecord, publishedBy: "own" | "another", ownsId: boolean) =>
    Effect.gen(function*() {
      const marker = yield* records.reserve(key, stored, publishedBy)
      if (marker === undefined) return undefined
      const hasId = ownsId ||
        (yield* Effect.tapError(index.reserve(stored.record), () => disk.discard(directoryOf(key))))
      if (!hasId) {
        yield* disk.discard(directoryOf(key))
        return undefined
      }
      yield* Effect.tapError(index.insert(stored.record, key), () => records.unpublish(key, stored.record))
      return marker
    })

  const syncRecord = (key: StoreKey, record: SessionRecord) =>
    disk.sync(directoryOf(key), disk.parent(directoryOf(key)), ...index.directories(record))

  /**
   * Ends the oldest sessions of a subject until one more is within the limit, and adds their ids to `ended`. Returns false if the limit
   * denies one more. Ends none once the write can no longer take effect.
   */
  const makeRoom = (
    { ended, isCurrent, limit, now, record, replaced }: Limited,
    isHeld: Written<boolean>
  ): Written<boolean> =>
    Effect.gen(function*() {
      const { id, namespace, subject } = record
      const others = (yield* lookUp.aliveOf(namespace, subject, now)).filter((one) =>
        one.key !== replaced && one.record.id !== id
      )
      const tooMany = others.length + 1 - limit.max
      if (tooMany <= 0) return true
      if (limit.onFull === "deny") return false
      for (const one of others.sort((a, b) => byAge(a.record, b.record)).slice(0, tooMany)) {
        if (!(yield* isHeld) || !(yield* isCurrent)) return true
        if (yield* records.end(one.key, one.marker, "limit")) ended.push(one.record.id)
        // Another write has changed, moved or ended the session.
        else return yield* makeRoom({ ended, isCurrent, limit, now, record, replaced }, isHeld)
      }
      return true
    })

  /**
   * Commits a write of a record whose key is reserved, unless the limit of its subject denies it. The sessions are counted, the oldest
   * ended and the record published while this process holds the lock of the subject: a crash may leave fewer sessions, never more.
   */
  const commitWithin = (limited: Limited | undefined, key: StoreKey, commit: Written<boolean>) =>
    limited === undefined ? commit : locks.holding(
      limited.record,
      key,
      (isHeld) =>
        Effect.flatMap(
          makeRoom(limited, isHeld),
          (hasRoom): Written<boolean | "full"> => hasRoom ? commit : Effect.succeed("full")
        )
    ).pipe(Effect.tapError(() => Effect.ignore(records.withdraw(key))))

  const create = (
    key: StoreKey,
    given: SessionRecord,
    now: number,
    limit: SubjectLimit | undefined,
    ended: Array<SessionId>,
    retries = 0
  ): Written<CreateOutcome> =>
    Effect.gen(function*() {
      const record = bounded(given, now, machineClock())
      const stored = {
        record,
        namespaceEpoch: yield* epochs.current(record.namespace),
        subjectEpoch: yield* subjectEpoch(record)
      }
      const marker = yield* prepare(key, stored, "own", false)
      if (marker === undefined) return "exists"
      const limited = limitedOf({ record, limit, now, ended, replaced: undefined, isCurrent: Effect.succeed(true) })
      const committed = yield* commitWithin(limited, key, records.publish(key, marker))
      if (committed !== true) {
        yield* records.unpublish(key, record)
        if (committed === "full") return "full"
        return limited === undefined || retries === maxRetries
          ? yield* sweptError
          : yield* create(key, given, now, limit, ended, retries + 1)
      }
      yield* syncRecord(key, record)
      return outcomeOf("created", ended)
    })

  const save = (key: StoreKey, given: SessionRecord, expected: number, now: number): Written<WriteOutcome> =>
    Effect.gen(function*() {
      const old = yield* records.alive(key, now)
      if (old === undefined) return "gone"
      if (old.record.version !== expected) return "conflict"
      const record = bounded(given, now, machineClock(), old.marker.end)
      const directory = directoryOf(key)
      const next = applySave(old.record, record)
      const written = yield* records.write(directory, { ...old, record: next })
      if (written === undefined) return yield* save(key, record, expected, now)
      const advanced = yield* records.advance(
        old,
        (current) => {
          const { expiry, lastSeenAt } = applySave(withMarkerTimes(old.record, current), record)
          return disk.join(directory, markerName({ ...written, lastSeenAt, end: expiry.at }))
        }
      )
      if (!advanced) {
        yield* disk.remove(disk.join(directory, contentName(written)))
        return yield* save(key, record, expected, now)
      }
      yield* disk.sync(directory)
      // Content files of this version and older ones: no marker can name them any more.
      yield* Effect.forEach(old.contents, (name) => disk.remove(disk.join(directory, name)), { discard: true })
      return "saved"
    })

  const touch = (key: StoreKey, lastSeenAt: number, expiresAt: number, now: number): Written<"touched" | "gone"> =>
    Effect.gen(function*() {
      const found = yield* records.alive(key, now)
      if (found === undefined) return "gone"
      const times = boundedTouch({ lastSeenAt, expiresAt, now }, machineClock())
      const next = (current: Marker): Marker => {
        const { expiry, lastSeenAt } = applyTouch(withMarkerTimes(found.record, current), times)
        return { ...current, lastSeenAt, end: expiry.at }
      }
      if (markerName(next(found.marker)) === markerName(found.marker)) return "touched"
      const advanced = yield* records.advance(
        found,
        (current) => disk.join(directoryOf(key), markerName(next(current)))
      )
      return advanced ? "touched" : yield* touch(key, lastSeenAt, expiresAt, now)
    })

  const rotate = (
    key: StoreKey,
    newKey: StoreKey,
    record: SessionRecord,
    expected: number,
    now: number,
    limit: SubjectLimit | undefined,
    ended: Array<SessionId>
  ): Written<RotateOutcome> =>
    Effect.gen(function*() {
      const old = yield* records.alive(key, now)
      if (old === undefined) return "gone"
      if (old.record.version !== expected || newKey === key) return "conflict"
      const next = {
        ...bounded(record, now, machineClock(), old.marker.end),
        namespace: old.record.namespace,
        version: expected + 1
      }
      const stored = {
        record: next,
        namespaceEpoch: old.namespaceEpoch,
        subjectEpoch: next.subject === old.record.subject ? old.subjectEpoch : yield* subjectEpoch(next)
      }
      const marker = yield* prepare(newKey, stored, "another", next.id === old.record.id)
      if (marker === undefined) return "conflict"
      // One rename moves the marker from the old key to the new one.
      const isCurrent = Effect.map(records.found(key), (found) => found?.marker.nonce === old.marker.nonce)
      const advanced = yield* commitWithin(
        limitedOf({ record: next, limit, now, ended, replaced: key, isCurrent }),
        newKey,
        records.advance(old, () => disk.join(directoryOf(newKey), markerName(marker)))
      )
      if (advanced !== true) {
        yield* records.unpublish(newKey, next)
        return advanced === "full" ? "full" : yield* rotate(key, newKey, record, expected, now, limit, ended)
      }
      yield* Effect.zip(syncRecord(newKey, next), disk.sync(directoryOf(key)))
      yield* reasons.write(key, "rotated", old.marker.end)
      yield* records.unpublish(key, old.record)
      return outcomeOf("saved", ended)
    })

  const inTurn = <A>(limit: SubjectLimit | undefined, record: SessionRecord, write: Written<A>) =>
    limit !== undefined && hasSubject(record) ? locks.inTurn(record, write) : write

  return {
    create: (key, record, now, limit) =>
      inTurn(limit, record, Effect.suspend(() => create(key, record, now, limit, []))),
    save,
    touch,
    rotate: (key, newKey, record, expected, now, limit) =>
      inTurn(limit, record, Effect.suspend(() => rotate(key, newKey, record, expected, now, limit, [])))
  }
}

/** A write within a limit. */
interface Limited {
  /** The record that is written. */
  readonly record: OfSubject
  readonly limit: SubjectLimit
  readonly now: number
  /** The key of the record that is replaced, and whether that record is unchanged. */
  readonly replaced: StoreKey | undefined
  readonly isCurrent: Written<boolean>
  /** The ids of the sessions that the write has ended. */
  readonly ended: Array<SessionId>
}

type OfSubject = SessionRecord & { readonly subject: string }

const hasSubject = (record: SessionRecord): record is OfSubject => record.subject !== undefined

/** Returns the write if it has a limit, which applies to records of a subject. */
const limitedOf = (
  { limit, record, ...write }: Omit<Limited, "record" | "limit"> & {
    readonly record: SessionRecord
    readonly limit: SubjectLimit | undefined
  }
): Limited | undefined => limit !== undefined && hasSubject(record) ? { ...write, record, limit } : undefined

const outcomeOf = <A extends string>(outcome: A, ended: ReadonlyArray<SessionId>): A | Evicted =>
  ended.length === 0 ? outcome : { _tag: "Evicted", ids: ended }

/** Returns the record with the times of the marker, which touches may have changed since. */
const withMarkerTimes = (record: SessionRecord, { end, lastSeenAt }: Marker): SessionRecord => ({
  ...record,
  lastSeenAt,
  expiry: { ...record.expiry, at: end }
})

/** The disk is local, so the store's clock is that of this machine. */
const machineClock = () => Date.now()

const sweptError = Effect.fail(
  new SystemError({
    module: "FileSystem",
    method: "rename",
    reason: "TimedOut",
    description: "the write was suspended for so long that its prepared files were swept: nothing was written"
  })
)
