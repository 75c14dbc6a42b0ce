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
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type { Option } from "effect/Option"
import * as Schema from "effect/Schema"
import type { SessionId } from "./SessionId.js"
import type { EpochMillis, SessionInfo, SessionRecord, TouchTimes } from "./SessionRecord.js"
import { bounded, boundedTouch, byAge, clockSlack } from "./SessionRecord.js"
import type { StoreKey } from "./StoreKey.js"

/**
 * A store is broken, slow, or was asked inside a transaction of the application.
 *
 * - `unavailable`: it could not be reached, or it failed.
 * - `timeout`: no answer within the limit. A write may have been applied.
 * - `corrupt`: it holds something that is not a record.
 * - `size`: the session does not fit where it is kept.
 * - `clock`: the clock of the caller is further ahead of the store's than `SessionRecord.clockSlack`; nothing was done.
 * - `transaction`: a write inside the application's own transaction, whose rollback would undo it, was refused.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionStoreError extends Schema.TaggedError<SessionStoreError>("effect-session.SessionStoreError")(
  "SessionStoreError",
  {
    operation: Schema.String,
    reason: Schema.Literal("unavailable", "timeout", "corrupt", "transaction", "size", "clock"),
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
  clock: "the clock of this process is too far ahead of the store's; see the cause, and set the clocks right.",
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
 * `"stale"`: where the other one cannot be reached, a copy will do. Nothing: a copy will do while the other one can be reached.
 *
 * @since 0.5.0
 * @category models
 */
export type ReadConsistency = "fresh" | "stale"

/**
 * A record as it was read.
 *
 * @since 0.5.0
 * @category models
 */
export interface Loaded extends SessionRecord {
  /** The truth could not be reached: this is what it was, a moment ago. */
  readonly stale?: true
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
 * One page of a {@link Store.list}.
 *
 * @since 0.6.0
 * @category models
 */
export interface Page {
  /** The most sessions that it holds. Default {@link pageSize}. */
  readonly limit?: number | undefined
  /** The last session of the page before. It need not be there any more. */
  readonly after?: Pick<SessionInfo, "createdAt" | "id"> | undefined
}

/**
 * How many sessions a page of a list holds unless it is said.
 *
 * @since 0.6.0
 * @category models
 */
export const pageSize = 100

/**
 * Returns one page of a list, in the order of `byAge`, from all records of the list. They may be in any order.
 *
 * @since 0.6.0
 * @category rules
 */
export const pageOf = <A extends Pick<SessionInfo, "createdAt"> & { readonly id: string }>(
  all: ReadonlyArray<A>,
  { after, limit = pageSize }: Page
): ReadonlyArray<A> =>
  all.filter((one) => after === undefined || byAge(after, one) < 0).sort(byAge).slice(0, Math.max(limit, 0))

/**
 * The condition and the time of a {@link Store.save}.
 *
 * @since 0.6.0
 * @category models
 */
export interface SaveOptions {
  /** The version that the stored record must have; `save` answers `conflict` if it has another one. */
  readonly expectedVersion: number
  /** The current time of the caller. */
  readonly now: EpochMillis
}

/**
 * The condition and the time of a {@link Store.rotate}.
 *
 * @since 0.6.0
 * @category models
 */
export interface RotateOptions extends SaveOptions {}

/**
 * The arguments of {@link Store.removeExpired}.
 *
 * @since 0.6.0
 * @category models
 */
export interface RemoveExpiredOptions {
  /** Records that have expired at this time are removed. */
  readonly now: EpochMillis
  /** The maximum number of records that one call removes. */
  readonly limit: number
}

/**
 * One page of a {@link Store.scan}, in the order of ids.
 *
 * @since 0.6.0
 * @category models
 */
export interface ScanPage {
  /** The id of the last record of the previous page. Absent for the first page. */
  readonly after?: string | undefined
  /** The maximum number of records of the page. */
  readonly limit: number
  /** The current time of the caller. */
  readonly now: EpochMillis
}

/**
 * A record that is there and cannot be read: which one, and why.
 *
 * @since 0.5.0
 * @category models
 */
export interface Corrupt {
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
export interface Store {
  readonly capabilities: Capabilities

  /**
   * Inserts. `exists` if the key or the id is taken, by a live record or not; then nothing changes. The record's times are
   * `SessionRecord.bounded` by the store's clock, here and in `save`, `touch` and `rotate`.
   */
  readonly create: (
    key: StoreKey,
    record: SessionRecord,
    now: EpochMillis
  ) => Effect.Effect<"created" | "exists", SessionStoreError>

  /** The live record. Only a store that keeps copies needs to look at `reading`. */
  readonly load: (
    key: StoreKey,
    now: EpochMillis,
    reading?: ReadConsistency
  ) => Effect.Effect<Option<Loaded>, SessionStoreError>

  /**
   * Replaces data, schema version, lifetime and times if the live record has the expected version, in one atomic step; the
   * version grows by one. The schema version is that of the data, so it may become an earlier one. Never inserts. Times only move forward, except for an end moved by another lifetime. Id, subject,
   * `createdAt` and `authenticatedAt` stay as they are.
   */
  readonly save: (
    key: StoreKey,
    record: SessionRecord,
    options: SaveOptions
  ) => Effect.Effect<WriteOutcome, SessionStoreError>

  /** Moves `lastSeenAt` and the end of a live record forward, never beyond its deadline. Data and version stay. */
  readonly touch: (
    key: StoreKey,
    times: TouchTimes
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
    options: RotateOptions
  ) => Effect.Effect<WriteOutcome, SessionStoreError>

  /** Deletes. A missing key is fine. Terminal: nothing but `create` under that key can follow. */
  readonly destroy: (key: StoreKey) => Effect.Effect<void, SessionStoreError>

  /**
   * Deletes at most `limit` records that have expired at `now`, and says how many. One touched meanwhile stays, and so does
   * one that was only revoked: it counts until it expires. A revocation holds whatever is deleted, as long as there is a
   * record that it has ended. `0` may also mean that another process is deleting at this moment: it needs no help.
   *
   * Fails with the reason `clock`, and deletes nothing, if the caller's clock is ahead of the store's: see {@link checkClock}.
   */
  readonly removeExpired: (options: RemoveExpiredOptions) => Effect.Effect<number, SessionStoreError>

  /** How many records have not expired at `now`, and how many have. Reads an index, never data. */
  readonly count: (now: EpochMillis) => Effect.Effect<Count, SessionStoreError>

  /**
   * Live records of a subject, oldest first (of one moment: in the order of their ids), by index: those after `after`, at
   * most `limit`. A page that is shorter than `limit` is the last one. A record that is there all the time is in exactly one
   * page, whatever comes and goes between them. One that is damaged is left out, and logged as a warning.
   */
  readonly list: (
    namespace: string,
    subject: string,
    now: EpochMillis,
    page?: Page
  ) => Effect.Effect<ReadonlyArray<SessionInfo>, SessionStoreError>

  /** The live record with this id, by index. */
  readonly find: (
    namespace: string,
    id: SessionId,
    now: EpochMillis
  ) => Effect.Effect<Option<SessionRecord>, SessionStoreError>

  /**
   * Live records, each with its key, in the order of their ids, after `after`, at most `limit`: pages that a stream, or a
   * move to another store, is made of. One that is damaged has its place among them.
   */
  readonly scan: (
    namespace: string,
    page: ScanPage
  ) => Effect.Effect<ReadonlyArray<Located | Corrupt>, SessionStoreError>

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
 * The names of the functions of a store.
 *
 * @since 0.6.0
 * @category models
 */
export type Operation = Exclude<keyof Store, "capabilities">

/**
 * Adds the clock of the place where the records are to a store that has none: `removeExpired` runs {@link checkClock} first, and the
 * times of writes are limited by `SessionRecord.bounded`. `clock` returns milliseconds since the epoch.
 *
 * @since 0.6.0
 * @category clocks
 */
export const byClock: {
  (clock: Effect.Effect<EpochMillis, SessionStoreError>): (store: Store) => Store
  (store: Store, clock: Effect.Effect<EpochMillis, SessionStoreError>): Store
} = dual(2, (store: Store, clock: Effect.Effect<EpochMillis, SessionStoreError>): Store => ({
  capabilities: store.capabilities,
  create: (key, record, now) => Effect.flatMap(clock, (time) => store.create(key, bounded(record, now, time), now)),
  load: (key, now, reading) => store.load(key, now, reading),
  save: (key, record, options) =>
    Effect.flatMap(clock, (time) => store.save(key, bounded(record, options.now, time), options)),
  touch: (key, times) => Effect.flatMap(clock, (time) => store.touch(key, boundedTouch(times, time))),
  rotate: (key, newKey, record, options) =>
    Effect.flatMap(clock, (time) => store.rotate(key, newKey, bounded(record, options.now, time), options)),
  destroy: (key) => store.destroy(key),
  removeExpired: (options) =>
    Effect.zipRight(Effect.flatMap(clock, (time) => checkClock(options.now, time)), store.removeExpired(options)),
  count: (now) => store.count(now),
  list: (namespace, subject, now, page) => store.list(namespace, subject, now, page),
  find: (namespace, id, now) => store.find(namespace, id, now),
  scan: (namespace, page) => store.scan(namespace, page),
  revoke: (namespace, id) => store.revoke(namespace, id),
  revokeSubject: (namespace, subject, except) => store.revokeSubject(namespace, subject, except),
  revokeAll: (namespace) => store.revokeAll(namespace)
}))

/**
 * The tag under which a store is provided.
 *
 * @since 0.1.0
 * @category tags
 */
export class SessionStore extends Context.Tag("effect-session/SessionStore")<SessionStore, Store>() {}

/**
 * Fails with the reason `clock` if `now` is more than `SessionRecord.clockSlack` ahead of the store's clock. `removeExpired` asks
 * this first: by a clock that is ahead, live sessions are expired ones. Both are milliseconds since the epoch.
 *
 * @since 0.6.0
 * @category clocks
 */
export const checkClock = (now: number, storeClock: number): Effect.Effect<void, SessionStoreError> =>
  now <= storeClock + clockSlack ? Effect.void : new SessionStoreError({
    operation: "removeExpired",
    reason: "clock",
    cause: new RangeError(
      `The clock of this process is ${
        Math.round((now - storeClock) / 1000)
      } seconds ahead of the store's, and by it live ` +
        "sessions would be deleted as expired. Nothing was deleted. Set the clock of this machine right (or the store's), " +
        "and try again."
    )
  })
