/**
 * The stored record of a session, and the rules for changing it, which are the same for every store.
 *
 * @since 0.1.0
 */
import type { SessionExpiry, Times } from "./Expiry.js"
import * as Lifetime from "./Lifetime.js"
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

/**
 * A record without its data.
 *
 * @since 0.6.0
 * @category rules
 */
export const toInfo = <A extends SessionRecord>({ data: _, ...info }: A): Omit<A, "data"> => info

/**
 * Applies a save to the stored record: replaces data and lifetime, moves times only forward, and keeps identity and deadline. The end
 * moves back only if the lifetime changes.
 *
 * @since 0.6.0
 * @category rules
 */
export const applySave = (old: SessionRecord, next: SessionRecord): SessionRecord => {
  const { lifetime } = old.expiry
  const isSameLifetime = lifetime === next.expiry.lifetime || Lifetime.equals(lifetime, next.expiry.lifetime)
  return {
    ...old,
    data: next.data,
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
 * Applies a touch to the stored record: moves last use and end forward, never beyond the deadline. Times are milliseconds since the epoch.
 *
 * @since 0.6.0
 * @category rules
 */
export const applyTouch = (old: SessionRecord, lastSeenAt: number, expiresAt: number): SessionRecord => ({
  ...old,
  lastSeenAt: Math.max(old.lastSeenAt, lastSeenAt),
  expiry: {
    ...old.expiry,
    at: Math.max(old.expiry.at, Math.min(expiresAt, old.expiry.deadline ?? Infinity))
  }
})

/**
 * The order of a list: oldest first, and those of one moment by their ids.
 *
 * @since 0.6.0
 * @category rules
 */
export const byAge = (
  a: { readonly createdAt: number; readonly id: string },
  b: { readonly createdAt: number; readonly id: string }
): number => a.createdAt - b.createdAt || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)

/**
 * How far ahead of the store's clock a caller's clock may be, in milliseconds: one minute. A clock that is behind does no
 * harm, so a simulated time (that of a `TestClock`, which begins in 1970) may be anywhere before that.
 *
 * @since 0.6.0
 * @category clocks
 */
export const clockSlack = 60_000

/**
 * The times of a record as a store keeps them that is told them at `now`. By the clock of the store, no session was seen or
 * modified in the future, and none ends later than the caller wanted it to end after the caller's own `now`, with
 * {@link clockSlack}. A moment that a lifetime names (`Until`) stays, and so does an end that the record had before
 * (`end`). Of a caller whose clock is right or behind, nothing is changed.
 *
 * @since 0.6.0
 * @category clocks
 */
export const bounded = <A extends Pick<SessionRecord, "lastSeenAt" | "modifiedAt" | "expiry">>(
  record: A,
  now: number,
  storeClock: number,
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
 * The same for the two times that a touch moves.
 *
 * @since 0.6.0
 * @category clocks
 */
export const boundedTouch = (
  lastSeenAt: number,
  expiresAt: number,
  now: number,
  storeClock: number
): { readonly lastSeenAt: number; readonly expiresAt: number } => {
  const expiry = { at: expiresAt, deadline: undefined, lifetime: undefined }
  const times = bounded({ lastSeenAt, modifiedAt: lastSeenAt, expiry }, now, storeClock)
  return { lastSeenAt: times.lastSeenAt, expiresAt: times.expiry.at }
}
