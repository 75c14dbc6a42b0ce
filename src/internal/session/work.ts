/**
 * Values passed between loading, changing and committing a session.
 */
import type { Json, JsonRecord } from "../../Json.js"
import type { CookieValue, Opened } from "../../SessionEngine.js"
import type { SessionId } from "../../SessionId.js"
import type { Attributes } from "../domain/attributes.js"
import type { Draft, Step } from "../domain/draft.js"

/** A live record whose data fits the schema, with its cookie value. */
export interface Loaded<A> extends Opened {
  /** The encoded data as stored, including fields of other schema versions. */
  readonly raw: JsonRecord
  readonly decoded: A
  readonly attributes: Attributes
}

export type Changes = ReadonlyMap<string, Json | undefined>

/** The identity of a session that is not written yet, drawn in advance, so that a page can contain a token that is valid for it. */
export interface Minted {
  /** The cookie value; absent if the engine derives it from the record. */
  readonly value: CookieValue | undefined
  /** The id, if the session is a new one. */
  readonly id: SessionId
  /** The mark of the rotation in the record's attributes, for engines whose secret depends on it. */
  readonly rotation: string
}

/** A draft to write, the record that it replaces, and the steps between them. */
export interface Work<A> {
  readonly loaded: Loaded<A> | undefined
  readonly draft: Draft<A>
  readonly steps: ReadonlyArray<{ readonly step: Step<A> }>
  /** The value that the handler loaded. */
  readonly origin: A
  /** The encoded fields that differ. */
  readonly changes: Changes
  /** The record of a session that has ended, whose data a new session of the same subject starts from. */
  readonly predecessor: Loaded<A> | undefined
  /** The identity of the session that is written, if the request has given it away already. */
  readonly minted?: Minted | undefined
}

/**
 * The record that was written or found, and whether the steps were replayed on it. Absent: the session had ended, and the tag's
 * `onGone` discards its changes.
 */
export type Written<A> =
  | {
    readonly loaded: Loaded<A>
    readonly replayed: boolean
    /** The sessions of the subject that a limit has ended. */
    readonly evicted: ReadonlyArray<SessionId>
  }
  | undefined
