/**
 * The HttpApi middleware of a session tag.
 */
import * as Headers from "@effect/platform/Headers"
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as HttpApiSecurity from "@effect/platform/HttpApiSecurity"
import * as OpenApi from "@effect/platform/OpenApi"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberRefs from "effect/FiberRefs"
import * as Layer from "effect/Layer"
import * as Record from "effect/Record"
import { SessionError } from "../../SessionError.js"
import type { SessionHandle } from "../../SessionHandle.js"
import type { Security, SessionHttpApi, Tag } from "../../SessionHttpApi.js"
import type { Sessions, SessionService, Transport } from "../../SessionService.js"
import { asking, ended } from "../domain/transport.js"
import * as Server from "./server.js"

/**
 * Makes the tag. It holds the security schemes for the OpenAPI description and nothing of a server, so API definitions can be
 * shared with browsers.
 */
export const make = <Self, A, const Id extends string, C>(
  handle: Context.Tag<Self, SessionHandle<A, never, C>>,
  id: Id,
  cookieName: string,
  transport: Transport
): Tag<Self, A, Id, C> =>
  HttpApiMiddleware.Tag<SessionHttpApi<Self>>()(`${id}/HttpApi`, {
    provides: handle,
    failure: SessionError,
    security: securityOf(schemeOf(id), cookieName, transport)
  })

/** The schemes that a client can choose from. */
const securityOf = (scheme: string, cookieName: string, { accepts, header }: Transport): Security => ({
  ...(accepts === "bearer" ? {} : { [scheme]: HttpApiSecurity.apiKey({ in: "cookie", key: cookieName }) }),
  ...(accepts === "cookie" ? {} : {
    [`${scheme}.bearer`]: HttpApiSecurity.annotate(
      HttpApiSecurity.bearer,
      OpenApi.Description,
      `The token of the session. A response with a new token has it in the header ${header}; "${ended}" there means that the ` +
        `session has ended.${
          accepts === "both" ? ` A request without a cookie asks for a token with "${header}: ${asking}".` : ""
        }`
    )
  })
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
  // Ignore the credential that the security scheme has parsed: only our scanner of the raw headers is safe.
  Layer.merge(
    Layer.effect(
      tag,
      Effect.map(service, (shape) => {
        if (shape.transport.accepts !== "cookie") redactHeader(shape.transport.header)
        return Record.map(tag.security, () => () => Server.opened(handle, shape))
      })
    ),
    Server.moveLast
  )

/**
 * Adds the header of bearer tokens to the default of the names that the platform redacts in spans and logs. The span of a request
 * reads them before any middleware runs, in a fiber whose own FiberRefs we cannot set.
 */
const redactHeader = (name: string): void => {
  const names = FiberRefs.getOrDefault(FiberRefs.empty(), Headers.currentRedactedNames)
  if (!names.includes(name)) Object.assign(Headers.currentRedactedNames, { initial: [...names, name] })
}
