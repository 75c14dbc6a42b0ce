/**
 * Records, keys and times for the tests of a store, and checks of what a store holds.
 *
 * Also exported by `effect-session/testing`. The laws use the same fixtures.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { MemoryStore } from "effect-session"
 * import { Fixtures } from "effect-session/testing"
 *
 * export const test = Effect.gen(function*() {
 *   const store = MemoryStore.make()
 *   const one = yield* Fixtures.stored(store, { subject: "bob" })
 *   yield* Fixtures.isAlive(store, one, Fixtures.start)
 *   yield* Fixtures.isDead(store, one, Fixtures.start + 2 * Fixtures.hour)
 * })
 * ```
 *
 * @since 0.6.0
 */
import type * as Effect from "effect/Effect"
import type * as FastCheck from "effect/FastCheck"
import * as Records from "./internal/testing/records.js"
import type { LawBroken } from "./Law.js"
import type { SessionId } from "./SessionId.js"
import type { SessionRecord } from "./SessionRecord.js"
import type { SessionStoreError, Store } from "./SessionStore.js"
import type { StoreKey } from "./StoreKey.js"

/**
 * A record and the key under which a store holds it.
 *
 * @since 0.6.0
 * @category models
 */
export interface Stored {
  readonly key: StoreKey
  readonly record: SessionRecord
}

/**
 * The time at which the records of `aRecord` begin, in milliseconds since 1970. Every operation of a store takes its time as
 * an argument, so a test needs no clock.
 *
 * @since 0.6.0
 * @category times
 */
export const start: number = Records.start

/**
 * A minute in milliseconds.
 *
 * @since 0.6.0
 * @category times
 */
export const minute: number = Records.minute

/**
 * An hour in milliseconds.
 *
 * @since 0.6.0
 * @category times
 */
export const hour: number = Records.hour

/**
 * A day in milliseconds.
 *
 * @since 0.6.0
 * @category times
 */
export const day: number = Records.day

/**
 * The namespace of the records of `aRecord`.
 *
 * @since 0.6.0
 * @category records
 */
export const namespace: string = Records.namespace

/**
 * Parses a store key. Throws if the text is not one.
 *
 * @since 0.6.0
 * @category records
 */
export const keyOf: (text: string) => StoreKey = Records.keyOf

/**
 * Parses a session id. Throws if the text is not one.
 *
 * @since 0.6.0
 * @category records
 */
export const idOf: (text: string) => SessionId = Records.idOf

/**
 * Generates a random store key.
 *
 * @since 0.6.0
 * @category records
 */
export const freshKey: () => StoreKey = Records.freshKey

/**
 * Generates a random session id.
 *
 * @since 0.6.0
 * @category records
 */
export const freshId: () => SessionId = Records.freshId

/**
 * Builds a record with a random id, of the subject "ann", that begins at `start`, ends one hour later, and can be prolonged to
 * one day. `fields` replace fields of it.
 *
 * @since 0.6.0
 * @category records
 */
export const aRecord: (fields?: Partial<SessionRecord>) => SessionRecord = Records.aRecord

/**
 * Generates any record that is alive at `start`, with text that drivers and encodings are known to lose.
 *
 * @since 0.6.0
 * @category records
 */
export const anyRecord: FastCheck.Arbitrary<SessionRecord> = Records.anyRecord

/**
 * Generates text of any UTF-16 code units, and often of those that databases, drivers and encodings are known to lose.
 *
 * @since 0.6.0
 * @category records
 */
export const anyText: FastCheck.Arbitrary<string> = Records.anyText

/**
 * Creates the record of `aRecord(fields)` in a store at `start`. Fails if the store does not create it.
 *
 * @since 0.6.0
 * @category records
 */
export const stored: (
  store: Store,
  fields?: Partial<SessionRecord>,
  key?: StoreKey
) => Effect.Effect<Stored, LawBroken | SessionStoreError> = Records.stored

/**
 * Loads a record. Fails with `LawBroken` if there is none that is alive at `now`.
 *
 * @since 0.6.0
 * @category checks
 */
export const loaded: (
  store: Store,
  key: StoreKey,
  now: number
) => Effect.Effect<SessionRecord, LawBroken | SessionStoreError> = Records.loaded

/**
 * Returns whether a record that is alive at `now` is under the key.
 *
 * @since 0.6.0
 * @category checks
 */
export const isThere: (store: Store, key: StoreKey, now: number) => Effect.Effect<boolean, SessionStoreError> =
  Records.isThere

/**
 * Checks that `load`, `find`, `scan` and `list` return exactly this record at `now`. Fails with `LawBroken`.
 *
 * @since 0.6.0
 * @category checks
 */
export const isAlive: (
  store: Store,
  one: Stored,
  now: number
) => Effect.Effect<void, LawBroken | SessionStoreError> = Records.isAlive

/**
 * Checks that nothing is alive under the key at `now`, and that `save`, `touch` and `rotate` return "gone" and bring nothing
 * back. Fails with `LawBroken`.
 *
 * @since 0.6.0
 * @category checks
 */
export const isKeyDead: (
  store: Store,
  one: Stored,
  now: number
) => Effect.Effect<void, LawBroken | SessionStoreError> = Records.isKeyDead

/**
 * Checks what `isKeyDead` does, and that neither `find`, `scan` nor `list` returns the record at `now`. Fails with `LawBroken`.
 *
 * @since 0.6.0
 * @category checks
 */
export const isDead: (
  store: Store,
  one: Stored,
  now: number
) => Effect.Effect<void, LawBroken | SessionStoreError> = Records.isDead
