/**
 * What a store keeps of a session.
 *
 * @since 0.1.0
 */
import type { SessionExpiry, Times } from "./Expiry.js"
import type { SessionId } from "./SessionId.js"

/**
 * One session as it is kept: encoded data and metadata. A store treats `data`, `subject` and `writeId` as opaque text.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionRecord extends Times {
  /** Which session tag it belongs to. */
  readonly namespace: string
  /** The public handle. */
  readonly id: SessionId
  /** The encoded session, as text. */
  readonly data: string
  /** The version of the schema that wrote `data`. */
  readonly schemaVersion: number
  /** Whose session it is; absent for an anonymous one. */
  readonly subject: string | undefined
  /** Grows by one with every save and rotation; what compare-and-set compares. */
  readonly version: number
  /** Names the write that made this version, so that a writer who lost the reply recognises its own work. */
  readonly writeId: string
  readonly expiry: SessionExpiry
}

/**
 * A record without its data: what lists show.
 *
 * @since 0.1.0
 * @category models
 */
export type SessionInfo = Omit<SessionRecord, "data">
