/**
 * Refuses requests that another site may have made a browser send. Does not touch the session of a request that it refuses.
 */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SessionUnavailable } from "../../SessionError.js"
import type { SessionHandle } from "../../SessionHandle.js"
import { configError } from "../configError.js"
import type { ForgeryReason } from "../domain/outcomes.js"
import { withHelp } from "../help.js"
import { countForgery } from "../metrics.js"
import type { Forgery } from "../session/forgery.js"
import { Handle } from "../session/handle.js"
import { formField } from "./formField.js"
import { hostsOf, isLoopback } from "./request.js"

type Request = HttpServerRequest.HttpServerRequest

export interface Rules {
  readonly trustedOrigins: ReadonlySet<string>
  readonly allowMissingOrigin: boolean
  readonly header: string
  readonly field: string
}

/** Makes the rules. Throws a `SessionConfigError` for a text that is no origin. */
export const rulesOf = (options: {
  readonly trustedOrigins?: ReadonlyArray<string>
  readonly allowMissingOrigin?: boolean
  readonly header?: string
  readonly field?: string
}): Rules => {
  const { trustedOrigins = [] } = options
  for (const origin of trustedOrigins) {
    if (parsed(origin) === undefined) {
      throw configError(
        "Csrf",
        `"${origin}" is not an origin. Write it as a browser does: scheme, host and, if it is not the default, port, in lower case ` +
          "and without a path, such as \"https://admin.example.com\".",
        "origin-invalid"
      )
    }
  }
  return {
    trustedOrigins: new Set(trustedOrigins),
    allowMissingOrigin: options.allowMissingOrigin === true,
    header: (options.header ?? "x-csrf-token").toLowerCase(),
    field: options.field ?? "csrfToken"
  }
}

/** Returns why the request is refused; `undefined` if it is not. Loads the session only if the headers are in order. */
export const check = <A, C>(
  session: SessionHandle<A, never, C>,
  rules: Rules
): Effect.Effect<ForgeryReason | undefined, SessionUnavailable, Request> =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
    const { headers, method } = request
    const isUpgrade = headers.upgrade !== undefined
    if (safeMethods.has(method) && !isUpgrade) return Effect.succeed(undefined)
    const protection = protectionOf(session)
    // A page of another site cannot make a browser send a bearer token.
    if (protection.transport === "bearer") return Effect.succeed(undefined)
    const foreign = foreignReason(request, rules)
    const reason = isUpgrade && safeMethods.has(method)
      // A browser always sends the origin with a handshake, and a page cannot add a token to it.
      ? Effect.succeed(foreign === "missingOrigin" ? undefined : foreign)
      : foreign === undefined
      ? tokenReason(protection, request, rules)
      : Effect.succeed(foreign)
    return Effect.tap(reason, (reason) =>
      // Nothing of a refused request is written: neither what an outer middleware has changed, nor the time of its use.
      reason === undefined ? Effect.void : Effect.zipRight(protection.refuse, countForgery(reason)))
  })

const safeMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE"])

/** Returns why the headers that only browsers set do not show a page of this origin or a trusted one. */
const foreignReason = (request: Request, rules: Rules): ForgeryReason | undefined => {
  const { origin, "sec-fetch-site": site } = request.headers
  if (site === "same-origin" || site === "none") return undefined
  if (origin !== undefined && rules.trustedOrigins.has(origin)) return undefined
  if (site !== undefined) return "crossSite"
  if (origin === undefined) return rules.allowMissingOrigin ? undefined : "missingOrigin"
  return isOwn(request, origin) ? undefined : "origin"
}

/**
 * Returns whether an origin is that of the request. Only https is trusted, but on this machine: on the way to a browser that uses plain
 * http, pages can be forged.
 */
const isOwn = (request: Request, origin: string): boolean => {
  const url = parsed(origin)
  return url !== undefined && (url.protocol === "https:" || isLoopback(url.host)) &&
    hostsOf(request).some((host) => parsed(`${url.protocol}//${host.toLowerCase()}`, false)?.host === url.host)
}

/** Parses an origin. `exact`: as a browser writes it. */
const parsed = (text: string, exact = true): URL | undefined => {
  try {
    const url = new URL(text)
    return /^https?:$/.test(url.protocol) && (!exact || url.origin === text) ? url : undefined
  } catch {
    return undefined
  }
}

const tokenReason = (
  protection: Forgery,
  request: Request,
  { field, header }: Rules
): Effect.Effect<ForgeryReason | undefined, SessionUnavailable> =>
  Effect.flatMap(
    protection.verify,
    Option.match({
      // Without a session there is no authority to misuse.
      onNone: () => Effect.succeed(undefined),
      onSome: (verify) =>
        Effect.map(
          Effect.suspend(() => {
            const token = request.headers[header]
            return token === undefined ? formField(request, field) : Effect.succeed(token)
          }),
          (token) => token === undefined ? "missingToken" : verify(token) ? undefined : "token"
        )
    })
  )

/** A newly masked token of the session that the response leaves to the browser. */
export const tokenOf = <A, C>(
  session: SessionHandle<A, never, C>
): Effect.Effect<Option.Option<string>, SessionUnavailable> => Effect.suspend(() => protectionOf(session).token)

const protectionOf = <A, C>(session: SessionHandle<A, never, C>): Forgery => {
  const protection = Handle.forgeryOf(session)
  if (protection === undefined) {
    throw new TypeError(
      withHelp("Csrf needs the handle of a request's session, and got another object.", "csrf-needs-the-session")
    )
  }
  return protection
}
