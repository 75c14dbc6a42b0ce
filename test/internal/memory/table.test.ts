/**
 * The number of entries that an operation of the store in memory reads does not depend on the number of sessions.
 */
import { it } from "@effect/vitest"
import { Effect } from "effect"
import { hour, minute, namespace, start, stored } from "effect-session/Fixtures"
import type { StoreKey } from "effect-session/StoreKey"
import { assert } from "vitest"
import type { Entry } from "../../../src/internal/memory/table.js"
import * as MemoryTable from "../../../src/internal/memory/table.js"
import { range } from "../../support/concurrency.js"

/** A store that counts the entries that it reads. */
const counted = () => {
  const entries = new Map<StoreKey, Entry>()
  let reads = 0
  const store = MemoryTable.make(() => ({
    get: (key) => (reads++, entries.get(key)),
    peek: (key) => (reads++, entries.get(key)),
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
    readsOf: <A, E>(call: Effect.Effect<A, E>) =>
      Effect.suspend(() => {
        reads = 0
        return Effect.map(call, () => reads)
      })
  }
}

const expiring = (at: number) => ({ expiry: { at, deadline: undefined, lifetime: undefined } })

it.effect("of 2,000 sessions, each operation reads only the entries that it returns or removes", () =>
  Effect.gen(function*() {
    const { readsOf, store } = counted()
    yield* Effect.forEach(range(2000), (i) => stored(store, { subject: `user ${i % 1000}`, ...expiring(start + hour) }))
    yield* Effect.forEach(range(5), (i) => stored(store, { subject: "short", ...expiring(start + minute + i) }))
    assert.strictEqual(yield* readsOf(store.list(namespace, "user 7", start)), 2)
    assert.strictEqual(yield* readsOf(store.scan(namespace, { limit: 100, now: start })), 100)
    const [page] = yield* store.scan(namespace, { limit: 1, now: start })
    assert.strictEqual(yield* readsOf(store.scan(namespace, { after: page?.id, limit: 100, now: start })), 100)
    assert.strictEqual(yield* readsOf(store.count(start + hour)), 0)
    assert.strictEqual(yield* readsOf(store.removeExpired({ now: start, limit: 1000 })), 0)
    assert.strictEqual(yield* readsOf(store.removeExpired({ now: start + 2 * minute, limit: 1000 })), 5)
    assert.strictEqual(yield* readsOf(store.revokeSubject(namespace, "user 7")), 0)
  }))
