/**
 * The decision at the end of a request, as one pure function.
 */

/**
 * What is to be done with a session when its request ends.
 *
 * - `Keep`: nothing is written and no cookie is sent.
 * - `Destroy`: the record is deleted and the cookie expired.
 * - `Replace`: the record is deleted and a new one created under a new id and token.
 * - `Create`: a record is made and its token sent.
 * - `Rotate`: the record moves to a new token.
 * - `Save`: the record is written where it is.
 * - `Touch`: its times move, and nothing else.
 * - `Reseal`: a value opened with an older key is written with the first one, times unchanged.
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
  /** The handler opened the session. Without that there is nothing to decide. */
  readonly opened: boolean
  /** No live record belongs to the request. */
  readonly isNew: boolean
  /** Data or metadata (subject, lifetime, `clear`) differ from the record. */
  readonly changed: boolean
  /** A new token is due: authentication, a change of privilege, or `rotate`. */
  readonly rotates: boolean
  /** When the record was last seen, and how long that may lie back before it is touched. */
  readonly lastSeenAt: number
  readonly touchWindow: number | undefined
  /** The cookie value was opened with an older key of the ring. */
  readonly needsReseal: boolean
  /** Only a copy of the record could be had: it is not written, not even the times of its use. */
  readonly stale?: boolean
}

/**
 * The status that stands for a request that the client aborted.
 */
export const aborted = 499

/**
 * Decides what to do with a session, from its state, the time (milliseconds) and the response status. Total and
 * pure; the first row that matches wins.
 */
export const decide = (state: State, now: number, status: number): SessionChange => {
  const { changed, destroyed, isNew, presented } = state
  if (state.answered || !(state.opened || destroyed)) return "Keep"
  if (destroyed && !changed) return presented ? "Destroy" : "Keep"
  if (status >= 500 || status === aborted || state.discarded || state.stale === true) return "Keep"
  if (destroyed) return presented ? "Replace" : "Create"
  if (isNew) return changed ? "Create" : "Keep"
  if (state.rotates) return "Rotate"
  if (changed) return "Save"
  if (state.touchWindow !== undefined && now - state.lastSeenAt >= state.touchWindow) return "Touch"
  return state.needsReseal ? "Reseal" : "Keep"
}
