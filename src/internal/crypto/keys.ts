/**
 * The secrets of a keyring: how they are written, and which of them are refused.
 */
import * as Arr from "effect/Array"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import { equals } from "./primitives.js"
import type { RootKey } from "./tokens.js"

/** A key as it is written down. */
interface WrittenKey {
  readonly id: string
  readonly secret: string
}

/** The fewest bytes of a secret. */
export const secretBytes = 32

const maxKeys = 5

/** The keys, or one sentence about what is wrong. It names keys by their place: what stands for an id may be a secret. */
export const parse = (
  written: ReadonlyArray<WrittenKey>
): Either.Either<Arr.NonEmptyReadonlyArray<RootKey>, string> => {
  if (!Arr.isNonEmptyReadonlyArray(written)) return Either.left(`A keyring needs a key; ${remedy}.`)
  if (written.length > maxKeys) {
    return Either.left(`A keyring has at most ${maxKeys} keys; leave out the oldest, whose sessions have expired.`)
  }
  return Either.flatMap(Either.all(Arr.map(written, parseKey)), (keys) => {
    const repetition = repetitionIn(keys)
    return repetition === undefined ? Either.right(keys) : Either.left(repetition)
  })
}

const remedy = "`effect-session generate-key` makes one"

/** What is wrong with an id, to be said after what it is the id of. */
export const problemOfId = (id: string): string | undefined =>
  /^[A-Za-z0-9]{1,8}$/.test(id) ? undefined : "needs an id of 1 to 8 letters and digits"

const parseKey = ({ id, secret }: WrittenKey, index: number): Either.Either<RootKey, string> => {
  const problem = problemOfId(id)
  if (problem !== undefined) return Either.left(`Key ${index + 1} ${problem}.`)
  const bytes = bytesOf(secret)
  const weakness = bytes === undefined ? "is neither base64url nor hex" : weaknessOf(bytes, secret)
  return bytes === undefined || weakness !== undefined
    ? Either.left(`The secret of key ${index + 1} ${weakness}; ${remedy}.`)
    : Either.right({ id, secret: bytes })
}

const repetitionIn = (keys: ReadonlyArray<RootKey>): string | undefined => {
  for (const [second, key] of keys.entries()) {
    for (const [first, other] of keys.slice(0, second).entries()) {
      const what = other.id === key.id ? "id" : equals(other.secret, key.secret) ? "secret" : undefined
      if (what !== undefined) return `Keys ${first + 1} and ${second + 1} have the same ${what}.`
    }
  }
  return undefined
}

/** Hex digits alone are hex: as base64url they would pass for half as many random bytes again. */
const bytesOf = (secret: string): Uint8Array | undefined => {
  // Not the runtime's own decoder, which leaves copies in memory that all its buffers share.
  if (/^[0-9a-f]+$/i.test(secret)) return Either.getOrUndefined(Encoding.decodeHex(secret))
  const text = secret.replace(/={1,2}$/, "")
  const bytes = Either.getOrUndefined(Encoding.decodeBase64Url(text))
  return bytes !== undefined && Encoding.encodeBase64Url(bytes) === text ? bytes : undefined
}

/** What random bytes are not: they are refused less than once in a million times, for a word that happens to be in them. */
const weaknesses: ReadonlyArray<readonly [is: (bytes: Uint8Array, text: string) => boolean, weakness: string]> = [
  [(bytes) => bytes.length < secretBytes, `has less than ${secretBytes} bytes`],
  [(bytes) => new Set(bytes).size < 16, "has few different bytes"],
  [(bytes) => isRun(bytes) || repeatsItself(bytes), "is a pattern"],
  [(bytes, text) => [text, latin1(bytes)].some(isSample), "is a sample, or contains a word that everybody tries first"],
  [(bytes, text) => bytes.every((byte) => byte >= 0x20 && byte < 0x7F) || isOneCase(text), "is text, not random bytes"]
]

const weaknessOf = (bytes: Uint8Array, text: string): string | undefined =>
  weaknesses.find(([is]) => is(bytes, text))?.[1]

/** Most bytes are as far from the one before as the others are. */
const isRun = (bytes: Uint8Array): boolean => {
  const counts = new Map<number, number>()
  bytes.forEach((byte, i) => {
    const difference = (byte - (bytes[i - 1] ?? 0) + 0x100) % 0x100
    counts.set(difference, (counts.get(difference) ?? 0) + 1)
  })
  return Math.max(...counts.values()) > bytes.length / 2
}

const repeatsItself = (bytes: Uint8Array): boolean => {
  for (let period = 1; period <= bytes.length / 2; period++) {
    if (bytes.every((byte, i) => i < period || byte === bytes[i - period])) return true
  }
  return false
}

const words = [
  "secret",
  "password",
  "changeme",
  "replaceme",
  "keyboardcat",
  "default",
  "qwerty",
  "letmein",
  // In the secrets of every page of ours.
  "example"
]

const isSample = (text: string): boolean => {
  const letters = text.toLowerCase().replace(/[^a-z]/g, "")
  return words.some((word) => letters.includes(word))
}

/** Words with separators are base64url, too. Random base64url of this length has letters of both cases. */
const isOneCase = (text: string): boolean =>
  !/^[0-9a-f]+$/i.test(text) && (text === text.toLowerCase() || text === text.toUpperCase())

const latin1 = (bytes: Uint8Array): string => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")
