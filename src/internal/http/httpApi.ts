/**
 * The HttpApi middleware of a session tag.
 */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as HttpApiSecurity from "@effect/platform/HttpApiSecurity"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Record from "effect/Record"
import { SessionError } from "../../SessionError.js"
import type { SessionHandle } from "../../SessionHandle.js"
import type { SessionHttpApi, Tag } from "../../SessionHttpApi.js"
import type { Sessions, SessionService } from "../../SessionService.js"
import { opened } from "./opened.js"
import { becomeLast } from "./preResponse.js"

/**
 * Makes the tag. It holds the name of the cookie for the OpenAPI description and nothing of a server, so API definitions can be
 * shared with browsers.
 */
export const make = <Self, A, const Id extends string, C>(
  handle: Context.Tag<Self, SessionHandle<A, never, C>>,
  id: Id,
  cookieName: string
): Tag<Self, A, Id, C> =>
  HttpApiMiddleware.Tag<SessionHttpApi<Self>>()(`${id}/HttpApi`, {
    provides: handle,
    failure: SessionError,
    security: { [schemeOf(id)]: HttpApiSecurity.apiKey({ in: "cookie", key: cookieName }) }
  })

/** The name of the security scheme, unique for each session tag. OpenAPI allows only these characters. */
const schemeOf = (id: string): string => id.replace(/[^A-Za-z0-9._-]/g, ".")

/**
 * Implements the middleware: opens the request's session and commits it before the response. A session that is open already is
 * shared.
 */
export const layer = <Self, A, Id extends string, C>(
  tag: Tag<Self, A, Id, C>,
  handle: Context.Tag<Self, SessionHandle<A, never, C>>,
  service: Context.Tag<SessionService<Self>, Sessions<A, C>>
): Layer.Layer<SessionHttpApi<Self>, never, SessionService<Self>> =>
  // Ignore the cookie that the security scheme has parsed: only the scanner of the raw header is safe.
  Layer.merge(
    Layer.effect(
      tag,
      Effect.map(service, (shape) => Record.map(tag.security, () => () => opened(handle, shape)))
    ),
    moveLast
  )

/**
 * Moves our pre-response handler to the end. A middleware of HttpApi cannot do it, because it runs before its handler; a
 * middleware around the whole API can.
 */
const moveLast = HttpApiBuilder.middleware((app) =>
  Effect.withFiberRuntime((fiber) =>
    Effect.matchCauseEffect(app, {
      onSuccess: (response) => Effect.as(becomeLast(fiber), response),
      onFailure: (cause) => Effect.zipRight(becomeLast(fiber), Effect.failCause(cause))
    })
  )
)
