/**
 * Tracks which fields a handler has read, to detect that a set rests on something that another request has changed.
 */
export class Reads<Key extends string> {
  /** Fields whose stored content the handler has seen. */
  #read: Set<Key> | undefined
  /** Fields that it set without looking: what it sees there is its own. */
  written: ReadonlySet<Key> | undefined
  /** Fields that it had seen before a save found them changed. */
  #stale: Set<Key> | undefined

  /** It looks at the field now. */
  add(key: Key): void {
    this.#stale?.delete(key)
    if (this.written?.has(key) !== true) (this.#read ??= new Set()).add(key)
  }

  /** It has set the field. */
  replace(key: Key): void {
    if (this.#read?.has(key) !== true) this.written = new Set(this.written).add(key)
  }

  has(key: Key): boolean {
    return this.#read?.has(key) === true
  }

  isStale(key: Key): boolean {
    return this.#stale?.has(key) === true
  }

  get all(): ReadonlyArray<Key> {
    return this.#read === undefined ? [] : [...this.#read]
  }

  /** A snapshot. */
  copy(): Reads<Key> {
    const copy = new Reads<Key>()
    copy.#read = new Set(this.#read)
    copy.written = new Set(this.written)
    return copy
  }

  /** Undoes the sets since `before`. Reads are kept. */
  rollBack(before: Reads<Key>): void {
    this.#read = new Set([...this.#read ?? [], ...before.#read ?? []])
    this.written = new Set([...this.written ?? []].filter((key) => before.written?.has(key) === true))
  }

  /** Forgets everything: it is another session. */
  restart(): void {
    this.#read = this.written = this.#stale = undefined
  }

  /** It is the same session, as it is stored by now. What was read was read; some of it turned out to be changed. */
  refresh(staleFields: ReadonlyArray<Key>): void {
    this.written = undefined
    for (const key of staleFields) {
      this.#read?.delete(key)
      ;(this.#stale ??= new Set()).add(key)
    }
  }
}
