/**
 * Public ids of sessions.
 *
 * @since 0.1.0
 */
import * as Brand from "effect/Brand"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

/**
 * The public id of a session: safe to list, log and use for a revocation. Independent of the token. 128 random bits, as 22
 * characters of base64url.
 *
 * @since 0.1.0
 * @category models
 */
export type SessionId = string & Brand.Brand<"effect-session/SessionId">

const pattern = /^[A-Za-z0-9_-]{22}$/

const brand = Brand.nominal<SessionId>()

/**
 * The schema of a session id, for instance for a path parameter.
 *
 * @since 0.6.0
 * @category schemas
 */
export const SessionId: Schema.Schema<SessionId, string> = Schema.String.pipe(
  Schema.pattern(pattern, { message: () => "Expected the id of a session: 22 characters of base64url" }),
  Schema.fromBrand(brand)
)

/**
 * Parses an id, for instance from a form or a command line. `None` if it is malformed.
 *
 * @example
 * ```ts
 * import { Effect, Option } from "effect"
 * import { SessionId } from "effect-session"
 * import type { Sessions } from "effect-session/SessionService"
 *
 * declare const sessions: Sessions<object>
 *
 * export const logOut = (id: string) =>
 *   Option.match(SessionId.parse(id), {
 *     onNone: () => Effect.succeed(false),
 *     onSome: sessions.revoke
 *   })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const parse = (value: string): Option.Option<SessionId> =>
  pattern.test(value) ? Option.some(brand(value)) : Option.none()
