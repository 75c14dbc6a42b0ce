/**
 * Where records live.
 *
 * A store is these functions and the laws in their comments. Outcomes that a visitor can cause are values; the error
 * channel is for a store that is broken. `now` is always an argument (milliseconds since the epoch): a store never
 * reads a clock, and server-side time-to-live is clean-up, never the judge.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { Option } from "effect/Option"
import * as Schema from "effect/Schema"
import type { SessionId } from "./SessionId.js"
import type { SessionInfo, SessionRecord } from "./SessionRecord.js"
import type { StoreKey } from "./StoreKey.js"

/**
 * A store is broken, slow, or was asked inside a transaction of the application.
 *
 * - `unavailable`: it could not be reached, or it failed.
 * - `timeout`: no answer within the limit. A write may have been applied.
 * - `corrupt`: it holds something that is not a record.
 * - `size`: the session does not fit where it is kept.
 * - `transaction`: a write inside the application's own transaction, whose rollback would undo it, was refused.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionStoreError extends Schema.TaggedError<SessionStoreError>("effect-session/SessionStoreError")(
  "SessionStoreError",
  {
    operation: Schema.String,
    reason: Schema.Literal("unavailable", "timeout", "corrupt", "transaction", "size"),
    cause: Schema.optional(Schema.Defect)
  }
) {
  override get message(): string {
    return `The session store failed in "${this.operation}": ${reasons[this.reason]}`
  }
}

const reasons = {
  unavailable: "it could not be reached or reported an error; see the cause.",
  timeout: "it did not answer in time.",
  size: "the session is too large for it.",
  corrupt: "it holds something that is not a session record; look at the row before deleting it.",
  transaction: "a session write inside the application's own transaction would be undone by its rollback. " +
    "Write after the transaction, or give the store a pool of its own."
}

/**
 * The outcome of a compare-and-set: done; another version was there; nothing alive was there.
 *
 * @since 0.1.0
 * @category models
 */
export type WriteOutcome = "saved" | "conflict" | "gone"

/**
 * What a store promises beyond the laws. The law suite checks each claim.
 *
 * @since 0.1.0
 * @category models
 */
export interface Capabilities {
  /** An acknowledged `destroy` survives a crash, a restart and a fail-over. */
  readonly durableDestroy: boolean
  /** Calls leave the process: they can hang, and replies can be lost. Time limits and retries apply to them only. */
  readonly remote: boolean
  /**
   * Whether two keys are kept in one place, in a store whose keys live apart. The engine draws the token of a rotation
   * until it is, because a record that is moved to another place costs more from then on. Absent where keys live together.
   */
  readonly colocated?: (key: StoreKey, newKey: StoreKey) => boolean
}

/**
 * How many records a store holds. Sessions that were revoked by subject or namespace count until they expire.
 *
 * @since 0.1.0
 * @category models
 */
export interface Count {
  readonly current: number
  readonly expired: number
}

/**
 * What a reader asks of a store that answers from copies of what another one keeps. `"fresh"`: no copy, however new.
 * `"copy"`: where the other one cannot be reached, a copy will do. Nothing: a copy will do while the other one can be reached.
 *
 * @since 0.5.0
 * @category models
 */
export type Reading = "fresh" | "copy"

/**
 * A record as it was read.
 *
 * @since 0.5.0
 * @category models
 */
export interface Loaded extends SessionRecord {
  /** The truth could not be reached: this is what it was, a moment ago. */
  readonly copied?: true
}

/**
 * A record and where it is kept: the key leads to the record, and to no token.
 *
 * @since 0.5.0
 * @category models
 */
export interface Located extends SessionRecord {
  readonly key: StoreKey
}

/**
 * A record that is there and cannot be read: which one, and why.
 *
 * @since 0.5.0
 * @category models
 */
export interface Damaged {
  readonly id: SessionId
  /** Its reason is `corrupt`. */
  readonly error: SessionStoreError
}

/**
 * The functions of a store.
 *
 * A record is *alive* if it has not expired and neither its subject nor its namespace was revoked after it was made.
 * What is not alive is absent, for every function but `destroy`, `revoke` and `removeExpired`, even if it is still there.
 *
 * A record is *damaged* if what is kept is none any more. It is not absent: `load` and `find` fail with `corrupt`. It is in
 * nobody's way: `list`, `scan` and `removeExpired` go on with the others. What ends a session ends it, too.
 *
 * @since 0.1.0
 * @category models
 */
export interface Shape {
  readonly capabilities: Capabilities

  /** Inserts. `exists` if the key or the id is taken, by a live record or not; then nothing changes. */
  readonly create: (
    key: StoreKey,
    record: SessionRecord,
    now: number
  ) => Effect.Effect<"created" | "exists", SessionStoreError>

  /** The live record. Only a store that keeps copies needs to look at `reading`. */
  readonly load: (
    key: StoreKey,
    now: number,
    reading?: Reading
  ) => Effect.Effect<Option<Loaded>, SessionStoreError>

  /**
   * Replaces data, schema version, lifetime and times if the live record has the expected version, in one atomic step; the
   * version grows by one. The schema version is that of the data, so it may become an earlier one. Never inserts. Times only move forward, except for an end moved by another lifetime. Id, subject,
   * `createdAt` and `authenticatedAt` stay as they are.
   */
  readonly save: (
    key: StoreKey,
    record: SessionRecord,
    expectedVersion: number,
    now: number
  ) => Effect.Effect<WriteOutcome, SessionStoreError>

  /** Moves `lastSeenAt` and the end of a live record forward, never beyond its deadline. Data and version stay. */
  readonly touch: (
    key: StoreKey,
    lastSeenAt: number,
    expiresAt: number,
    now: number
  ) => Effect.Effect<"touched" | "gone", SessionStoreError>

  /**
   * Moves the live record of the expected version to a new key and replaces all of it, in one atomic step. The old key
   * is dead from then on; a crash may leave neither, never both. `conflict` also if the new key is taken (by the same
   * record, too), or the id by another record. A revocation at the same moment reaches the record
   * under either key. If the subject stays, so does the record's exposure to earlier revocations.
   */
  readonly rotate: (
    key: StoreKey,
    newKey: StoreKey,
    record: SessionRecord,
    expectedVersion: number,
    now: number
  ) => Effect.Effect<WriteOutcome, SessionStoreError>

  /** Deletes. A missing key is fine. Terminal: nothing but `create` under that key can follow. */
  readonly destroy: (key: StoreKey) => Effect.Effect<void, SessionStoreError>

  /**
   * Deletes at most `limit` records that have expired at `now`, and says how many. One touched meanwhile stays, and so does
   * one that was only revoked: it counts until it expires. A revocation holds whatever is deleted, as long as there is a
   * record that it has ended. `0` may also mean that another process is deleting at this moment: it needs no help.
   */
  readonly removeExpired: (now: number, limit: number) => Effect.Effect<number, SessionStoreError>

  /** How many records have not expired at `now`, and how many have. Reads an index, never data. */
  readonly count: (now: number) => Effect.Effect<Count, SessionStoreError>

  /**
   * Live records of a subject, oldest first (of one moment: in the order of their ids), by index. One that is damaged is
   * left out, and the log is told.
   */
  readonly list: (
    namespace: string,
    subject: string,
    now: number
  ) => Effect.Effect<ReadonlyArray<SessionInfo>, SessionStoreError>

  /** The live record with this id, by index. */
  readonly find: (
    namespace: string,
    id: SessionId,
    now: number
  ) => Effect.Effect<Option<SessionRecord>, SessionStoreError>

  /**
   * Live records, each with its key, in the order of their ids, after `after`, at most `limit`: pages that a stream, or a
   * move to another store, is made of. One that is damaged has its place among them.
   */
  readonly scan: (
    namespace: string,
    after: SessionId | undefined,
    limit: number,
    now: number
  ) => Effect.Effect<ReadonlyArray<Located | Damaged>, SessionStoreError>

  /** Ends one session: its record is deleted. True if there was one, alive or not. */
  readonly revoke: (namespace: string, id: SessionId) => Effect.Effect<boolean, SessionStoreError>

  /**
   * Ends every session of a subject, also those that no list knows and those being saved or rotated at this moment,
   * by one write. The session `except` stays, if it is alive and belongs to the subject.
   */
  readonly revokeSubject: (
    namespace: string,
    subject: string,
    except?: SessionId
  ) => Effect.Effect<void, SessionStoreError>

  /** Ends every session of a namespace by one write. */
  readonly revokeAll: (namespace: string) => Effect.Effect<void, SessionStoreError>
}

/**
 * The tag under which a store is provided.
 *
 * @since 0.1.0
 * @category tags
 */
export class SessionStore extends Context.Tag("effect-session/SessionStore")<SessionStore, Shape>() {}
