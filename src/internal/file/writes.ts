/**
 * The writes of a file store: each prepares a content, and counts from the renaming of a marker on.
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
import type { Damaged, Kept, Records } from "./records.js"

type Written<A> = Effect.Effect<A, PlatformError | Damaged>

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

  /** Takes the key, then the id, and enters both: from here on the record only lacks its marker. */
  const prepare = (key: StoreKey, kept: Kept, marker: "own" | "other", ownsId: boolean) =>
    Effect.gen(function*() {
      const made = yield* records.reserve(key, kept, marker)
      if (made === undefined) return undefined
      const claimed = ownsId ||
        (yield* Effect.tapError(index.claim(kept.record), () => disk.discard(directoryOf(key))))
      if (!claimed) {
        yield* disk.discard(directoryOf(key))
        return undefined
      }
      yield* Effect.tapError(index.enter(kept.record, key), () => records.withdraw(key, kept.record))
      return made
    })

  const synced = (key: StoreKey, record: SessionRecord) =>
    disk.sync(directoryOf(key), disk.parent(directoryOf(key)), ...index.directories(record))

  const create = (key: StoreKey, given: SessionRecord, now: number) =>
    Effect.gen(function*() {
      const record = bounded(given, now, machineClock())
      const kept = {
        record,
        namespaceEpoch: yield* epochs.current(record.namespace),
        subjectEpoch: yield* subjectEpoch(record)
      }
      const marker = yield* prepare(key, kept, "own", false)
      if (marker === undefined) return "exists"
      if (!(yield* records.bear(key, marker))) {
        yield* records.withdraw(key, record)
        return yield* sweptMeanwhile
      }
      yield* synced(key, record)
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
          const { expiry, lastSeenAt } = applySave(standing(old.record, current), record)
          return disk.join(directory, markerName({ ...written, lastSeenAt, end: expiry.at }))
        }
      )
      if (!advanced) {
        yield* disk.remove(disk.join(directory, contentName(written)))
        return yield* save(key, record, expected, now)
      }
      yield* disk.sync(directory)
      // Contents of this version and older: no marker can name one of them any more.
      yield* Effect.forEach(old.contents, (name) => disk.remove(disk.join(directory, name)), { discard: true })
      return "saved"
    })

  const touch = (key: StoreKey, lastSeenAt: number, expiresAt: number, now: number): Written<"touched" | "gone"> =>
    Effect.gen(function*() {
      const found = yield* records.alive(key, now)
      if (found === undefined) return "gone"
      const times = boundedTouch({ lastSeenAt, expiresAt, now }, machineClock())
      const next = (current: Marker): Marker => {
        const { expiry, lastSeenAt } = applyTouch(standing(found.record, current), times)
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
      const kept = {
        record: next,
        namespaceEpoch: old.namespaceEpoch,
        subjectEpoch: next.subject === old.record.subject ? old.subjectEpoch : yield* subjectEpoch(next)
      }
      const marker = yield* prepare(newKey, kept, "other", next.id === old.record.id)
      if (marker === undefined) return "conflict"
      // One rename takes the marker from the old key and gives it to the new one.
      const advanced = yield* records.advance(old, () => disk.join(directoryOf(newKey), markerName(marker)))
      if (!advanced) {
        yield* records.withdraw(newKey, next)
        return yield* rotate(key, newKey, record, expected, now)
      }
      yield* Effect.zip(synced(newKey, next), disk.sync(directoryOf(key)))
      yield* records.withdraw(key, old.record)
      return "saved"
    })

  return { create, save, touch, rotate }
}

/** A record with the times to which touches have moved its marker by now. */
const standing = (record: SessionRecord, { end, lastSeenAt }: Marker): SessionRecord => ({
  ...record,
  lastSeenAt,
  expiry: { ...record.expiry, at: end }
})

/** The disk is one of this machine, and so is its clock. */
const machineClock = () => Date.now()

const sweptMeanwhile = Effect.fail(
  new SystemError({
    module: "FileSystem",
    method: "rename",
    reason: "TimedOut",
    description: "the write was interrupted for so long that what it had prepared was swept"
  })
)
