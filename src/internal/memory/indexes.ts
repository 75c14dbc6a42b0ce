/**
 * Indexes of the store in memory: by id, by subject and by expiry. A lookup reads no more records than it returns.
 */
import type { SessionId } from "../../SessionId.js"
import type { SessionRecord } from "../../SessionRecord.js"
import type { StoreKey } from "../../StoreKey.js"

interface Namespace {
  readonly keys: SortedMap<SessionId, StoreKey>
  /** The key of a subject's only session, or a set of keys: most subjects have one, and sets are large. */
  readonly subjects: SortedMap<string, StoreKey | Set<StoreKey>>
}

/** An entry of the expiry index. */
interface Expiring {
  readonly at: number
  readonly key: StoreKey
}

export class MemoryIndex {
  /** Contains only namespaces with records. */
  readonly #namespaces = new SortedMap<string, Namespace>()
  readonly #expiries = new SortedList<Expiring>((a, b) => a.at < b.at || (a.at === b.at && a.key < b.key))

  add(key: StoreKey, record: SessionRecord): void {
    const { id, subject } = record
    const { keys, subjects } = this.#namespaceOf(record)
    keys.set(id, key)
    this.#expiries.add(expiringOf(key, record))
    if (subject === undefined) return
    const ofSubject = subjects.get(subject)
    if (ofSubject === undefined) subjects.set(subject, key)
    else if (typeof ofSubject === "string") subjects.set(subject, new Set([ofSubject, key]))
    else ofSubject.add(key)
  }

  /** Updates the expiry of a record whose id and subject are the same. */
  move(key: StoreKey, from: SessionRecord, to: SessionRecord): void {
    if (from.expiry.at === to.expiry.at) return
    this.#expiries.delete(expiringOf(key, from))
    this.#expiries.add(expiringOf(key, to))
  }

  remove(key: StoreKey, record: SessionRecord): void {
    const { id, namespace, subject } = record
    const { keys, subjects } = this.#namespaceOf(record)
    keys.delete(id)
    this.#expiries.delete(expiringOf(key, record))
    if (keys.size === 0) this.#namespaces.delete(namespace)
    if (subject === undefined) return
    const ofSubject = subjects.get(subject)
    if (typeof ofSubject === "object") ofSubject.delete(key)
    if (ofSubject === key || (typeof ofSubject === "object" && ofSubject.size === 0)) subjects.delete(subject)
  }

  /** Whether the namespace has records. */
  has(namespace: string): boolean {
    return this.#namespaces.get(namespace) !== undefined
  }

  keyOf(namespace: string, id: SessionId): StoreKey | undefined {
    return this.#namespaces.get(namespace)?.keys.get(id)
  }

  ofSubject(namespace: string, subject: string): ReadonlySet<StoreKey> {
    const found = this.#namespaces.get(namespace)?.subjects.get(subject) ?? none
    return typeof found === "string" ? new Set([found]) : found
  }

  /** Returns the keys of a namespace after this id, in the order of their ids. */
  afterId(namespace: string, after: string | undefined): Iterable<StoreKey> {
    return this.#namespaces.get(namespace)?.keys.after(after) ?? []
  }

  /** Returns the key of the record that expires first, if it has expired. */
  firstExpired(now: number): StoreKey | undefined {
    const { first } = this.#expiries
    return first === undefined || first.at > now ? undefined : first.key
  }

  expired(now: number): number {
    return this.#expiries.count(({ at }) => at <= now)
  }

  #namespaceOf({ namespace }: SessionRecord): Namespace {
    const known = this.#namespaces.get(namespace)
    if (known !== undefined) return known
    const made: Namespace = { keys: new SortedMap(), subjects: new SortedMap() }
    this.#namespaces.set(namespace, made)
    return made
  }
}

const none: ReadonlySet<StoreKey> = new Set()

// A record whose expiry is `NaN` has expired.
const expiringOf = (key: StoreKey, { expiry: { at } }: SessionRecord): Expiring => ({
  at: Number.isNaN(at) ? -Infinity : at,
  key
})

// Sorted values

/** Maximum length of a piece: short enough for fast insertion, and long enough for few pieces. */
const maxPieceLength = 1024

/** Returns the index of the first value for which `isBefore` does not hold. */
const lowerBound = <A>(values: ReadonlyArray<A>, isBefore: (value: A) => boolean): number => {
  let low = 0
  let high = values.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const value = values[middle]
    if (value !== undefined && isBefore(value)) low = middle + 1
    else high = middle
  }
  return low
}

/** A sorted list of distinct values. Adds, deletes and counts with a logarithmic number of comparisons. */
export class SortedList<A extends object> {
  readonly #isLess: (a: A, b: A) => boolean
  /** No piece is empty. */
  readonly #pieces: Array<Array<A>> = []

  constructor(isLess: (a: A, b: A) => boolean) {
    this.#isLess = isLess
  }

  /** Adds a value, unless the list contains it. */
  add(value: A): void {
    const isBefore = (other: A) => this.#isLess(other, value)
    const at = this.#pieceAt(isBefore)
    const piece = this.#pieces[at] ?? this.#pieces.at(-1)
    if (piece === undefined) return void this.#pieces.push([value])
    const inPiece = lowerBound(piece, isBefore)
    const next = piece[inPiece]
    if (next !== undefined && !this.#isLess(value, next)) return
    piece.splice(inPiece, 0, value)
    if (piece.length > maxPieceLength) {
      this.#pieces.splice(Math.min(at, this.#pieces.length - 1) + 1, 0, piece.splice(maxPieceLength / 2))
    }
  }

  delete(value: A): void {
    const isBefore = (other: A) => this.#isLess(other, value)
    const at = this.#pieceAt(isBefore)
    const piece = this.#pieces[at]
    if (piece === undefined) return
    const inPiece = lowerBound(piece, isBefore)
    const found = piece[inPiece]
    if (found === undefined || this.#isLess(value, found)) return
    piece.splice(inPiece, 1)
    if (piece.length === 0) this.#pieces.splice(at, 1)
  }

  /** Returns the number of values for which `isBefore` holds. They must be the first ones. */
  count(isBefore: (value: A) => boolean): number {
    const at = this.#pieceAt(isBefore)
    const whole = this.#pieces.slice(0, at).reduce((sum, { length }) => sum + length, 0)
    return whole + lowerBound(this.#pieces[at] ?? [], isBefore)
  }

  get first(): A | undefined {
    return this.#pieces[0]?.[0]
  }

  /** Returns the index of the piece with the first value for which `isBefore` does not hold. */
  #pieceAt(isBefore: (value: A) => boolean): number {
    return lowerBound(this.#pieces, (piece) => {
      const last = piece.at(-1)
      return last !== undefined && isBefore(last)
    })
  }
}

// Sorted maps

/** Maximum number of entries of a piece: few enough to sort or rehash within a tenth of a millisecond. */
const maxPieceEntries = 256

/**
 * A map sorted by its keys. It consists of small maps, because a large `Map` is rehashed as a whole when it grows and when entries are
 * deleted, which takes tens of milliseconds.
 */
export class SortedMap<K extends string, V extends string | object> {
  /** No piece is empty, except a single one. */
  readonly #pieces: Array<Map<K, V>> = [new Map()]
  /** The inclusive lower bound of the keys of each piece but the first. */
  readonly #starts: Array<K> = []
  #size = 0

  get size(): number {
    return this.#size
  }

  get(key: K): V | undefined {
    return this.#pieces[this.#pieceOf(key)]?.get(key)
  }

  set(key: K, value: V): void {
    const at = this.#pieceOf(key)
    const piece = this.#pieces[at]
    if (piece === undefined) return
    this.#size -= piece.size
    piece.set(key, value)
    this.#size += piece.size
    if (piece.size > maxPieceEntries) this.#split(at, piece)
  }

  delete(key: K): void {
    const at = this.#pieceOf(key)
    const piece = this.#pieces[at]
    if (piece?.delete(key) !== true) return
    this.#size--
    if (piece.size > 0 || this.#starts.length === 0) return
    this.#pieces.splice(at, 1)
    this.#starts.splice(Math.max(at - 1, 0), 1)
  }

  /** Returns the values of the keys after this one, in the order of their keys. The map must not change during the iteration. */
  *after(key: string | undefined): Generator<V> {
    for (let at = key === undefined ? 0 : this.#pieceOf(key); at < this.#pieces.length; at++) {
      const piece = this.#pieces[at]
      for (const next of [...piece?.keys() ?? []].sort()) {
        const value = key === undefined || next > key ? piece?.get(next) : undefined
        if (value !== undefined) yield value
      }
    }
  }

  /** Moves the greater half of a piece to a new piece. */
  #split(at: number, piece: Map<K, V>): void {
    const greater = [...piece].sort(([a], [b]) => a < b ? -1 : 1).slice(maxPieceEntries / 2)
    for (const [key] of greater) piece.delete(key)
    this.#pieces.splice(at + 1, 0, new Map(greater))
    this.#starts.splice(at, 0, ...greater.slice(0, 1).map(([key]) => key))
  }

  #pieceOf(key: string): number {
    let low = 0
    let high = this.#starts.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const start = this.#starts[middle]
      if (start !== undefined && start <= key) low = middle + 1
      else high = middle
    }
    return low
  }
}
