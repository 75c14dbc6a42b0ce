/**
 * Expiry, `destroy`, and `removeExpired`, which deletes records that have already expired.
 */
import * as Effect from "effect/Effect"
import { aRecord, day, freshKey, hour, isAlive, isDead, isThere, minute, start, stored } from "../../Fixtures.js"
import type { Law } from "../../Law.js"
import { count, equal, holds, law, range, together } from "./law.js"

const expiringAt = (at: number) => ({ expiry: { at, deadline: undefined, lifetime: undefined } })

export const removalLaws: ReadonlyArray<Law> = [
  law("an expired record is absent for every operation, from the exact time of expiry", function*(store) {
    const one = yield* stored(store)
    yield* isAlive(store, one, start + hour - 1)
    yield* isDead(store, one, start + hour)
    yield* isDead(store, one, start + day)
  }),

  law("`destroy` removes the record: afterwards only `create` can use its key", function*(store) {
    const one = yield* stored(store)
    yield* store.destroy(one.key)
    yield* isDead(store, one, start)
    yield* equal("create", yield* store.create(one.key, one.record, start), "created")
    yield* isAlive(store, one, start)
  }),

  law("`destroy` removes only the record of its key, and succeeds for an unknown key", function*(store) {
    const one = yield* stored(store)
    const other = yield* stored(store)
    yield* store.destroy(freshKey())
    yield* store.destroy(one.key)
    yield* store.destroy(one.key)
    yield* isDead(store, one, start)
    yield* isAlive(store, other, start)
  }),

  law("`destroy` is final: concurrent `save` and `touch` calls do not bring the record back", function*(store) {
    yield* Effect.forEach(range(20), () =>
      Effect.gen(function*() {
        const { key, record } = yield* stored(store)
        const [, ...outcomes] = yield* Effect.all([
          store.destroy(key),
          store.save(key, { ...record, data: `"late"` }, { expectedVersion: 1, now: start }),
          store.touch(key, { lastSeenAt: start + 1, expiresAt: start + 2 * hour, now: start })
        ], { concurrency: "unbounded" })
        yield* holds(
          "a write after destroy returns gone, never conflict",
          outcomes.every((outcome) => outcome !== "conflict")
        )
        yield* isDead(store, { key, record }, start)
      }))
  }),

  law("`removeExpired` deletes expired records, at most `limit` per call, and returns their number", function*(store) {
    const now = start + hour
    const dead = yield* Effect.forEach(range(5), (i) => stored(store, expiringAt(now - i)))
    const living = yield* Effect.forEach(range(3), (i) => stored(store, expiringAt(now + 1 + i)))
    const removed = yield* Effect.forEach(range(4), () => store.removeExpired({ now, limit: 2 }))
    yield* equal("the number of removed records", removed, [2, 2, 1, 0])
    yield* Effect.forEach(living, (one) => isAlive(store, one, now))
    // Deleted, not only absent: the key and the id can be used again.
    for (const { key, record } of dead) {
      const again = { ...record, ...expiringAt(now + hour) }
      yield* equal("create", yield* store.create(key, again, now), "created")
      yield* isAlive(store, { key, record: again }, now)
    }
  }),

  law("`removeExpired` with a limit of 0 deletes nothing", function*(store) {
    const { key } = yield* stored(store, expiringAt(start + minute))
    yield* equal("removeExpired", yield* store.removeExpired({ now: start + hour, limit: 0 }), 0)
    yield* equal("create", yield* store.create(key, aRecord(), start + hour), "exists")
  }),

  law("`removeExpired` keeps a record that a concurrent `touch` prolonged", function*(store) {
    const now = start + hour
    const all = yield* Effect.forEach(range(30), () => stored(store, expiringAt(now)))
    // A node whose clock is 1 ms behind, so that the records have not expired there.
    const [removed, ...outcomes] = yield* Effect.all([
      store.removeExpired({ now, limit: 100 }),
      ...all.map(({ key }) => store.touch(key, { lastSeenAt: now - 1, expiresAt: now + minute, now: now - 1 }))
    ], { concurrency: "unbounded" })
    const there = yield* together(all.map(({ key }) => isThere(store, key, now)))
    yield* equal("the records that are alive", there, outcomes.map((outcome) => outcome === "touched"))
    const later = yield* store.removeExpired({ now, limit: 100 })
    yield* equal("the number of removed records", removed + later, count(there, false))
  }),

  law("concurrent `removeExpired` calls count each record once", function*(store) {
    yield* together(range(50).map(() => stored(store, expiringAt(start + minute))))
    const removed = yield* together(range(4).map(() => store.removeExpired({ now: start + hour, limit: 20 })))
    yield* holds("no call removed more than its limit", removed.every((count) => count <= 20))
    const rest = yield* Effect.iterate({ sum: 0, last: 1 }, {
      while: ({ last }) => last > 0,
      body: ({ sum }) =>
        Effect.map(store.removeExpired({ now: start + hour, limit: 20 }), (last) => ({ sum: sum + last, last }))
    })
    yield* equal("the number of removed records", removed.reduce((a, b) => a + b, 0) + rest.sum, 50)
  })
]
