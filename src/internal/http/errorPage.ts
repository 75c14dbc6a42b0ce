/**
 * The response to a session error: by the page in use, or as an HttpApi declares it.
 */
import * as HttpBody from "@effect/platform/HttpBody"
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { SessionError } from "../../SessionError.js"
import type { Renderer } from "../../SessionErrorPage.js"

/** Sessions that an HttpApi uses: its clients know the shapes that it declares, and no page. */
export const declared = new WeakSet<object>()

/** The response to an error exactly as an HttpApi declares it. */
export const asDeclared: Renderer = (error) =>
  Effect.map(
    HttpServerRespondable.toResponse(error),
    (response) => HttpServerResponse.setBody(response, HttpBody.unsafeJson(encode(error)))
  )

const encode = Schema.encodeSync(SessionError)

/** Total, whatever the page does; says when to come back. */
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
          Effect.logError("The page for a session error failed.", cause),
          HttpServerRespondable.toResponse(error)
        )
    ),
    (response) => error._tag === "SessionUnavailable" ? withRetryAfter(response, error.retryAfter) : response
  )

/** */
export const withRetryAfter = (response: HttpServerResponse.HttpServerResponse, seconds: number) =>
  response.headers["retry-after"] === undefined
    ? HttpServerResponse.setHeader(response, "retry-after", String(seconds))
    : response
