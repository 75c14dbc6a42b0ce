/**
 * Where the records of the store in memory are found without their key: by id, by subject and by end. Nothing that is asked
 * looks at more records than it gives.
 */
import type { SessionId } from "../../SessionId.js"
import type { SessionRecord } from "../../SessionRecord.js"
import type { StoreKey } from "../../StoreKey.js"

interface Namespace {
  readonly keys: SortedMap<SessionId, StoreKey>
  /** The key of a subject's only session, or a set of keys: most subjects have one, and sets are large. */
  readonly subjects: SortedMap<string, StoreKey | Set<StoreKey>>
}

/** When a record ends. */
interface End {
  readonly at: number
  readonly key: StoreKey
}

export class MemoryIndex {
  /** Those that have records. */
  readonly #namespaces = new SortedMap<string, Namespace>()
  readonly #ends = new SortedList<End>((a, b) => a.at < b.at || (a.at === b.at && a.key < b.key))

  add(key: StoreKey, record: SessionRecord): void {
    const { id, subject } = record
    const { keys, subjects } = this.#namespaceOf(record)
    keys.set(id, key)
    this.#ends.add(endOf(key, record))
    if (subject === undefined) return
    const ofSubject = subjects.get(subject)
    if (ofSubject === undefined) subjects.set(subject, key)
    else if (typeof ofSubject === "string") subjects.set(subject, new Set([ofSubject, key]))
    else ofSubject.add(key)
  }

  /** Its end has moved. Id and subject are what they were. */
  move(key: StoreKey, from: SessionRecord, to: SessionRecord): void {
    if (from.expiry.at === to.expiry.at) return
    this.#ends.delete(endOf(key, from))
    this.#ends.add(endOf(key, to))
  }

  remove(key: StoreKey, record: SessionRecord): void {
    const { id, namespace, subject } = record
    const { keys, subjects } = this.#namespaceOf(record)
    keys.delete(id)
    this.#ends.delete(endOf(key, record))
    if (keys.size === 0) this.#namespaces.delete(namespace)
    if (subject === undefined) return
    const ofSubject = subjects.get(subject)
    if (typeof ofSubject === "object") ofSubject.delete(key)
    if (ofSubject === key || (typeof ofSubject === "object" && ofSubject.size === 0)) subjects.delete(subject)
  }

  /** Whether there are records of a namespace. */
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

  /** The keys of a namespace in the order of their ids, after this one. */
  afterId(namespace: string, after: string | undefined): Iterable<StoreKey> {
    return this.#namespaces.get(namespace)?.keys.after(after) ?? []
  }

  /** The key of what ends first, if it has ended. */
  firstExpired(now: number): StoreKey | undefined {
    const { first } = this.#ends
    return first === undefined || first.at > now ? undefined : first.key
  }

  expired(now: number): number {
    return this.#ends.count(({ at }) => at <= now)
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

// An end that is no number has passed.
const endOf = (key: StoreKey, { expiry: { at } }: SessionRecord): End => ({
  at: Number.isNaN(at) ? -Infinity : at,
  key
})

// Values in order

/** A piece is split when it is longer: short enough to be inserted into, long enough for few pieces. */
const longest = 1024

/** The place of the first value of which `isBefore` no longer holds. */
const place = <A>(values: ReadonlyArray<A>, isBefore: (value: A) => boolean): number => {
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

/** Values in order. Adding, deleting and finding a place take a few comparisons, however many values there are. */
export class SortedList<A extends object> {
  readonly #isLess: (a: A, b: A) => boolean
  /** None is empty. */
  readonly #pieces: Array<Array<A>> = []

  constructor(isLess: (a: A, b: A) => boolean) {
    this.#isLess = isLess
  }

  /** A value that is there already is not added again. */
  add(value: A): void {
    const isBefore = (other: A) => this.#isLess(other, value)
    const at = this.#pieceAt(isBefore)
    const piece = this.#pieces[at] ?? this.#pieces.at(-1)
    if (piece === undefined) return void this.#pieces.push([value])
    const inPiece = place(piece, isBefore)
    const next = piece[inPiece]
    if (next !== undefined && !this.#isLess(value, next)) return
    piece.splice(inPiece, 0, value)
    if (piece.length > longest) {
      this.#pieces.splice(Math.min(at, this.#pieces.length - 1) + 1, 0, piece.splice(longest / 2))
    }
  }

  delete(value: A): void {
    const isBefore = (other: A) => this.#isLess(other, value)
    const at = this.#pieceAt(isBefore)
    const piece = this.#pieces[at]
    if (piece === undefined) return
    const inPiece = place(piece, isBefore)
    const found = piece[inPiece]
    if (found === undefined || this.#isLess(value, found)) return
    piece.splice(inPiece, 1)
    if (piece.length === 0) this.#pieces.splice(at, 1)
  }

  /** How many there are of which `isBefore` holds: they come first. */
  count(isBefore: (value: A) => boolean): number {
    const at = this.#pieceAt(isBefore)
    const whole = this.#pieces.slice(0, at).reduce((sum, { length }) => sum + length, 0)
    return whole + place(this.#pieces[at] ?? [], isBefore)
  }

  get first(): A | undefined {
    return this.#pieces[0]?.[0]
  }

  /** The piece in which the first value is of which `isBefore` does not hold. */
  #pieceAt(isBefore: (value: A) => boolean): number {
    return place(this.#pieces, (piece) => {
      const last = piece.at(-1)
      return last !== undefined && isBefore(last)
    })
  }
}

// Maps

/** Entries of a piece at most: few enough to be sorted or rehashed within a tenth of a millisecond. */
const mostEntries = 256

/**
 * A map in the order of its keys. It is made of small maps, because a large `Map` is rehashed as a whole when it grows and when entries
 * are deleted, which takes tens of milliseconds.
 */
export class SortedMap<K extends string, V extends string | object> {
  /** None is empty, unless it is the only one. */
  readonly #pieces: Array<Map<K, V>> = [new Map()]
  /** Of each piece but the first, the lower bound of its keys, inclusive. */
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
    if (piece.size > mostEntries) this.#split(at, piece)
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

  /** The values of the keys after this one, in the order of their keys. The map must not be changed during the iteration. */
  *after(key: string | undefined): Generator<V> {
    for (let at = key === undefined ? 0 : this.#pieceOf(key); at < this.#pieces.length; at++) {
      const piece = this.#pieces[at]
      for (const next of [...piece?.keys() ?? []].sort()) {
        const value = key === undefined || next > key ? piece?.get(next) : undefined
        if (value !== undefined) yield value
      }
    }
  }

  /** Moves the greater half of a piece into a new piece. */
  #split(at: number, piece: Map<K, V>): void {
    const greater = [...piece].sort(([a], [b]) => a < b ? -1 : 1).slice(mostEntries / 2)
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
