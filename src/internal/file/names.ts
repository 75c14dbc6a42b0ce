/**
 * The names of a file store: hex, hashes and numbers. No text that came from outside is ever part of a path, and names
 * that differ only in case do not occur.
 */
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import type { SessionRecord } from "../../SessionRecord.js"
import { randomBytes, sha256 } from "../crypto/primitives.js"

/** What is right below the root: records, the indexes, revocations, and what is being made or removed. */
export const families = ["records", "ids", "subjects", "epochs", "scratch"] as const

export type Family = typeof families[number]

/** Any text in hex: safe wherever it stands, and in the order of the texts. */
export const spell = (text: string): string => Encoding.encodeHex(text)

/** What a name spells, or `undefined` if it is not ours. */
export const unspell = (name: string): string | undefined => Either.getOrUndefined(Encoding.decodeHexString(name))

/** The hash of a list of texts. As JSON, no two lists run into each other. */
export const hashOf = (...parts: ReadonlyArray<string>): string =>
  spell(sha256(new TextEncoder().encode(JSON.stringify(parts))))

/** A name that nothing has. */
export const freshName = (): string => Encoding.encodeHex(randomBytes(16))

/** Large families are kept in some hundred directories, in the order of what is in them. */
export const shardOf = (name: string): string => name.slice(0, 3)

export const isShard = (name: string): boolean => /^[0-9a-f]{3}$/.test(name)

/**
 * The name of the one empty file that makes a record be there: it says which content is valid, and carries the times
 * that move without it. Renaming it is the one atomic step of every write.
 */
export interface Marker {
  readonly version: number
  /** The name of the write that made the content. */
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
 * The marker among the names of a directory. There is never more than one, but a listing that is not of one moment may
 * show it before and after a step: the later one counts.
 */
export const markerOf = (names: ReadonlyArray<string>): Marker | undefined =>
  names.flatMap((name) => parseMarker(name) ?? []).reduce<Marker | undefined>(
    (a, b) => a === undefined || isLater(b, a) ? b : a,
    undefined
  )

const isLater = (a: Marker, b: Marker) =>
  a.version !== b.version ? a.version > b.version : a.end + a.lastSeenAt > b.end + b.lastSeenAt

/** What a marker stands for, with the times that it carries. */
export const markerFor = (record: SessionRecord, nonce: string): Marker => ({
  version: record.version,
  nonce,
  lastSeenAt: record.lastSeenAt,
  end: record.expiry.at
})

/** The file that holds a version's content. */
export const contentName = ({ nonce, version }: Pick<Marker, "nonce" | "version">): string => `c${version}_${nonce}`

export const isContentName = (name: string): boolean => /^c\d+_[0-9a-f]{32}$/.test(name)

/** A marker that waits for its record to be complete. */
export const unborn = "p"

/** What becomes of the marker of a record that has ended. */
export const deadName = (): string => `x${freshName()}`

/** Whether a directory without a marker holds only what a write leaves that did not come to its end. */
export const isLeftover = (names: ReadonlyArray<string>): boolean =>
  names.every((name) => isContentName(name) || name === unborn || /^x[0-9a-f]{32}$/.test(name))
