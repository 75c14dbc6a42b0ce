/**
 * Cookie values of a request, and the list of ended values that a cookie can carry.
 *
 * A browser can hold several cookies of our name that a response cannot replace: on other paths or domains, or planted by a
 * neighbouring host. If the server cannot destroy the sessions that they name, or cannot open all of them, the next cookie lists
 * them as ended:
 *
 * ```
 * <value of the engine>..<name><name>…     or, after a logout:     ..<name><name>…
 * ```
 *
 * A name is the first 8 characters of a hash of a value. Only a party that knows a value can list it as ended, so a planted
 * cookie cannot end the visitor's own.
 */
import * as Redacted from "effect/Redacted"
import type { CookieUpdate, CookieValue } from "../../SessionEngine.js"
import { sha256 } from "../crypto/primitives.js"
import type { Candidates } from "../domain/cookieHeader.js"

/** The largest number of values that are read, and of values that are listed as ended. */
export const maxPresentedValues = 64

/** A request with more values that may be alive is anonymous, because each of them costs a load. */
const maxOpened = 8

/** Separates the value from the names of ended values. No value of an engine contains it. */
export const separator = ".."
const nameLength = 8
const namesPattern = new RegExp(`^(?:[A-Za-z0-9_-]{${nameLength}}){1,${maxPresentedValues}}$`)

/** Limits of browsers: bytes of name and value together, and seconds of Max-Age. */
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
  /** The request has a cookie of our name, whatever its value. */
  readonly presented: boolean
  /** There may be more live values than are opened. */
  readonly partial: boolean
  /** The values that have not ended. */
  readonly values: ReadonlyArray<CookieValue>

  readonly #all: ReadonlyArray<string>
  /** The names of ended values, which the next cookie must repeat. */
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

  /** One more value would exceed the number that is opened. */
  get isFull(): boolean {
    return this.partial || this.values.length >= maxOpened
  }

  /** The request has several values. */
  get hasSeveral(): boolean {
    return this.#all.length > 1
  }

  /** Marks all presented values as ended. */
  end(): void {
    this.#ended = unique([...this.#all.map(nameOf), ...this.#ended]).slice(0, maxPresentedValues)
  }

  /** Adds the names of ended values to a cookie, as many as fit into it. */
  cookie(update: CookieUpdate, cookieName: string): CookieUpdate {
    if (this.#ended.length === 0) return update
    const [value, maxAge] = update === "expire" ? ["", longestAge] : [Redacted.value(update.value), update.maxAge]
    const room = Math.floor((maxBytes - cookieName.length - value.length - separator.length) / nameLength)
    const names = this.#ended.slice(0, Math.max(0, room))
    return names.length === 0 ? update : { value: Redacted.make(`${value}${separator}${names.join("")}`), maxAge }
  }
}
