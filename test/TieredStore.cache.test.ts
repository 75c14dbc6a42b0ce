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
/** Longer than any write or read is under way. */
const fence = 15_000
const tiersOf = (front: Store, back: Store) => TieredStore.make(front, back, { lease })

const setUp = Effect.gen(function*() {
  const front = FaultyStore.controlled(MemoryStore.make())
  const back = FaultyStore.controlled(MemoryStore.make())
  const tiers = yield* tiersOf(front.store, back.store)
  /** How many reads of the back it costs to read these. */
  const cost = (keys: ReadonlyArray<Parameters<Store["load"]>[0]>, now: number) =>
    Effect.gen(function*() {
      back.calls.length = 0
      for (const key of keys) yield* isThere(tiers, key, now)
      return back.calls.length
    })
  return { front, back, tiers, cost }
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
      assert.strictEqual(yield* cost(keys, start + fence - 1), 1000)
      assert.strictEqual(yield* cost(keys, start + fence), 1000)
      assert.strictEqual(yield* cost(keys, start + fence), 0)
    }))

  for (const [name, before] of [["an empty front", false], ["a copy", true]] as const) {
    it.live(`is replaced by an entry with every field of the record, which a revocation by its id ends: in ${name}`, () =>
      Effect.gen(function*() {
        const { cost, front, tiers } = yield* setUp
        const one = yield* stored(tiers, { subject: "bob" })
        if (before) yield* isThere(tiers, one.key, start)
        yield* tiers.save(one.key, { ...one.record, data: `"new"`, writeId: "w" }, { expectedVersion: 1, now: start })
        const now = start + fence
        yield* isThere(tiers, one.key, now)
        assert.strictEqual(yield* cost([one.key], now), 0)
        assert.deepStrictEqual(
          Option.getOrUndefined(yield* tiers.load(one.key, now)),
          { ...one.record, data: `"new"`, writeId: "w", version: 2 }
        )
        assert.isTrue(yield* front.store.revoke("laws", one.record.id))
        assert.strictEqual(yield* cost([one.key], now), 1)
      }))
  }
})

describe("a cache that fails once", () => {
  it.live("in a read: reads bypass it for one second, and use it again", () =>
    Effect.gen(function*() {
      const { cost, front, tiers } = yield* setUp
      const { key } = yield* stored(tiers)
      yield* isThere(tiers, key, start)
      front.controls.fault = "failBefore"
      assert.strictEqual(yield* cost([key], start), 1)
      front.controls.fault = undefined
      assert.strictEqual(yield* cost([key], start + 999), 1)
      assert.strictEqual(yield* cost([key], start + 1000), 0)
    }))

  it.live("with a corrupt entry: other entries are still used", () =>
    Effect.gen(function*() {
      const { cost, front, tiers } = yield* setUp
      const [one, other] = [yield* stored(tiers), yield* stored(tiers)]
      yield* isThere(tiers, one.key, start)
      yield* isThere(tiers, other.key, start)
      Object.assign(front.controls, { fault: "failBefore", reason: "corrupt" })
      assert.strictEqual(yield* cost([one.key], start), 1)
      front.controls.fault = undefined
      assert.strictEqual(yield* cost([other.key], start), 0)
    }))

  for (const reason of ["unavailable", "corrupt"] as const) {
    it.live(`in a tombstone (${reason}): reads bypass it until every entry of a concurrent read has expired`, () =>
      Effect.gen(function*() {
        const { cost, front, tiers } = yield* setUp
        const { key, record } = yield* stored(tiers)
        yield* isThere(tiers, key, start)
        Object.assign(front.controls, { fault: "failBefore", reason })
        yield* tiers.save(key, record, { expectedVersion: 1, now: start })
        front.controls.fault = undefined
        assert.strictEqual(yield* cost([key, key], start + fence + lease - 1), 2)
        assert.strictEqual(yield* cost([key, key], start + fence + lease), 1)
      }))
  }

  it.live("a write in that second still writes its tombstone", () =>
    Effect.gen(function*() {
      const { cost, front, tiers } = yield* setUp
      const { key, record } = yield* stored(tiers)
      front.controls.fault = "failBefore"
      yield* isThere(tiers, key, start)
      front.controls.fault = undefined
      yield* tiers.save(key, record, { expectedVersion: 1, now: start + 999 })
      assert.isTrue(Option.isSome(yield* front.store.load(key, start + 999)))
      assert.strictEqual(yield* cost([key, key], start + 998 + fence), 2)
      assert.strictEqual(yield* cost([key, key], start + 999 + fence), 1)
    }))
})

it.scopedLive("an invalidation event does not remove a tombstone that has replaced the entry", () =>
  Effect.gen(function*() {
    const [shared, back] = [FaultyStore.controlled(MemoryStore.make()), FaultyStore.controlled(MemoryStore.make())]
    let hear: (notice: InvalidationEvent) => Effect.Effect<void> = () => Effect.dieMessage("not yet")
    yield* TieredStore.makeWithInvalidation(shared.store, back.store, { lease }).pipe(
      Effect.provideService(SessionInvalidation, {
        publish: () => Effect.void,
        subscribe: (heard) => Effect.zipRight(Effect.sync(() => void (hear = heard)), Effect.never)
      })
    )
    yield* Effect.yieldNow()
    const [reader, writer] = [yield* tiersOf(shared.store, back.store), yield* tiersOf(shared.store, back.store)]
    const { key } = yield* stored(back.store)
    const latch = Effect.makeLatch(false)
    const [read, goOn, seen, hearOn] = [yield* latch, yield* latch, yield* latch, yield* latch]
    // A reader that has seen an empty front, and what the back held then.
    back.controls.after = () => Effect.zipRight(read.open, goOn.await)
    const reading = yield* Effect.fork(reader.load(key, start))
    yield* read.await
    back.controls.after = () => Effect.void
    yield* isThere(writer, key, start)
    // A node that has heard of another write has seen the copy that it is to take away.
    shared.controls.after = (operation) => operation === "load" ? Effect.zipRight(seen.open, hearOn.await) : Effect.void
    const hearing = yield* Effect.fork(hear({ _tag: "Key", key }))
    yield* seen.await
    shared.controls.after = () => Effect.void
    yield* writer.destroy(key)
    yield* hearOn.open
    yield* Fiber.join(hearing)
    yield* goOn.open
    yield* Fiber.join(reading)
    assert.isFalse(yield* isThere(writer, key, start))
    assert.isFalse(yield* isThere(reader, key, start + minute))
  }))

it.live("a hundred reads that wait for an interrupted load share one other load", () =>
  Effect.gen(function*() {
    const [front, back] = [
      FaultyStore.controlled(MemoryStore.make(), false),
      FaultyStore.controlled(MemoryStore.make(), false)
    ]
    const tiers = yield* tiersOf(front.store, back.store)
    const { key } = yield* stored(tiers)
    const [read, goOn] = [yield* Effect.makeLatch(false), yield* Effect.makeLatch(false)]
    back.controls.before = () => Effect.zipRight(read.open, goOn.await)
    back.calls.length = 0
    const first = yield* Effect.fork(tiers.load(key, start))
    yield* read.await
    front.calls.length = 0
    const others = yield* Effect.fork(together(range(100).map(() => tiers.load(key, start))))
    // All of them have found the front empty.
    yield* Effect.repeat(Effect.yieldNow(), { until: () => front.calls.length === 100 })
    yield* Fiber.interrupt(first)
    yield* goOn.open
    const found = yield* Fiber.join(others)
    assert.isTrue(found.every(Option.isSome))
    assert.deepStrictEqual(back.calls, ["load", "load"])
  }))
