/**
 * The middleware of HttpApi of a session tag.
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
 * Makes the tag. It knows the cookie's name, for the description of the API, and nothing of a server: definitions that
 * hold it can be shared with browsers.
 */
export const make = <Self, A, const Id extends string>(
  handle: Context.Tag<Self, SessionHandle<A>>,
  id: Id,
  cookieName: string
): Tag<Self, A, Id> =>
  HttpApiMiddleware.Tag<SessionHttpApi<Self>>()(`${id}/HttpApi`, {
    provides: handle,
    failure: SessionError,
    security: { [schemeOf(id)]: HttpApiSecurity.apiKey({ in: "cookie", key: cookieName }) }
  })

/** A description names each scheme once, so two sessions need two names; OpenAPI allows these characters in them. */
const schemeOf = (id: string): string => id.replace(/[^A-Za-z0-9._-]/g, ".")

/**
 * What the middleware does: it opens the request's session and has it committed before the response. Where one is open
 * already, that one is used.
 */
export const layer = <Self, A, Id extends string>(
  tag: Tag<Self, A, Id>,
  handle: Context.Tag<Self, SessionHandle<A>>,
  service: Context.Tag<SessionService<Self>, Sessions<A>>
): Layer.Layer<SessionHttpApi<Self>, never, SessionService<Self>> =>
  // The scanner of the raw header is the only one that reads our cookie; what the scheme has parsed is left alone.
  Layer.merge(
    Layer.effect(
      tag,
      Effect.map(service, (shape) => Record.map(tag.security, () => () => opened(handle, shape)))
    ),
    lastWord
  )

/**
 * A middleware of HttpApi runs before its handler and sees no response, so it cannot run after the hooks that a handler adds. One
 * around the whole API can.
 */
const lastWord = HttpApiBuilder.middleware((app) =>
  Effect.withFiberRuntime((fiber) =>
    Effect.matchCauseEffect(app, {
      onSuccess: (response) => Effect.as(becomeLast(fiber), response),
      onFailure: (cause) => Effect.zipRight(becomeLast(fiber), Effect.failCause(cause))
    })
  )
)
