/**
 * Values kept in order, for indexes in memory: adding, deleting and finding a place take the time of a few comparisons,
 * however many there are.
 */

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
