/**
 * What a handler knows of each field: whether a set would rest on something that another request may have changed.
 */

/** Field by field, what the handler has seen. */
export class Sightings<Key extends string> {
  /** Fields whose stored content it has seen. */
  readonly #read = new Set<Key>()
  /** Fields that it set without looking: what it sees there is its own. */
  readonly #own = new Set<Key>()
  /** Fields that it had seen before a save found them changed. */
  readonly #outdated = new Set<Key>()

  /** It looks at the field now. */
  look(key: Key): void {
    this.#outdated.delete(key)
    if (!this.#own.has(key)) this.#read.add(key)
  }

  /** It has set the field. */
  replace(key: Key): void {
    if (!this.#read.has(key)) this.#own.add(key)
  }

  hasRead(key: Key): boolean {
    return this.#read.has(key)
  }

  isOutdated(key: Key): boolean {
    return this.#outdated.has(key)
  }

  get read(): ReadonlyArray<Key> {
    return [...this.#read]
  }

  /** What it knows at this moment. */
  copy(): Sightings<Key> {
    const copy = new Sightings<Key>()
    for (const key of this.#read) copy.#read.add(key)
    for (const key of this.#own) copy.#own.add(key)
    return copy
  }

  /** What was set since `before` is undone. What was seen was seen. */
  rollBack(before: Sightings<Key>): void {
    for (const key of before.#read) this.#read.add(key)
    for (const key of this.#own) {
      if (!before.#own.has(key)) this.#own.delete(key)
    }
  }

  /** Forgets everything: it is another session. */
  restart(): void {
    this.#read.clear()
    this.#own.clear()
    this.#outdated.clear()
  }

  /** It is the same session, as it is kept by now. What it had read, it has read; some of it turned out to be changed. */
  proceed(outdated: Iterable<Key>): void {
    this.#own.clear()
    for (const key of outdated) {
      this.#read.delete(key)
      this.#outdated.add(key)
    }
  }
}
