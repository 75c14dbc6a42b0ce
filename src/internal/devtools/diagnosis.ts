/**
 * Explains why a request has no session, why a response set no cookie, and why a browser does not accept or return one.
 */
import type { SessionCookie } from "../../SessionCookie.js"
import type { LoadOutcome, RejectionReason } from "../domain/outcomes.js"
import type { CommitReport } from "./report.js"

/** The facts of a request, for one session tag. */
export interface Facts {
  readonly cookie: SessionCookie
  /** The tag accepts cookies. */
  readonly acceptsCookie: boolean
  readonly method: string
  readonly path: string
  /** The host that the request names, with or without a port. */
  readonly host: string
  readonly scheme: "http" | "https"
  /** The browser is not on this machine, and uses plain http. */
  readonly isPlainHttp: boolean
  /** `Sec-Fetch-Site` and `Sec-Fetch-Mode`. */
  readonly site: string | undefined
  readonly mode: string | undefined
  /** The names of the cookies of the request. */
  readonly cookieNames: ReadonlyArray<string>
  readonly loads: ReadonlyArray<LoadOutcome>
  readonly rejections: ReadonlyArray<RejectionReason>
  readonly commits: ReadonlyArray<CommitReport>
  readonly status: number
  /** The response set the cookie, to a value or to nothing. */
  readonly sent: "value" | "expired" | "token" | undefined
  /** The earlier request of this client whose response set the cookie, which this one should have returned. */
  readonly unreturned:
    | { readonly number: number; readonly age: number; readonly maxAge: number | undefined }
    | undefined
}

/** Returns the explanations, most specific first. */
export const explain = (facts: Facts): ReadonlyArray<string> => [
  ...facts.loads.flatMap((outcome) => absenceOf(outcome, facts)),
  ...facts.rejections.map((reason) => rejections[reason]),
  ...notReturned(facts),
  ...notSent(facts),
  ...notAccepted(facts)
]

// ---- the request

const absences: Readonly<Record<Exclude<LoadOutcome, "loaded" | "no_cookie">, string>> = {
  malformed:
    "The cookie or token has not the form of one of this engine: it was cut or changed, or another engine has made it.",
  unknown:
    "The store has no trace of the session: it was emptied (a store in memory is, by a restart), another server on this host has " +
    "made the cookie, or the keys have changed.",
  expired: "The session has expired, by inactivity or by its absolute limit.",
  logged_out: "The session was ended by a logout.",
  rotated: "The session has another token since its rotation, and the client presented the old one.",
  revoked: "The session was revoked.",
  subject_revoked: "All sessions of the subject were revoked.",
  all_revoked: "All sessions were revoked.",
  limit: "A later login of the subject has ended the session, because it was the oldest one beyond maxPerSubject.",
  ambiguous:
    "The client presented several live sessions, and none is trusted. Cookies of the same name are set on several paths or " +
    "domains: a login or a logout ends them all.",
  undecodable:
    "The data of the session does not fit the schema. Declare the change with a SessionHistory, or delete the cookie.",
  unavailable: "The session could not be loaded. The log has the cause."
}

const rejections: Readonly<Record<RejectionReason, string>> = {
  malformed: "The seal or signature was rejected: the value does not have the format of this keyring.",
  unknown_key: "The seal or signature was rejected: it names a key that the keyring does not have.",
  forged:
    "The seal or signature was rejected: it is wrong, or was made with other keys, for another name or for another scope of the cookie.",
  expired: "The cookie is authentic, and its session has expired.",
  premature: "The cookie was made in the future: the clocks of two servers differ.",
  unreadable: "The cookie is authentic, and this version of the library cannot decode it.",
  ended: "The cookie is authentic, and was ended by a logout or by a newer cookie."
}

const absenceOf = (outcome: LoadOutcome, facts: Facts): ReadonlyArray<string> =>
  outcome === "loaded" ? [] : outcome === "no_cookie" ? missing(facts) : [absences[outcome]]

/** Why the browser sent no cookie of the tag, as far as the request shows it. */
const missing = ({ acceptsCookie, cookie, cookieNames, ...facts }: Facts): ReadonlyArray<string> => {
  if (!acceptsCookie) return []
  const similar = cookieNames.find((name) => baseOf(name) === baseOf(cookie.name))
  return [
    ...(similar === undefined ? [] : [
      `The request has a cookie "${similar}", and this tag reads "${cookie.name}": the name or the prefix of the cookie has changed.`
    ]),
    ...suppressed({ ...facts, cookie })
  ]
}

const baseOf = (name: string): string => name.toLowerCase().replace(/^__(?:host-http|host|secure|http)-/, "")

/** Why a browser does not send the cookie with this request. */
const suppressed = (
  { cookie, host, method, mode, path, site }: Pick<Facts, "cookie" | "host" | "method" | "mode" | "path" | "site">
): ReadonlyArray<string> => {
  const domain = cookie.domain?.toLowerCase().replace(/^\./, "")
  const name = host.toLowerCase().replace(/:\d+$/, "")
  const crossSite = site === "cross-site" && cookie.sameSite !== "none" &&
    (cookie.sameSite === "strict" || mode !== "navigate" || !(method === "GET" || method === "HEAD"))
  return [
    ...(crossSite
      ? [
        `The request is cross-site, and the cookie is SameSite=${
          titled(cookie.sameSite)
        }: the browser does not send it. localhost and ` +
        "127.0.0.1 are different sites."
      ]
      : []),
    ...(isWithin(path, cookie.path) ? [] : [
      `The cookie has the path ${cookie.path}, and the browser does not send it to ${path}.`
    ]),
    ...(domain === undefined || name === domain || name.endsWith(`.${domain}`) ? [] : [
      `The cookie has the domain ${domain}, and the browser neither accepts it from ${name} nor sends it there.`
    ])
  ]
}

/** RFC 6265bis, 5.1.4. */
const isWithin = (path: string, of: string): boolean =>
  path === of || (path.startsWith(of) && (of.endsWith("/") || path[of.length] === "/"))

export const titled = (word: string): string => word.slice(0, 1).toUpperCase() + word.slice(1)

/** Why a cookie that was set did not come back. */
const notReturned = (facts: Facts): ReadonlyArray<string> => {
  const { cookie, scheme, unreturned } = facts
  if (unreturned === undefined) return []
  const { age, maxAge, number } = unreturned
  const why = suppressed(facts).length > 0
    ? "See above."
    : maxAge !== undefined && age >= maxAge * 1000
    ? "Its Max-Age has passed."
    : cookie.secure && facts.isPlainHttp
    ? "It is Secure, and the browser uses plain http: it drops the cookie."
    : cookie.secure && scheme === "http"
    ? "It is Secure, and the browser uses http: Safari drops such a cookie on localhost, too."
    : "The client keeps no cookies (curl without -b and -c, fetch with credentials: \"omit\" or from another origin), blocks or has deleted " +
      "them, or this is another window or profile of the same browser."
  return [`The response to request ${number} set the cookie, and this client did not send it back. ${why}`]
}

// ---- the response

const needsCookie: ReadonlySet<string> = new Set(["Create", "Replace", "Rotate"])

/** Why changes were dropped, or why a new session got no cookie. */
const notSent = ({ commits, cookie, sent, site, status }: Facts): ReadonlyArray<string> => {
  const last = commits.at(-1)
  if (last === undefined) return []
  if (last.decision === "Keep" && last.changed) {
    const because = status >= 500
      ? `the response has the status ${status}`
      : status === 499
      ? "the client closed the connection"
      : status === 401 || status === 403
      ? `the response has the status ${status}, which neither logs in nor keeps the changes of a request that was refused`
      : "the handler called discard, or the session is stale"
    return [`The changes were dropped: ${because}.`]
  }
  if (!needsCookie.has(last.decision) || sent !== undefined) return []
  return [
    last.decision === "Create" && site === "cross-site" && cookie.sameSite !== "none"
      ? "No cookie was set: the request is cross-site and came without the cookie, so a new one would replace the visitor's own " +
        `(SameSite=${titled(cookie.sameSite)}).`
      : "No cookie was set: the write failed. See the store calls."
  ]
}

/** Why a browser does not store the cookie of this response. */
const notAccepted = ({ cookie, host, isPlainHttp, sent }: Facts): ReadonlyArray<string> => {
  if (sent !== "value") return []
  const domain = cookie.domain?.toLowerCase().replace(/^\./, "")
  const name = host.toLowerCase().replace(/:\d+$/, "")
  return [
    ...(cookie.secure && isPlainHttp
      ? ["The cookie is Secure, and the browser uses plain http: it drops the cookie. Use https, or http://localhost."]
      : []),
    ...(domain === undefined || name === domain || name.endsWith(`.${domain}`) ? [] : [
      `The cookie has the domain ${domain}, and a browser does not accept it from ${name}.`
    ])
  ]
}
