/**
 * The values that the parts of a request hand to each other.
 */
import type { Json, JsonRecord } from "../../Json.js"
import type { Opened } from "../../SessionEngine.js"
import type { Draft, Step } from "../domain/draft.js"

/** A live record whose data fits the schema, and the cookie value that leads to it. */
export interface Loaded<A> extends Opened {
  /** The encoded data as it is stored, fields of other versions included. */
  readonly raw: JsonRecord
  readonly decoded: A
}

export type Changes = ReadonlyMap<string, Json | undefined>

/** A draft to write, the record that it is written over, and what leads from one to the other. */
export interface Work<A> {
  readonly loaded: Loaded<A> | undefined
  readonly draft: Draft<A>
  readonly steps: ReadonlyArray<{ readonly step: Step<A> }>
  /** The value that the handler had loaded. */
  readonly origin: A
  /** The encoded fields that differ. */
  readonly changes: Changes
  /** The record of a session that has ended, whose data a new session of the same subject starts from. */
  readonly predecessor: Loaded<A> | undefined
}

/** A record that was written or found, and whether the steps were replayed on it. Absent: the session had ended, and that was fine. */
export type Written<A> = { readonly loaded: Loaded<A>; readonly replayed: boolean } | undefined
