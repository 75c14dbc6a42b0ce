/**
 * The transport of a session: a cookie, or a bearer token in the `Authorization` header.
 *
 * A browser sends cookies by itself, also with requests that another site has forged, and no script can read an `HttpOnly` cookie.
 * So a request with a cookie of ours is a cookie request, whatever else it presents: it needs a defence against forged requests,
 * and its response never shows the token in a header that a script can read.
 */
import type { Transport } from "../../SessionService.js"
import type { Candidates } from "./cookieHeader.js"

/** The transport of a tag without options. */
export const cookieOnly: Transport = { accepts: "cookie", header: "session-token" }

/** The value of the tag's header by which a request asks for a bearer token. */
export const asking = "request"

/** The value of the tag's header that reports the end of the session. It has not the form of a token. */
export const ended = "ended"

/** The options of a tag with their defaults. */
export const withDefaults = (
  { bearerHeader, transport }: {
    readonly transport?: Transport["accepts"] | undefined
    readonly bearerHeader?: string | undefined
  }
): Transport => ({
  accepts: transport ?? cookieOnly.accepts,
  header: bearerHeader?.toLowerCase() ?? cookieOnly.header
})

const namePattern = /^[!#$%&'*+.^_`|~0-9a-z-]{1,100}$/

/** Headers with a meaning of their own for clients, servers or caches. */
const standard =
  /^(?:(?:accept|access-control|content|if|proxy|sec|x-forwarded)(?:-.*)?|age|allow|alt-svc|authorization|cache-control|cdn-cache-control|clear-site-data|connection|cookie2?|date|etag|expect|expires|forwarded|from|host|keep-alive|last-modified|link|location|max-forwards|origin|pragma|range|referer|refresh|retry-after|server|set-cookie2?|strict-transport-security|surrogate-control|te|trailer|transfer-encoding|upgrade|user-agent|vary|via|warning|www-authenticate)$/

/** Explains in one sentence why the options of a tag cannot work, or returns `undefined`. */
export const validate = ({ header }: Transport): string | undefined =>
  !namePattern.test(header)
    ? "The name of the header for bearer tokens (bearerHeader) may hold letters, digits and !#$%&'*+.^_`|~- only."
    : standard.test(header)
    ? `The header "${header}" has a meaning of its own: choose another name for the header for bearer tokens (bearerHeader).`
    : undefined

// RFC 6750, 2.1, with the alphabet of every value that we write.
const bearerPattern = /^bearer +([A-Za-z0-9._-]{1,4096})$/i

/** The credentials of a request. */
export interface Incoming {
  /** The distinct values, of both transports. */
  readonly candidates: Candidates
  /** The transport of the response; absent: the request presents nothing, and its response may set a cookie. */
  readonly transport: "cookie" | "bearer" | undefined
}

const nothing: Candidates = { presented: false, values: [] }

/**
 * Collects the values that a request presents. `cookies` reads the cookies of our name. `recognizes`: the text has the form of a
 * value of our engine; other bearer tokens belong to the application.
 */
export const incoming = (
  { accepts }: Transport,
  cookies: () => Candidates,
  { asksForToken = false, authorization }: {
    readonly authorization?: string | undefined
    readonly asksForToken?: boolean | undefined
  },
  recognizes: (text: string) => boolean
): Incoming => {
  const candidates = accepts === "bearer" ? nothing : cookies()
  const { presented, values } = candidates
  if (accepts === "cookie") return { candidates, transport: presented ? "cookie" : undefined }
  const text = authorization === undefined ? undefined : bearerPattern.exec(authorization)?.[1]
  const token = text !== undefined && recognizes(text) ? text : undefined
  if (presented) {
    return {
      candidates: token === undefined || values.includes(token)
        ? candidates
        : { ...candidates, values: [...values, token] },
      transport: "cookie"
    }
  }
  return token === undefined
    ? { candidates, transport: accepts === "bearer" || asksForToken ? "bearer" : undefined }
    : { candidates: { presented: true, values: [token] }, transport: "bearer" }
}
