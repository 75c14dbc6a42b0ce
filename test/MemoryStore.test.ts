import { it } from "@effect/vitest"
import { Effect, FastCheck } from "effect"
import { MemoryStore } from "effect-session"
import { aRecord, freshKey, hour, isAlive, isDead, isThere, minute, start, stored } from "effect-session/Fixtures"
import { assert, describe } from "vitest"
import { range } from "./support/concurrency.js"

const expiring = (at: number) => ({ expiry: { at, deadline: undefined, lifetime: undefined } })

describe("MemoryStore with a capacity", () => {
  it.effect("when full, evicts expired sessions first, then the oldest one", () =>
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
      // The key and the id of an evicted session are free again.
      assert.strictEqual(yield* store.create(oldest.key, oldest.record, now), "created")
    }))

  it.effect("when full, a rotation evicts no other session", () =>
    Effect.gen(function*() {
      const store = MemoryStore.make({ capacity: 2 })
      const other = yield* stored(store)
      const { key, record } = yield* stored(store)
      const rotated = { key: freshKey(), record: { ...record, version: 2 } }
      assert.strictEqual(
        yield* store.rotate(key, rotated.key, rotated.record, { expectedVersion: 1, now: start }),
        "saved"
      )
      yield* isAlive(store, other, start)
      yield* isAlive(store, rotated, start)
    }))

  it.effect.prop(
    "when full, evicts the session that was inserted first, after any sequence of deletes, saves and inserts",
    [FastCheck.array(FastCheck.tuple(FastCheck.integer({ min: 0, max: 3 }), FastCheck.nat(19)), {
      maxLength: 400,
      size: "max"
    })],
    ([steps]) =>
      Effect.gen(function*() {
        const capacity = 8
        const store = MemoryStore.make({ capacity })
        const sessions = range(20).map(() => ({ key: freshKey(), record: aRecord() }))
        // In the order of insertion.
        const model = new Map<number, number>()
        for (const [step, i] of steps) {
          const target = step === 1 ? model.keys().next().value ?? i : i
          const { key, record } = sessions[target] ?? assert.fail()
          const version = model.get(target)
          if (step < 2) {
            yield* store.destroy(key)
            model.delete(target)
          } else if (version !== undefined) {
            assert.strictEqual(yield* store.save(key, record, { expectedVersion: version, now: start }), "saved")
            model.set(target, version + 1)
          } else {
            const oldest = model.size < capacity ? undefined : model.keys().next().value
            if (oldest !== undefined) model.delete(oldest)
            assert.strictEqual(yield* store.create(key, record, start), "created")
            model.set(target, 1)
          }
          assert.deepStrictEqual(yield* store.count(start), { current: model.size, expired: 0 })
        }
        for (const [i, one] of sessions.entries()) {
          assert.strictEqual(yield* isThere(store, one.key, start), model.has(i))
        }
      }),
    { fastCheck: { numRuns: 30 } }
  )
})
