/**
 * Two requests that use one session of Django at the same time, stopped before each of their steps and continued in every order: no update
 * is lost, no ended session comes back, and there is never more than one session.
 */
import { layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
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
