import { it } from "@effect/vitest"
import { Effect } from "effect"
import { MemoryStore } from "effect-session"
import { assert, describe } from "vitest"
import { aRecord, freshKey, hour, isAlive, isDead, minute, start, stored } from "../src/internal/testing/records.js"

const expiring = (at: number) => ({ expiry: { at, deadline: undefined, lifetime: undefined } })

describe("a bounded store in memory", () => {
  it.effect("that is full drops what has expired, and only then the oldest", () =>
    Effect.gen(function*() {
      const store = MemoryStore.make({ capacity: 3 })
      const now = start + minute
      const oldest = yield* stored(store, expiring(start + hour))
      const expired = yield* stored(store, expiring(now))
      const third = yield* stored(store, expiring(start + hour))
      const fourth = { key: freshKey(), record: aRecord(expiring(start + hour)) }
      yield* store.create(fourth.key, fourth.record, now)
      yield* isDead(store, expired, start)
      for (const one of [oldest, third, fourth]) yield* isAlive(store, one, now)

      const fifth = yield* stored(store)
      yield* isDead(store, oldest, start)
      for (const one of [third, fourth, fifth]) yield* isAlive(store, one, now)
      // What was dropped leaves nothing behind: its key and its id are free again.
      assert.strictEqual(yield* store.create(oldest.key, oldest.record, now), "created")
    }))

  it.effect("that is full has room for a rotation", () =>
    Effect.gen(function*() {
      const store = MemoryStore.make({ capacity: 2 })
      const other = yield* stored(store)
      const { key, record } = yield* stored(store)
      const rotated = { key: freshKey(), record: { ...record, version: 2 } }
      assert.strictEqual(yield* store.rotate(key, rotated.key, rotated.record, 1, start), "saved")
      yield* isAlive(store, other, start)
      yield* isAlive(store, rotated, start)
    }))
})
