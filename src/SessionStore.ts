/**
 * The contract of session stores: a store keeps the record of each session under a store key.
 *
 * The comments of the functions are the laws that every store is tested against (`effect-session/testing`). Outcomes that a visitor can
 * cause are values; the error channel is for a failing store. `now` is always an argument, in milliseconds since the epoch: expiry is
 * decided by the caller's time, and a server-side time-to-live only frees space.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type { Option } from "effect/Option"
import * as Schema from "effect/Schema"
import { type HelpId, withHelp } from "./internal/help.js"
import type { SessionId } from "./SessionId.js"
import type { EpochMillis, SessionInfo, SessionRecord, TouchTimes } from "./SessionRecord.js"
import { bounded, boundedTouch, byAge, clockSlack } from "./SessionRecord.js"
import type { StoreKey } from "./StoreKey.js"

/**
 * A store failed, did not answer in time, or rejected a call.
 *
 * - `unavailable`: the store could not be reached, or reported an error.
 * - `timeout`: the store did not answer within the time limit. A write may have been applied.
 * - `corrupt`: the stored bytes cannot be decoded to a record.
 * - `size`: the session is larger than the store accepts.
 * - `clock`: the clock of the caller is more than `SessionRecord.clockSlack` ahead of the store's. Nothing was done.
 * - `transaction`: the store rejects writes inside the application's own transaction, because a rollback would undo them.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionStoreError extends Schema.TaggedError<SessionStoreError>("effect-session.SessionStoreError")(
  "SessionStoreError",
  {
    /** The function of the store that failed. */
    operation: Schema.String,
    reason: Schema.Literal("unavailable", "timeout", "corrupt", "transaction", "size", "clock"),
    /** The error of the driver. */
    cause: Schema.optional(Schema.Defect)
  }
) {
  override get message(): string {
    return withHelp(`The session store failed in "${this.operation}": ${reasons[this.reason]}`, entries[this.reason])
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

/** The entries of the troubleshooting page. */
const entries: Readonly<Record<SessionStoreError["reason"], HelpId>> = {
  unavailable: "store-unavailable",
  timeout: "store-timeout",
  size: "record-too-large",
  clock: "clocks-differ",
  corrupt: "record-corrupt",
  transaction: "write-in-transaction"
}

/**
 * The outcome of a compare-and-set. `saved`: written. `conflict`: the stored record has another version. `gone`: there is no live record.
 *
 * @since 0.1.0
 * @category models
 */
export type WriteOutcome = "saved" | "conflict" | "gone"

/**
 * The maximum number of live sessions of one subject, and what happens to one more: `"deny"` refuses it, `"oldest"` ends as many of the
 * oldest sessions of the subject as necessary.
 *
 * @since 0.6.0
 * @category models
 */
export interface SubjectLimit {
  /** A positive integer. */
  readonly max: number
  readonly onFull: "deny" | "oldest"
}

/**
 * The outcome of a write within a {@link SubjectLimit}: the session was written, and these older sessions of its subject have ended.
 *
 * @since 0.6.0
 * @category models
 */
export interface Evicted {
  readonly _tag: "Evicted"
  /** At least one id. */
  readonly ids: ReadonlyArray<SessionId>
}

/**
 * The outcome of a `create`. `created`: inserted. `exists`: the key or the id is taken. `full`: the limit of the subject denies one more
 * session. After `exists` and `full` nothing has changed.
 *
 * @since 0.6.0
 * @category models
 */
export type CreateOutcome = "created" | "exists" | "full" | Evicted

/**
 * The outcome of a `rotate`: as of a compare-and-set, or `full`: the limit of the subject denies one more session, and nothing has changed.
 *
 * @since 0.6.0
 * @category models
 */
export type RotateOutcome = WriteOutcome | "full" | Evicted

/**
 * Why a session has ended.
 *
 * - `expired`: it reached its end.
 * - `loggedOut`: `destroy` ended it.
 * - `rotated`: it lives on under another token.
 * - `revoked`: it was ended by its id.
 * - `subjectRevoked`, `allRevoked`: all sessions of its subject, or of its namespace, were ended.
 * - `limit`: a newer session of its subject took its place.
 *
 * @since 0.6.0
 * @category models
 */
export type EndReason =
  | "expired"
  | "loggedOut"
  | "rotated"
  | "revoked"
  | "subjectRevoked"
  | "allRevoked"
  | "limit"

/**
 * Properties of a store beyond the laws. `capabilityLaws` of `effect-session/testing` checks each of them.
 *
 * @since 0.1.0
 * @category models
 */
export interface Capabilities {
  /** An acknowledged `destroy` survives a crash, a restart and a fail-over. */
  readonly durableDestroy: boolean
  /** Calls leave the process: they can hang, and replies can be lost. Timeouts and retries apply to remote stores only. */
  readonly remote: boolean
  /**
   * Returns whether two keys are kept on the same shard. A rotation generates new tokens until this returns `true`, because every later call
   * on a relocated record costs more. Absent if the store has no shards.
   */
  readonly colocated?: (key: StoreKey, newKey: StoreKey) => boolean
  /**
   * The store enforces a {@link SubjectLimit} in the atomic step of the write. A store without it ignores the limit, so a session tag with
   * `maxPerSubject` rejects it when its layer is built.
   *
   * @since 0.6.0
   */
  readonly limitsSubjects?: true
}

/**
 * The number of records that a store holds. Sessions that were revoked by subject or namespace count until they expire.
 *
 * @since 0.1.0
 * @category models
 */
export interface Count {
  /** The number of records that have not expired. */
  readonly current: number
  /** The number of records that have expired and are not deleted yet. */
  readonly expired: number
}

/**
 * The read consistency for a store that caches another store. `"fresh"`: bypass the cache. `"stale"`: accept a cached record if the origin
 * is unreachable. Omitted: use the cache while the origin is reachable.
 *
 * @since 0.5.0
 * @category models
 */
export type ReadConsistency = "fresh" | "stale"

/**
 * A record as a store returns it.
 *
 * @since 0.5.0
 * @category models
 */
export interface Loaded extends SessionRecord {
  /** The origin store was unreachable; this is the last cached record. */
  readonly stale?: true
}

/**
 * A record and its store key. No token can be derived from the key.
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
  /** The maximum number of sessions of the page. Default {@link pageSize}. */
  readonly limit?: number | undefined
  /** The last session of the previous page. It may have ended meanwhile. */
  readonly after?: Pick<SessionInfo, "createdAt" | "id"> | undefined
}

/**
 * The default number of sessions of a page: 100.
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
  /** The version that the stored record must have; `save` returns `conflict` if it has another one. */
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
export interface RotateOptions extends SaveOptions {
  /** The maximum number of live sessions of the record's subject, this one included. Absent: no limit. */
  readonly limit?: SubjectLimit | undefined
}

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
 * An entry of a page for a record whose stored bytes cannot be decoded.
 *
 * @since 0.5.0
 * @category models
 */
export interface Corrupt {
  /** The id of the record. */
  readonly id: SessionId
  /** Its reason is `corrupt`. */
  readonly error: SessionStoreError
}

/**
 * The functions of a store.
 *
 * A record is *alive* if it has not expired and neither its subject nor its namespace was revoked after it was created. Every function
 * except `destroy`, `revoke` and `removeExpired` treats a record that is not alive as absent.
 *
 * A record is *corrupt* if its stored bytes cannot be decoded. It counts as present: `load` and `find` fail with the reason `corrupt`.
 * `list`, `scan` and `removeExpired` still process the other records. Every function that ends a session removes it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Store {
  /** The properties of this store beyond the laws. */
  readonly capabilities: Capabilities

  /**
   * Inserts a record. Returns `exists`, and changes nothing, if the key or the id is taken, by a live record or not. `create`, `save`,
   * `touch` and `rotate` limit the times of the record by the store's clock, as `SessionRecord.bounded` does.
   *
   * With `limit`, the insertion and the check of the number of live sessions of the record's subject are one atomic step, whatever other
   * calls run at the same time. A record without a subject is not limited. `"oldest"` never ends the record that is written.
   */
  readonly create: (
    key: StoreKey,
    record: SessionRecord,
    now: EpochMillis,
    limit?: SubjectLimit
  ) => Effect.Effect<CreateOutcome, SessionStoreError>

  /** Returns the live record of a key. Only a store that caches another store uses `reading`. */
  readonly load: (
    key: StoreKey,
    now: EpochMillis,
    reading?: ReadConsistency
  ) => Effect.Effect<Option<Loaded>, SessionStoreError>

  /**
   * Replaces data, schema version, lifetime and times if the live record has the expected version, in one atomic step, and increases the
   * version by one. Never inserts. The schema version is that of the data, so it may become an earlier one. Times only move forward; a
   * changed lifetime may move the end back. Id, subject, `createdAt` and `authenticatedAt` never change.
   */
  readonly save: (
    key: StoreKey,
    record: SessionRecord,
    options: SaveOptions
  ) => Effect.Effect<WriteOutcome, SessionStoreError>

  /** Moves `lastSeenAt` and the end of a live record forward, never beyond its deadline. Data and version do not change. */
  readonly touch: (
    key: StoreKey,
    times: TouchTimes
  ) => Effect.Effect<"touched" | "gone", SessionStoreError>

  /**
   * Moves the live record of the expected version to a new key and replaces all of it, in one atomic step. The old key is invalid from
   * then on; a crash may leave neither key, never both. Returns `conflict` also if the new key is taken (even by the same record), or the
   * id by another record. A concurrent revocation ends the record under either key. If the subject does not change, earlier revocations
   * still apply to the record. A limit is checked in the same step, as by `create`, after the conditions of the compare-and-set.
   */
  readonly rotate: (
    key: StoreKey,
    newKey: StoreKey,
    record: SessionRecord,
    options: RotateOptions
  ) => Effect.Effect<RotateOutcome, SessionStoreError>

  /** Deletes a record. Succeeds if the key is missing. Final: only `create` can write under that key again. */
  readonly destroy: (key: StoreKey) => Effect.Effect<void, SessionStoreError>

  /**
   * Deletes at most `limit` records that have expired at `now`, and returns their number. A record that is touched meanwhile stays. A
   * record that was only revoked stays until it expires. Revocations stay in force as long as a record exists that they ended. `0` may
   * also mean that another process is deleting at this moment.
   *
   * Fails with the reason `clock`, and deletes nothing, if the caller's clock is ahead of the store's: see {@link checkClock}.
   */
  readonly removeExpired: (options: RemoveExpiredOptions) => Effect.Effect<number, SessionStoreError>

  /** Counts the records that have not expired at `now`, and those that have. Reads an index, never data. */
  readonly count: (now: EpochMillis) => Effect.Effect<Count, SessionStoreError>

  /**
   * Returns the live records of a subject by index, oldest first (records of the same moment in the order of their ids): at most `limit`
   * after `after`. A page that is shorter than `limit` is the last one. A record that exists throughout is on exactly one page, even if
   * others are created or removed between pages. Corrupt records are omitted and logged as a warning.
   */
  readonly list: (
    namespace: string,
    subject: string,
    now: EpochMillis,
    page?: Page
  ) => Effect.Effect<ReadonlyArray<SessionInfo>, SessionStoreError>

  /** Returns the live record with this id, by index. */
  readonly find: (
    namespace: string,
    id: SessionId,
    now: EpochMillis
  ) => Effect.Effect<Option<SessionRecord>, SessionStoreError>

  /**
   * Returns the live records of a namespace with their keys, in the order of their ids: at most `limit` after `after`. Streams and
   * migrations read these pages. A corrupt record is an entry with its error.
   */
  readonly scan: (
    namespace: string,
    page: ScanPage
  ) => Effect.Effect<ReadonlyArray<Located | Corrupt>, SessionStoreError>

  /**
   * Ends one session by deleting its record. Returns `true` if there was a record, alive or not. With `subject`, the record must belong to
   * that subject, which is checked in the same step; otherwise nothing changes and the result is `false`.
   */
  readonly revoke: (
    namespace: string,
    id: SessionId,
    subject?: string
  ) => Effect.Effect<boolean, SessionStoreError>

  /**
   * Ends every session of a subject by one write, including sessions that are not listed and those being saved or rotated at this moment.
   * The session `except` stays, if it is alive and belongs to the subject.
   */
  readonly revokeSubject: (
    namespace: string,
    subject: string,
    except?: SessionId
  ) => Effect.Effect<void, SessionStoreError>

  /** Ends every session of a namespace by one write. */
  readonly revokeAll: (namespace: string) => Effect.Effect<void, SessionStoreError>

  /**
   * Returns why the session of this key has ended, as far as the store knows; `None` if it is alive, or the store does not know. A reason
   * is kept until the session would have expired at the latest, and may be lost earlier: in a crash, or for lack of space. A reason that is
   * returned is true of that key.
   *
   * @since 0.6.0
   */
  readonly endReason: (key: StoreKey, now: EpochMillis) => Effect.Effect<Option<EndReason>, SessionStoreError>
}

/**
 * The name of a function of a store.
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
  create: (key, record, now, limit) =>
    Effect.flatMap(clock, (time) => store.create(key, bounded(record, now, time), now, limit)),
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
  revoke: (namespace, id, subject) => store.revoke(namespace, id, subject),
  revokeSubject: (namespace, subject, except) => store.revokeSubject(namespace, subject, except),
  revokeAll: (namespace) => store.revokeAll(namespace),
  endReason: (key, now) => store.endReason(key, now)
}))

/**
 * The tag under which a store is provided.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { MemoryStore, SessionStore } from "effect-session"
 *
 * export const layer = Layer.effect(SessionStore.SessionStore, Effect.sync(() => MemoryStore.make()))
 * ```
 *
 * @since 0.1.0
 * @category tags
 */
export class SessionStore extends Context.Tag("effect-session/SessionStore")<SessionStore, Store>() {}

/**
 * Fails with the reason `clock` if `now` is more than `SessionRecord.clockSlack` ahead of the store's clock. `removeExpired` runs this
 * first, because a clock that is ahead would delete live sessions. Both arguments are milliseconds since the epoch.
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
