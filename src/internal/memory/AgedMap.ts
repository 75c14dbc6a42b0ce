/**
 * A map with constant-time access to the key that was inserted first. The iterator of a `Map` visits every entry that was deleted
 * before its first live one, so eviction from a plain `Map` takes time in proportion to its size.
 */
import { SortedMap } from "./indexes.js"

interface Node<K, V> {
  readonly key: K
  value: V
  older: Node<K, V> | undefined
  newer: Node<K, V> | undefined
}

export class AgedMap<K extends string, V> {
  readonly #nodes = new SortedMap<K, Node<K, V>>()
  #oldest: Node<K, V> | undefined
  #newest: Node<K, V> | undefined

  get size(): number {
    return this.#nodes.size
  }

  get(key: K): V | undefined {
    return this.#nodes.get(key)?.value
  }

  has(key: K): boolean {
    return this.#nodes.get(key) !== undefined
  }

  /** Sets the value of a key. An existing key keeps its position. */
  set(key: K, value: V): void {
    const known = this.#nodes.get(key)
    if (known !== undefined) return void (known.value = value)
    const node = { key, value, older: this.#newest, newer: undefined }
    if (this.#newest === undefined) this.#oldest = node
    else this.#newest.newer = node
    this.#newest = node
    this.#nodes.set(key, node)
  }

  delete(key: K): void {
    const node = this.#nodes.get(key)
    if (node === undefined) return
    const { newer, older } = node
    if (older === undefined) this.#oldest = newer
    else older.newer = newer
    if (newer === undefined) this.#newest = older
    else newer.older = older
    // A deleted node that refers to live ones makes the garbage collector keep what is deleted after it.
    node.older = node.newer = undefined
    this.#nodes.delete(key)
  }

  /** The key that was inserted first. */
  oldest(): K | undefined {
    return this.#oldest?.key
  }
}
