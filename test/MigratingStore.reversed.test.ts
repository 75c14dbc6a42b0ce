/**
 * Reversed migrations: sessions whose migration was incomplete when the two stores were exchanged, and concurrent requests.
 */
import { it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { MemoryStore } from "effect-session"
import {
  freshKey,
  hour,
  isAlive,
  isDead,
  isKeyDead,
  isThere,
  loaded,
  minute,
  start,
  type Stored,
  stored
} from "effect-session/Fixtures"
import * as MigratingStore from "effect-session/MigratingStore"
import type { Store } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import { assert, describe } from "vitest"
import type { Scene } from "../src/internal/testing/interleave.js"
import { equal, holds } from "../src/internal/testing/law.js"
import { range } from "./support/concurrency.js"
import {
  type Act,
  data,
  destroyAct,
  dyingAfter,
  endingActs,
  interceptedPerRequest,
  loadAct,
  randomOrders,
  requestInterception,
  revocationActs,
  rotateAct,
  rotateKeepingIdAct,
  saveAct,
  touchAct
} from "./support/migrationRaces.js"

/** A session whose move from the first store to the second was interrupted after this number of writes. */
const half = (done: number) =>
  Effect.gen(function*() {
    const [first, second] = [MemoryStore.make(), MemoryStore.make()]
    const one = yield* stored(first)
    yield* Effect.exit(dyingAfter(first, second, done).load(one.key, start))
    return { first, one, second }
  })

/** The reversed migration, which is in its first phase in some processes and in its second phase in others. */
const back = (first: Store, second: Store, i = 0) =>
  MigratingStore.make(second, first, { phase: i % 2 === 0 ? "move" : "prepare" })

describe("concurrent requests during a reversed migration, each starting at any moment", () => {
  type Check = (
    store: Store,
    one: Stored,
    outcomes: ReadonlyArray<unknown>,
    newKey: Stored["key"]
  ) => Effect.Effect<void, unknown>

  /** Runs the acts after each number of writes of the forward migration. */
  const orders = (acts: ReadonlyArray<Act>, check: Check, count = 120) => {
    let scenes = 0
    const scene: Effect.Effect<Scene<unknown>, unknown> = Effect.gen(function*() {
      const { first, one, second } = yield* half(1 + scenes++ % 4)
      const newKey = freshKey()
      const outcomes: Array<unknown> = []
      return {
        requests: acts.map(({ act }, i) => (parking: FaultyStore.Interception) =>
          Effect.suspend(() => act(back(interceptedPerRequest(first), interceptedPerRequest(second), i), one, newKey))
            .pipe(
              Effect.locally(requestInterception, parking),
              Effect.map((outcome) => void (outcomes[i] = outcome))
            )
        ),
        check: Effect.suspend(() => check(back(first, second), one, outcomes, newKey))
      }
    })
    return randomOrders(scene, count)
  }

  /** Checks that only the new token is valid, or only the old one if the rotation has failed. */
  const isRotated: Check = (store, one, [outcome], newKey) =>
    Effect.gen(function*() {
      yield* equal("the new token is valid", yield* isThere(store, newKey, start), outcome === "saved")
      yield* outcome === "saved" ? isKeyDead(store, one, start) : isAlive(store, one, start)
    })

  for (const count of [2, 3, 4]) {
    it.live(`${count} reads: each finds the session, and so does the next read`, () =>
      orders(range(count).map(() => loadAct), (store, one, outcomes) =>
        Effect.zipRight(
          holds(
            "each read finds the session",
            outcomes.every((found) => Option.isOption(found) && Option.isSome(found))
          ),
          isAlive(store, one, start)
        )))
  }

  it.live("two saves and two reads: at most one save succeeds, and its data is kept", () =>
    orders([saveAct, saveAct, loadAct, loadAct], (store, { key, record }, outcomes) =>
      Effect.gen(function*() {
        const saved = outcomes.filter((outcome) => outcome === "saved").length
        const found = yield* loaded(store, key, start)
        yield* holds("at most one save succeeds", saved <= 1 && !outcomes.includes("gone"))
        yield* equal("the stored version and data", [found.version, found.data], [
          1 + saved,
          saved === 1 ? data : record.data
        ])
      })))

  it.live("a touch and two reads: the times are kept", () =>
    orders([touchAct, loadAct, loadAct], (store, { key }, [outcome]) =>
      Effect.gen(function*() {
        yield* equal("the outcome", outcome, "touched")
        yield* equal("the times", (yield* loaded(store, key, start)).lastSeenAt, start + minute)
      })))

  for (const rotation of [rotateAct, rotateKeepingIdAct]) {
    it.live(`${rotation.name}, and three reads: exactly one token is valid`, () =>
      orders([rotation, loadAct, loadAct, loadAct], isRotated))
  }

  for (const end of endingActs) {
    it.live(`${end.name}, a save and two reads: the session stays ended`, () =>
      orders(
        [end, saveAct, loadAct, loadAct],
        (store, one) => isDead(store, one, start),
        end === destroyAct ? 400 : 120
      ))
  }

  it.live(`${destroyAct.name}, ${rotateKeepingIdAct.name}, and two reads: the old token stays invalid`, () =>
    orders([destroyAct, rotateKeepingIdAct, loadAct, loadAct], (store, one) => isKeyDead(store, one, start)))

  for (const end of revocationActs) {
    it.live(`${end.name}, ${rotateKeepingIdAct.name}, and two reads: both tokens stay invalid`, () =>
      orders(
        [end, rotateKeepingIdAct, loadAct, loadAct],
        (store, one, _, newKey) =>
          Effect.zipRight(isDead(store, one, start), isKeyDead(store, { ...one, key: newKey }, start))
      ))
  }
})

describe("a revocation during a reversed migration, and a request after each of its calls", () => {
  for (const { act, name } of revocationActs) {
    for (const done of [1, 2, 3, 4]) {
      it.live(`${name}, after ${done} writes of the forward migration: the session stays ended`, () =>
        Effect.gen(function*() {
          const { first, one, second } = yield* half(done)
          let calls = 0
          const slow = (store: Store) =>
            FaultyStore.intercept(store, (operation, call) =>
              operation.startsWith("revoke")
                ? Effect.tap(call, () => Effect.suspend(() => back(first, second, ++calls).load(one.key, start)))
                : call)
          yield* act(back(slow(first), slow(second)), one, freshKey())
          yield* isDead(back(first, second), one, start)
        }))
    }
  }
})

describe("an expired marker of a session that is still alive", () => {
  for (const later of [1, 30 * minute]) {
    it.live(`${later} ms ago: the session can be read and written in both directions`, () =>
      Effect.gen(function*() {
        const { first, one, second } = yield* half(4)
        const there = MigratingStore.make(first, second, { phase: "move" })
        assert.strictEqual(
          yield* there.touch(one.key, { lastSeenAt: start + minute, expiresAt: start + 3 * hour, now: start + minute }),
          "touched"
        )
        const now = start + hour + later
        for (const store of [back(first, second), there, back(first, second)]) {
          const { version, ...record } = yield* loaded(store, one.key, now)
          assert.strictEqual(
            yield* store.save(one.key, { ...record, version }, { expectedVersion: version, now }),
            "saved"
          )
          assert.strictEqual((yield* loaded(store, one.key, now)).version, version + 1)
        }
      }))
  }
})
