/**
 * Sessions of requests that are upgraded to sockets.
 */
import * as HttpServerError from "@effect/platform/HttpServerError"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Effect from "effect/Effect"
import type { RequestSession } from "../../SessionService.js"

/**
 * Detaches the session when its request is upgraded to a socket. `upgrade` is a member of the request, and routers copy requests,
 * so copies are watched, too. The response to an upgrade cannot carry a cookie, so the upgrade fails if one is pending.
 */
export const watchUpgrade = <A, C>(
  request: HttpServerRequest.HttpServerRequest,
  session: RequestSession<A, C>
): void => {
  const { modify, upgrade } = request
  Object.defineProperties(request, {
    upgrade: {
      // Another session may watch the same request.
      configurable: true,
      value: Effect.suspend(() =>
        session.used?.setCookie === undefined
          ? Effect.tap(upgrade, () => Effect.sync(session.detach))
          : new HttpServerError.RequestError({
            request,
            reason: "Decode",
            description: "The session has a pending cookie, which an upgrade to a socket cannot carry. " +
              "Log in, or create the session, by an ordinary request before it."
          })
      )
    },
    modify: {
      configurable: true,
      value: (options: Parameters<typeof modify>[0]) => {
        const copy = modify.call(request, options)
        watchUpgrade(copy, session)
        return copy
      }
    }
  })
}
