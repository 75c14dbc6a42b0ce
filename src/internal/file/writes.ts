/**
 * The writes of a file store. Each prepares a content file, and takes effect by renaming a marker.
 */
import { SystemError } from "@effect/platform/Error"
import type { PlatformError } from "@effect/platform/Error"
import * as Effect from "effect/Effect"
import type { SessionRecord } from "../../SessionRecord.js"
import { applySave, applyTouch, bounded, boundedTouch } from "../../SessionRecord.js"
import type { WriteOutcome } from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"
import type { Disk } from "./disk.js"
import type { Epochs } from "./epochs.js"
import type { Index } from "./indexes.js"
import type { Marker } from "./names.js"
import { contentName, markerName } from "./names.js"
import type { CorruptFile, Records, StoredRecord } from "./records.js"

type Written<A> = Effect.Effect<A, PlatformError | CorruptFile>

interface Writes {
  readonly create: (key: StoreKey, record: SessionRecord, now: number) => Written<"created" | "exists">
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
    now: number
  ) => Written<WriteOutcome>
}

export const make = (disk: Disk, index: Index, epochs: Epochs, records: Records): Writes => {
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

  const create = (key: StoreKey, given: SessionRecord, now: number) =>
    Effect.gen(function*() {
      const record = bounded(given, now, machineClock())
      const stored = {
        record,
        namespaceEpoch: yield* epochs.current(record.namespace),
        subjectEpoch: yield* subjectEpoch(record)
      }
      const marker = yield* prepare(key, stored, "own", false)
      if (marker === undefined) return "exists"
      if (!(yield* records.publish(key, marker))) {
        yield* records.unpublish(key, record)
        return yield* sweptError
      }
      yield* syncRecord(key, record)
      return "created"
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
    now: number
  ): Written<WriteOutcome> =>
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
      const advanced = yield* records.advance(old, () => disk.join(directoryOf(newKey), markerName(marker)))
      if (!advanced) {
        yield* records.unpublish(newKey, next)
        return yield* rotate(key, newKey, record, expected, now)
      }
      yield* Effect.zip(syncRecord(newKey, next), disk.sync(directoryOf(key)))
      yield* records.unpublish(key, old.record)
      return "saved"
    })

  return { create, save, touch, rotate }
}

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
