/**
 * File and directory names of a file store: only hex, hashes and numbers. No input is ever part of a path, and no two names differ only
 * in case.
 */
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import type { SessionRecord } from "../../SessionRecord.js"
import { randomBytes, sha256 } from "../crypto/primitives.js"

/**
 * The directories below the root: records, the indexes, revocations, the reasons why sessions have ended, locks, and files that are being
 * created or removed.
 */
export const families = ["records", "ids", "subjects", "epochs", "reasons", "locks", "scratch"] as const

export type Family = typeof families[number]

/** Encodes a text in hex: safe in any path, and sorted like the texts. */
export const encodeName = (text: string): string => Encoding.encodeHex(text)

/** Decodes a name; `undefined` if it is not hex. */
export const decodeName = (name: string): string | undefined => Either.getOrUndefined(Encoding.decodeHexString(name))

/** Hashes a list of texts. They are encoded as JSON, so that different lists never have the same encoding. */
export const hashOf = (...parts: ReadonlyArray<string>): string =>
  encodeName(sha256(new TextEncoder().encode(JSON.stringify(parts))))

/** Generates a random name. */
export const freshName = (): string => Encoding.encodeHex(randomBytes(16))

/** The shard directory of a name: the names of a family are spread over up to 4,096 directories, in their order. */
export const shardOf = (name: string): string => name.slice(0, 3)

export const isShard = (name: string): boolean => /^[0-9a-f]{3}$/.test(name)

/**
 * The decoded name of a record's marker, an empty file. A record exists exactly while it has a marker, which names the valid content file
 * and carries the times that a touch changes. Renaming the marker is the one atomic step of every write.
 */
export interface Marker {
  readonly version: number
  /** Identifies the write that created the content file. */
  readonly nonce: string
  readonly lastSeenAt: number
  readonly end: number
}

const number = "(-?\\d+(?:\\.\\d+)?)"
const markerPattern = new RegExp(`^m(\\d+)_([0-9a-f]{32})_${number}_${number}$`)

export const markerName = ({ end, lastSeenAt, nonce, version }: Marker): string =>
  `m${version}_${nonce}_${lastSeenAt}_${end}`

const parseMarker = (name: string): Marker | undefined => {
  const [, version, nonce, lastSeenAt, end] = markerPattern.exec(name) ?? []
  return nonce === undefined
    ? undefined
    : { version: Number(version), nonce, lastSeenAt: Number(lastSeenAt), end: Number(end) }
}

/**
 * Finds the marker among the names of a directory. There is never more than one, but a directory listing is not atomic and may show a
 * marker both before and after it was renamed: the later one counts.
 */
export const markerOf = (names: ReadonlyArray<string>): Marker | undefined =>
  names.flatMap((name) => parseMarker(name) ?? []).reduce<Marker | undefined>(
    (a, b) => a === undefined || isLater(b, a) ? b : a,
    undefined
  )

const isLater = (a: Marker, b: Marker) =>
  a.version !== b.version ? a.version > b.version : a.end + a.lastSeenAt > b.end + b.lastSeenAt

/** Makes the marker of a record. */
export const markerFor = (record: SessionRecord, nonce: string): Marker => ({
  version: record.version,
  nonce,
  lastSeenAt: record.lastSeenAt,
  end: record.expiry.at
})

/** The name of the content file that a marker names. */
export const contentName = ({ nonce, version }: Pick<Marker, "nonce" | "version">): string => `c${version}_${nonce}`

export const isContentName = (name: string): boolean => /^c\d+_[0-9a-f]{32}$/.test(name)

/** The name of the marker of a record that is not yet published. */
export const pendingName = "p"

/** Generates the name that a marker is renamed to when its record is deleted. */
export const deletedName = (): string => `x${freshName()}`

/** Whether a directory without a marker contains only files that an interrupted write leaves behind. */
export const isLeftover = (names: ReadonlyArray<string>): boolean =>
  names.every((name) => isContentName(name) || name === pendingName || /^x[0-9a-f]{32}$/.test(name))
