/**
 * The report of one request: what its sessions loaded, decided and sent. Contains no token, no store key and no data of a session.
 */
import type { SessionId } from "../../SessionId.js"
import type { Operation } from "../../SessionStore.js"
import type { SessionChange } from "../domain/change.js"
import type { LoadOutcome, RejectionReason } from "../domain/outcomes.js"

export interface RequestReport {
  readonly number: number
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly method: string
  /** Without the query. */
  readonly path: string
  readonly status: number
  /** Milliseconds. */
  readonly duration: number
  readonly sessions: ReadonlyArray<SessionReport>
  readonly storeCalls: ReadonlyArray<StoreCall>
}

/** The session of one tag in a request. */
export interface SessionReport {
  readonly tag: string
  readonly id: SessionId | undefined
  readonly loads: ReadonlyArray<LoadOutcome>
  readonly rejections: ReadonlyArray<RejectionReason>
  readonly commits: ReadonlyArray<CommitReport>
  readonly sent: Sent | undefined
  /** Explanations, one sentence or more each. */
  readonly notes: ReadonlyArray<string>
}

export interface CommitReport {
  readonly decision: SessionChange
  /** The names of the encoded fields that changed. */
  readonly fields: ReadonlyArray<string>
  /** The fields, or the subject, the lifetime or other metadata have changed. */
  readonly changed: boolean
}

export interface StoreCall {
  readonly operation: Operation
  readonly outcome: string
  /** Milliseconds. */
  readonly duration: number
}

/** The credential that a response carried, without its value. */
export type Sent =
  | {
    readonly _tag: "Cookie"
    /** The attributes as in the header: `Path=/; HttpOnly; SameSite=Lax`. */
    readonly attributes: string
    /** The cookie ends the session: it has no token. */
    readonly expires: boolean
    /** Seconds; absent: the cookie ends with the browser. */
    readonly maxAge: number | undefined
  }
  | { readonly _tag: "Token"; readonly header: string }
