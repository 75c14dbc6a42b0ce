/**
 * The stored record of a session, and the rules for changing it, which are the same for every store.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import type { SessionExpiry, Times } from "./Expiry.js"
import { isExpired } from "./internal/domain/expiry.js"
import * as LifetimeRules from "./internal/domain/lifetime.js"
import { orAbsent } from "./internal/schema/absent.js"
import * as Lifetime from "./Lifetime.js"
import * as SessionId from "./SessionId.js"

/**
 * A moment, in milliseconds since the Unix epoch.
 *
 * @since 0.6.0
 * @category models
 */
export type EpochMillis = number

/**
 * The stored form of one session: encoded data and metadata. A store treats `data`, `attributes`, `subject` and `writeId` as opaque text.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionRecord extends Times {
  /** The namespace of the session tag. */
  readonly namespace: string
  /** The public id: in lists, logs and admin pages. It gives no access to the session. */
  readonly id: SessionId.SessionId
  /** The encoded data of the session, as text. */
  readonly data: string
  /** The version of the schema that wrote `data`. */
  readonly schemaVersion: number
  /** The user that the session belongs to. Absent for an anonymous session. */
  readonly subject: string | undefined
  /** The number that compare-and-set compares. Every save and rotation increases it by one. */
  readonly version: number
  /** The id of the write that made this version. A writer whose reply was lost recognises its own write by it. */
  readonly writeId: string
  /** The end, the deadline and the lifetime. */
  readonly expiry: SessionExpiry
  /**
   * Encoded properties of the session apart from the application's data. Lists show them without loading the data. A save and a rotation
   * replace them, a touch keeps them.
   *
   * @since 0.6.0
   */
  readonly attributes: string | undefined
}

/**
 * The schema of a record, for a store that keeps JSON documents. Times are milliseconds since the epoch. An absent field has no property
 * in the document.
 *
 * @since 0.6.0
 * @category schemas
 */
export const SessionRecord: Schema.Schema<SessionRecord, SessionRecordEncoded> = Schema.Struct({
  namespace: Schema.String,
  id: SessionId.SessionId,
  data: Schema.String,
  schemaVersion: Schema.Int,
  subject: orAbsent(Schema.String),
  version: Schema.Int,
  writeId: Schema.String,
  createdAt: Schema.Int,
  authenticatedAt: orAbsent(Schema.Int),
  modifiedAt: Schema.Int,
  lastSeenAt: Schema.Int,
  expiry: Schema.Struct({
    at: Schema.Int,
    deadline: orAbsent(Schema.Int),
    lifetime: orAbsent(Lifetime.Lifetime)
  }),
  attributes: orAbsent(Schema.String)
})

/**
 * A record as {@link SessionRecord} encodes it.
 *
 * @since 0.6.0
 * @category schemas
 */
export interface SessionRecordEncoded {
  readonly namespace: string
  readonly id: string
  readonly data: string
  readonly schemaVersion: number
  readonly subject?: string
  readonly version: number
  readonly writeId: string
  readonly createdAt: EpochMillis
  readonly authenticatedAt?: EpochMillis
  readonly modifiedAt: EpochMillis
  readonly lastSeenAt: EpochMillis
  readonly expiry: { readonly at: EpochMillis; readonly deadline?: EpochMillis; readonly lifetime?: Lifetime.Lifetime }
  readonly attributes?: string
}

/**
 * A record without its data, as lists return it.
 *
 * @since 0.1.0
 * @category models
 */
export type SessionInfo = Omit<SessionRecord, "data">

/**
 * Returns a record without its data.
 *
 * @since 0.6.0
 * @category rules
 */
export const toInfo = <A extends SessionRecord>({ data: _, ...info }: A): Omit<A, "data"> => info

/**
 * The revocation counters of a namespace and of one subject in it. An anonymous session has the subject epoch 0.
 *
 * @since 0.6.0
 * @category rules
 */
export interface Epochs {
  readonly namespaceEpoch: number
  readonly subjectEpoch: number
}

/**
 * Returns whether a session is alive at `now`, in milliseconds since the epoch: it has not expired, and neither its namespace nor its
 * subject was revoked since. `noted` are the epochs that the store keeps with the record, `current` those of now.
 *
 * @since 0.6.0
 * @category rules
 */
export const isAlive = (
  record: Pick<SessionRecord, "expiry">,
  noted: Epochs,
  current: Epochs,
  now: EpochMillis
): boolean =>
  !isExpired(record.expiry, now) && noted.namespaceEpoch >= current.namespaceEpoch &&
  noted.subjectEpoch >= current.subjectEpoch

/**
 * Applies a save to the stored record: replaces data, attributes and lifetime, moves times only forward, and keeps identity and deadline.
 * The end moves back only if the lifetime changes.
 *
 * @since 0.6.0
 * @category rules
 */
export const applySave = (old: SessionRecord, next: SessionRecord): SessionRecord => {
  const { lifetime } = old.expiry
  const isSameLifetime = lifetime === next.expiry.lifetime || LifetimeRules.equals(lifetime, next.expiry.lifetime)
  return {
    ...old,
    data: next.data,
    attributes: next.attributes,
    schemaVersion: next.schemaVersion,
    version: old.version + 1,
    writeId: next.writeId,
    modifiedAt: Math.max(old.modifiedAt, next.modifiedAt),
    lastSeenAt: Math.max(old.lastSeenAt, next.lastSeenAt),
    expiry: {
      at: isSameLifetime ? Math.max(old.expiry.at, next.expiry.at) : next.expiry.at,
      deadline: old.expiry.deadline,
      lifetime: next.expiry.lifetime
    }
  }
}

/**
 * The times that a touch writes.
 *
 * @since 0.6.0
 * @category models
 */
export interface TouchTimes {
  /** When the session was last used. */
  readonly lastSeenAt: EpochMillis
  /** When the session expires. */
  readonly expiresAt: EpochMillis
  /** The current time of the caller. */
  readonly now: EpochMillis
}

/**
 * Applies a touch to the stored record: moves last use and end forward, never beyond the deadline.
 *
 * @since 0.6.0
 * @category rules
 */
export const applyTouch = (
  old: SessionRecord,
  { expiresAt, lastSeenAt }: Pick<TouchTimes, "expiresAt" | "lastSeenAt">
): SessionRecord => ({
  ...old,
  lastSeenAt: Math.max(old.lastSeenAt, lastSeenAt),
  expiry: {
    ...old.expiry,
    at: Math.max(old.expiry.at, Math.min(expiresAt, old.expiry.deadline ?? Infinity))
  }
})

/**
 * Compares two sessions for a list: oldest first, and sessions of the same moment by their ids.
 *
 * @since 0.6.0
 * @category rules
 */
export const byAge = (
  a: { readonly createdAt: EpochMillis; readonly id: string },
  b: { readonly createdAt: EpochMillis; readonly id: string }
): number => a.createdAt - b.createdAt || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)

/**
 * The maximum by which a caller's clock may be ahead of the store's, in milliseconds: one minute. A clock that is behind does no harm, so
 * a simulated time (a `TestClock` begins in 1970) may be anywhere in the past.
 *
 * @since 0.6.0
 * @category clocks
 */
export const clockSlack = 60_000

/**
 * Limits the times of a record by the clock of the store, for a caller whose clock is ahead: no session was seen or modified in the
 * future, and none lives longer from now on than the caller intended, with {@link clockSlack}. `now` is the time of the caller. The end of
 * an `Until` lifetime does not change, and neither does an end that the record had before (`end`). Returns the record unchanged if the
 * caller's clock is right or behind. All times are milliseconds since the epoch.
 *
 * @since 0.6.0
 * @category clocks
 */
export const bounded = <A extends Pick<SessionRecord, "lastSeenAt" | "modifiedAt" | "expiry">>(
  record: A,
  now: EpochMillis,
  storeClock: EpochMillis,
  end = -Infinity
): A => {
  const latest = storeClock + clockSlack
  const { expiry, lastSeenAt, modifiedAt } = record
  const callersClock = Math.max(now, lastSeenAt)
  if (callersClock <= latest && modifiedAt <= latest) return record
  const reach = latest + Math.max(0, expiry.at - Math.max(callersClock, storeClock))
  const at = expiry.lifetime?._tag === "Until" ? expiry.at : Math.min(expiry.at, Math.max(reach, end))
  return {
    ...record,
    lastSeenAt: Math.min(lastSeenAt, latest),
    modifiedAt: Math.min(modifiedAt, latest),
    expiry: { ...expiry, at }
  }
}

/**
 * Limits the two times that a touch moves, as {@link bounded} does.
 *
 * @since 0.6.0
 * @category clocks
 */
export const boundedTouch = ({ expiresAt, lastSeenAt, now }: TouchTimes, storeClock: EpochMillis): TouchTimes => {
  const expiry = { at: expiresAt, deadline: undefined, lifetime: undefined }
  const times = bounded({ lastSeenAt, modifiedAt: lastSeenAt, expiry }, now, storeClock)
  return { lastSeenAt: times.lastSeenAt, expiresAt: times.expiry.at, now }
}
