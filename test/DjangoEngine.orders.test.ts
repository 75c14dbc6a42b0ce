/**
 * Two requests that use one session of Django at the same time, stopped before each of their steps and continued in every order: no update
 * is lost, no ended session comes back, and there is never more than one session.
 */
import { layer } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Redacted } from "effect"
import { SessionStoreError } from "effect-session/SessionStore"
import { assert } from "vitest"
import { everyOrder } from "../src/internal/testing/interleave.js"
import { holds } from "../src/internal/testing/law.js"
import { databases } from "./support/djangoDatabases.js"
import * as Steps from "./support/djangoSteps.js"

class Shared extends Context.Tag("test/DjangoOrders/Shared")<Shared, Steps.World>() {}

/** Runs a pair of requests in every order. */
const ordered = (place: Effect.Effect<Steps.Place, unknown>, login: string, racing: ReadonlyArray<Steps.Kind>) =>
  Effect.flatMap(
    everyOrder(Steps.scene(place, login, racing)),
    (orders) => holds("there is more than one order", orders > 1)
  )

const titleOf = (one: string, other: string) =>
  `${one} and ${other} lose no update and revive no session, in every order of their steps`

const djangoNames = [
  "a save of Django",
  "a save of Django that has read the session before",
  "a logout of Django",
  "a cycle_key of Django"
]

for (const [name, open] of databases) {
  const world = Layer.scoped(Shared, Effect.flatMap(open, (database) => Steps.world(database)))
  layer(world, { excludeTestServices: true, timeout: "30 seconds" })((it) => {
    // SQLite is in this process, so its statements are never repeated.
    if (name !== "sqlite") {
      it.effect(`${name}: an update whose first statement fails is not taken for the same update of another request`, () =>
        Effect.gen(function*() {
          const place = yield* Steps.table(yield* Shared)
          const presented = yield* place.save(`{"count":0,"shared":true}`)
          let failures = 0
          const around: Steps.Around = <A, E>(step: string, call: Effect.Effect<A, E>) =>
            Effect.suspend((): Effect.Effect<A, E | SessionStoreError> =>
              step === "replace" && failures++ === 0
                ? Effect.zipRight(
                  Effect.orDie(Steps.update.run(place, Steps.undisturbed, presented)),
                  new SessionStoreError({ operation: "save", reason: "unavailable" })
                )
                : call
            )
          const { done } = yield* Steps.update.run(place, around, presented)
          const [session] = yield* place.live
          assert.strictEqual(session?.count, done ? 2 : 1)
        }))
    }
    it.effect(`${name}: a request that has read the session while it was claimed does not bring it back after a logout`, () =>
      Effect.gen(function*() {
        const place = yield* Steps.movingTable(yield* Shared)
        const presented = yield* place.save(`{"count":0,"shared":true}`)
        const read = yield* Deferred.make<void>()
        const ended = yield* Deferred.make<void>()
        const [one, other] = yield* Effect.all([place.process(Steps.undisturbed), place.process(Steps.undisturbed)])
        const late = Steps.visited(
          other,
          Steps.Shop.update("count", (n) => n + 1).pipe(
            Effect.zipRight(Deferred.succeed(read, undefined)),
            Effect.zipRight(Deferred.await(ended))
          ),
          presented
        )
        let fiber: Fiber.Fiber<unknown, unknown> | undefined
        const { cookie } = yield* Steps.update.run(
          place,
          (step, call) =>
            Effect.suspend(() =>
              // The session is claimed, and not created yet.
              step !== "create" || fiber !== undefined ? Effect.void : Effect.zipRight(
                Effect.map(Effect.forkDaemon(late), (forked) => fiber = forked),
                Deferred.await(read)
              )
            ).pipe(Effect.zipRight(call)),
          presented
        )
        assert.isDefined(fiber)
        const { done } = yield* Steps.visited(one, Steps.Shop.destroy, cookie ?? "")
        assert.isTrue(done)
        yield* Deferred.succeed(ended, undefined)
        if (fiber !== undefined) yield* Fiber.join(fiber)
        assert.deepStrictEqual((yield* place.live).filter(({ shared }) => shared), [])
        assert.isFalse(yield* Steps.opensShared(one, Redacted.make(presented)))
      }))

    for (const [where, place] of [["the table", Steps.table], ["a move from the table", Steps.movingTable]] as const) {
      // The orders of one process each are those of the statements; every database runs these statements one by one.
      if (name === "sqlite") {
        for (const pair of Steps.pairsOf(Steps.kinds)) {
          it.effect(`${name}, ${where}: ${titleOf(pair[0].name, pair[1].name)}`, () =>
            Effect.flatMap(Shared, (world) => ordered(place(world), world.login, pair)))
        }
      }
      for (const kind of Steps.kinds) {
        for (const [at, djangoName] of djangoNames.entries()) {
          it.effect(`${name}, ${where}: ${titleOf(kind.name, djangoName)}`, () =>
            Effect.flatMap(Shared, (world) => {
              const other = Steps.djangoKinds(world)[at]
              return other === undefined
                ? Effect.dieMessage(`no kind ${djangoName}`)
                : ordered(place(world), world.login, [kind, other])
            }))
        }
      }
    }
  })
}

class Tableless extends Context.Tag("test/DjangoOrders/Tableless")<Tableless, Steps.Tableless>() {}

layer(Layer.scoped(Tableless, Steps.tableless), { excludeTestServices: true, timeout: "30 seconds" })((it) => {
  for (const place of ["files", "cookies"] as const) {
    for (const pair of Steps.pairsOf(Steps.kinds)) {
      it.effect(`a move from ${place}: ${titleOf(pair[0].name, pair[1].name)}`, () =>
        Effect.flatMap(Tableless, (places) => ordered(places[place], places.login, pair)))
    }
  }
})
