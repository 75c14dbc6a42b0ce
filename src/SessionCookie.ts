/**
 * The session cookie: its name, its scope, and the rules that browsers enforce on both.
 *
 * Sources: draft-ietf-httpbis-rfc6265bis-22 (attributes, `__Secure-`, `__Host-`, 400 days) and
 * draft-ietf-httpbis-layered-cookies-02 (`__Http-`, `__Host-Http-`).
 *
 * @since 0.1.0
 */
import { withDefaults } from "./internal/domain/cookieDefaults.js"
import type { CompileError } from "./SessionConfigError.js"

/**
 * The SameSite attribute: whether the browser sends the cookie with cross-site requests. `"none"` must be acknowledged, because
 * it gives up the browser's defence against forged requests.
 *
 * @since 0.1.0
 * @category models
 */
export type SameSite =
  | { readonly sameSite?: "lax" | "strict"; readonly acknowledgeCrossSite?: never; readonly partitioned?: never }
  | CrossSite<"SameSite=None sends the cookie with requests that other sites forge: add acknowledgeCrossSite: true">

/**
 * SameSite=None, acknowledged. The compiler prints the sentence if the acknowledgement is missing.
 *
 * @since 0.6.0
 * @category models
 */
export interface CrossSite<_Sentence extends string> {
  readonly sameSite: "none"
  readonly acknowledgeCrossSite: true
  readonly partitioned?: boolean
}

interface Common {
  /** The name, without its prefix. Default `"session"`; for a cookie that is not Secure, `session-dev-` and the tag's id. */
  readonly name?: string
  /** The cookie ends with the browser. The server's limits stay as they are. Default `false`. */
  readonly browserLength?: boolean
}

/** One host, all paths, HTTPS only; with `__Host-Http-` no script can set it. */
interface HostScope {
  readonly prefix?: "__Host-Http-" | "__Host-"
  readonly domain?: never
  readonly path?: never
  readonly secure?: true
}

/** HTTPS only, and may be shared between the hosts of a domain. */
interface SecureScope {
  readonly prefix: "__Secure-" | "__Http-" | ""
  readonly domain?: string
  readonly path?: string
  readonly secure?: true
}

/** Plain HTTP. Browsers reject SameSite=None here. */
interface InsecureScope {
  readonly prefix: ""
  readonly domain?: string
  readonly path?: string
  readonly secure: false
  readonly sameSite?:
    | "lax"
    | "strict"
    | ("lax" & CompileError<"Browsers drop a cookie with SameSite=None that is not Secure: leave out secure: false">)
}

/**
 * Options of the session cookie. A combination that a browser would drop silently does not type-check.
 *
 * `HttpOnly` cannot be switched off: the token is not for scripts.
 *
 * @since 0.1.0
 * @category models
 */
export type CookieOptions =
  & ((SameSite & HostScope) | (SameSite & SecureScope) | (InsecureScope & { readonly partitioned?: never }))
  & Common

/**
 * The options with their defaults filled in.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionCookie {
  /** Prefix and name. */
  readonly name: string
  readonly domain: string | undefined
  readonly path: string
  readonly secure: boolean
  readonly sameSite: "lax" | "strict" | "none"
  readonly partitioned: boolean
  readonly browserLength: boolean
}

/**
 * Options for local development without HTTPS: no prefix, not Secure, and a name derived from the tag's id, because all ports of
 * a host share cookies. A server with these options does not start if `NODE_ENV` is `production`, and answers requests for any
 * host but loopback with status 500 and an explanation.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Session, SessionCookie } from "effect-session"
 *
 * class AppSession extends Session.Tag<AppSession>()("app/Session", {
 *   schema: Schema.Struct({ user: Schema.optional(Schema.String) })
 * }) {}
 *
 * export const onLocalhost = AppSession.layerWith({ cookie: SessionCookie.development })
 * ```
 *
 * @since 0.1.0
 * @category presets
 */
export const development = { prefix: "", secure: false } as const satisfies CookieOptions

/**
 * Fills in the defaults: `__Host-Http-session`, Secure, HttpOnly, SameSite=Lax, Path=/. `tagId`: the id of the session tag, for
 * the name of a cookie that is not Secure.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: CookieOptions = {}, tagId = ""): SessionCookie => withDefaults(options, tagId)
