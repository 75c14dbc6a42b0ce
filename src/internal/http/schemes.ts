/**
 * The handlers of the security schemes of an HttpApi middleware.
 */
import * as Effect from "effect/Effect"
import * as Record from "effect/Record"
import { SessionUnavailable } from "../../SessionError.js"

/**
 * Makes the handlers of a check, one for each security scheme. HttpApi runs the handler of the next scheme if one fails, and answers with
 * the failure of the last one. The check reads every credential itself and must run once, so the others fail at once.
 */
export const forSchemes = <B, E, R>(
  security: Readonly<Record<string, unknown>>,
  check: Effect.Effect<B, E, R>
): Readonly<Record<string, () => Effect.Effect<B, E | SessionUnavailable, R>>> => {
  const last = Object.keys(security).at(-1)
  return Record.map(security, (_, name) => () => name === last ? check : Effect.fail(next))
}

/** Never sent: the handler of the last scheme answers. */
const next = new SessionUnavailable({ session: "", reason: "store", retryAfter: 0 })
