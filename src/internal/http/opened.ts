/**
 * Opens the session for a middleware of HttpApi.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
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
