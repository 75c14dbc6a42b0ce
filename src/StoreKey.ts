/**
 * Store keys: a store keeps each record under a hash of its token.
 *
 * @since 0.1.0
 */
import * as Brand from "effect/Brand"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

/**
 * SHA-256 of a namespace and a session token, as 43 characters of base64url. A store receives keys and never tokens, so a copy of the store
 * contains no valid cookie.
 *
 * @since 0.1.0
 * @category models
 */
export type StoreKey = string & Brand.Brand<"effect-session/StoreKey">

const pattern = /^[A-Za-z0-9_-]{43}$/

const branded = Brand.nominal<StoreKey>()

/**
 * The schema of a store key.
 *
 * @since 0.6.0
 * @category schemas
 */
export const StoreKey: Schema.Schema<StoreKey, string> = Schema.String.pipe(
  Schema.pattern(pattern, { message: () => "Expected the key of a session: 43 characters of base64url" }),
  Schema.fromBrand(branded)
)

/**
 * Parses a store key, for instance from a command line. Returns `None` if the text has another form.
 *
 * @since 0.1.0
 * @category constructors
 */
export const parse = (value: string): Option.Option<StoreKey> =>
  pattern.test(value) ? Option.some(branded(value)) : Option.none()

/**
 * Returns whether a value is a store key.
 *
 * @since 0.6.0
 * @category guards
 */
export const is: (value: unknown) => value is StoreKey = Schema.is(StoreKey)
