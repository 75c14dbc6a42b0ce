/**
 * Opens the session for a middleware of HttpApi.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Record from "effect/Record"
import { SessionUnavailable } from "../../SessionError.js"
import type { SessionHandle } from "../../SessionHandle.js"
import type { Sessions } from "../../SessionService.js"
import { declared } from "./errorPage.js"
import { notLoopback, openedBefore, openSession } from "./preResponse.js"

/** Opens the session of the request, or returns the one that is open already. */
export const opened = <Self, A, C>(
  handle: Context.Tag<Self, SessionHandle<A, never, C>>,
  service: Sessions<A, C>
): Effect.Effect<SessionHandle<A, never, C>> =>
  Effect.withFiberRuntime((fiber) => {
    const context: Context.Context<never> = fiber.currentContext
    // A guard opens a session without providing it to the endpoint.
    const outer = Context.getOption(Context.merge(context, openedBefore(fiber)), handle)
    if (Option.isSome(outer)) {
      declared.add(outer.value)
      return Effect.succeed(outer.value)
    }
    const member = openSession(fiber, handle, service, undefined)
    return member === undefined ? Effect.die(notLoopback) : Effect.succeed(member.session)
  })

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
