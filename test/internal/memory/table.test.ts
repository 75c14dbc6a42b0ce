/**
 * How much the stores in memory look at: what is asked, and nothing else, however many sessions there are.
 */
import { it } from "@effect/vitest"
import { Effect } from "effect"
import type { StoreKey } from "effect-session/StoreKey"
import { assert } from "vitest"
import type { Entry } from "../../../src/internal/memory/table.js"
import * as MemoryTable from "../../../src/internal/memory/table.js"
import { range } from "../../../src/internal/testing/law.js"
import { hour, minute, namespace, start, stored } from "../../../src/internal/testing/records.js"

/** A store, and how many entries it has looked at. */
const counted = () => {
  const entries = new Map<StoreKey, Entry>()
  let looks = 0
  const store = MemoryTable.make(() => ({
    get: (key) => (looks++, entries.get(key)),
    peek: (key) => (looks++, entries.get(key)),
    has: (key) => entries.has(key),
    get size() {
      return entries.size
    },
    set: (key, entry) => entries.set(key, entry),
    delete: (key) => entries.delete(key),
    isFull: () => false
  }))
  return {
    store,
    looksOf: <A, E>(call: Effect.Effect<A, E>) =>
      Effect.suspend(() => {
        looks = 0
        return Effect.map(call, () => looks)
      })
  }
}

const expiring = (at: number) => ({ expiry: { at, deadline: undefined, lifetime: undefined } })

it.effect("of 2,000 sessions only those are looked at that are asked for", () =>
  Effect.gen(function*() {
    const { looksOf, store } = counted()
    yield* Effect.forEach(range(2000), (i) => stored(store, { subject: `user ${i % 1000}`, ...expiring(start + hour) }))
    yield* Effect.forEach(range(5), (i) => stored(store, { subject: "short", ...expiring(start + minute + i) }))
    assert.strictEqual(yield* looksOf(store.list(namespace, "user 7", start)), 2)
    assert.strictEqual(yield* looksOf(store.scan(namespace, { limit: 100, now: start })), 100)
    const [page] = yield* store.scan(namespace, { limit: 1, now: start })
    assert.strictEqual(yield* looksOf(store.scan(namespace, { after: page?.id, limit: 100, now: start })), 100)
    assert.strictEqual(yield* looksOf(store.count(start + hour)), 0)
    assert.strictEqual(yield* looksOf(store.removeExpired({ now: start, limit: 1000 })), 0)
    assert.strictEqual(yield* looksOf(store.removeExpired({ now: start + 2 * minute, limit: 1000 })), 5)
    assert.strictEqual(yield* looksOf(store.revokeSubject(namespace, "user 7")), 0)
  }))
