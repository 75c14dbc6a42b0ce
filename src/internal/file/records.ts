/**
 * Records as directories: in each a content, and a marker whose name says which content is valid. Contents are written
 * before a marker names them and never changed, so no read is torn. Every step that counts renames the marker, and a
 * rename has exactly one winner: whoever was not first finds nothing to rename.
 *
 * Whoever takes the marker away owns the directory and removes it. A directory without a marker is of no record.
 */
import type { PlatformError } from "@effect/platform/Error"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Predicate from "effect/Predicate"
import type { SessionRecord } from "../../SessionRecord.js"
import type { StoreKey } from "../../StoreKey.js"
import { sha256 } from "../crypto/primitives.js"
import { isExpired } from "../domain/expiry.js"
import { decode as decodeValue, decodeInfo, integer, text, valuesOf } from "../record.js"
import type { Disk } from "./disk.js"
import type { Epochs } from "./epochs.js"
import type { Index } from "./indexes.js"
import type { Marker } from "./names.js"
import {
  contentName,
  deadName,
  freshName,
  isContentName,
  markerFor,
  markerName,
  markerOf,
  shardOf,
  spell,
  unborn
} from "./names.js"

/** A record, and the revocations that had happened when it was made: a later one ends it. */
export interface Kept {
  readonly record: SessionRecord
  readonly namespaceEpoch: number
  readonly subjectEpoch: number
}

/** A file does not hold what its name promises. The message says nothing of its content. */
export class Damaged extends Data.TaggedError("Damaged")<{ readonly message: string }> {}

/** A record that is there, alive or not. */
export interface Found extends Kept {
  readonly key: StoreKey
  readonly marker: Marker
  /** The contents that were beside the marker: its own, and what writes left that came to nothing. */
  readonly contents: ReadonlyArray<string>
}

type Failure = PlatformError | Damaged

export interface Records {
  readonly directoryOf: (key: StoreKey) => string
  readonly found: (key: StoreKey) => Effect.Effect<Found | undefined, Failure>
  /** The record, if it is alive; its epoch is then the newest that it has been spared by. */
  readonly alive: (key: StoreKey, now: number) => Effect.Effect<Found | undefined, Failure>
  readonly ifAlive: (found: Found | undefined, now: number) => Effect.Effect<Found | undefined, PlatformError>
  /** Writes a content beside a marker that does not name it yet. `undefined` if the directory is gone. */
  readonly write: (directory: string, kept: Kept) => Effect.Effect<Marker | undefined, PlatformError>
  /**
   * Takes a free key for a record that is not alive yet: it waits for a marker of its own, or for another's. `undefined`
   * if the key is taken.
   */
  readonly reserve: (
    key: StoreKey,
    kept: Kept,
    marker: "own" | "other"
  ) => Effect.Effect<Marker | undefined, PlatformError>
  /** Gives a reserved record its own marker. False if it waited so long that it was swept. */
  readonly bear: (key: StoreKey, marker: Marker) => Effect.Effect<boolean, PlatformError>
  /**
   * Renames the marker to what `next` says, if the record is still what was found. A touch in between is no hindrance.
   */
  readonly advance: (found: Found, next: (current: Marker) => string) => Effect.Effect<boolean, PlatformError>
  /** Ends the record with this marker. False if the marker is no longer there. `durable`: only known when on the disk. */
  readonly end: (key: StoreKey, marker: Marker, durable: boolean) => Effect.Effect<boolean, PlatformError>
  /** Ends whatever is under the key, durably. */
  readonly endAll: (key: StoreKey) => Effect.Effect<boolean, PlatformError>
  /** Removes the directory of a record that has no marker any more, and its entries. */
  readonly withdraw: (key: StoreKey, record: SessionRecord | undefined) => Effect.Effect<void>
}

export const make = (disk: Disk, index: Index, epochs: Epochs): Records => {
  const directoryOf = (key: StoreKey) => disk.at("records", shardOf(spell(key)), spell(key))

  /** The names in a record's directory. Where a listing is not of one moment it may miss a name that is being changed. */
  const namesOf = (key: StoreKey, tries = 2): Effect.Effect<ReadonlyArray<string>, PlatformError> =>
    Effect.flatMap(
      disk.list(directoryOf(key)),
      (names) =>
        names.length === 0 || tries === 0 || markerOf(names) !== undefined
          ? Effect.succeed(names)
          : namesOf(key, tries - 1)
    )

  const found = (key: StoreKey, missing?: string): Effect.Effect<Found | undefined, Failure> =>
    Effect.flatMap(namesOf(key), (names) => {
      const marker = markerOf(names)
      if (marker === undefined) return Effect.succeed(undefined)
      const content = contentName(marker)
      return Effect.flatMap(
        disk.read(disk.join(directoryOf(key), content)),
        (text): Effect.Effect<Found | undefined, Failure> => {
          if (text !== undefined) {
            const contents = names.filter(isContentName)
            return Effect.map(decode(text, marker), (kept) => ({ ...kept, key, marker, contents }))
          }
          // Another version took its place between the two reads, unless its marker is still there.
          return content === missing
            ? Effect.fail(new Damaged({ message: "a file of a session is missing" }))
            : found(key, content)
        }
      )
    })

  const ifAlive = (found: Found | undefined, now: number): Effect.Effect<Found | undefined, PlatformError> => {
    if (found === undefined || isExpired(found.record.expiry, now)) return Effect.succeed(undefined)
    const { id, namespace, subject } = found.record
    return Effect.flatMap(epochs.passed(found.namespaceEpoch, undefined, namespace), (namespaceEpoch) => {
      if (namespaceEpoch === undefined || subject === undefined) {
        return Effect.succeed(namespaceEpoch === undefined ? undefined : found)
      }
      return Effect.map(
        epochs.passed(found.subjectEpoch, id, namespace, subject),
        (subjectEpoch) => subjectEpoch === undefined ? undefined : { ...found, subjectEpoch }
      )
    })
  }

  const write = (directory: string, kept: Kept) =>
    Effect.suspend(() => {
      const marker = markerFor(kept.record, freshName())
      return Effect.map(
        disk.write(disk.join(directory, contentName(marker)), encode(kept)),
        (written) => written ? marker : undefined
      )
    })

  const reserve = (key: StoreKey, kept: Kept, waiting: "own" | "other") =>
    Effect.gen(function*() {
      const made = disk.scratch()
      const filled = Effect.gen(function*() {
        yield* disk.makeDirectory(made)
        if (waiting === "own") yield* disk.mark(disk.join(made, unborn))
        const marker = yield* write(made, kept)
        return (yield* disk.place("rename", made, directoryOf(key))) ? marker : undefined
      })
      // Once it has its place there is nothing left to remove.
      return yield* Effect.ensuring(filled, disk.remove(made))
    })

  const advance = (found: Found, next: (current: Marker) => string) => {
    const directory = directoryOf(found.key)
    const attempt = (marker: Marker): Effect.Effect<boolean, PlatformError> =>
      Effect.flatMap(disk.move(disk.join(directory, markerName(marker)), next(marker)), (moved) =>
        moved
          ? Effect.succeed(true)
          : Effect.flatMap(namesOf(found.key), (names) => {
            const current = markerOf(names)
            return current?.nonce === marker.nonce && markerName(current) !== markerName(marker)
              ? attempt(current)
              : Effect.succeed(false)
          }))
    return attempt(found.marker)
  }

  const withdraw = (key: StoreKey, record: SessionRecord | undefined) =>
    Effect.zipRight(
      disk.discard(directoryOf(key)),
      record === undefined ? Effect.void : Effect.ignore(index.leave(record, key))
    )

  const end = (key: StoreKey, marker: Marker, durable: boolean) =>
    Effect.gen(function*() {
      const directory = directoryOf(key)
      const text = yield* disk.read(disk.join(directory, contentName(marker)))
      const ended = yield* disk.move(
        disk.join(directory, markerName(marker)),
        disk.join(directory, deadName())
      )
      if (!ended) return false
      if (durable) yield* disk.sync(directory)
      // Of a damaged file the entries are not known; they lead nowhere, and are swept later.
      const record = text === undefined ? undefined : Either.getOrUndefined(decode(text, marker))?.record
      yield* withdraw(key, record)
      return true
    })

  const endAll = (key: StoreKey): Effect.Effect<boolean, PlatformError> =>
    Effect.flatMap(namesOf(key), (names) => {
      const marker = markerOf(names)
      return marker === undefined
        ? Effect.succeed(false)
        : Effect.flatMap(end(key, marker, true), (ended) => ended ? Effect.succeed(true) : endAll(key))
    })

  return {
    directoryOf,
    found: (key) => found(key),
    alive: (key, now) => Effect.flatMap(found(key), (found) => ifAlive(found, now)),
    ifAlive,
    write,
    reserve,
    bear: (key, marker) =>
      disk.move(disk.join(directoryOf(key), unborn), disk.join(directoryOf(key), markerName(marker))),
    advance,
    end,
    endAll,
    withdraw
  }
}

// Contents: a checksum, and the record as JSON without the times that its marker carries

const checksum = (body: string) => sha256(new TextEncoder().encode(body))

/** The text of a file. */
const encode = ({ namespaceEpoch, record, subjectEpoch }: Kept): string => {
  const { expiresAt: _, lastSeenAt: __, ...values } = valuesOf(record)
  const body = JSON.stringify({ ...values, data: record.data, namespaceEpoch, subjectEpoch })
  return `${checksum(body)}\n${body}`
}

/** What a file holds, under the marker that names it. */
const decode = (text: string, marker: Marker): Either.Either<Kept, Damaged> => {
  const end = text.indexOf("\n")
  const body = text.slice(end + 1)
  if (checksum(body) !== text.slice(0, Math.max(end, 0))) return damaged("its checksum is not that of its content")
  return Either.flatMap(
    Either.try({ try: () => decodeBody(body, marker), catch: () => undefined }),
    (kept) => kept.record.version === marker.version ? Either.right(kept) : Either.left(undefined)
  ).pipe(Either.orElse(() => damaged("it does not hold a valid record of the version in its name")))
}

/** Throws if the body does not hold a record. */
const decodeBody = (body: string, { end, lastSeenAt }: Marker): Kept => {
  const values: unknown = JSON.parse(body)
  const valueOf = (name: string): unknown => {
    switch (name) {
      case "lastSeenAt":
        return lastSeenAt
      case "expiresAt":
        return end
      default:
        return Predicate.hasProperty(values, name) ? values[name] : null
    }
  }
  return {
    record: {
      ...decodeInfo("field", ({ name }) => valueOf(name)),
      data: decodeValue(text, valueOf("data"), "field", "data")
    },
    namespaceEpoch: decodeValue(integer, valueOf("namespaceEpoch"), "field", "namespaceEpoch"),
    subjectEpoch: decodeValue(integer, valueOf("subjectEpoch"), "field", "subjectEpoch")
  }
}

const damaged = (problem: string) => Either.left(new Damaged({ message: `a file of a session is damaged: ${problem}` }))
