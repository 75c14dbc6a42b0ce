/**
 * How errors of the session are answered, where JSON is not what the visitor should see.
 *
 * @since 0.3.0
 */
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { SessionError } from "./SessionError.js"

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
