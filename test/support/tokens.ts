/**
 * Keys and uses for the tests of tokens, and checks of tokens.
 */
import { Option } from "effect"
import type { RootKey, Suite, Tokens, Use } from "../../src/internal/crypto/tokens.js"

export const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")

export const suites: ReadonlyArray<Suite> = ["e1", "f1", "h1"]
export const key = (id: string, fill: number): RootKey => ({ id, secret: new Uint8Array(32).fill(fill) })
export const [a, b] = [key("a", 1), key("b", 2)]
export const use = (suite: Suite, fields: Partial<Use> = {}): Use => ({
  suite,
  purpose: "seal",
  cookieName: "session",
  audience: "shop",
  ...fields
})

// Bytes whose base64url has the characters in which it differs from base64.
export const nonce = new Uint8Array(24).fill(0xFF)
export const content = new TextEncoder().encode("readable by its holder: \u00e9")

/** The content of a token as hex, or `undefined` if it cannot be read. */
export const contentIn = (tokens: Tokens, token: string): string | undefined =>
  Option.getOrUndefined(Option.map(tokens.read(token), ({ content }) => hex(content)))

/** The tokens that can be read. In most tests, none should be. */
export const accepted = (tokens: Tokens, others: ReadonlyArray<string>) =>
  others.filter((other) => Option.isSome(tokens.read(other)))

/** Copies of the bytes with one bit flipped, for each bit. */
export const flipped = (bytes: Uint8Array): ReadonlyArray<Uint8Array> =>
  Array.from(
    { length: bytes.length * 8 },
    (_, bit) => bytes.map((byte, i) => i === bit >> 3 ? byte ^ 1 << (bit & 7) : byte)
  )
