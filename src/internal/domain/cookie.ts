/**
 * The rules that browsers enforce on cookies, and the age of the session cookie.
 */
import type { SessionExpiry } from "../../Expiry.js"
import type { SessionCookie } from "../../SessionCookie.js"
import type { Problem } from "../configError.js"

/**
 * The scope by which browsers distinguish cookies of one name (domain, path and partition), as an opaque text. `undefined` for
 * the default: this host, the path `/`, no partition.
 */
export const scopeOf = ({ domain, partitioned, path }: SessionCookie): string | undefined =>
  domain === undefined && path === "/" && !partitioned
    ? undefined
    : JSON.stringify([domain?.toLowerCase().replace(/^\./, ""), path, partitioned])

const namePattern = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}$/
const domainPattern = /^\.?[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*$/
const pathPattern = /^\/[\x20-\x3A\x3C-\x7E]*$/

const prefixPattern = /^__(?:host|secure|http)-/i

/** Browsers ignore an attribute with more bytes (RFC 6265bis, 5.7). */
const longestAttribute = 1024

/**
 * Explains in one sentence why a browser would drop this cookie, or returns `undefined`. Types reject most of these already; this
 * is for values from a configuration.
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
 * Returns a sentence for each option that is valid but risky on a public server.
 */
export const warnings = (self: SessionCookie): ReadonlyArray<Problem> => {
  const warnings: Array<Problem> = []
  if (self.secure && !prefixPattern.test(self.name)) {
    warnings.push([
      "The name of the session cookie has no prefix, so another host of the domain, or plain HTTP, can plant one; " +
      "__Host-Http-, or __Secure- where a Domain is needed, prevents it.",
      "cookie-without-prefix"
    ])
  }
  if (self.sameSite === "none") {
    warnings.push([
      "The session cookie is SameSite=None, so browsers send it with requests that other sites forge; every route " +
      "that changes something needs a defence of its own.",
      "cookie-cross-site"
    ])
  }
  return warnings
}

/** Seconds to which browsers cut longer lifetimes (RFC 6265bis, 5.5). */
const longestAge = 400 * 24 * 60 * 60

/**
 * The cookie's Max-Age in whole seconds, or `undefined` for a cookie that ends with the browser.
 *
 * It runs to the fixed end of the session, so that activity needs no new cookie; where there is none, or where the
 * session has its own lifetime, it runs to the computed end. Never negative, never over 400 days.
 */
export const maxAge = (self: SessionCookie, expiry: SessionExpiry, now: number): number | undefined => {
  if (expiry.lifetime === undefined ? self.browserLength : expiry.lifetime._tag === "Browser") return undefined
  const end = expiry.lifetime === undefined ? expiry.deadline ?? expiry.at : expiry.at
  return Math.min(Math.max(Math.floor((end - now) / 1000), 0), longestAge)
}

/**
 * Returns whether a use prolongs the Max-Age of the cookie, so that each write must send the cookie again.
 */
export const slides = (self: SessionCookie, expiry: SessionExpiry): boolean =>
  expiry.lifetime === undefined
    ? expiry.deadline === undefined && !self.browserLength
    : expiry.lifetime._tag === "Inactivity"
