/**
 * Responses to session errors: by the error page in use, or as an HttpApi declares them.
 */
import * as HttpBody from "@effect/platform/HttpBody"
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { SessionError } from "../../SessionError.js"
import type { Renderer } from "../../SessionErrorPage.js"
import { withHelp } from "../help.js"

/** Sessions that an HttpApi uses. Its clients expect the declared response, and no page. */
export const declared = new WeakSet<object>()

/** Renders an error exactly as an HttpApi declares it. */
export const asDeclared: Renderer = (error) =>
  Effect.map(
    HttpServerRespondable.toResponse(error),
    (response) => HttpServerResponse.setBody(response, HttpBody.unsafeJson(encode(error)))
  )

const encode = Schema.encodeSync(SessionError)

/** Renders an error with the page, or as JSON if the page fails. Adds `Retry-After`. */
export const answer = (
  page: Renderer,
  error: SessionError,
  request: HttpServerRequest
): Effect.Effect<HttpServerResponse.HttpServerResponse> =>
  Effect.map(
    Effect.catchAllCause(
      Effect.suspend(() => page(error, request)),
      (cause) =>
        Effect.zipRight(
          Effect.logError(
            withHelp("The page for a session error failed. The error was answered without it.", "error-page-failed"),
            cause
          ),
          HttpServerRespondable.toResponse(error)
        )
    ),
    (response) => error._tag === "SessionUnavailable" ? withRetryAfter(response, error.retryAfter) : response
  )

export const withRetryAfter = (response: HttpServerResponse.HttpServerResponse, seconds: number) =>
  response.headers["retry-after"] === undefined
    ? HttpServerResponse.setHeader(response, "retry-after", String(seconds))
    : response
