/**
 * Parses the secrets of a keyring, and rejects weak ones.
 */
import * as Arr from "effect/Array"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import { equals } from "./primitives.js"
import type { RootKey } from "./tokens.js"

/** A key as it is configured: the secret in base64url or hex. */
interface WrittenKey {
  readonly id: string
  readonly secret: string
}

/** The minimum number of bytes of a secret. */
export const secretBytes = 32

const maxKeys = 5

/** Returns the keys, or a sentence that describes the problem. It names keys by position, because a misplaced id may be a secret. */
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

/** Describes why an id is invalid, as the predicate of a sentence; `undefined` if it is valid. */
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

/** Text of hex digits only is decoded as hex: as base64url it would count as 1.5 times as many random bytes. */
const bytesOf = (secret: string): Uint8Array | undefined => {
  // Not the runtime's decoder, which leaves copies of the secret in a shared memory pool.
  if (/^[0-9a-f]+$/i.test(secret)) return Either.getOrUndefined(Encoding.decodeHex(secret))
  const text = secret.replace(/={1,2}$/, "")
  const bytes = Either.getOrUndefined(Encoding.decodeBase64Url(text))
  return bytes !== undefined && Encoding.encodeBase64Url(bytes) === text ? bytes : undefined
}

/** Properties of weak secrets. A random secret is rejected less than once in a million times, because it happens to contain a word. */
const weaknesses: ReadonlyArray<readonly [is: (bytes: Uint8Array, text: string) => boolean, weakness: string]> = [
  [(bytes) => bytes.length < secretBytes, `has less than ${secretBytes} bytes`],
  [(bytes) => new Set(bytes).size < 16, "has few different bytes"],
  [(bytes) => isRun(bytes) || repeatsItself(bytes), "is a pattern"],
  [(bytes, text) => [text, latin1(bytes)].some(isSample), "is a sample, or contains a common word"],
  [(bytes, text) => bytes.every((byte) => byte >= 0x20 && byte < 0x7F) || isOneCase(text), "is text, not random bytes"]
]

const weaknessOf = (bytes: Uint8Array, text: string): string | undefined =>
  weaknesses.find(([is]) => is(bytes, text))?.[1]

/** Whether most bytes differ from the byte before by the same amount. */
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
  // In the secrets of our own documentation.
  "example"
]

const isSample = (text: string): boolean => {
  const letters = text.toLowerCase().replace(/[^a-z]/g, "")
  return words.some((word) => letters.includes(word))
}

/** Whether the text has letters of one case only, such as words with separators. Random base64url of this length has both cases. */
const isOneCase = (text: string): boolean =>
  !/^[0-9a-f]+$/i.test(text) && (text === text.toLowerCase() || text === text.toUpperCase())

const latin1 = (bytes: Uint8Array): string => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")
