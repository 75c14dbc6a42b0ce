/**
 * Tokens: the secret in the cookie of a stored session.
 *
 * @since 0.1.0
 */
import type * as Brand from "effect/Brand"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { isTokenText } from "./internal/domain/tokenText.js"

/**
 * The secret of a stored session: 256 random bits, encoded as `r1.` and 43 characters of base64url. It is never stored
 * and never logged: stores see only its `StoreKey`.
 *
 * @since 0.1.0
 * @category models
 */
export type SessionToken = Redacted.Redacted<string> & Brand.Brand<"effect-session/SessionToken">

/**
 * Parses a cookie value. `None` for anything but the one canonical encoding of a token.
 *
 * @since 0.1.0
 * @category constructors
 */
export const parse = (value: string): Option.Option<SessionToken> =>
  isTokenText(value) ? Option.some(Redacted.make(value) as SessionToken) : Option.none()
