/**
 * The secret that a visitor's cookie carries.
 *
 * @since 0.1.0
 */
import type * as Brand from "effect/Brand"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { decodeBase64Url, decodeLenient, digest, encodeBase64Url } from "./internal/crypto/primitives.js"

/**
 * The secret of a stored session: 256 random bits, spelled `r1.` and 43 characters of base64url. It is never stored
 * and never logged: stores see only its {@link "./StoreKey.js"}.
 *
 * @since 0.1.0
 * @category models
 */
export type SessionToken = Redacted.Redacted<string> & Brand.Brand<"effect-session/SessionToken">

/**
 * The number of random bytes in a token.
 *
 * @since 0.1.0
 * @category constants
 */
export const byteLength = 32

// The last character carries two spare bits that must be zero: every token has exactly one spelling.
const pattern = /^r1\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/

const brand = (wire: string): SessionToken => Redacted.make(wire) as SessionToken

/**
 * Makes a token of 32 random bytes. The bytes come from the caller, because this module has no source of randomness.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromBytes = (bytes: Uint8Array): SessionToken => {
  if (bytes.length !== byteLength) throw new RangeError(`a session token is made of ${byteLength} bytes`)
  return brand(`r1.${encodeBase64Url(bytes)}`)
}

/**
 * Reads a cookie value. Anything but the one canonical spelling of a token is `None`: absence is a value, because any
 * visitor can cause it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const parse = (value: string): Option.Option<SessionToken> =>
  value.length === 46 && pattern.test(value) ? Option.some(brand(value)) : Option.none()

/**
 * The same for a value that is redacted already, which stays as it is; `undefined` for anything else.
 *
 * @since 0.6.0
 * @category constructors
 */
export const refine = (value: Redacted.Redacted<string>): SessionToken | undefined => {
  const wire = Redacted.value(value)
  return wire.length === 46 && pattern.test(wire) ? value as SessionToken : undefined
}

/**
 * Derives names from tokens: SHA-256 over a prefix and the token's bytes, as base64url.
 *
 * @internal
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
 * The random bytes of a token. Like {@link hashAfter} and the code that writes the cookie, this unwraps it.
 *
 * @since 0.1.0
 * @category conversions
 */
export const unsafeBytes = (token: SessionToken): Uint8Array => {
  const decoded = decodeBase64Url(Redacted.value(token).slice(3))
  if (decoded === undefined) throw new TypeError("not a session token")
  return decoded
}
