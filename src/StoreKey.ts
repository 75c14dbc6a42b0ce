/**
 * The name under which a store keeps a record.
 *
 * @since 0.1.0
 */
import type * as Brand from "effect/Brand"
import * as Option from "effect/Option"

/**
 * SHA-256 of a namespace and a session token, as 43 characters of base64url. All that a store ever sees of a token: a
 * copy of the store contains nothing that could be presented as a cookie.
 *
 * @since 0.1.0
 * @category models
 */
export type StoreKey = string & Brand.Brand<"effect-session/StoreKey">

const pattern = /^[A-Za-z0-9_-]{43}$/

/**
 * Reads a key, for instance from a command line.
 *
 * @since 0.1.0
 * @category constructors
 */
export const parse = (value: string): Option.Option<StoreKey> =>
  pattern.test(value) ? Option.some(value as StoreKey) : Option.none()
