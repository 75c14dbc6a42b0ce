/**
 * Records for tests of a store, and checks of the stored state of a record.
 */
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import { LawBroken } from "../../Law.js"
import * as SessionId from "../../SessionId.js"
import type { SessionRecord } from "../../SessionRecord.js"
import type { Store } from "../../SessionStore.js"
import * as StoreKey from "../../StoreKey.js"
import * as Ids from "../domain/id.js"
import { equal } from "./law.js"

/** The time at which the records of the laws are created, in milliseconds since the epoch. */
export const start = 1_700_000_000_000
export const minute = 60_000
export const hour = 60 * minute
export const day = 24 * hour

export const namespace = "laws"

const bytes = (length: number) => globalThis.crypto.getRandomValues(new Uint8Array(length))

/** Parses a store key. Throws if the text is not one. */
export const keyOf = (text: string): StoreKey.StoreKey => Option.getOrThrow(StoreKey.parse(text))

/** Parses a session id. Throws if the text is not one. */
export const idOf = (text: string): SessionId.SessionId => Option.getOrThrow(SessionId.parse(text))

/** Generates a random store key. */
export const freshKey = (): StoreKey.StoreKey => keyOf(Encoding.encodeBase64Url(bytes(32)))

/** Generates a random session id. */
export const freshId = (): SessionId.SessionId => Ids.fromBytes(bytes(Ids.byteLength))

/** Builds a record with a random id. It ends after one hour, and can be prolonged to one day. */
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

export interface Stored {
  readonly key: StoreKey.StoreKey
  readonly record: SessionRecord
}

/** Creates a record in the store. */
export const stored = (store: Store, fields: Partial<SessionRecord> = {}, key = freshKey()) =>
  Effect.gen(function*() {
    const record = aRecord(fields)
    yield* equal("create", yield* store.create(key, record, start), "created")
    return { key, record } satisfies Stored
  })

/** Checks that `load`, `find`, `scan` and `list` return exactly this record. */
export const isAlive = (store: Store, { key, record }: Stored, now: number) =>
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

/** Checks that the key has no live record, and that no write creates one. */
export const isKeyDead = (store: Store, { key, record }: Stored, now: number) =>
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

/** Checks that no read returns the record, and that no write revives it. */
export const isDead = (store: Store, { key, record }: Stored, now: number) =>
  Effect.gen(function*() {
    yield* isKeyDead(store, { key, record }, now)
    yield* equal("find", Option.isSome(yield* store.find(record.namespace, record.id, now)), false)
    yield* equal("scan", ofId(yield* store.scan(record.namespace, { limit: 1000, now }), record.id), [])
    yield* equal("list", ofId(yield* store.list(record.namespace, record.subject ?? "", now), record.id), [])
  })

/** Returns whether the key has a live record. */
export const isThere = (store: Store, key: StoreKey.StoreKey, now: number) =>
  Effect.map(store.load(key, now), Option.isSome)

/** Returns the live record of the key. Fails with `LawBroken` if there is none. */
export const loaded = (store: Store, key: StoreKey.StoreKey, now: number) =>
  Effect.flatMap(
    store.load(key, now),
    Option.match({
      onNone: () => Effect.fail(new LawBroken({ message: "load: expected a record but got none" })),
      onSome: Effect.succeed
    })
  )

const ofId = <A extends { readonly id: SessionId.SessionId }>(records: ReadonlyArray<A>, id: SessionId.SessionId) =>
  records.filter((record) => record.id === id)

/** Text of arbitrary code units, often with those that databases, drivers and encoders are known to lose. */
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

/** Any record that is alive at `start`. */
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
