/**
 * Makes the tokens of stored sessions, unwraps them, and derives store keys from them.
 */
import * as Brand from "effect/Brand"
import * as Redacted from "effect/Redacted"
import type { SessionToken } from "../../SessionToken.js"
import type { StoreKey } from "../../StoreKey.js"
import { isTokenText } from "../domain/tokenText.js"
import { decodeBase64Url, decodeLenient, digest, encodeBase64Url, lengthPrefixed } from "./primitives.js"

/**
 * The number of random bytes in a token.
 */
export const byteLength = 32

/**
 * Makes a token of 32 random bytes. The bytes come from the caller, because this module has no source of randomness.
 */
export const fromBytes = (bytes: Uint8Array): SessionToken => {
  if (bytes.length !== byteLength) throw new RangeError(`a session token is made of ${byteLength} bytes`)
  return Redacted.make(`r1.${encodeBase64Url(bytes)}`) as SessionToken
}

/**
 * Reads a cookie value that is redacted already, which stays the same object; `undefined` if it is not a token.
 */
export const refine = (value: Redacted.Redacted<string> | undefined): SessionToken | undefined =>
  value !== undefined && isTokenText(Redacted.value(value)) ? value as SessionToken : undefined

/** Brands the base64url text of a SHA-256 as a key, without a check. */
export const ofHash = Brand.nominal<StoreKey>()

/**
 * Derives the store keys of one namespace: SHA-256 over purpose and namespace (length-prefixed) and the token's bytes.
 * The token has 256 bits of entropy, so a slow hash would only cost CPU time.
 */
export const storeKeys = (namespace: string): (token: SessionToken) => StoreKey => {
  const prefix = lengthPrefixed("effect-session/r1", namespace)
  const input = new Uint8Array(prefix.length + byteLength)
  input.set(prefix)
  return (token) => {
    const bytes = decodeLenient(Redacted.value(token).slice(3), "base64url")
    if (bytes?.length !== byteLength) throw new TypeError("not a session token")
    input.set(bytes, prefix.length)
    return ofHash(digest(input, "base64url"))
  }
}

/**
 * The random bytes of a token. Unwraps the secret.
 */
export const unsafeBytes = (token: SessionToken): Uint8Array => {
  const decoded = decodeBase64Url(Redacted.value(token).slice(3))
  if (decoded === undefined) throw new TypeError("not a session token")
  return decoded
}
