/**
 * Where the records of the store in memory are found without their key: by id, by subject and by end. Nothing that is asked
 * looks at more records than it gives.
 */
import type { SessionId } from "../../SessionId.js"
import type { SessionRecord } from "../../SessionRecord.js"
import type { StoreKey } from "../../StoreKey.js"

interface Namespace {
  readonly keys: Map<SessionId, StoreKey>
  /** The same ids, in order. */
  readonly ids: SortedList<SessionId>
  readonly subjects: Map<string, Set<StoreKey>>
}

/** When a record ends. */
interface End {
  readonly at: number
  readonly key: StoreKey
}

export class MemoryIndex {
  /** Those that have records. */
  readonly #namespaces = new Map<string, Namespace>()
  readonly #ends = new SortedList<End>((a, b) => a.at < b.at || (a.at === b.at && a.key < b.key))

  add(key: StoreKey, record: SessionRecord): void {
    const { id, subject } = record
    const { ids, keys, subjects } = this.#namespaceOf(record)
    keys.set(id, key)
    ids.add(id)
    this.#ends.add(endOf(key, record))
    if (subject === undefined) return
    const ofSubject = subjects.get(subject)
    if (ofSubject === undefined) subjects.set(subject, new Set([key]))
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
    const { ids, keys, subjects } = this.#namespaceOf(record)
    keys.delete(id)
    ids.delete(id)
    this.#ends.delete(endOf(key, record))
    if (keys.size === 0) this.#namespaces.delete(namespace)
    if (subject === undefined) return
    const ofSubject = subjects.get(subject)
    ofSubject?.delete(key)
    if (ofSubject?.size === 0) subjects.delete(subject)
  }

  /** Whether there are records of a namespace. */
  has(namespace: string): boolean {
    return this.#namespaces.has(namespace)
  }

  keyOf(namespace: string, id: SessionId): StoreKey | undefined {
    return this.#namespaces.get(namespace)?.keys.get(id)
  }

  ofSubject(namespace: string, subject: string): ReadonlySet<StoreKey> {
    return this.#namespaces.get(namespace)?.subjects.get(subject) ?? none
  }

  /** The keys of a namespace in the order of their ids, after this one. */
  *afterId(namespace: string, after: string | undefined): Generator<StoreKey> {
    const found = this.#namespaces.get(namespace)
    for (const id of found?.ids.from((id) => after !== undefined && id <= after) ?? []) {
      const key = found?.keys.get(id)
      if (key !== undefined) yield key
    }
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
    const made: Namespace = { keys: new Map(), ids: new SortedList((a, b) => a < b), subjects: new Map() }
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
export class SortedList<A extends string | object> {
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

  /** In order, beginning with the first of which `isBefore` does not hold. Nothing may be added or deleted meanwhile. */
  *from(isBefore: (value: A) => boolean): Generator<A> {
    const at = this.#pieceAt(isBefore)
    for (let i = at; i < this.#pieces.length; i++) {
      const piece = this.#pieces[i] ?? []
      for (let j = i === at ? place(piece, isBefore) : 0; j < piece.length; j++) {
        const value = piece[j]
        if (value !== undefined) yield value
      }
    }
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
