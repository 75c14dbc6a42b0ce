/**
 * A record is a directory with a content file, and a marker whose name identifies the valid content file. A content file is complete
 * before a marker names it and never changes, so a read is never torn. Every write takes effect by renaming the marker, and a rename
 * succeeds in one process only: the others find no file to rename.
 *
 * A directory without a marker is not a record. The process that renames the marker away removes the directory.
 */
import { SystemError } from "@effect/platform/Error"
import type { PlatformError } from "@effect/platform/Error"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Predicate from "effect/Predicate"
import type { SessionRecord } from "../../SessionRecord.js"
import type { EndReason } from "../../SessionStore.js"
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
  deletedName,
  encodeName,
  freshName,
  isContentName,
  markerFor,
  markerName,
  markerOf,
  pendingName,
  shardOf
} from "./names.js"
import type { Reasons } from "./reasons.js"

/** The content of a record's files: the record, and the numbers of the last revocations at its creation. */
export interface StoredRecord {
  readonly record: SessionRecord
  readonly namespaceEpoch: number
  readonly subjectEpoch: number
}

/** A content file is missing or cannot be decoded. The message contains nothing of the session. */
export class CorruptFile extends Data.TaggedError("CorruptFile")<{ readonly message: string }> {}

/** A record that exists, alive or not. */
export interface Found extends StoredRecord {
  readonly key: StoreKey
  readonly marker: Marker
  /** The names of all content files: the one that the marker names, and those of writes that did not take effect. */
  readonly contents: ReadonlyArray<string>
}

type Failure = PlatformError | CorruptFile

export interface Records {
  readonly directoryOf: (key: StoreKey) => string
  readonly found: (key: StoreKey) => Effect.Effect<Found | undefined, Failure>
  /** Loads the record if it is alive. `subjectEpoch` is then the number of the last revocation, which has spared it. */
  readonly alive: (key: StoreKey, now: number) => Effect.Effect<Found | undefined, Failure>
  readonly ifAlive: (found: Found | undefined, now: number) => Effect.Effect<Found | undefined, PlatformError>
  /** Writes a content file that no marker names yet. `undefined` if the directory does not exist. */
  readonly write: (directory: string, stored: StoredRecord) => Effect.Effect<Marker | undefined, PlatformError>
  /**
   * Reserves a free key for a record that is published later: by its own pending marker, or by the marker of `another` record, which a
   * rotation moves here. `undefined` if the key is taken.
   */
  readonly reserve: (
    key: StoreKey,
    stored: StoredRecord,
    marker: "own" | "another"
  ) => Effect.Effect<Marker | undefined, PlatformError>
  /** Publishes a reserved record by renaming its pending marker. False if the sweep has removed it. */
  readonly publish: (key: StoreKey, marker: Marker) => Effect.Effect<boolean, PlatformError>
  /** Renames the marker to `next`, unless another write has taken effect since the record was found. Touches do not count. */
  readonly advance: (found: Found, next: (current: Marker) => string) => Effect.Effect<boolean, PlatformError>
  /**
   * Deletes the record with this marker, and syncs before it returns, unless it has expired. False if it has another marker or none.
   * Writes the reason, unless a revocation ended the record before.
   */
  readonly end: (
    key: StoreKey,
    marker: Marker,
    reason: Exclude<EndReason, "rotated">
  ) => Effect.Effect<boolean, PlatformError>
  /** Deletes the record under the key, whatever its marker, and syncs. */
  readonly endAll: (key: StoreKey, reason: "loggedOut" | "revoked") => Effect.Effect<boolean, PlatformError>
  /** Returns why the session of a key has ended, as far as that is known. */
  readonly endReason: (key: StoreKey, now: number) => Effect.Effect<EndReason | undefined, PlatformError>
  /** Removes the reservation of a key, so that it can no longer be published. Changes nothing if it is published. */
  readonly withdraw: (key: StoreKey) => Effect.Effect<void, PlatformError>
  /** Removes the directory of a record that has no marker, and its index entries. */
  readonly unpublish: (key: StoreKey, record: SessionRecord | undefined) => Effect.Effect<void>
}

export const make = (disk: Disk, index: Index, epochs: Epochs, reasons: Reasons): Records => {
  const directoryOf = (key: StoreKey) => disk.at("records", shardOf(encodeName(key)), encodeName(key))

  /** Lists the names in a record's directory. Retries, because a listing is not atomic and may miss a marker that is being renamed. */
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
            return Effect.map(decode(text, marker), (stored) => ({ ...stored, key, marker, contents }))
          }
          // A write replaced the content file between the two reads, unless the marker still names it.
          return content === missing
            ? Effect.fail(new CorruptFile({ message: "the content file of a session is missing" }))
            : found(key, content)
        }
      )
    })

  const ifAlive = (found: Found | undefined, now: number): Effect.Effect<Found | undefined, PlatformError> => {
    if (found === undefined || isExpired(found.record.expiry, now)) return Effect.succeed(undefined)
    const { id, namespace, subject } = found.record
    return Effect.flatMap(epochs.sparedUntil(found.namespaceEpoch, undefined, namespace), (namespaceEpoch) => {
      if (namespaceEpoch === undefined || subject === undefined) {
        return Effect.succeed(namespaceEpoch === undefined ? undefined : found)
      }
      return Effect.map(
        epochs.sparedUntil(found.subjectEpoch, id, namespace, subject),
        (subjectEpoch) => subjectEpoch === undefined ? undefined : { ...found, subjectEpoch }
      )
    })
  }

  const write = (directory: string, stored: StoredRecord) =>
    Effect.suspend(() => {
      const marker = markerFor(stored.record, freshName())
      return Effect.map(
        disk.write(disk.join(directory, contentName(marker)), encode(stored)),
        (written) => written ? marker : undefined
      )
    })

  const reserve = (key: StoreKey, stored: StoredRecord, publishedBy: "own" | "another") =>
    Effect.gen(function*() {
      const temporary = disk.scratch()
      const reserved = Effect.gen(function*() {
        yield* disk.makeDirectory(temporary)
        if (publishedBy === "own") yield* disk.createEmpty(disk.join(temporary, pendingName))
        const marker = yield* write(temporary, stored)
        return (yield* disk.putInShard("rename", temporary, directoryOf(key))) ? marker : undefined
      })
      return yield* Effect.ensuring(reserved, disk.remove(temporary))
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

  const unpublish = (key: StoreKey, record: SessionRecord | undefined) =>
    Effect.zipRight(
      disk.discard(directoryOf(key)),
      record === undefined ? Effect.void : Effect.ignore(index.remove(record, key))
    )

  /** Returns the kind of the revocation that has ended a record; `undefined` if there is none. */
  const revokedBy = (
    { namespaceEpoch, record: { id, namespace, subject }, subjectEpoch }: StoredRecord
  ): Effect.Effect<EndReason | undefined, PlatformError> =>
    Effect.gen(function*() {
      if ((yield* epochs.sparedUntil(namespaceEpoch, undefined, namespace)) === undefined) return "allRevoked"
      if (subject === undefined) return undefined
      return (yield* epochs.sparedUntil(subjectEpoch, id, namespace, subject)) === undefined
        ? "subjectRevoked"
        : undefined
    })

  const end = (key: StoreKey, marker: Marker, reason: Exclude<EndReason, "rotated">) =>
    Effect.gen(function*() {
      const directory = directoryOf(key)
      const text = yield* disk.read(disk.join(directory, contentName(marker)))
      // The end of this session is not written, so that of an earlier session with the same key must not be taken for it.
      if (reason === "expired") yield* reasons.forget(key)
      const ended = yield* disk.move(
        disk.join(directory, markerName(marker)),
        disk.join(directory, deletedName())
      )
      if (!ended) return false
      // Neither what is known of a corrupt file nor its index entries can be read. The sweep removes the entries later.
      const stored = text === undefined ? undefined : Either.getOrUndefined(decode(text, marker))
      if (reason !== "expired") {
        yield* disk.sync(directory)
        if (stored !== undefined) {
          yield* Effect.ignore(
            Effect.flatMap(revokedBy(stored), (revoked) => reasons.write(key, revoked ?? reason, marker.end))
          )
        }
      }
      yield* unpublish(key, stored?.record)
      return true
    })

  const endAll = (key: StoreKey, reason: "loggedOut" | "revoked"): Effect.Effect<boolean, PlatformError> =>
    Effect.flatMap(namesOf(key), (names) => {
      const marker = markerOf(names)
      return marker === undefined
        ? Effect.succeed(false)
        : Effect.flatMap(end(key, marker, reason), (ended) => ended ? Effect.succeed(true) : endAll(key, reason))
    })

  const endReason = (key: StoreKey, now: number) =>
    Effect.flatMap(
      found(key),
      (found): Effect.Effect<EndReason | undefined, PlatformError> =>
        found === undefined
          ? reasons.find(key, now)
          : isExpired(found.record.expiry, now)
          ? Effect.succeed("expired")
          : revokedBy(found)
      // A corrupt record has not ended.
    ).pipe(Effect.catchTag("CorruptFile", () => Effect.succeed(undefined)))

  const withdraw = (key: StoreKey, tries = 3): Effect.Effect<void, PlatformError> =>
    Effect.gen(function*() {
      const isPublished = (names: ReadonlyArray<string>) => markerOf(names) !== undefined
      const names = yield* namesOf(key)
      if (names.length === 0 || isPublished(names)) return
      if (tries === 0) return yield* notWithdrawn
      yield* disk.discard(directoryOf(key), isPublished)
      yield* withdraw(key, tries - 1)
    })

  return {
    directoryOf,
    found: (key) => found(key),
    alive: (key, now) => Effect.flatMap(found(key), (found) => ifAlive(found, now)),
    ifAlive,
    write,
    reserve,
    publish: (key, marker) =>
      disk.move(disk.join(directoryOf(key), pendingName), disk.join(directoryOf(key), markerName(marker))),
    advance,
    end,
    endAll,
    endReason,
    withdraw: (key) => withdraw(key),
    unpublish
  }
}

const notWithdrawn = Effect.fail(
  new SystemError({
    module: "FileSystem",
    method: "rename",
    reason: "Unknown",
    description: "the reservation of another process that holds a lock cannot be removed"
  })
)

// A content file has a checksum, and the record as JSON without the times that its marker carries

const checksum = (body: string) => sha256(new TextEncoder().encode(body))

const encode = ({ namespaceEpoch, record, subjectEpoch }: StoredRecord): string => {
  const { expiresAt: _, lastSeenAt: __, ...values } = valuesOf(record)
  const body = JSON.stringify({ ...values, data: record.data, namespaceEpoch, subjectEpoch })
  return `${checksum(body)}\n${body}`
}

const decode = (text: string, marker: Marker): Either.Either<StoredRecord, CorruptFile> => {
  const end = text.indexOf("\n")
  const body = text.slice(end + 1)
  if (checksum(body) !== text.slice(0, Math.max(end, 0))) return corruptFile("its checksum does not match its content")
  return Either.flatMap(
    Either.try({ try: () => decodeBody(body, marker), catch: () => undefined }),
    (stored) => stored.record.version === marker.version ? Either.right(stored) : Either.left(undefined)
  ).pipe(Either.orElse(() => corruptFile("it does not contain a valid record of the version in its name")))
}

/** Throws if the body is not a record. */
const decodeBody = (body: string, { end, lastSeenAt }: Marker): StoredRecord => {
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

const corruptFile = (problem: string) =>
  Either.left(new CorruptFile({ message: `the content file of a session is corrupt: ${problem}` }))
