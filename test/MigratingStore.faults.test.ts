import { it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Option, Stream } from "effect"
import { MemoryStore } from "effect-session"
import type { Stored } from "effect-session/Fixtures"
import { freshKey, hour, isAlive, isThere, minute, start, stored } from "effect-session/Fixtures"
import * as MigratingStore from "effect-session/MigratingStore"
import { SessionStoreError } from "effect-session/SessionStore"
import type { Corrupt, Located, Store } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import { assert, describe } from "vitest"
import { dyingAfter, farExpiry } from "./support/migrationRaces.js"

const memories = () => ({ a: MemoryStore.make(), b: MemoryStore.make() })

describe("a reversed migration", () => {
  for (const done of [0, 1, 2, 3, 4, 5]) {
    for (const phase of ["prepare", "move"] as const) {
      it.live(`${phase}: after a process of the forward migration died after ${done} writes`, () =>
        Effect.gen(function*() {
          const { a, b } = memories()
          const one = yield* stored(a, { expiry: farExpiry })
          yield* Effect.exit(dyingAfter(a, b, done).load(one.key, start))
          const back = MigratingStore.make(b, a, { phase })
          yield* isAlive(back, one, start)
        }))
    }
  }
})

describe("an arriving copy that has expired before the session", () => {
  it.live("the session can be read", () =>
    Effect.gen(function*() {
      const { a, b } = memories()
      const one = yield* stored(a)
      // prepare: located in the old store, about to touch
      const atTouch = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const slowA = FaultyStore.intercept(a, (operation, call) =>
        operation === "touch"
          ? Effect.zipRight(
            Deferred.succeed(atTouch, undefined),
            Effect.zipRight(Deferred.await(go), Effect.zipRight(call, Effect.never))
          )
          : call)
      const toucher = yield* Effect.fork(
        MigratingStore.make(slowA, b, { phase: "prepare" }).touch(one.key, {
          lastSeenAt: start + minute,
          expiresAt: start + 2 * hour,
          now: start
        })
      )
      yield* Deferred.await(atTouch)
      yield* Effect.exit(dyingAfter(a, b, 2).load(one.key, start))
      yield* Deferred.succeed(go, undefined)
      for (let i = 0; i < 10; i++) {
        yield* Effect.yieldNow()
      }
      yield* Fiber.interruptFork(toucher)
      const now = start + hour + minute
      const store = MigratingStore.make(a, b, { phase: "move" })
      assert.isTrue(yield* isThere(store, one.key, now))
    }))
})

describe("a logout with the old token while the session moves and is rotated", () => {
  it.live("after an acknowledged rotation the new token stays valid", () =>
    Effect.gen(function*() {
      const { a, b } = memories()
      const one = yield* stored(a)
      const newKey = freshKey()
      const looked = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const slowA = FaultyStore.intercept(a, (operation, call) =>
        operation === "load"
          ? Effect.zipLeft(call, Effect.zipRight(Deferred.succeed(looked, undefined), Deferred.await(go)))
          : call)
      const logout = yield* Effect.fork(MigratingStore.make(slowA, b, { phase: "move" }).destroy(one.key))
      yield* Deferred.await(looked)
      const store = MigratingStore.make(a, b, { phase: "move" })
      assert.strictEqual(yield* store.rotate(one.key, newKey, one.record, { expectedVersion: 1, now: start }), "saved")
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(logout)
      assert.isTrue(yield* isThere(store, newKey, start))
    }))

  it.live("during the migration of the new token it stays valid", () =>
    Effect.gen(function*() {
      const { a, b } = memories()
      const one = yield* stored(a)
      const newKey = freshKey()
      const slowA = FaultyStore.intercept(a, (operation, call) =>
        operation === "load"
          ? Effect.zipLeft(
            call,
            Effect.gen(function*() {
              const prepared = MigratingStore.make(a, b, { phase: "prepare" })
              assert.strictEqual(
                yield* prepared.rotate(one.key, newKey, one.record, { expectedVersion: 1, now: start }),
                "saved"
              )
              yield* Effect.exit(dyingAfter(a, b, 3).load(newKey, start))
            })
          )
          : call)
      yield* MigratingStore.make(slowA, b, { phase: "move" }).destroy(one.key)
      assert.isTrue(yield* isThere(MigratingStore.make(a, b, { phase: "move" }), newKey, start))
    }))
})

describe("a stale record", () => {
  it.live("is returned as it is, and is not moved", () =>
    Effect.gen(function*() {
      const { a, b } = memories()
      const one = yield* stored(a)
      const unavailable = FaultyStore.intercept(
        a,
        (operation) => Effect.fail(new SessionStoreError({ operation, reason: "unavailable" }))
      )
      const down: Store = {
        ...unavailable,
        load: (key, now) => Effect.map(a.load(key, now), Option.map((record) => ({ ...record, stale: true as const })))
      }
      const found = yield* MigratingStore.make(down, b, { phase: "move" }).load(one.key, start, "stale")
      assert.deepStrictEqual(found, Option.some({ ...one.record, stale: true }))
    }))
})

describe("a corrupt row", () => {
  it.live("can be destroyed, as without a migration", () =>
    Effect.gen(function*() {
      const { a, b } = memories()
      const one = yield* stored(a)
      const corrupt = FaultyStore.intercept(a, (operation, call) =>
        operation === "load" ? Effect.fail(new SessionStoreError({ operation, reason: "corrupt" })) : call)
      yield* MigratingStore.make(corrupt, b, { phase: "move" }).destroy(one.key)
    }))
})

describe("a corrupt record during a migration", () => {
  /** A store in which this session's record is corrupt, under every key. */
  const corrupting = (whole: Store, { record }: Stored) => {
    const { corruptIds, store } = FaultyStore.corruptible(whole)
    corruptIds.add(record.id)
    return store
  }
  const corruptIn = (page: ReadonlyArray<Located | Corrupt>) => page.filter((one) => "error" in one).map(({ id }) => id)

  for (const done of [0, 1, 2, 3, 4, 5]) {
    it.live(`in the old store, after a migration died after ${done} writes: scan and load report it alike`, () =>
      Effect.gen(function*() {
        const { a, b } = memories()
        const one = yield* stored(a, { expiry: farExpiry })
        const good = yield* stored(a, { expiry: farExpiry })
        yield* Effect.exit(dyingAfter(a, b, done).load(one.key, start))
        const store = MigratingStore.make(corrupting(a, one), b, { phase: "prepare" })
        yield* isAlive(store, good, start)
        const loaded = yield* Effect.either(store.load(one.key, start))
        if (loaded._tag === "Right") {
          assert.isAtLeast(done, 4)
          return yield* isAlive(store, one, start)
        }
        const page = yield* store.scan("laws", { limit: 10, now: start })
        assert.deepStrictEqual([page.length, corruptIn(page)], [2, [one.record.id]])
        const listed = yield* store.list("laws", "ann", start)
        assert.deepStrictEqual(listed.map(({ id }) => id), [good.record.id])
        yield* store.revoke("laws", one.record.id)
        assert.isFalse(yield* isThere(store, one.key, start))
      }))
  }

  it.live("copy moves all other sessions, whichever store holds the corrupt record, and reports the corrupt ones", () =>
    Effect.gen(function*() {
      const { a, b } = memories()
      const all = yield* Effect.forEach(Array.from({ length: 9 }), () => stored(a, { expiry: farExpiry }))
      const [inOld, inNew, ...others] = all
      if (inOld === undefined || inNew === undefined) return assert.fail("no sessions were created")
      // Its migration has begun.
      yield* Effect.exit(dyingAfter(a, b, 2).load(inNew.key, start))
      const copying = MigratingStore.copy(corrupting(a, inOld), corrupting(b, inNew), { namespace: "laws", batch: 2 })
      const { corrupt, ended, moved } = yield* Effect.flatten(Stream.runLast(copying))
      assert.deepStrictEqual([moved, ended], [7, 0])
      assert.sameMembers(corrupt.map(({ id }) => id), [inOld.record.id, inNew.record.id])
      assert.isTrue(corrupt.every(({ error }) => error.reason === "corrupt"))
      yield* Effect.forEach(others, (one) => isAlive(b, one, start))
      // Once they are repaired, they move.
      const last = yield* Effect.flatten(Stream.runLast(MigratingStore.copy(a, b, { namespace: "laws" })))
      assert.deepStrictEqual(last, { moved: 2, ended: 0, corrupt: [] })
      yield* Effect.forEach(all, (one) => isAlive(b, one, start))
    }))

  it.live("copy of a reversed migration moves all other sessions too", () =>
    Effect.gen(function*() {
      const { a, b } = memories()
      const [one, good] = [yield* stored(a, { expiry: farExpiry }), yield* stored(b, { expiry: farExpiry })]
      yield* Effect.exit(dyingAfter(a, b, 2).load(one.key, start))
      const copying = MigratingStore.copy(corrupting(b, one), a, { namespace: "laws" })
      const { corrupt, moved } = yield* Effect.flatten(Stream.runLast(copying))
      assert.deepStrictEqual([moved, corrupt.map(({ id }) => id)], [1, [one.record.id]])
      yield* isAlive(a, good, start)
    }))
})
