/**
 * The session cookie: its name, its scope, and the rules that browsers enforce on both.
 *
 * Sources: draft-ietf-httpbis-rfc6265bis-22 (attributes, `__Secure-`, `__Host-`, 400 days) and
 * draft-ietf-httpbis-layered-cookies-02 (`__Http-`, `__Host-Http-`).
 *
 * @since 0.1.0
 */
import type { SessionExpiry } from "./Expiry.js"
import type { CompileError } from "./SessionConfigError.js"

/**
 * When a browser sends the cookie along with a request from another site. `"none"` must be acknowledged, because it
 * gives up the browser's own defence against forged requests.
 *
 * @since 0.1.0
 * @category models
 */
export type SameSite =
  | { readonly sameSite?: "lax" | "strict"; readonly acknowledgeCrossSite?: never; readonly partitioned?: never }
  | CrossSite<"SameSite=None sends the cookie with requests that other sites forge: add acknowledgeCrossSite: true">

/**
 * SameSite=None, acknowledged. The compiler prints the sentence where the acknowledgement is missing.
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

/** Plain HTTP. Browsers refuse SameSite=None here. */
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
 * What a session tag says of its cookie. A combination that a browser would drop in silence does not type-check.
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
 * Options that were read from somewhere, where types cannot refuse a combination that a browser would drop:
 * {@link validate} does. All `CookieOptions` are among them.
 *
 * @since 0.2.0
 * @category models
 */
export interface UncheckedCookieOptions {
  readonly name?: string
  readonly prefix?: "__Host-Http-" | "__Host-" | "__Secure-" | "__Http-" | ""
  readonly domain?: string
  readonly path?: string
  readonly secure?: boolean
  readonly sameSite?: "lax" | "strict" | "none"
  readonly partitioned?: boolean
  readonly browserLength?: boolean
}

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
 * For a server on this machine, without HTTPS: no prefix, not Secure, and a name made of the tag's id, because cookies are
 * shared by all ports of a host, and applications of one machine would log each other's visitors out. A server built with it
 * refuses to start when `NODE_ENV` is `production`, and answers requests for any host but loopback with a 500 that says why.
 *
 * @since 0.1.0
 * @category presets
 */
export const development = { prefix: "", secure: false } as const satisfies CookieOptions

/**
 * Fills in the defaults: `__Host-Http-session`, Secure, HttpOnly, SameSite=Lax, Path=/. `tagId`: of the session tag, for the
 * name of a cookie that is not Secure.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: CookieOptions = {}, tagId = ""): SessionCookie => fromUnchecked(options, tagId)

/**
 * The same of options that no type has checked: ask {@link validate} before using the result.
 *
 * @since 0.2.0
 * @category constructors
 */
export const fromUnchecked = (options: UncheckedCookieOptions = {}, tagId = ""): SessionCookie => {
  const prefix = options.prefix ?? "__Host-Http-"
  const name = options.secure === false ? `session-dev-${tagId.replaceAll(/[^A-Za-z0-9._-]/g, ".")}` : "session"
  return {
    name: prefix + (options.name ?? name),
    domain: options.domain,
    path: options.path ?? "/",
    secure: options.secure ?? true,
    sameSite: options.sameSite ?? "lax",
    partitioned: options.partitioned ?? false,
    browserLength: options.browserLength ?? false
  }
}

/**
 * What browsers keep cookies of one name apart by, as a text without meaning: domain, path and partition. `undefined` for
 * those that have none of them: this host, the path `/`, no partition.
 *
 * @since 0.6.0
 * @category computation
 */
export const scopeOf = ({ domain, partitioned, path }: SessionCookie): string | undefined =>
  domain === undefined && path === "/" && !partitioned
    ? undefined
    : JSON.stringify([domain?.toLowerCase().replace(/^\./, ""), path, partitioned])

const namePattern = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}$/
const domainPattern = /^\.?[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*$/
const pathPattern = /^\/[\x20-\x3A\x3C-\x7E]*$/

const prefixPattern = /^__(?:host|secure|http)-/i

/** Browsers ignore an attribute longer than this (RFC 6265bis, 5.7). */
const longestAttribute = 1024

/**
 * Says in one sentence why a browser would drop this cookie, or `undefined`. Types refuse most of it already; this is
 * for values that come from a configuration.
 *
 * @since 0.1.0
 * @category validation
 */
export const validate = (self: SessionCookie): string | undefined => {
  const name = self.name.toLowerCase()
  const hostPrefix = name.startsWith("__host-")
  if (!namePattern.test(self.name)) {
    return "The name of a session cookie may hold letters, digits and !#$%&'*+.^_`|~- only."
  }
  if (hostPrefix && self.domain !== undefined) return "A cookie whose name begins with __Host- cannot carry a Domain."
  if (hostPrefix && self.path !== "/") return "A cookie whose name begins with __Host- must have the path /."
  if (prefixPattern.test(self.name) && !self.secure) {
    return "A cookie whose name begins with __Host-, __Secure- or __Http- must be Secure."
  }
  if (self.sameSite === "none" && !self.secure) return "Browsers drop a cookie with SameSite=None that is not Secure."
  if (self.partitioned && self.sameSite !== "none") return "A partitioned cookie needs SameSite=None."
  if (self.domain !== undefined && !(self.domain.length <= longestAttribute && domainPattern.test(self.domain))) {
    return "The domain of a session cookie is not a host name."
  }
  if (!(self.path.length <= longestAttribute && pathPattern.test(self.path))) {
    return "The path of a session cookie must begin with / and hold visible ASCII other than ; only, at most 1024 characters."
  }
  return undefined
}

/**
 * Says in one sentence each what is legal here, and doubtful on a public server.
 *
 * @since 0.2.0
 * @category validation
 */
export const warnings = (self: SessionCookie): ReadonlyArray<string> => {
  const doubts: Array<string> = []
  if (self.secure && !prefixPattern.test(self.name)) {
    doubts.push(
      "The name of the session cookie has no prefix, so another host of the domain, or plain HTTP, can plant one; " +
        "__Host-Http-, or __Secure- where a Domain is needed, prevents it."
    )
  }
  if (self.sameSite === "none") {
    doubts.push(
      "The session cookie is SameSite=None, so browsers send it with requests that other sites forge; every route " +
        "that changes something needs a defence of its own."
    )
  }
  return doubts
}

/** Browsers cut longer lifetimes to this (RFC 6265bis, 5.5). */
const longestAge = 400 * 24 * 60 * 60

/**
 * The cookie's Max-Age in whole seconds, or `undefined` for a cookie that ends with the browser.
 *
 * It runs to the fixed end of the session, so that activity needs no new cookie; where there is none, or where the
 * session has its own lifetime, it runs to the computed end. Never negative, never over 400 days.
 *
 * @since 0.1.0
 * @category computation
 */
export const maxAge = (self: SessionCookie, expiry: SessionExpiry, now: number): number | undefined => {
  if (expiry.lifetime === undefined ? self.browserLength : expiry.lifetime._tag === "Browser") return undefined
  const end = expiry.lifetime === undefined ? expiry.deadline ?? expiry.at : expiry.at
  return Math.min(Math.max(Math.floor((end - now) / 1000), 0), longestAge)
}

/**
 * True when the Max-Age that the browser holds falls behind as the session is prolonged, so that each write must send
 * the cookie again.
 *
 * @since 0.1.0
 * @category computation
 */
export const slides = (self: SessionCookie, expiry: SessionExpiry): boolean =>
  expiry.lifetime === undefined
    ? expiry.deadline === undefined && !self.browserLength
    : expiry.lifetime._tag === "Inactivity"
