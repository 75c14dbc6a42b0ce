/**
 * Reasons why a session ended, on one node and in a Cluster.
 */
import { it } from "@effect/vitest"
import { Effect, Option } from "effect"
import {
  aRecord,
  day,
  freshKey,
  hour,
  isAlive,
  isThere,
  keyOf,
  minute,
  namespace,
  start,
  type Stored,
  stored
} from "effect-session/Fixtures"
import { RedisClient } from "effect-session/RedisClient"
import type { EndReason, SessionStoreError, Store } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import { range } from "./support/concurrency.js"
import { freshPrefix } from "./support/localStores.js"
import { storeAt, storeOn } from "./support/redisClients.js"
import { ofRedis, redisClient, redisClusterClient } from "./support/serverClients.js"
import * as Server from "./support/servers/redis.js"

const opened = Effect.gen(function*() {
  const client = yield* RedisClient
  const prefix = freshPrefix()
  const nameOf = (key: string, rest = key) => `${prefix}{${client.cluster ? key.charAt(0) : "all"}}:${rest}`
  const ask = (name: string, ...command: ReadonlyArray<string>) => {
    const [first = "", ...others] = command
    return Effect.promise(() => client.send(name, [first, name, ...others]))
  }
  return { client, prefix, nameOf, ask, store: yield* storeOn(client, { prefix }) }
})

const reasonOf = (store: Store, key: Stored["key"], now = start) =>
  Effect.map(store.endReason(key, now), Option.getOrUndefined)

/** Draws a key of the shard of another key. */
const keyBeside = (key: string) => keyOf(key.charAt(0) + freshKey().slice(1))

/** Draws a key of another shard. */
const keyApart = (key: string) => keyOf((key.startsWith("a") ? "b" : "a") + freshKey().slice(1))

type End = (store: Store, one: Stored, keyFor: typeof keyBeside) => Effect.Effect<unknown, SessionStoreError>

/** The ends that delete the record, with their reasons. */
const deletions: ReadonlyArray<readonly [EndReason, End]> = [
  ["loggedOut", (store, { key }) => store.destroy(key)],
  ["revoked", (store, { record }) => store.revoke(namespace, record.id)],
  [
    "rotated",
    (store, { key, record }, keyFor) =>
      store.rotate(key, keyFor(key), record, { expectedVersion: record.version, now: start })
  ],
  ["limit", (store) => store.create(freshKey(), aRecord({ createdAt: start + 1 }), start, { max: 1, onFull: "oldest" })]
]

/** The ends that leave the record in place, with their reasons. */
const revocations: ReadonlyArray<readonly [EndReason, End]> = [
  ["subjectRevoked", (store) => store.revokeSubject(namespace, "ann")],
  ["allRevoked", (store) => store.revokeAll(namespace)]
]

for (
  const [name, client] of ofRedis(["one node", redisClient] as const, ["a Cluster", redisClusterClient] as const)
) {
  describe(`endReason on ${name}`, () => {
    for (const [reason, end] of [...deletions, ...revocations]) {
      it.scopedLive(`is ${reason} until the session would have expired`, () =>
        Effect.gen(function*() {
          const { store } = yield* opened
          const one = yield* stored(store)
          assert.isUndefined(yield* reasonOf(store, one.key))
          yield* end(store, one, keyBeside)
          assert.isFalse(yield* isThere(store, one.key, start))
          assert.strictEqual(yield* reasonOf(store, one.key), reason)
          assert.strictEqual(yield* reasonOf(store, one.key, start + hour - 1), reason)
          assert.notStrictEqual(yield* reasonOf(store, one.key, start + hour), reason)
        }).pipe(Effect.provide(client)))
    }

    it.scopedLive("is expired for a session that has reached its end, whatever else has ended it", () =>
      Effect.gen(function*() {
        const { store } = yield* opened
        const { key } = yield* stored(store)
        assert.isUndefined(yield* reasonOf(store, key, start + hour - 1))
        assert.strictEqual(yield* reasonOf(store, key, start + hour), "expired")
        yield* store.revokeSubject(namespace, "ann")
        assert.strictEqual(yield* reasonOf(store, key, start + hour - 1), "subjectRevoked")
        assert.strictEqual(yield* reasonOf(store, key, start + hour), "expired")
        yield* store.revokeAll(namespace)
        assert.strictEqual(yield* reasonOf(store, key), "allRevoked")
      }).pipe(Effect.provide(client)))

    it.scopedLive("is the revocation if the record of a revoked session is deleted", () =>
      Effect.gen(function*() {
        const { store } = yield* opened
        for (const [reason, revoke] of revocations) {
          for (
            const remove of [
              ({ key }: Stored) => store.destroy(key),
              ({ record }: Stored) => store.revoke(namespace, record.id)
            ]
          ) {
            const one = yield* stored(store)
            yield* revoke(store, one, keyBeside)
            yield* remove(one)
            assert.strictEqual(yield* reasonOf(store, one.key), reason)
          }
        }
      }).pipe(Effect.provide(client)))

    it.scopedLive("is not known for a key without a session, a corrupt one, or one that Redis deleted", () =>
      Effect.gen(function*() {
        const { ask, nameOf, store } = yield* opened
        const fresh = freshKey()
        assert.isUndefined(yield* reasonOf(store, fresh))
        yield* store.destroy(fresh)
        assert.isUndefined(yield* reasonOf(store, fresh))
        const gone = yield* stored(store)
        yield* ask(nameOf(gone.key), "del")
        assert.isUndefined(yield* reasonOf(store, gone.key))
        const corrupt = yield* stored(store)
        yield* ask(nameOf(corrupt.key), "hset", "m", "?")
        assert.isUndefined(yield* reasonOf(store, corrupt.key))
        yield* store.destroy(corrupt.key)
        assert.isUndefined(yield* reasonOf(store, corrupt.key))
      }).pipe(Effect.provide(client)))

    it.scopedLive("is never that of an earlier session with the same key", () =>
      Effect.gen(function*() {
        const { ask, nameOf, store } = yield* opened
        const { key } = yield* stored(store)
        yield* store.destroy(key)
        const next = yield* stored(store, { subject: undefined }, key)
        assert.isUndefined(yield* reasonOf(store, key))
        yield* isAlive(store, next, start)
        yield* ask(nameOf(key), "del")
        assert.isUndefined(yield* reasonOf(store, key))
        for (const keyFor of [keyBeside, keyApart]) {
          const ended = yield* stored(store)
          yield* store.destroy(ended.key)
          const one = yield* stored(store, { subject: undefined }, keyFor(ended.key))
          yield* store.rotate(one.key, ended.key, one.record, { expectedVersion: 1, now: start })
          assert.isUndefined(yield* reasonOf(store, ended.key))
          yield* ask(nameOf(ended.key), "del")
          assert.isUndefined(yield* reasonOf(store, ended.key))
        }
      }).pipe(Effect.provide(client)))

    it.scopedLive("stays the same if the driver resends every command", () =>
      Effect.gen(function*() {
        const { client, prefix, store } = yield* opened
        const doubled = yield* storeOn({
          ...client,
          send: (key, command) => client.send(key, command).then(() => client.send(key, command))
        }, { prefix })
        for (const [reason, end] of deletions) {
          const one = yield* stored(store)
          yield* end(doubled, one, keyBeside)
          assert.strictEqual(yield* reasonOf(store, one.key), reason)
          yield* store.revokeAll(namespace)
        }
      }).pipe(Effect.provide(client)))

    it.scopedLive("of a session that lives on under a key of another shard is found by each of its keys", () =>
      Effect.gen(function*() {
        const { store } = yield* opened
        for (const [reason, end] of deletions) {
          const { key, record } = yield* stored(store)
          const newKey = keyApart(key)
          assert.strictEqual(yield* store.rotate(key, newKey, record, { expectedVersion: 1, now: start }), "saved")
          assert.isUndefined(yield* reasonOf(store, newKey))
          yield* end(store, { key: newKey, record: { ...record, version: 2 } }, keyApart)
          assert.strictEqual(yield* reasonOf(store, newKey), reason)
          assert.strictEqual(yield* reasonOf(store, key), "rotated")
          // The key is free again.
          assert.strictEqual(yield* store.create(newKey, aRecord({ subject: "bob" }), start), "created")
          yield* store.revokeAll(namespace)
        }
      }).pipe(Effect.provide(client)))

    it.scopedLive("is deleted by Redis a minute after the session would have expired, that of a rotation after a day", () =>
      Effect.gen(function*() {
        const { ask, nameOf, store } = yield* opened
        const now = Date.now()
        const real = (life: number) =>
          Effect.gen(function*() {
            const expiry = { at: now + life, deadline: undefined, lifetime: undefined }
            const record = aRecord({ createdAt: now, authenticatedAt: now, modifiedAt: now, lastSeenAt: now, expiry })
            const key = freshKey()
            assert.strictEqual(yield* store.create(key, record, now), "created")
            return { key, record }
          })
        const endsIn = (key: string, millis: number) =>
          Effect.map(ask(nameOf(key, `ended:${key}`), "pttl"), (left) => {
            assert.isAtMost(Number(left), millis + minute)
            assert.isAbove(Number(left), millis)
          })
        const one = yield* real(hour)
        yield* store.destroy(one.key)
        yield* endsIn(one.key, hour)
        const long = yield* real(10 * day)
        const newKey = keyBeside(long.key)
        assert.strictEqual(yield* store.rotate(long.key, newKey, long.record, { expectedVersion: 1, now }), "saved")
        yield* endsIn(long.key, day)
        yield* store.revoke(namespace, long.record.id)
        yield* endsIn(newKey, 10 * day)
      }).pipe(Effect.provide(client)))

    it.scopedLive("is lost if it cannot be written, and the session ends all the same", () =>
      Effect.gen(function*() {
        const { ask, nameOf, store } = yield* opened
        for (const [reason, end] of deletions) {
          const one = yield* stored(store)
          // A key of another type rejects the write.
          yield* ask(nameOf(one.key, `ended:${one.key}`), "zadd", "1", "other")
          yield* end(store, one, keyBeside)
          assert.isFalse(yield* isThere(store, one.key, start), reason)
          yield* store.revokeAll(namespace)
        }
      }).pipe(Effect.provide(client)))
  })
}

for (const [, open] of ofRedis(["one node", Server.make] as const)) {
  describe("endReason on a server whose memory is full", () => {
    it.scopedLive("does not keep a session from ending", () =>
      Effect.gen(function*() {
        const server = yield* open({ settings: { "maxmemory-policy": "noeviction" } })
        const store = yield* storeAt(server.url)
        const all = yield* Effect.forEach(range(20), () => stored(store))
        yield* server.ask("CONFIG", "SET", "maxmemory", "1mb")
        for (const [i, { key, record }] of all.entries()) {
          if (i % 2 === 0) yield* store.destroy(key)
          else assert.isTrue(yield* store.revoke(namespace, record.id, "ann"))
          assert.isFalse(yield* isThere(store, key, start))
          assert.strictEqual(yield* reasonOf(store, key), i % 2 === 0 ? "loggedOut" : "revoked")
        }
      }))
  })
}
