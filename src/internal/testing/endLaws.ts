/**
 * How a record ends: by expiry, by `destroy`, and by `removeExpired`, which only cleans up after the first.
 */
import * as Effect from "effect/Effect"
import type { Law } from "../../Law.js"
import { count, equal, holds, law, range, together } from "./law.js"
import { aRecord, day, freshKey, hour, isAlive, isDead, isThere, minute, start, stored } from "./records.js"

const endingAt = (at: number) => ({ expiry: { at, deadline: undefined, lifetime: undefined } })

export const endLaws: ReadonlyArray<Law> = [
  law("what has expired is absent for every function, from the very moment of expiry on", function*(store) {
    const one = yield* stored(store)
    yield* isAlive(store, one, start + hour - 1)
    yield* isDead(store, one, start + hour)
    yield* isDead(store, one, start + day)
  }),

  law("destroy ends the record: nothing but a create can follow", function*(store) {
    const one = yield* stored(store)
    yield* store.destroy(one.key)
    yield* isDead(store, one, start)
    yield* equal("create", yield* store.create(one.key, one.record, start), "created")
    yield* isAlive(store, one, start)
  }),

  law("destroy ends the record of its key only, and a missing key is fine", function*(store) {
    const one = yield* stored(store)
    const other = yield* stored(store)
    yield* store.destroy(freshKey())
    yield* store.destroy(one.key)
    yield* store.destroy(one.key)
    yield* isDead(store, one, start)
    yield* isAlive(store, other, start)
  }),

  law("destroy is terminal: saves and touches of the same moment do not bring the record back", function*(store) {
    yield* Effect.forEach(range(20), () =>
      Effect.gen(function*() {
        const { key, record } = yield* stored(store)
        const [, ...outcomes] = yield* Effect.all([
          store.destroy(key),
          store.save(key, { ...record, data: `"late"` }, { expectedVersion: 1, now: start }),
          store.touch(key, { lastSeenAt: start + 1, expiresAt: start + 2 * hour, now: start })
        ], { concurrency: "unbounded" })
        yield* holds(
          "a destroyed record is gone, never in conflict",
          outcomes.every((outcome) => outcome !== "conflict")
        )
        yield* isDead(store, { key, record }, start)
      }))
  }),

  law("removeExpired deletes what has expired, at most so many at once, and says how many", function*(store) {
    const now = start + hour
    const dead = yield* Effect.forEach(range(5), (i) => stored(store, endingAt(now - i)))
    const living = yield* Effect.forEach(range(3), (i) => stored(store, endingAt(now + 1 + i)))
    const removed = yield* Effect.forEach(range(4), () => store.removeExpired({ now, limit: 2 }))
    yield* equal("how many were removed", removed, [2, 2, 1, 0])
    yield* Effect.forEach(living, (one) => isAlive(store, one, now))
    // Deleted, not only absent: its key and its id are free again.
    for (const { key, record } of dead) {
      const again = { ...record, ...endingAt(now + hour) }
      yield* equal("create", yield* store.create(key, again, now), "created")
      yield* isAlive(store, { key, record: again }, now)
    }
  }),

  law("removeExpired without a limit to spend deletes nothing", function*(store) {
    const { key } = yield* stored(store, endingAt(start + minute))
    yield* equal("removeExpired", yield* store.removeExpired({ now: start + hour, limit: 0 }), 0)
    yield* equal("create", yield* store.create(key, aRecord(), start + hour), "exists")
  }),

  law("removeExpired leaves what was touched meanwhile", function*(store) {
    const now = start + hour
    const all = yield* Effect.forEach(range(30), () => stored(store, endingAt(now)))
    // Another node's clock is a little behind: there the records have not expired.
    const [removed, ...outcomes] = yield* Effect.all([
      store.removeExpired({ now, limit: 100 }),
      ...all.map(({ key }) => store.touch(key, { lastSeenAt: now - 1, expiresAt: now + minute, now: now - 1 }))
    ], { concurrency: "unbounded" })
    const there = yield* together(all.map(({ key }) => isThere(store, key, now)))
    yield* equal("which are alive", there, outcomes.map((outcome) => outcome === "touched"))
    const later = yield* store.removeExpired({ now, limit: 100 })
    yield* equal("how many were removed", removed + later, count(there, false))
  }),

  law("removeExpired at several places at once counts no record twice", function*(store) {
    yield* together(range(50).map(() => stored(store, endingAt(start + minute))))
    const removed = yield* together(range(4).map(() => store.removeExpired({ now: start + hour, limit: 20 })))
    yield* holds("none removed more than its limit", removed.every((count) => count <= 20))
    const rest = yield* Effect.iterate({ sum: 0, last: 1 }, {
      while: ({ last }) => last > 0,
      body: ({ sum }) =>
        Effect.map(store.removeExpired({ now: start + hour, limit: 20 }), (last) => ({ sum: sum + last, last }))
    })
    yield* equal("how many were removed", removed.reduce((a, b) => a + b, 0) + rest.sum, 50)
  })
]
