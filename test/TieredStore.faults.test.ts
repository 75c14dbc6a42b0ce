import { it } from "@effect/vitest"
import { Effect, Fiber, Option, Scheduler } from "effect"
import { MemoryStore } from "effect-session"
import * as CacheStore from "effect-session/CacheStore"
import type { InvalidationEvent } from "effect-session/SessionInvalidation"
import { SessionInvalidation } from "effect-session/SessionInvalidation"
import { SessionStoreError } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import * as TieredStore from "effect-session/TieredStore"
import { assert, describe } from "vitest"
import { intercepted } from "../src/internal/store/intercepted.js"
import { isThere, minute, start, stored } from "../src/internal/testing/records.js"
import { watched } from "./support/faultyRecordedStore.js"

const lease = 5000
const tiersOf = (front: Store, back: Store) => TieredStore.make(front, back, { lease })

/** A scheduler that gives way once, at this step. */
const yieldingAt = (op: number): Scheduler.Scheduler => {
  let ops = 0
  return {
    scheduleTask: (task, priority) => Scheduler.defaultScheduler.scheduleTask(task, priority),
    shouldYield: () => ++ops === op ? 0 : false
  }
}

describe("a write that begins while the front is passed by, and lands afterwards", () => {
  for (const lateness of [1, 50]) {
    it.live(`logout is done, and stays done (${lateness})`, () =>
      Effect.gen(function*() {
        const front = watched(MemoryStore.make(), false)
        const back = watched(MemoryStore.make(), false)
        const tiers = yield* tiersOf(front.store, back.store)
        const one = yield* stored(tiers)
        front.state.down = true
        yield* tiers.load(one.key, start)
        front.state.down = false
        const gate = yield* Effect.makeLatch(false)
        back.state.before = (operation) => operation === "save" ? gate.await : Effect.void
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
  it.live("another node with the same front has filled it meanwhile: that copy is not believed", () =>
    Effect.gen(function*() {
      const shared = MemoryStore.make()
      const mine = watched(shared)
      const back = MemoryStore.make()
      const a = yield* tiersOf(mine.store, back)
      const b = yield* tiersOf(shared, back)
      const one = yield* stored(a)
      mine.state.down = true
      yield* a.load(one.key, start)
      mine.state.down = false
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

describe("a fence that is evicted while the write is under way", () => {
  it.live("no read on the same node leaves a copy of before", () =>
    Effect.gen(function*() {
      const front = yield* CacheStore.make({ maxEntries: 1 })
      const back = watched(MemoryStore.make(), false)
      const tiers = yield* tiersOf(front, back.store)
      const one = yield* stored(tiers)
      const other = yield* stored(tiers)
      const gate = yield* Effect.makeLatch(false)
      back.state.before = (operation) => operation === "destroy" ? gate.await : Effect.void
      const logout = yield* Effect.fork(tiers.destroy(one.key))
      yield* Effect.yieldNow()
      yield* tiers.load(other.key, start)
      yield* tiers.load(one.key, start)
      yield* gate.open
      yield* Fiber.join(logout)
      assert.isFalse(yield* isThere(tiers, one.key, start))
    }))
})

describe("an idle node that shares a front", () => {
  it.live("what it revoked itself is dead for it, though the front did not hear of it", () =>
    Effect.gen(function*() {
      const shared = MemoryStore.make()
      const mine = watched(shared)
      const back = MemoryStore.make()
      const a = yield* tiersOf(mine.store, back)
      const b = yield* tiersOf(shared, back)
      const one = yield* stored(b)
      yield* b.load(one.key, start)
      mine.state.down = true
      yield* a.revoke("laws", one.record.id)
      mine.state.down = false
      assert.isFalse(yield* isThere(a, one.key, start + 1))
    }))
})

describe("interruption of the read that flies first", () => {
  it.live("at any moment: the next read comes to its end", () =>
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
  it.live("does not keep others, nor notices, waiting", () =>
    Effect.gen(function*() {
      const back = watched(MemoryStore.make())
      let hearing: (notice: InvalidationEvent) => Effect.Effect<void> = () => Effect.die("nobody listens")
      const tiers = yield* Effect.provideService(
        TieredStore.makeWithInvalidation(MemoryStore.make(), back.store, { lease }),
        SessionInvalidation,
        {
          publish: () => Effect.void,
          subscribe: (hear) => Effect.zipRight(Effect.sync(() => void (hearing = hear)), Effect.never)
        }
      )
      yield* Effect.yieldNow()
      back.state.hangs = true
      yield* Effect.fork(tiers.revokeSubject("laws", "bob"))
      yield* Effect.yieldNow()
      back.state.hangs = false
      const notice = yield* Effect.timeoutOption(
        hearing({ _tag: "Subject", namespace: "laws", subject: "carl" }),
        "10 seconds"
      )
      const other = yield* Effect.timeoutOption(tiers.revokeSubject("other", "ann"), "10 seconds")
      assert.deepStrictEqual([Option.isSome(notice), Option.isSome(other)], [true, true])
    }).pipe(Effect.scoped))
})

describe("a clock that goes back", () => {
  it.live("no copy is believed for longer than the lease", () =>
    Effect.gen(function*() {
      const back = MemoryStore.make()
      const tiers = yield* tiersOf(MemoryStore.make(), back)
      const one = yield* stored(tiers)
      yield* tiers.load(one.key, start + 10 * minute)
      yield* back.destroy(one.key)
      // ten minutes back, and 9 minutes pass
      assert.isFalse(yield* isThere(tiers, one.key, start + 9 * minute))
    }))
})

describe("after a write", () => {
  it.live("from 15 s on a session is read from the front again", () =>
    Effect.gen(function*() {
      const back = watched(MemoryStore.make(), false)
      const tiers = yield* tiersOf(MemoryStore.make(), back.store)
      const one = yield* stored(tiers)
      // a sweep has just been
      const other = yield* stored(tiers)
      yield* tiers.save(other.key, other.record, { expectedVersion: 1, now: start - 15_000 })
      yield* tiers.load(other.key, start)
      yield* tiers.save(one.key, one.record, { expectedVersion: 1, now: start })
      yield* tiers.load(one.key, start + 16_000)
      back.calls.length = 0
      yield* tiers.load(one.key, start + 17_000)
      yield* tiers.load(one.key, start + 30_000)
      yield* tiers.load(one.key, start + 31_000)
      assert.deepStrictEqual(back.calls, ["load"])
    }))
})

describe("a session that does not fit the front", () => {
  it.live("the others are still read from it", () =>
    Effect.gen(function*() {
      const front = yield* CacheStore.make({ maxBytes: 10_000 })
      const back = watched(MemoryStore.make(), false)
      const tiers = yield* tiersOf(front, back.store)
      const one = yield* stored(tiers)
      const big = yield* stored(tiers, { data: JSON.stringify("x".repeat(10_000)) })
      yield* tiers.load(one.key, start)
      yield* tiers.load(big.key, start)
      back.calls.length = 0
      yield* tiers.load(one.key, start)
      assert.deepStrictEqual(back.calls, [])
    }))
})

describe("two writers and a front that fails between the two steps of a fence", () => {
  it.live("the fence of a logout that was acknowledged stays", () =>
    Effect.gen(function*() {
      const shared = MemoryStore.make()
      const flaky = watched(shared)
      const back = MemoryStore.make()
      const slow = watched(back, false)
      const a = yield* tiersOf(shared, back)
      const b = yield* tiersOf(shared, slow.store)
      const c = yield* tiersOf(flaky.store, back)
      const one = yield* stored(a)
      // B has read, and is about to fill.
      const gate = yield* Effect.makeLatch(false)
      const slowLoad = {
        ...slow.store,
        load: (...args: Parameters<Store["load"]>) => Effect.zipLeft(slow.store.load(...args), gate.await)
      }
      const b2 = yield* tiersOf(shared, slowLoad)
      void b
      const read = yield* Effect.fork(b2.load(one.key, start))
      yield* Effect.yieldNow()
      yield* a.destroy(one.key)
      // C's save comes too late; its front fails after the first half of the fence.
      flaky.state.before = (operation) =>
        operation === "create"
          ? Effect.sync(() => {
            flaky.state.hangs = true
          })
          : Effect.void
      let n = 0
      const cFront = intercepted(shared, (operation, call) =>
        operation === "create" && n++ === 0
          ? Effect.fail(new SessionStoreError({ operation, reason: "unavailable" }))
          : call, true)
      void c
      const c2 = yield* tiersOf(cFront, back)
      assert.strictEqual(yield* c2.save(one.key, one.record, { expectedVersion: 1, now: start }), "gone")
      yield* gate.open
      yield* Fiber.join(read)
      assert.isFalse(yield* isThere(a, one.key, start))
    }))
})
