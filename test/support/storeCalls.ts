/**
 * Every read and write of a store, and one session's life through all of them.
 */
import { Effect } from "effect"
import type { Stored } from "effect-session/Fixtures"
import {
  aRecord,
  freshId,
  freshKey,
  hour,
  isAlive,
  isDead,
  minute,
  namespace,
  start,
  stored
} from "effect-session/Fixtures"
import type { SessionStoreError, Store } from "effect-session/SessionStore"

/** Stores one expired and one live record, and returns the live one. */
export const storeTwoRecords = (store: Store) =>
  Effect.gen(function*() {
    yield* stored(store, { expiry: { at: start, deadline: undefined, lifetime: undefined } })
    return yield* stored(store)
  })

/** Every write of a store. After `storeTwoRecords`, each changes a row. */
export const writes: ReadonlyArray<
  readonly [name: string, run: (store: Store, one: Stored) => Effect.Effect<unknown, SessionStoreError>]
> = [
  ["create", (store) => store.create(freshKey(), aRecord(), start)],
  ["save", (store, { key, record }) => store.save(key, record, { expectedVersion: 1, now: start })],
  [
    "touch",
    (store, { key }) => store.touch(key, { lastSeenAt: start + minute, expiresAt: start + 2 * hour, now: start })
  ],
  ["rotate", (store, { key, record }) => store.rotate(key, freshKey(), record, { expectedVersion: 1, now: start })],
  ["destroy", (store, { key }) => store.destroy(key)],
  ["removeExpired", (store) => store.removeExpired({ now: start, limit: 10 })],
  ["revoke", (store, { record }) => store.revoke(namespace, record.id)],
  ["revokeSubject", (store) => store.revokeSubject(namespace, "ann")],
  ["revokeSubject with an exception", (store, { record }) => store.revokeSubject(namespace, "ann", record.id)],
  ["revokeAll", (store) => store.revokeAll(namespace)]
]

/** Every read of a store. */
export const reads: ReadonlyArray<
  readonly [name: string, run: (store: Store, one: Stored) => Effect.Effect<unknown, SessionStoreError>]
> = [
  ["load", (store, { key }) => store.load(key, start)],
  ["find", (store, { record }) => store.find(namespace, record.id, start)],
  ["list", (store) => store.list(namespace, "ann", start)],
  ["scan", (store) => store.scan(namespace, { limit: 10, now: start })]
]

/** Runs the life of a session through every operation. Fails if the store does not work. */
export const works = (store: Store) =>
  Effect.gen(function*() {
    const { key, record } = yield* stored(store)
    const expired = yield* stored(store, { expiry: { at: start, deadline: undefined, lifetime: undefined } })
    const ended = yield* stored(store)
    yield* isAlive(store, { key, record }, start)
    yield* store.touch(key, { lastSeenAt: start + minute, expiresAt: start + 2 * hour, now: start })
    const expiry = { ...record.expiry, at: start + 3 * hour, lifetime: { _tag: "Inactivity", millis: hour } } as const
    const saved = { ...record, data: `"saved"`, version: 2, lastSeenAt: start + minute, expiry }
    yield* store.save(key, saved, { expectedVersion: 1, now: start })
    yield* isAlive(store, { key, record: saved }, start)
    const rotated = { key: freshKey(), record: { ...saved, id: freshId(), version: 3 } }
    yield* store.rotate(key, rotated.key, rotated.record, { expectedVersion: 2, now: start })
    yield* isDead(store, { key, record }, start)
    yield* store.revokeSubject(namespace, "ann", rotated.record.id)
    yield* isDead(store, ended, start)
    yield* isAlive(store, rotated, start)
    yield* store.removeExpired({ now: start, limit: 10 })
    yield* stored(store, { subject: "bob" }, expired.key)
    yield* store.revokeAll(namespace)
    yield* isDead(store, rotated, start)
  })
