import { it } from "@effect/vitest"
import { Effect, Fiber, Stream, TestClock } from "effect"
import { MemoryStore } from "effect-session"
import { freshKey, isAlive, isDead, isKeyDead, start, stored } from "effect-session/Fixtures"
import * as MigratingStore from "effect-session/MigratingStore"
import { assert, describe } from "vitest"
import { range } from "./support/concurrency.js"
import { freshPrefix, sqlStore } from "./support/localStores.js"
import { dyingAfter } from "./support/migrationRaces.js"
import { migrateThereAndBack } from "./support/migrationUnderLoad.js"
import { ofRedis, postgresClient, redisClient, redisStore } from "./support/serverClients.js"

const prefix = freshPrefix()
const stages = ["old alone", "prepare", "move", "copy", "new alone"]

// The same with 100,000: `npm run bench -- move`.
for (const redis of ofRedis(redisStore(redisClient, prefix))) {
  it.live("moving 5,000 sessions in use from Postgres to Redis and back ends none and loses no update", () => {
    const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)
    const postgres = sqlStore(postgresClient({ maxConnections: 4 }), prefix)
    const options = { sessions: 5000, visitors: 4, pause: 10, requests: 100, seed }
    return Effect.gen(function*() {
      const { back, findings, there } = yield* migrateThereAndBack({ first: postgres, second: redis, ...options })
      assert.deepStrictEqual(findings, [])
      for (const { alive, copied, inNew, inOld, waits } of [there, back]) {
        assert.deepStrictEqual([inOld, inNew], [{ current: 0, expired: 0 }, { current: alive, expired: 0 }])
        // Each stage had sessions to move.
        assert.isAbove(alive, 4500)
        assert.isAbove(copied.moved, 1000)
        for (const stage of stages) {
          assert.includeMembers(
            waits.filter(([during]) => during === stage).map(([, act]) => act),
            ["add", "look"],
            stage
          )
        }
        assert.includeMembers(waits.map(([, act]) => act), ["rotate", "logout", "login"])
      }
    }).pipe(Effect.tapErrorCause(() => Effect.sync(() => console.error(`Reproduce with SEED=${seed}`))))
  }, 1_800_000)
}

describe("a reversed migration after a process died in the middle of a move", () => {
  /** A session whose move was interrupted after this number of writes, and an effect that copies all back after the minimum age of markers. */
  const half = (done: number) =>
    Effect.gen(function*() {
      const [first, second] = [MemoryStore.make(), MemoryStore.make()]
      yield* TestClock.setTime(start)
      const one = yield* stored(first)
      yield* Effect.exit(dyingAfter(first, second, done).load(one.key, start))
      const copying = Stream.runDrain(MigratingStore.copy(second, first, { namespace: "laws" }))
      const back = Effect.gen(function*() {
        const fiber = yield* Effect.fork(copying)
        yield* TestClock.adjust("15 seconds")
        yield* Fiber.join(fiber)
      })
      return { back, copying, first, one, second }
    })

  for (const done of range(6)) {
    it.effect(`after ${done} writes: copy moves the session back to the old store completely`, () =>
      Effect.gen(function*() {
        const { back, first, one, second } = yield* half(done)
        yield* back
        yield* isAlive(first, one, start)
        assert.deepStrictEqual(yield* second.count(start), { current: 0, expired: 0 })
      }))

    it.effect(`after ${done} writes: sessions that ended meanwhile stay ended, and no record is left`, () =>
      Effect.gen(function*() {
        const { back, first, one, second } = yield* half(done)
        yield* first.destroy(one.key)
        yield* second.destroy(one.key)
        yield* back
        yield* isDead(MigratingStore.make(second, first, { phase: "move" }), one, start)
        assert.deepStrictEqual(yield* second.count(start), { current: 0, expired: 0 })
      }))
  }

  for (const done of [1, 2, 3, 4]) {
    it.effect(`after ${done} writes: before that the session can be used in the new store`, () =>
      Effect.gen(function*() {
        const { copying, first, one, second } = yield* half(done)
        const fiber = yield* Effect.fork(copying)
        yield* TestClock.adjust("14 seconds")
        const store = MigratingStore.make(second, first, { phase: "move" })
        yield* isAlive(store, one, start)
        yield* isAlive(second, one, start)
        assert.strictEqual(
          yield* store.save(one.key, { ...one.record, writeId: "w", data: `"new"` }, {
            expectedVersion: 1,
            now: start
          }),
          "saved"
        )
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(fiber)
        yield* isAlive(first, { ...one, record: { ...one.record, writeId: "w", data: `"new"`, version: 2 } }, start)
        assert.deepStrictEqual(yield* second.count(start), { current: 0, expired: 0 })
      }))

    it.effect(`after ${done} writes: the same holds if the session was rotated meanwhile`, () =>
      Effect.gen(function*() {
        const { back, first, one, second } = yield* half(done)
        const store = MigratingStore.make(second, first, { phase: "move" })
        const newKey = freshKey()
        assert.strictEqual(
          yield* store.rotate(one.key, newKey, { ...one.record, writeId: "r" }, { expectedVersion: 1, now: start }),
          "saved"
        )
        const renewed = { key: newKey, record: { ...one.record, writeId: "r", version: 2 } }
        yield* isAlive(store, renewed, start)
        yield* back
        yield* isKeyDead(store, one, start)
        yield* isAlive(first, renewed, start)
        assert.deepStrictEqual(yield* second.count(start), { current: 0, expired: 0 })
      }))
  }
})
