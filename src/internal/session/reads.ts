/**
 * Tracks which fields a handler has read, to detect a set that is based on a value that another request has changed.
 */
export class Reads<Key extends string> {
  /** Fields whose stored value the handler has read. */
  #read: Set<Key> | undefined
  /** Fields that the handler has set without reading them: reading them afterwards returns its own value. */
  written: ReadonlySet<Key> | undefined
  /** Fields that were read before a save found them changed. */
  #stale: Set<Key> | undefined

  /** Records that the handler reads the field. */
  add(key: Key): void {
    this.#stale?.delete(key)
    if (this.written?.has(key) !== true) (this.#read ??= new Set()).add(key)
  }

  /** Records that the handler has set the field. */
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

  /** Returns a snapshot. */
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

  /** Removes all reads and sets: another session begins. */
  restart(): void {
    this.#read = this.written = this.#stale = undefined
  }

  /** Continues with the record as it is stored now. Reads are kept, but those of changed fields become stale. */
  refresh(staleFields: ReadonlyArray<Key>): void {
    this.written = undefined
    for (const key of staleFields) {
      this.#read?.delete(key)
      ;(this.#stale ??= new Set()).add(key)
    }
  }
}
