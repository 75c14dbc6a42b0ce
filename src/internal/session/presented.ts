/**
 * The cookie values that a request presents, of which one may say that others have ended.
 *
 * A browser can hold several cookies of our name that a response does not reach: other paths, other domains, planted by a
 * neighbouring host. Where the server cannot end what they lead to, or cannot even look at all of them, the next cookie
 * says that they have ended:
 *
 * ```
 * <value of the engine>..<name><name>…     or, after a logout:     ..<name><name>…
 * ```
 *
 * A name is the first 8 characters of a hash of a value. So only somebody who knows a value can say that it has ended: a
 * cookie that was planted cannot end the visitor's own.
 */
import * as Redacted from "effect/Redacted"
import type { CookieUpdate, CookieValue } from "../../SessionEngine.js"
import { sha256 } from "../crypto/primitives.js"
import type { Candidates } from "../domain/cookieHeader.js"

/** No more values than this are looked at, and no more are said to have ended. */
export const maxPresentedValues = 64

/** A request with more values that may be alive is anonymous: each of them costs a load. */
const maxOpened = 8

/** Stands before the names of what has ended. The engines write neither two dots in a row nor none. */
export const separator = ".."
const nameLength = 8
const namesPattern = new RegExp(`^(?:[A-Za-z0-9_-]{${nameLength}}){1,${maxPresentedValues}}$`)

/** A browser drops a cookie whose name and value are longer, and keeps none for longer than this, in seconds. */
const maxBytes = 4096
const longestAge = 400 * 24 * 60 * 60

const utf8 = new TextEncoder()

const nameOf = (value: string): string => sha256(utf8.encode(`effect-session/ended\n${value}`)).slice(0, nameLength)

const unique = <V>(values: ReadonlyArray<V>): ReadonlyArray<V> => [...new Set(values)]

const parseEnded = (text: string): { readonly value: string; readonly names: ReadonlyArray<string> } => {
  const at = text.lastIndexOf(separator)
  const names = at < 0 ? "" : text.slice(at + separator.length)
  return namesPattern.test(names)
    ? { value: text.slice(0, at), names: names.match(/.{8}/g) ?? [] }
    : { value: text, names: [] }
}

/** The cookie values that a request presents. */
export class Presented {
  /** A cookie of ours was there, whatever its value. */
  readonly presented: boolean
  /** There may be more values that are alive than are opened. */
  readonly partial: boolean
  /** The values that have not ended. */
  readonly values: ReadonlyArray<CookieValue>

  readonly #all: ReadonlyArray<string>
  /** The names of what has ended, which the next cookie must repeat. */
  #ended: ReadonlyArray<string>

  constructor({ partial, presented, values }: Candidates) {
    this.presented = presented
    const parsed = values.some((value) => value.includes(separator)) ? values.map(parseEnded) : undefined
    this.#all = parsed === undefined ? values : unique(parsed.flatMap(({ value }) => value === "" ? [] : [value]))
    this.#ended = parsed === undefined ? [] : unique(parsed.flatMap(({ names }) => names)).slice(0, maxPresentedValues)
    const ended = new Set(this.#ended)
    const alive = ended.size === 0 ? this.#all : this.#all.filter((value) => !ended.has(nameOf(value)))
    this.values = alive.map((value) => Redacted.make(value))
    this.partial = partial === true || alive.length > maxOpened
  }

  /** With one more value, there would be more than are opened. */
  get isFull(): boolean {
    return this.partial || this.values.length >= maxOpened
  }

  /** Several values were there. */
  get hasSeveral(): boolean {
    return this.#all.length > 1
  }

  /** From now on, all that was presented has ended. */
  end(): void {
    this.#ended = unique([...this.#all.map(nameOf), ...this.#ended]).slice(0, maxPresentedValues)
  }

  /** The cookie to send in the place of one that is update: it repeats what has ended, as far as there is room. */
  cookie(update: CookieUpdate, cookieName: string): CookieUpdate {
    if (this.#ended.length === 0) return update
    const [value, maxAge] = update === "expire" ? ["", longestAge] : [Redacted.value(update.value), update.maxAge]
    const room = Math.floor((maxBytes - cookieName.length - value.length - separator.length) / nameLength)
    const names = this.#ended.slice(0, Math.max(0, room))
    return names.length === 0 ? update : { value: Redacted.make(`${value}${separator}${names.join("")}`), maxAge }
  }
}
