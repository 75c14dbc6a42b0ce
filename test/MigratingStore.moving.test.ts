import { it } from "@effect/vitest"
import { Effect } from "effect"
import { assert } from "vitest"
import { thereAndBack } from "./support/moving.js"
import { freshPrefix, ofRedis, postgresClient, redisClient, redisStore, sqlStore } from "./support/stores.js"

const prefix = freshPrefix()

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
        for (const stage of ["old alone", "prepare", "move", "copy", "new alone"]) {
          const acts = waits.filter(([during]) => during === stage).map(([, act]) => act)
          assert.includeMembers(acts, ["add", "look"], stage)
        }
        assert.includeMembers(waits.map(([, act]) => act), ["rotate", "logout", "login"])
      }
    }).pipe(Effect.tapErrorCause(() => Effect.sync(() => console.error(`To see it fail again: SEED=${seed}`))))
  }, 300_000)
}
