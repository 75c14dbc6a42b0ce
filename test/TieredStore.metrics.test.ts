import { it } from "@effect/vitest"
import { Effect, Metric } from "effect"
import { MemoryStore, SessionMetrics } from "effect-session"
import { freshKey, isThere, start, stored } from "effect-session/Fixtures"
import { SessionStoreError } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import * as TieredStore from "effect-session/TieredStore"
import { assert, describe } from "vitest"
import type { Operation } from "../src/SessionStore.js"

const lease = 5000

/** The counts of both metrics by label, copied because the state of a metric is mutable. */
const counted = Effect.map(
  Effect.all([Metric.value(SessionMetrics.cacheReads), Metric.value(SessionMetrics.cacheFills)]),
  (metrics) => new Map(metrics.flatMap(({ occurrences }) => [...occurrences]))
)

/** Runs an effect, and returns the counts that it has increased. */
const grown = <E>(effect: Effect.Effect<unknown, E>) =>
  Effect.gen(function*() {
    const before = yield* counted
    yield* effect
    const growth = [...yield* counted].map(([word, count]) => [word, count - (before.get(word) ?? 0)] as const)
    return Object.fromEntries(growth.filter(([, count]) => count !== 0))
  })

/** A store that runs `then` after each call of one operation. */
const after = (store: Store, watched: Operation, then: Effect.Effect<unknown, SessionStoreError>) =>
  FaultyStore.intercept(store, (operation, call) => operation === watched ? Effect.zipLeft(call, then) : call)

describe("the metrics of a tiered store", () => {
  it.live("a first read misses and fills; the next reads hit; after the lease a new entry replaces the old one", () =>
    Effect.gen(function*() {
      const tiers = yield* TieredStore.make(MemoryStore.make(), MemoryStore.make(), { lease })
      const { key } = yield* stored(tiers)
      assert.deepStrictEqual(yield* grown(isThere(tiers, key, start)), { miss: 1, filled: 1 })
      assert.deepStrictEqual(yield* grown(Effect.repeatN(isThere(tiers, key, start), 2)), { hit: 3 })
      assert.deepStrictEqual(yield* grown(isThere(tiers, key, start + lease)), { miss: 1, filled: 1 })
    }))

  it.live("a load that finds no session fills nothing", () =>
    Effect.gen(function*() {
      const tiers = yield* TieredStore.make(MemoryStore.make(), MemoryStore.make(), { lease })
      assert.deepStrictEqual(yield* grown(tiers.load(freshKey(), start)), { miss: 1 })
    }))

  it.live("a fill is rejected if a write began while the origin was read", () =>
    Effect.gen(function*() {
      const origin = MemoryStore.make()
      const { key, record } = yield* stored(origin)
      let write: Effect.Effect<unknown, SessionStoreError> = Effect.void
      const tiers = yield* TieredStore.make(MemoryStore.make(), after(origin, "load", Effect.suspend(() => write)), {
        lease
      })
      write = tiers.save(key, record, { expectedVersion: 1, now: start })
      assert.deepStrictEqual(yield* grown(tiers.load(key, start)), { miss: 1, rejected: 1 })
    }))

  it.live("a fill is rejected if another process has written a tombstone, and the next read counts as bypass", () =>
    Effect.gen(function*() {
      const [cache, origin] = [MemoryStore.make(), MemoryStore.make()]
      const { key, record } = yield* stored(origin)
      const elsewhere = yield* TieredStore.make(cache, origin, { lease })
      const write = elsewhere.save(key, record, { expectedVersion: 1, now: start })
      const tiers = yield* TieredStore.make(cache, after(origin, "load", write), { lease })
      assert.deepStrictEqual(yield* grown(tiers.load(key, start)), { miss: 1, rejected: 1 })
      assert.deepStrictEqual(yield* grown(tiers.load(key, start)), { bypass: 1 })
    }))

  it.live("a fill fails if the cache fails, and the next read counts as bypass", () =>
    Effect.gen(function*() {
      const cache = FaultyStore.intercept(MemoryStore.make(), (operation, call) =>
        operation === "create" ? new SessionStoreError({ operation, reason: "unavailable" }) : call)
      const tiers = yield* TieredStore.make(cache, MemoryStore.make(), { lease })
      const { key } = yield* stored(tiers)
      assert.deepStrictEqual(yield* grown(isThere(tiers, key, start)), { miss: 1, failed: 1 })
      assert.deepStrictEqual(yield* grown(isThere(tiers, key, start)), { bypass: 1 })
    }))
})
