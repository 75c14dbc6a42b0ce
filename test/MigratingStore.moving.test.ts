import { it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { MemoryStore } from "effect-session"
import * as MigratingStore from "effect-session/MigratingStore"
import type { Shape } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import { intercepted } from "../src/internal/intercepted.js"
import { range } from "../src/internal/testing/law.js"
import { isAlive, isDead, start, stored } from "../src/internal/testing/records.js"
import { thereAndBack } from "./support/moving.js"
import { freshPrefix, ofRedis, postgresClient, redisClient, redisStore, sqlStore } from "./support/stores.js"

const prefix = freshPrefix()
const stages = ["old alone", "prepare", "move", "copy", "new alone"]

// The same with 100,000: `npm run bench -- move`.
for (const redis of ofRedis(redisStore(redisClient, prefix))) {
  it.live("5,000 sessions in use go from Postgres to Redis and back: no logout, and no update is lost", () => {
    const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)
    const postgres = sqlStore(postgresClient({ maxConnections: 4 }), prefix)
    const options = { sessions: 5000, visitors: 4, pause: 10, requests: 100, seed }
    return Effect.gen(function*() {
      const { back, findings, there } = yield* thereAndBack({ first: postgres, second: redis, ...options })
      assert.deepStrictEqual(findings, [])
      for (const { alive, copied, inNew, inOld, waits } of [there, back]) {
        assert.deepStrictEqual([inOld, inNew], [{ current: 0, expired: 0 }, { current: alive, expired: 0 }])
        // There was something to do, in each stage.
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
    }).pipe(Effect.tapErrorCause(() => Effect.sync(() => console.error(`To see it fail again: SEED=${seed}`))))
  }, 300_000)
}

describe("all turn round, and a process died in the middle of a move", () => {
  const writes = ["create", "save", "destroy", "touch", "rotate"]

  /** A session whose move ended after so many writes, and the command that brings everything back. */
  const half = (done: number) =>
    Effect.gen(function*() {
      const [first, second] = [MemoryStore.make(), MemoryStore.make()]
      let left = done
      const dying = (store: Shape) =>
        intercepted(
          store,
          (operation, call) => Effect.suspend(() => writes.includes(operation) && left-- <= 0 ? Effect.interrupt : call)
        )
      const one = yield* stored(first, { expiry: { at: start * 2, deadline: undefined, lifetime: undefined } })
      yield* Effect.exit(MigratingStore.make(dying(first), dying(second), { phase: "move" }).load(one.key, start))
      return { back: Stream.runDrain(MigratingStore.copy(second, first, { namespace: "laws" })), first, one, second }
    })

  for (const done of range(6)) {
    it.live(`after ${done} writes: copy brings it back, to where it is found without the other store`, () =>
      Effect.gen(function*() {
        const { back, first, one, second } = yield* half(done)
        yield* back
        yield* isAlive(first, one, start)
        assert.deepStrictEqual(yield* second.count(start), { current: 0, expired: 0 })
      }))

    it.live(`after ${done} writes: what ended meanwhile stays dead, and nothing is left over`, () =>
      Effect.gen(function*() {
        const { back, first, one, second } = yield* half(done)
        yield* first.destroy(one.key)
        yield* second.destroy(one.key)
        yield* back
        yield* isDead(MigratingStore.make(second, first, { phase: "move" }), one, start)
        assert.deepStrictEqual(yield* second.count(start), { current: 0, expired: 0 })
      }))
  }
})
