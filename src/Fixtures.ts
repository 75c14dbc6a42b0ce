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
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as Ids from "./internal/domain/id.js"
import { equal } from "./internal/testing/law.js"
import { LawBroken } from "./Law.js"
import * as SessionId from "./SessionId.js"
import type { SessionRecord } from "./SessionRecord.js"
import type { SessionStoreError, Store } from "./SessionStore.js"
import * as StoreKey from "./StoreKey.js"

const bytes = (length: number) => globalThis.crypto.getRandomValues(new Uint8Array(length))

/**
 * A record and the key under which a store holds it.
 *
 * @since 0.6.0
 * @category models
 */
export interface Stored {
  readonly key: StoreKey.StoreKey
  readonly record: SessionRecord
}

/**
 * The time at which the records of `aRecord` begin, in milliseconds since 1970. Every operation of a store takes its time as
 * an argument, so a test needs no clock.
 *
 * @since 0.6.0
 * @category times
 */
export const start: number = 1_700_000_000_000

/**
 * A minute in milliseconds.
 *
 * @since 0.6.0
 * @category times
 */
export const minute: number = 60_000

/**
 * An hour in milliseconds.
 *
 * @since 0.6.0
 * @category times
 */
export const hour: number = 60 * minute

/**
 * A day in milliseconds.
 *
 * @since 0.6.0
 * @category times
 */
export const day: number = 24 * hour

/**
 * The namespace of the records of `aRecord`.
 *
 * @since 0.6.0
 * @category records
 */
export const namespace: string = "laws"

/**
 * Parses a store key. Throws if the text is not one.
 *
 * @since 0.6.0
 * @category records
 */
export const keyOf = (text: string): StoreKey.StoreKey => Option.getOrThrow(StoreKey.parse(text))

/**
 * Parses a session id. Throws if the text is not one.
 *
 * @since 0.6.0
 * @category records
 */
export const idOf = (text: string): SessionId.SessionId => Option.getOrThrow(SessionId.parse(text))

/**
 * Generates a random store key.
 *
 * @since 0.6.0
 * @category records
 */
export const freshKey = (): StoreKey.StoreKey => keyOf(Encoding.encodeBase64Url(bytes(32)))

/**
 * Generates a random session id.
 *
 * @since 0.6.0
 * @category records
 */
export const freshId = (): SessionId.SessionId => Ids.fromBytes(bytes(Ids.byteLength))

/**
 * Builds a record with a random id, of the subject "ann", that begins at `start`, ends one hour later, and can be prolonged to
 * one day. `fields` replace fields of it.
 *
 * @since 0.6.0
 * @category records
 */
export const aRecord = (fields: Partial<SessionRecord> = {}): SessionRecord => ({
  namespace,
  id: freshId(),
  data: `{"cart":[]}`,
  schemaVersion: 1,
  subject: "ann",
  version: 1,
  writeId: Encoding.encodeBase64Url(bytes(12)),
  createdAt: start,
  authenticatedAt: start,
  modifiedAt: start,
  lastSeenAt: start,
  expiry: { at: start + hour, deadline: start + day, lifetime: undefined },
  attributes: undefined,
  ...fields
})

/**
 * Generates text of any UTF-16 code units, and often of those that databases, drivers and encodings are known to lose.
 *
 * @since 0.6.0
 * @category records
 */
export const anyText: FastCheck.Arbitrary<string> = FastCheck.array(
  FastCheck.oneof(
    FastCheck.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)),
    FastCheck.constantFrom(
      "\u0000",
      "\ud800",
      "\udfff",
      "\u{1f600}",
      `"`,
      `'`,
      "\\",
      "\u2028",
      "\ufeff",
      "\r\n",
      "\u007f"
    )
  ),
  { maxLength: 60 }
).map((parts) => parts.join(""))

/** Text that is well formed and without U+0000, as JSON text and the metadata of a record are. */
const opaqueText: FastCheck.Arbitrary<string> = anyText.map((text) => text.replace(/[\p{Cs}\u0000]/gu, " "))

const time = FastCheck.integer({ min: start - day, max: start + day })

const lifetime = FastCheck.oneof(
  FastCheck.constant(undefined),
  FastCheck.constant({ _tag: "Browser" as const }),
  FastCheck.integer({ min: 1, max: day }).map((millis) => ({ _tag: "Inactivity" as const, millis })),
  time.map((at) => ({ _tag: "Until" as const, at }))
)

/**
 * Generates any record that is alive at `start`, with text that drivers and encodings are known to lose.
 *
 * @since 0.6.0
 * @category records
 */
export const anyRecord: FastCheck.Arbitrary<SessionRecord> = FastCheck.record({
  namespace: opaqueText,
  id: FastCheck.constant(undefined).map(freshId),
  data: FastCheck.oneof(opaqueText, anyText.map((text) => JSON.stringify({ text }))),
  schemaVersion: FastCheck.integer({ min: 0, max: 1_000_000 }),
  subject: FastCheck.oneof(FastCheck.constant(undefined), opaqueText.map((text) => `s${text}`)),
  version: FastCheck.integer({ min: 0, max: Number.MAX_SAFE_INTEGER - 1 }),
  writeId: opaqueText,
  createdAt: time,
  authenticatedAt: FastCheck.oneof(FastCheck.constant(undefined), time),
  modifiedAt: time,
  lastSeenAt: time,
  expiry: FastCheck.record({
    at: FastCheck.integer({ min: start + 1, max: 8.64e15 }),
    deadline: FastCheck.oneof(FastCheck.constant(undefined), FastCheck.integer({ min: start + 1, max: 8.64e15 })),
    lifetime
  }),
  attributes: FastCheck.oneof(FastCheck.constant(undefined), opaqueText)
})

/**
 * Creates the record of `aRecord(fields)` in a store at `start`. Fails if the store does not create it.
 *
 * @since 0.6.0
 * @category records
 */
export const stored = (
  store: Store,
  fields: Partial<SessionRecord> = {},
  key: StoreKey.StoreKey = freshKey()
): Effect.Effect<Stored, LawBroken | SessionStoreError> =>
  Effect.gen(function*() {
    const record = aRecord(fields)
    yield* equal("create", yield* store.create(key, record, start), "created")
    return { key, record }
  })

/**
 * Loads a record. Fails with `LawBroken` if there is none that is alive at `now`.
 *
 * @since 0.6.0
 * @category checks
 */
export const loaded = (
  store: Store,
  key: StoreKey.StoreKey,
  now: number
): Effect.Effect<SessionRecord, LawBroken | SessionStoreError> =>
  Effect.flatMap(
    store.load(key, now),
    Option.match({
      onNone: () => Effect.fail(new LawBroken({ message: "load: expected a record but got none" })),
      onSome: Effect.succeed
    })
  )

/**
 * Returns whether a record that is alive at `now` is under the key.
 *
 * @since 0.6.0
 * @category checks
 */
export const isThere = (store: Store, key: StoreKey.StoreKey, now: number): Effect.Effect<boolean, SessionStoreError> =>
  Effect.map(store.load(key, now), Option.isSome)

/**
 * Checks that `load`, `find`, `scan` and `list` return exactly this record at `now`. Fails with `LawBroken`.
 *
 * @since 0.6.0
 * @category checks
 */
export const isAlive = (
  store: Store,
  { key, record }: Stored,
  now: number
): Effect.Effect<void, LawBroken | SessionStoreError> =>
  Effect.gen(function*() {
    const { data: _, ...info } = record
    yield* equal("load", Option.getOrUndefined(yield* store.load(key, now)), record)
    yield* equal("find", Option.getOrUndefined(yield* store.find(record.namespace, record.id, now)), record)
    yield* equal("scan", ofId(yield* store.scan(record.namespace, { limit: 1000, now }), record.id), [
      { ...record, key }
    ])
    if (record.subject === undefined) return
    yield* equal("list", ofId(yield* store.list(record.namespace, record.subject, now), record.id), [info])
  })

/**
 * Checks that nothing is alive under the key at `now`, and that `save`, `touch` and `rotate` return "gone" and bring nothing
 * back. Fails with `LawBroken`.
 *
 * @since 0.6.0
 * @category checks
 */
export const isKeyDead = (
  store: Store,
  { key, record }: Stored,
  now: number
): Effect.Effect<void, LawBroken | SessionStoreError> =>
  Effect.gen(function*() {
    const newKey = freshKey()
    const end = now + hour
    const prolonged = { ...record, lastSeenAt: now, expiry: { ...record.expiry, at: end } }
    yield* equal("load", yield* isThere(store, key, now), false)
    yield* equal("save", yield* store.save(key, prolonged, { expectedVersion: record.version, now }), "gone")
    yield* equal("touch", yield* store.touch(key, { lastSeenAt: now, expiresAt: end, now }), "gone")
    yield* equal(
      "rotate",
      yield* store.rotate(key, newKey, prolonged, { expectedVersion: record.version, now }),
      "gone"
    )
    yield* equal("load of the new key", yield* isThere(store, newKey, now), false)
    yield* equal("load after the writes", yield* isThere(store, key, now), false)
  })

/**
 * Checks what `isKeyDead` does, and that neither `find`, `scan` nor `list` returns the record at `now`. Fails with `LawBroken`.
 *
 * @since 0.6.0
 * @category checks
 */
export const isDead = (
  store: Store,
  { key, record }: Stored,
  now: number
): Effect.Effect<void, LawBroken | SessionStoreError> =>
  Effect.gen(function*() {
    yield* isKeyDead(store, { key, record }, now)
    yield* equal("find", Option.isSome(yield* store.find(record.namespace, record.id, now)), false)
    yield* equal("scan", ofId(yield* store.scan(record.namespace, { limit: 1000, now }), record.id), [])
    yield* equal("list", ofId(yield* store.list(record.namespace, record.subject ?? "", now), record.id), [])
  })

const ofId = <A extends { readonly id: SessionId.SessionId }>(records: ReadonlyArray<A>, id: SessionId.SessionId) =>
  records.filter((record) => record.id === id)
