/**
 * Entries and tombstones in the cache of a tiered store, and their lifetimes.
 */
import { it } from "@effect/vitest"
import { Effect, Fiber, Option } from "effect"
import { MemoryStore } from "effect-session"
import { isThere, minute, start, stored } from "effect-session/Fixtures"
import type { InvalidationEvent } from "effect-session/SessionInvalidation"
import { SessionInvalidation } from "effect-session/SessionInvalidation"
import type { Store } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import * as TieredStore from "effect-session/TieredStore"
import { assert, describe } from "vitest"
import { range, together } from "./support/concurrency.js"

const lease = 60_000
/** Milliseconds for which a tombstone blocks fills: longer than any read or write takes. */
const tombstoneMillis = 15_000
const tiersOf = (cache: Store, origin: Store) => TieredStore.make(cache, origin, { lease })

const setUp = Effect.gen(function*() {
  const cache = FaultyStore.controlled(MemoryStore.make())
  const origin = FaultyStore.controlled(MemoryStore.make())
  const tiers = yield* tiersOf(cache.store, origin.store)
  /** Reads these keys, and returns the number of calls of the origin. */
  const cost = (keys: ReadonlyArray<Parameters<Store["load"]>[0]>, now: number) =>
    Effect.gen(function*() {
      origin.calls.length = 0
      for (const key of keys) yield* isThere(tiers, key, now)
      return origin.calls.length
    })
  return { cache, origin, tiers, cost }
})

describe("an expired tombstone", () => {
  it.live("does not block fills, however many expired tombstones there are", () =>
    Effect.gen(function*() {
      const { cost, tiers } = yield* setUp
      const keys = yield* Effect.forEach(range(1000), () =>
        Effect.gen(function*() {
          const { key, record } = yield* stored(tiers)
          yield* tiers.save(key, record, { expectedVersion: 1, now: start })
          return key
        }))
      assert.strictEqual(yield* cost(keys, start + tombstoneMillis - 1), 1000)
      assert.strictEqual(yield* cost(keys, start + tombstoneMillis), 1000)
      assert.strictEqual(yield* cost(keys, start + tombstoneMillis), 0)
    }))

  for (const [name, before] of [["an empty cache", false], ["a cache with an entry", true]] as const) {
    it.live(`is replaced by an entry with every field of the record, which a revocation by its id ends (${name})`, () =>
      Effect.gen(function*() {
        const { cost, cache, tiers } = yield* setUp
        const one = yield* stored(tiers, { subject: "bob" })
        if (before) yield* isThere(tiers, one.key, start)
        yield* tiers.save(one.key, { ...one.record, data: `"new"`, writeId: "w" }, { expectedVersion: 1, now: start })
        const now = start + tombstoneMillis
        yield* isThere(tiers, one.key, now)
        assert.strictEqual(yield* cost([one.key], now), 0)
        assert.deepStrictEqual(
          Option.getOrUndefined(yield* tiers.load(one.key, now)),
          { ...one.record, data: `"new"`, writeId: "w", version: 2 }
        )
        assert.isTrue(yield* cache.store.revoke("laws", one.record.id))
        assert.strictEqual(yield* cost([one.key], now), 1)
      }))
  }
})

describe("a cache that fails once", () => {
  it.live("in a read: reads bypass it for one second, and use it again", () =>
    Effect.gen(function*() {
      const { cost, cache, tiers } = yield* setUp
      const { key } = yield* stored(tiers)
      yield* isThere(tiers, key, start)
      cache.controls.fault = "failBefore"
      assert.strictEqual(yield* cost([key], start), 1)
      cache.controls.fault = undefined
      assert.strictEqual(yield* cost([key], start + 999), 1)
      assert.strictEqual(yield* cost([key], start + 1000), 0)
    }))

  it.live("with a corrupt entry: other entries are still used", () =>
    Effect.gen(function*() {
      const { cost, cache, tiers } = yield* setUp
      const [one, other] = [yield* stored(tiers), yield* stored(tiers)]
      yield* isThere(tiers, one.key, start)
      yield* isThere(tiers, other.key, start)
      Object.assign(cache.controls, { fault: "failBefore", reason: "corrupt" })
      assert.strictEqual(yield* cost([one.key], start), 1)
      cache.controls.fault = undefined
      assert.strictEqual(yield* cost([other.key], start), 0)
    }))

  for (const reason of ["unavailable", "corrupt"] as const) {
    it.live(`in a tombstone (${reason}): reads bypass it until every entry of a concurrent read has expired`, () =>
      Effect.gen(function*() {
        const { cost, cache, tiers } = yield* setUp
        const { key, record } = yield* stored(tiers)
        yield* isThere(tiers, key, start)
        Object.assign(cache.controls, { fault: "failBefore", reason })
        yield* tiers.save(key, record, { expectedVersion: 1, now: start })
        cache.controls.fault = undefined
        assert.strictEqual(yield* cost([key, key], start + tombstoneMillis + lease - 1), 2)
        assert.strictEqual(yield* cost([key, key], start + tombstoneMillis + lease), 1)
      }))
  }

  it.live("a write in that second still writes its tombstone", () =>
    Effect.gen(function*() {
      const { cost, cache, tiers } = yield* setUp
      const { key, record } = yield* stored(tiers)
      cache.controls.fault = "failBefore"
      yield* isThere(tiers, key, start)
      cache.controls.fault = undefined
      yield* tiers.save(key, record, { expectedVersion: 1, now: start + 999 })
      assert.isTrue(Option.isSome(yield* cache.store.load(key, start + 999)))
      assert.strictEqual(yield* cost([key, key], start + 998 + tombstoneMillis), 2)
      assert.strictEqual(yield* cost([key, key], start + 999 + tombstoneMillis), 1)
    }))
})

it.scopedLive("an invalidation event does not remove a tombstone that has replaced the entry", () =>
  Effect.gen(function*() {
    const [shared, origin] = [FaultyStore.controlled(MemoryStore.make()), FaultyStore.controlled(MemoryStore.make())]
    let listener: (event: InvalidationEvent) => Effect.Effect<void> = () => Effect.dieMessage("not yet")
    yield* TieredStore.makeWithInvalidation(shared.store, origin.store, { lease }).pipe(
      Effect.provideService(SessionInvalidation, {
        publish: () => Effect.void,
        subscribe: (received) => Effect.zipRight(Effect.sync(() => void (listener = received)), Effect.never)
      })
    )
    yield* Effect.yieldNow()
    const [reader, writer] = [yield* tiersOf(shared.store, origin.store), yield* tiersOf(shared.store, origin.store)]
    const { key } = yield* stored(origin.store)
    const latch = Effect.makeLatch(false)
    const [read, resumeReader, seen, resumeListener] = [yield* latch, yield* latch, yield* latch, yield* latch]
    // A reader that has missed the cache and has read the origin.
    origin.controls.after = () => Effect.zipRight(read.open, resumeReader.await)
    const reading = yield* Effect.fork(reader.load(key, start))
    yield* read.await
    origin.controls.after = () => Effect.void
    yield* isThere(writer, key, start)
    // A node that has received an event of another write has loaded the entry that it will remove.
    shared.controls.after = (operation) =>
      operation === "load" ? Effect.zipRight(seen.open, resumeListener.await) : Effect.void
    const receiving = yield* Effect.fork(listener({ _tag: "Key", key }))
    yield* seen.await
    shared.controls.after = () => Effect.void
    yield* writer.destroy(key)
    yield* resumeListener.open
    yield* Fiber.join(receiving)
    yield* resumeReader.open
    yield* Fiber.join(reading)
    assert.isFalse(yield* isThere(writer, key, start))
    assert.isFalse(yield* isThere(reader, key, start + minute))
  }))

it.live("a hundred reads that wait for an interrupted load share one other load", () =>
  Effect.gen(function*() {
    const [cache, origin] = [
      FaultyStore.controlled(MemoryStore.make(), false),
      FaultyStore.controlled(MemoryStore.make(), false)
    ]
    const tiers = yield* tiersOf(cache.store, origin.store)
    const { key } = yield* stored(tiers)
    const [read, resumeReader] = [yield* Effect.makeLatch(false), yield* Effect.makeLatch(false)]
    origin.controls.before = () => Effect.zipRight(read.open, resumeReader.await)
    origin.calls.length = 0
    const first = yield* Effect.fork(tiers.load(key, start))
    yield* read.await
    cache.calls.length = 0
    const others = yield* Effect.fork(together(range(100).map(() => tiers.load(key, start))))
    // Each has missed the cache.
    yield* Effect.repeat(Effect.yieldNow(), { until: () => cache.calls.length === 100 })
    yield* Fiber.interrupt(first)
    yield* resumeReader.open
    const found = yield* Fiber.join(others)
    assert.isTrue(found.every(Option.isSome))
    assert.deepStrictEqual(origin.calls, ["load", "load"])
  }))
