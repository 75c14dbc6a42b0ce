/**
 * The decision at the end of a request, as one pure function.
 */

/**
 * The change of a session when its request ends.
 *
 * - `Keep`: nothing is written and no cookie is sent.
 * - `Destroy`: the record is deleted and the cookie expired.
 * - `Replace`: the record is deleted and a new one created under a new id and token.
 * - `Create`: a record is made and its token sent.
 * - `Rotate`: the record moves to a new token.
 * - `Save`: the record is written where it is.
 * - `Touch`: only the times of the record are written.
 * - `Reseal`: a cookie value opened with an older key is sealed with the first one; times are unchanged.
 */
export type SessionChange = "Keep" | "Destroy" | "Replace" | "Create" | "Rotate" | "Save" | "Touch" | "Reseal"

/**
 * The state of a request's session that the decision depends on.
 */
export interface State {
  /** The response has already been decided, the connection was upgraded, or the session could not be loaded. */
  readonly answered: boolean
  /** The request presented a cookie of ours, valid or not. */
  readonly presented: boolean
  /** `destroy` was called. */
  readonly destroyed: boolean
  /** `discard` was called. */
  readonly discarded: boolean
  /** The handler opened the session. Otherwise nothing is done. */
  readonly opened: boolean
  /** No live record belongs to the request. */
  readonly isNew: boolean
  /** Data or metadata (subject, lifetime, `clear`) differ from the record. */
  readonly changed: boolean
  /** The request raises the authority of the session: by a login, a step-up or an impersonation. */
  readonly raised?: boolean
  /** A new token is due: authentication, a change of privilege, or `rotate`. */
  readonly rotates: boolean
  /** The time of the last written use, in milliseconds since the epoch. */
  readonly lastSeenAt: number
  /** Milliseconds since the last written use after which the record is touched; absent: never. */
  readonly touchWindow: number | undefined
  /** The cookie value was opened with an older key of the ring. */
  readonly needsReseal: boolean
  /** The record is stale: nothing is written, not even the time of its use. */
  readonly stale?: boolean
}

/**
 * The status of a request that the client aborted.
 */
export const aborted = 499

/**
 * Decides what to do with a session, from its state, the time (milliseconds) and the response status. Total and
 * pure; the first row that matches wins.
 */
export const decide = (state: State, now: number, status: number): SessionChange => {
  const { changed, destroyed, isNew, presented } = state
  if (state.answered || !(state.opened || destroyed)) return "Keep"
  // A response with 401 or 403 does not log in, and drops all changes of its request.
  const isRefused = state.raised === true && (status === 401 || status === 403)
  if (destroyed && (!changed || isRefused)) return presented ? "Destroy" : "Keep"
  if (isRefused || status >= 500 || status === aborted || state.discarded || state.stale === true) return "Keep"
  if (destroyed) return presented ? "Replace" : "Create"
  if (isNew) return changed ? "Create" : "Keep"
  if (state.rotates) return "Rotate"
  if (changed) return "Save"
  if (state.touchWindow !== undefined && now - state.lastSeenAt >= state.touchWindow) return "Touch"
  return state.needsReseal ? "Reseal" : "Keep"
}
