/**
 * A process that ends after any of its statements: no session is there twice, and the next request of the browser can use it, or has none.
 */
import { layer } from "@effect/vitest"
import { Context, Deferred, Effect, Layer, Redacted } from "effect"
import { assert } from "vitest"
import { databases } from "./support/djangoDatabases.js"
import * as Steps from "./support/djangoSteps.js"

class Shared extends Context.Tag("test/DjangoCrash/Shared")<Shared, Steps.World>() {}

/** Runs a request that ends after `n` steps, and checks what it leaves. Returns whether it had more steps. */
const endedAfter = (makePlace: Effect.Effect<Steps.Place, unknown>, login: string, kind: Steps.Kind, n: number) =>
  Effect.gen(function*() {
    const place = yield* makePlace
    const presented = yield* place.save(`{"count":0,"shared":true,${login}}`)
    const stopped = yield* Deferred.make<void>()
    let steps = 0
    const around: Steps.Around = (_, call) =>
      Effect.suspend(() => steps++ < n ? call : Effect.zipRight(Deferred.succeed(stopped, undefined), Effect.never))
    const request = yield* Effect.forkDaemon(kind.run(place, around, presented))
    const hasEnded = yield* Effect.raceFirst(
      Effect.as(Effect.fromFiber(request), false),
      Effect.as(Deferred.await(stopped), true)
    )
    if (!hasEnded) return false
    const observer = yield* place.process(Steps.undisturbed)
    const before = yield* Steps.opensShared(observer, Redacted.make(presented))
    const { cookie, done } = yield* Steps.visited(observer, Steps.Shop.update("count", (count) => count + 1), presented)
    assert.isTrue(done)
    const after = yield* Steps.opensShared(observer, Redacted.make(cookie ?? ""))
    assert.strictEqual(after, before, "the next request has the session, or none")
    const counts = (yield* place.live).filter(({ shared }) => shared).map(({ count }) => count)
    // A copy that the ended process has left in the target cannot be reached, so a later update is in one session.
    assert.isAtMost(counts.filter((count) => count === 2).length, 1)
    if (before) assert.isTrue(counts.some((count) => count >= 1))
    return true
  })

for (const [name, open] of databases) {
  const world = Layer.scoped(Shared, Effect.flatMap(open, (database) => Steps.world(database)))
  layer(world, { excludeTestServices: true, timeout: "30 seconds" })((it) => {
    for (const [where, place] of [["the table", Steps.table], ["a move from the table", Steps.movingTable]] as const) {
      for (const kind of Steps.kinds) {
        it.effect(`${name}, ${where}: ${kind.name} whose process ends after any statement leaves one session at most`, () =>
          Effect.gen(function*() {
            const world = yield* Shared
            let n = 0
            while (yield* endedAfter(place(world), world.login, kind, n)) n++
            assert.isAbove(n, 0)
          }))
      }
    }
  })
}
