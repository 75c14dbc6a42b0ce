import { it } from "@effect/vitest"
import { Effect, Option } from "effect"
import * as CacheStore from "effect-session/CacheStore"
import { aRecord, freshKey, isAlive, isDead, isThere, minute, namespace, start, stored } from "effect-session/Fixtures"
import { SessionStore } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import { range } from "./support/concurrency.js"

describe("CacheStore", () => {
  it.effect("evicts the least recently used session from the records and from all indexes", () =>
    Effect.gen(function*() {
      const store = yield* CacheStore.make({ maxEntries: 3 })
      const first = yield* stored(store)
      const second = yield* stored(store)
      const third = yield* stored(store)
      yield* store.load(first.key, start)
      const fourth = yield* stored(store)
      yield* isDead(store, second, start)
      for (const kept of [first, third, fourth]) yield* isAlive(store, kept, start)
      assert.deepStrictEqual(yield* store.count(start), { current: 3, expired: 0 })
      // The key and the id of an evicted session are free again.
      assert.isFalse(yield* store.revoke(second.record.namespace, second.record.id))
      assert.strictEqual(yield* store.create(second.key, second.record, start), "created")
    }))

  it.effect("list, find, scan, count and revoke do not change the order of eviction", () =>
    Effect.gen(function*() {
      const store = yield* CacheStore.make({ maxEntries: 10 })
      const all = yield* Effect.forEach(range(10), (i) => stored(store, { subject: `user ${i}` }))
      const [first, second, third] = all
      if (first === undefined || second === undefined || third === undefined) return assert.fail("there are ten")
      yield* store.load(first.key, start)
      yield* store.list(namespace, "user 1", start)
      yield* store.find(namespace, second.record.id, start)
      yield* store.scan(namespace, { limit: 100, now: start })
      yield* store.count(start)
      yield* store.removeExpired({ now: start, limit: 100 })
      yield* store.revoke(namespace, third.record.id)
      yield* Effect.forEach(range(2), () => stored(store))
      const there = yield* Effect.filter(all, ({ key }) => isThere(store, key, start))
      // The revoked third session made room for one, and the second is the least recently used.
      assert.deepStrictEqual(there, all.filter((one) => one !== second && one !== third))
    }))

  it.effect("create and a growing save evict expired sessions before live ones", () =>
    Effect.gen(function*() {
      const now = start + minute
      const expired = { expiry: { at: now, deadline: undefined, lifetime: undefined } }
      const full = yield* CacheStore.make({ maxEntries: 2 })
      const used = yield* stored(full)
      yield* stored(full, expired)
      const another = { key: freshKey(), record: aRecord() }
      yield* full.create(another.key, another.record, now)
      yield* isAlive(full, used, now)
      yield* isAlive(full, another, now)

      const large = JSON.stringify("x".repeat(1000))
      const heavy = yield* CacheStore.make({ maxBytes: 10_000 })
      const old = yield* stored(heavy)
      const growing = yield* stored(heavy, { data: large })
      yield* stored(heavy, { data: large, ...expired })
      const grown = JSON.stringify("x".repeat(3000))
      assert.strictEqual(
        yield* heavy.save(growing.key, { ...growing.record, data: grown }, { expectedVersion: 1, now }),
        "saved"
      )
      assert.deepStrictEqual(yield* heavy.count(now), { current: 2, expired: 0 })
      yield* isAlive(heavy, old, now)
    }))

  it.effect("a revocation of a subject still holds after other sessions of the subject are evicted", () =>
    Effect.gen(function*() {
      const store = yield* CacheStore.make({ maxEntries: 2 })
      yield* stored(store)
      const revoked = yield* stored(store)
      yield* store.revokeSubject(namespace, "ann")
      const later = yield* stored(store)
      yield* isDead(store, revoked, start)
      yield* isAlive(store, later, start)
    }))

  it.effect("stays within `maxBytes` for sessions of different sizes", () =>
    Effect.gen(function*() {
      const store = yield* CacheStore.make({ maxBytes: 100_000 })
      yield* Effect.forEach(range(100), (i) => stored(store, { data: JSON.stringify("x".repeat(i * 100)) }))
      const { current } = yield* store.count(start)
      assert.isAtLeast(current, 3)
      assert.isAtMost(current, 20)
    }))

  it.effect("a growing save evicts other sessions, never the saved one", () =>
    Effect.gen(function*() {
      const store = yield* CacheStore.make({ maxBytes: 10_000 })
      const all = yield* Effect.forEach(range(5), () => stored(store))
      const [growing] = all
      if (growing === undefined) return assert.fail("no session was created")
      const data = JSON.stringify("x".repeat(3000))
      assert.strictEqual(
        yield* store.save(growing.key, { ...growing.record, data }, { expectedVersion: 1, now: start }),
        "saved"
      )
      assert.strictEqual(Option.getOrUndefined(yield* store.load(growing.key, start))?.data, data)
      const there = yield* Effect.filter(all, ({ key }) => isThere(store, key, start))
      assert.isBelow(there.length, 5)
    }))

  it.effect("a save larger than `maxBytes` fails with `size`, and the stored session stays", () =>
    Effect.gen(function*() {
      const store = yield* CacheStore.make({ maxBytes: 5000 })
      const one = yield* stored(store)
      const data = JSON.stringify("x".repeat(5000))
      const error = yield* Effect.flip(store.save(one.key, { ...one.record, data }, { expectedVersion: 1, now: start }))
      assert.strictEqual(error.reason, "size")
      assert.match(String(error.cause), /larger than the whole cache/)
      yield* isAlive(store, one, start)
    }))

  it.effect("each run of `make`, and each build of `layer`, has its own entries", () =>
    Effect.gen(function*() {
      const make = CacheStore.make()
      const layer = CacheStore.layer
      const built = Effect.provide(SessionStore, layer)
      for (const store of [make, built]) {
        const one = yield* stored(yield* store)
        assert.isFalse(yield* isThere(yield* store, one.key, start))
      }
    }))

  it.effect("`make` fails if a limit is not a whole number from 1 on", () =>
    Effect.gen(function*() {
      for (const options of [{ maxEntries: 0 }, { maxBytes: -1 }, { maxEntries: 1.5 }, { maxBytes: Number.NaN }]) {
        assert.match((yield* Effect.flip(CacheStore.make(options))).message, /whole numbers, 1 or more/)
      }
    }))
})
