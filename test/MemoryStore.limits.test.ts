/**
 * Limits of the sessions of a subject, and reasons why sessions have ended, in the stores in memory.
 */
import { it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { CacheStore, MemoryStore } from "effect-session"
import {
  aRecord,
  freshId,
  freshKey,
  hour,
  isAlive,
  isDead,
  isThere,
  minute,
  namespace,
  start,
  stored
} from "effect-session/Fixtures"
import type { Store } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import { range, together } from "./support/concurrency.js"

const reasonOf = (store: Store, key: Parameters<Store["endReason"]>[0], now = start) =>
  Effect.map(store.endReason(key, now), Option.getOrNull)

describe("a limit of the sessions of a subject in memory", () => {
  for (const onFull of ["deny", "oldest"] as const) {
    it.effect(`50 logins at once with limit 3 (${onFull}) leave 3 sessions`, () =>
      Effect.gen(function*() {
        const store = MemoryStore.make()
        const outcomes = yield* together(
          range(50).map(() => store.create(freshKey(), aRecord(), start, { max: 3, onFull }))
        )
        assert.strictEqual((yield* store.list(namespace, "ann", start)).length, 3)
        assert.strictEqual(outcomes.filter((outcome) => outcome === "created").length, 3)
        assert.strictEqual(outcomes.filter((outcome) => outcome === "full").length, onFull === "deny" ? 47 : 0)
      }))
  }

  it.effect("a lower limit ends as many of the oldest as necessary, and reports them in order", () =>
    Effect.gen(function*() {
      const store = MemoryStore.make()
      const [third, first, second] = [
        yield* stored(store, { createdAt: start + 3 }),
        yield* stored(store, { createdAt: start + 1 }),
        yield* stored(store, { createdAt: start + 2 })
      ]
      const outcome = yield* store.create(freshKey(), aRecord(), start, { max: 2, onFull: "oldest" })
      assert.deepStrictEqual(outcome, { _tag: "Evicted", ids: [first.record.id, second.record.id] })
      yield* isAlive(store, third, start)
      assert.strictEqual(yield* reasonOf(store, first.key), "limit")
    }))

  it.effect("a rotation counts itself once, also to another id", () =>
    Effect.gen(function*() {
      const store = MemoryStore.make()
      const one = yield* stored(store, { createdAt: start })
      const other = yield* stored(store, { createdAt: start - 1 })
      const record = { ...one.record, id: freshId() }
      const [two, three] = [freshKey(), freshKey()]
      const rotate = (from: typeof two, to: typeof two, expectedVersion: number, onFull: "deny" | "oldest", max = 2) =>
        store.rotate(from, to, record, { expectedVersion, now: start, limit: { max, onFull } })
      assert.strictEqual(yield* rotate(one.key, two, 1, "deny"), "saved")
      yield* isAlive(store, other, start)
      const again = yield* store.rotate(two, three, { ...record, id: freshId() }, {
        expectedVersion: 2,
        now: start,
        limit: { max: 2, onFull: "oldest" }
      })
      assert.strictEqual(again, "saved")
      yield* isAlive(store, other, start)
      assert.strictEqual(yield* rotate(three, one.key, 3, "deny", 1), "full")
      assert.deepStrictEqual(yield* rotate(three, one.key, 3, "oldest", 1), { _tag: "Evicted", ids: [other.record.id] })
      yield* isDead(store, other, start)
    }))

  it.effect("a login that is denied, conflicts or has a taken key ends no session", () =>
    Effect.gen(function*() {
      const store = MemoryStore.make()
      const [one, two] = [yield* stored(store), yield* stored(store)]
      const limit = { max: 1, onFull: "oldest" } as const
      assert.strictEqual(yield* store.create(freshKey(), aRecord(), start, { max: 2, onFull: "deny" }), "full")
      assert.strictEqual(yield* store.create(one.key, aRecord(), start, limit), "exists")
      const conflict = { expectedVersion: 2, now: start, limit }
      assert.strictEqual(yield* store.rotate(one.key, freshKey(), one.record, conflict), "conflict")
      for (const each of [one, two]) yield* isAlive(store, each, start)
    }))

  it.effect("with a capacity, the limit makes the room, so that no session of another subject is evicted", () =>
    Effect.gen(function*() {
      for (const store of [MemoryStore.make({ capacity: 2 }), yield* CacheStore.make({ maxEntries: 2 })]) {
        const bob = yield* stored(store, { subject: "bob" })
        const ann = yield* stored(store)
        const outcome = yield* store.create(freshKey(), aRecord(), start, { max: 1, onFull: "oldest" })
        assert.deepStrictEqual(outcome, { _tag: "Evicted", ids: [ann.record.id] })
        yield* isAlive(store, bob, start)
      }
    }))

  it.effect("a session that is too large for a CacheStore ends no other", () =>
    Effect.gen(function*() {
      const store = yield* CacheStore.make({ maxBytes: 5000 })
      const one = yield* stored(store)
      const limit = { max: 1, onFull: "oldest" } as const
      const data = JSON.stringify("x".repeat(5000))
      const created = yield* Effect.flip(store.create(freshKey(), aRecord({ data }), start, limit))
      assert.strictEqual(created.reason, "size")
      const rotated = yield* Effect.flip(
        store.rotate(one.key, freshKey(), { ...one.record, data }, { expectedVersion: 1, now: start, limit })
      )
      assert.strictEqual(rotated.reason, "size")
      yield* isAlive(store, one, start)
    }))
})

describe("the reason why a session in memory has ended", () => {
  it.effect("is that of the first end: a logout after a revocation of the subject changes nothing", () =>
    Effect.gen(function*() {
      const store = MemoryStore.make()
      const [one, two] = [yield* stored(store), yield* stored(store, { subject: "bob" })]
      yield* store.revokeSubject(namespace, "ann")
      assert.strictEqual(yield* reasonOf(store, one.key), "subjectRevoked")
      yield* store.destroy(one.key)
      assert.strictEqual(yield* reasonOf(store, one.key), "subjectRevoked")
      yield* store.revokeAll(namespace)
      yield* store.revoke(namespace, two.record.id)
      assert.strictEqual(yield* reasonOf(store, two.key), "allRevoked")
    }))

  it.effect("by the clock of the caller, whatever the clock of the machine is", () =>
    Effect.gen(function*() {
      const store = MemoryStore.make()
      // By the clock of the machine, which is years ahead, this session has expired.
      const one = yield* stored(store)
      yield* store.destroy(one.key)
      assert.strictEqual(yield* reasonOf(store, one.key, start + hour - 1), "loggedOut")
      assert.strictEqual(yield* reasonOf(store, one.key, start + hour), null)
      const two = yield* stored(store)
      assert.strictEqual(yield* reasonOf(store, two.key, start + hour - 1), null)
      assert.strictEqual(yield* reasonOf(store, two.key, start + hour), "expired")
    }))

  it.effect("is not that of an earlier session of the key", () =>
    Effect.gen(function*() {
      const store = MemoryStore.make({ capacity: 1 })
      const one = yield* stored(store)
      yield* store.destroy(one.key)
      yield* store.create(one.key, one.record, start)
      assert.strictEqual(yield* reasonOf(store, one.key), null)
      // Evicted for lack of room, which has no reason.
      yield* stored(store)
      assert.isFalse(yield* isThere(store, one.key, start))
      assert.strictEqual(yield* reasonOf(store, one.key), null)
    }))

  it.effect("the last 10,000 reasons are kept", () =>
    Effect.gen(function*() {
      const store = MemoryStore.make()
      const keys = yield* Effect.forEach(range(10_001), () =>
        Effect.gen(function*() {
          const { key } = yield* stored(store)
          yield* store.destroy(key)
          return key
        }))
      const known = yield* Effect.filter(keys, (key) => Effect.map(store.endReason(key, start), Option.isSome))
      assert.deepStrictEqual(known, keys.slice(1))
    }))

  it.effect("`revoke` of a subject's session ends only a session of that subject", () =>
    Effect.gen(function*() {
      const store = MemoryStore.make()
      const one = yield* stored(store, { expiry: { at: start + minute, deadline: undefined, lifetime: undefined } })
      assert.isFalse(yield* store.revoke(namespace, one.record.id, "bob"))
      assert.strictEqual(yield* reasonOf(store, one.key), null)
      assert.isTrue(yield* store.revoke(namespace, one.record.id, "ann"))
      assert.strictEqual(yield* reasonOf(store, one.key), "revoked")
    }))
})
