/**
 * The order of pre-response handlers in an HttpApi.
 */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as Effect from "effect/Effect"
import { becomeLast } from "./preResponse.js"

/**
 * Moves our pre-response handler to the end. A middleware of HttpApi cannot do it, because it runs before its handler; a
 * middleware around the whole API can.
 */
export const moveLast = HttpApiBuilder.middleware((app) =>
  Effect.withFiberRuntime((fiber) =>
    Effect.matchCauseEffect(app, {
      onSuccess: (response) => Effect.as(becomeLast(fiber), response),
      onFailure: (cause) => Effect.zipRight(becomeLast(fiber), Effect.failCause(cause))
    })
  )
)
