/**
 * Tracks which fields a handler has read, to detect that a set rests on something that another request has changed.
 */
export class Reads<Key extends string> {
  /** Fields whose stored content the handler has seen. */
  #read: Set<Key> | undefined
  /** Fields that it set without looking: what it sees there is its own. */
  own: ReadonlySet<Key> | undefined
  /** Fields that it had seen before a save found them changed. */
  #outdated: Set<Key> | undefined

  /** It looks at the field now. */
  add(key: Key): void {
    this.#outdated?.delete(key)
    if (this.own?.has(key) !== true) (this.#read ??= new Set()).add(key)
  }

  /** It has set the field. */
  replace(key: Key): void {
    if (this.#read?.has(key) !== true) this.own = new Set(this.own).add(key)
  }

  has(key: Key): boolean {
    return this.#read?.has(key) === true
  }

  isOutdated(key: Key): boolean {
    return this.#outdated?.has(key) === true
  }

  get all(): ReadonlyArray<Key> {
    return this.#read === undefined ? [] : [...this.#read]
  }

  /** A snapshot. */
  copy(): Reads<Key> {
    const copy = new Reads<Key>()
    copy.#read = new Set(this.#read)
    copy.own = new Set(this.own)
    return copy
  }

  /** Undoes the sets since `before`. Reads are kept. */
  rollBack(before: Reads<Key>): void {
    this.#read = new Set([...this.#read ?? [], ...before.#read ?? []])
    this.own = new Set([...this.own ?? []].filter((key) => before.own?.has(key) === true))
  }

  /** Forgets everything: it is another session. */
  restart(): void {
    this.#read = this.own = this.#outdated = undefined
  }

  /** It is the same session, as it is stored by now. What was read was read; some of it turned out to be changed. */
  proceed(outdated: ReadonlyArray<Key>): void {
    this.own = undefined
    for (const key of outdated) {
      this.#read?.delete(key)
      ;(this.#outdated ??= new Set()).add(key)
    }
  }
}
