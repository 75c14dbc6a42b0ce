import { it } from "@effect/vitest"
import { Effect, Fiber, Option, Scheduler } from "effect"
import { MemoryStore } from "effect-session"
import * as CacheStore from "effect-session/CacheStore"
import { isThere, minute, start, stored } from "effect-session/Fixtures"
import type { InvalidationEvent } from "effect-session/SessionInvalidation"
import { SessionInvalidation } from "effect-session/SessionInvalidation"
import { SessionStoreError } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import * as TieredStore from "effect-session/TieredStore"
import { assert, describe } from "vitest"

const lease = 5000
const tiersOf = (cache: Store, origin: Store) => TieredStore.make(cache, origin, { lease })

/** A scheduler that yields once, at operation `op`. */
const yieldingAt = (op: number): Scheduler.Scheduler => {
  let ops = 0
  return {
    scheduleTask: (task, priority) => Scheduler.defaultScheduler.scheduleTask(task, priority),
    shouldYield: () => ++ops === op ? 0 : false
  }
}

describe("a write that begins while reads bypass the cache, and ends afterwards", () => {
  for (const lateness of [1, 50]) {
    it.live(`a save that was pending is visible (${lateness} ms after the bypass)`, () =>
      Effect.gen(function*() {
        const cache = FaultyStore.controlled(MemoryStore.make(), false)
        const origin = FaultyStore.controlled(MemoryStore.make(), false)
        const tiers = yield* tiersOf(cache.store, origin.store)
        const one = yield* stored(tiers)
        cache.controls.fault = "failBefore"
        yield* tiers.load(one.key, start)
        cache.controls.fault = undefined
        const gate = yield* Effect.makeLatch(false)
        origin.controls.before = (operation) => operation === "save" ? gate.await : Effect.void
        const end = start + lease + 1000
        const write = yield* Effect.fork(
          tiers.save(one.key, { ...one.record, data: `"new"` }, { expectedVersion: 1, now: end - 1 })
        )
        yield* Effect.yieldNow()
        yield* isThere(tiers, one.key, end + lateness)
        yield* gate.open
        assert.strictEqual(yield* Fiber.join(write), "saved")
        assert.strictEqual(Option.getOrUndefined(yield* tiers.load(one.key, end + lateness + 10))?.data, `"new"`)
      }))
  }
  it.live("an entry that another node with the same cache has written meanwhile is not used", () =>
    Effect.gen(function*() {
      const shared = MemoryStore.make()
      const mine = FaultyStore.controlled(shared)
      const origin = MemoryStore.make()
      const a = yield* tiersOf(mine.store, origin)
      const b = yield* tiersOf(shared, origin)
      const one = yield* stored(a)
      mine.controls.fault = "failBefore"
      yield* a.load(one.key, start)
      mine.controls.fault = undefined
      const end = start + lease + 1000
      yield* b.load(one.key, end - 20)
      assert.strictEqual(
        yield* a.save(one.key, { ...one.record, data: `"new"` }, { expectedVersion: 1, now: end - 10 }),
        "saved"
      )
      assert.strictEqual(Option.getOrUndefined(yield* a.load(one.key, end - 1))?.data, `"new"`)
      assert.strictEqual(Option.getOrUndefined(yield* a.load(one.key, end))?.data, `"new"`)
    }))
})

describe("a tombstone that is evicted during the write", () => {
  it.live("no read on the same node caches the old record", () =>
    Effect.gen(function*() {
      const cache = yield* CacheStore.make({ maxEntries: 1 })
      const origin = FaultyStore.controlled(MemoryStore.make(), false)
      const tiers = yield* tiersOf(cache, origin.store)
      const one = yield* stored(tiers)
      const other = yield* stored(tiers)
      const gate = yield* Effect.makeLatch(false)
      origin.controls.before = (operation) => operation === "destroy" ? gate.await : Effect.void
      const logout = yield* Effect.fork(tiers.destroy(one.key))
      yield* Effect.yieldNow()
      yield* tiers.load(other.key, start)
      yield* tiers.load(one.key, start)
      yield* gate.open
      yield* Fiber.join(logout)
      assert.isFalse(yield* isThere(tiers, one.key, start))
    }))
})

describe("an idle node that shares a cache", () => {
  it.live("a session that the node revoked stays revoked on it, even if the invalidation of the cache failed", () =>
    Effect.gen(function*() {
      const shared = MemoryStore.make()
      const mine = FaultyStore.controlled(shared)
      const origin = MemoryStore.make()
      const a = yield* tiersOf(mine.store, origin)
      const b = yield* tiersOf(shared, origin)
      const one = yield* stored(b)
      yield* b.load(one.key, start)
      mine.controls.fault = "failBefore"
      yield* a.revoke("laws", one.record.id)
      mine.controls.fault = undefined
      assert.isFalse(yield* isThere(a, one.key, start + 1))
    }))
})

describe("interruption of the in-flight load", () => {
  it.live("the next read completes, whenever the load is interrupted", () =>
    Effect.gen(function*() {
      const bad: Array<number> = []
      for (let op = 1; op < 150; op++) {
        const tiers = yield* tiersOf(MemoryStore.make(), MemoryStore.make())
        const one = yield* stored(tiers)
        const fiber = Effect.runFork(tiers.load(one.key, start), { scheduler: yieldingAt(op) })
        yield* Fiber.interruptFork(fiber)
        yield* Effect.sleep(2)
        const next = yield* Effect.timeoutOption(tiers.load(one.key, start), "10 seconds")
        if (Option.isNone(next)) bad.push(op)
      }
      assert.deepStrictEqual(bad, [])
    }))
})

describe("a revocation that hangs", () => {
  it.live("does not block other revocations and invalidation events", () =>
    Effect.gen(function*() {
      const origin = FaultyStore.controlled(MemoryStore.make())
      let listener: (event: InvalidationEvent) => Effect.Effect<void> = () => Effect.die("not subscribed")
      const tiers = yield* Effect.provideService(
        TieredStore.makeWithInvalidation(MemoryStore.make(), origin.store, { lease }),
        SessionInvalidation,
        {
          publish: () => Effect.void,
          subscribe: (subscribed) => Effect.zipRight(Effect.sync(() => void (listener = subscribed)), Effect.never)
        }
      )
      yield* Effect.yieldNow()
      origin.controls.fault = "hang"
      yield* Effect.fork(tiers.revokeSubject("laws", "bob"))
      yield* Effect.yieldNow()
      origin.controls.fault = undefined
      const event = yield* Effect.timeoutOption(
        listener({ _tag: "Subject", namespace: "laws", subject: "carl" }),
        "10 seconds"
      )
      const other = yield* Effect.timeoutOption(tiers.revokeSubject("other", "ann"), "10 seconds")
      assert.deepStrictEqual([Option.isSome(event), Option.isSome(other)], [true, true])
    }).pipe(Effect.scoped))
})

describe("a clock that is set back", () => {
  it.live("no cache entry is used for longer than its lease", () =>
    Effect.gen(function*() {
      const origin = MemoryStore.make()
      const tiers = yield* tiersOf(MemoryStore.make(), origin)
      const one = yield* stored(tiers)
      yield* tiers.load(one.key, start + 10 * minute)
      yield* origin.destroy(one.key)
      // The clock is set back by ten minutes, and nine minutes pass.
      assert.isFalse(yield* isThere(tiers, one.key, start + 9 * minute))
    }))
})

describe("after a write", () => {
  it.live("a session is read from the cache again after 15 s", () =>
    Effect.gen(function*() {
      const origin = FaultyStore.controlled(MemoryStore.make(), false)
      const tiers = yield* tiersOf(MemoryStore.make(), origin.store)
      const one = yield* stored(tiers)
      // A sweep has just run.
      const other = yield* stored(tiers)
      yield* tiers.save(other.key, other.record, { expectedVersion: 1, now: start - 15_000 })
      yield* tiers.load(other.key, start)
      yield* tiers.save(one.key, one.record, { expectedVersion: 1, now: start })
      yield* tiers.load(one.key, start + 16_000)
      origin.calls.length = 0
      yield* tiers.load(one.key, start + 17_000)
      yield* tiers.load(one.key, start + 30_000)
      yield* tiers.load(one.key, start + 31_000)
      assert.deepStrictEqual(origin.calls, ["load"])
    }))
})

describe("a session that is too large for the cache", () => {
  it.live("other sessions are still read from the cache", () =>
    Effect.gen(function*() {
      const cache = yield* CacheStore.make({ maxBytes: 10_000 })
      const origin = FaultyStore.controlled(MemoryStore.make(), false)
      const tiers = yield* tiersOf(cache, origin.store)
      const one = yield* stored(tiers)
      const big = yield* stored(tiers, { data: JSON.stringify("x".repeat(10_000)) })
      yield* tiers.load(one.key, start)
      yield* tiers.load(big.key, start)
      origin.calls.length = 0
      yield* tiers.load(one.key, start)
      assert.deepStrictEqual(origin.calls, [])
    }))
})

describe("two writers and a cache that fails between the two steps of a tombstone", () => {
  it.live("the tombstone of an acknowledged logout is kept", () =>
    Effect.gen(function*() {
      const shared = MemoryStore.make()
      const origin = MemoryStore.make()
      const slow = FaultyStore.controlled(origin, false)
      const a = yield* tiersOf(shared, origin)
      const one = yield* stored(a)
      // B has read the origin, and is about to fill the cache.
      const gate = yield* Effect.makeLatch(false)
      const slowLoad = {
        ...slow.store,
        load: (...args: Parameters<Store["load"]>) => Effect.zipLeft(slow.store.load(...args), gate.await)
      }
      const b = yield* tiersOf(shared, slowLoad)
      const read = yield* Effect.fork(b.load(one.key, start))
      yield* Effect.yieldNow()
      yield* a.destroy(one.key)
      // C's save comes after the logout; its cache fails after the first of the two steps of a tombstone.
      let creations = 0
      const failing = FaultyStore.intercept(shared, (operation, call) =>
        operation === "create" && creations++ === 0
          ? Effect.fail(new SessionStoreError({ operation, reason: "unavailable" }))
          : call, true)
      const c = yield* tiersOf(failing, origin)
      assert.strictEqual(yield* c.save(one.key, one.record, { expectedVersion: 1, now: start }), "gone")
      yield* gate.open
      yield* Fiber.join(read)
      assert.isFalse(yield* isThere(a, one.key, start))
    }))
})
