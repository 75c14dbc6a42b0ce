/**
 * The error page: responses to session errors in place of JSON.
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
 * Makes the response to an error. Must not use the session, which has failed already.
 *
 * @since 0.3.0
 * @category models
 */
export type Renderer = (
  error: SessionError,
  request: HttpServerRequest
) => Effect.Effect<HttpServerResponse.HttpServerResponse>

/**
 * The error page in use. By default every error is answered as JSON with its own status.
 *
 * Applies to errors that a handler does not catch, and to errors of the commit, which no handler can catch. Endpoints of an
 * HttpApi are always answered as the API declares. If the middleware wraps the whole server (`HttpServer.serve(app,
 * AppSession.middleware)`), errors of handlers have become responses before, and stay as they are.
 *
 * @since 0.3.0
 * @category tags
 */
export class SessionErrorPage extends Context.Reference<SessionErrorPage>()("effect-session/SessionErrorPage", {
  defaultValue: (): Renderer => HttpServerRespondable.toResponse
}) {}

/**
 * Replaces the JSON responses by a page of the application. Provide it to the server, not to its routes.
 *
 * Escape everything that is put into HTML: fields of the error may contain input of a visitor (`SessionInvalid.field`), and a
 * `message` may contain `<` and `&` from types of the schema.
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
 *   // Keep the status of the error.
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
