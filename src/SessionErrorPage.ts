/**
 * How errors of the session are answered, where JSON is not what the visitor should see.
 *
 * @since 0.3.0
 */
import * as HttpBody from "@effect/platform/HttpBody"
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { SessionError } from "./SessionError.js"

/**
 * Makes the response to an error. It must not use the session: that has failed already.
 *
 * @since 0.3.0
 * @category models
 */
export type Renderer = (
  error: SessionError,
  request: HttpServerRequest
) => Effect.Effect<HttpServerResponse.HttpServerResponse>

/**
 * The page in use. By default every error answers by itself, as JSON with its own status.
 *
 * It is asked for errors that a handler lets through, and for those of the commit, which no handler sees. A request to an
 * HttpApi is answered with the shapes that the API declares, whatever is around it. Where the middleware is given to a
 * server (`HttpServer.serve(app, AppSession.middleware)`), errors of handlers have become responses before it sees them,
 * and stay as they are.
 *
 * @since 0.3.0
 * @category tags
 */
export class SessionErrorPage extends Context.Reference<SessionErrorPage>()("effect-session/SessionErrorPage", {
  defaultValue: (): Renderer => HttpServerRespondable.toResponse
}) {}

/**
 * Shows a page of the application's own. It belongs to the server, and is provided to it and not to its routes.
 *
 * Escape what is put into HTML. Fields of the error may hold what a visitor has sent (`SessionInvalid.field`); a `message`
 * does not, but the types of a schema that it names may hold `<` and `&`.
 *
 * @example
 * ```ts
 * import { HttpServerRespondable, HttpServerResponse } from "@effect/platform"
 * import { Effect } from "effect"
 * import { SessionErrorPage } from "effect-session"
 *
 * const escape = (text: string) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
 *
 * export const pages = SessionErrorPage.layer((error) =>
 *   // The status is the one that the error has by itself.
 *   Effect.map(HttpServerRespondable.toResponse(error), ({ status }) =>
 *     HttpServerResponse.setStatus(HttpServerResponse.html(`<h1>Sorry</h1><p>${escape(error.message)}</p>`), status))
 * )
 * ```
 *
 * @since 0.3.0
 * @category layers
 */
export const layer = (
  page: (error: SessionError, request: HttpServerRequest) =>
    | Effect.Effect<HttpServerResponse.HttpServerResponse>
    | HttpServerResponse.HttpServerResponse
): Layer.Layer<SessionErrorPage> =>
  Layer.succeed(SessionErrorPage, (error, request) => Effect.suspend(() => page(error, request)))

/** Sessions that an HttpApi uses: its clients know the shapes that it declares, and no page. @internal */
export const declared = new WeakSet<object>()

/** The response to an error exactly as an HttpApi declares it. @internal */
export const asDeclared: Renderer = (error) =>
  Effect.map(
    HttpServerRespondable.toResponse(error),
    (response) => HttpServerResponse.setBody(response, HttpBody.unsafeJson(encode(error)))
  )

const encode = Schema.encodeSync(SessionError)

/** Total, whatever the page does; says when to come back. @internal */
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

/** @internal */
export const withRetryAfter = (response: HttpServerResponse.HttpServerResponse, seconds: number) =>
  response.headers["retry-after"] === undefined
    ? HttpServerResponse.setHeader(response, "retry-after", String(seconds))
    : response
