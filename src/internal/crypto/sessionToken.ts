/**
 * Makes the tokens of stored sessions, and unwraps them.
 */
import * as Redacted from "effect/Redacted"
import type { SessionToken } from "../../SessionToken.js"
import { isTokenText } from "../domain/tokenText.js"
import { decodeBase64Url, decodeLenient, digest, encodeBase64Url } from "./primitives.js"

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
export const refine = (value: Redacted.Redacted<string>): SessionToken | undefined =>
  isTokenText(Redacted.value(value)) ? value as SessionToken : undefined

/**
 * Derives names from tokens: SHA-256 over a prefix and the token's bytes, as base64url.
 */
export const hashAfter = (prefix: Uint8Array): (token: SessionToken) => string => {
  const input = new Uint8Array(prefix.length + byteLength)
  input.set(prefix)
  return (token) => {
    const bytes = decodeLenient(Redacted.value(token).slice(3), "base64url")
    if (bytes?.length !== byteLength) throw new TypeError("not a session token")
    input.set(bytes, prefix.length)
    return digest(input, "base64url")
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
