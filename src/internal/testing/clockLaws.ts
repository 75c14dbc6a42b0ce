/**
 * Callers whose clock is ahead of the store's: they cannot end or prolong other sessions.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { aRecord, day, freshKey, hour, isAlive, isThere, loaded, minute, stored } from "../../Fixtures.js"
import type { Law } from "../../Law.js"
import { clockSlack } from "../../SessionRecord.js"
import type { Store } from "../../SessionStore.js"
import { equal, holds, law } from "./law.js"

const tenYears = 3652 * day

/** Runs `call` with a clock that is `millis` ahead. */
const withClockAhead = <A, E>(millis: number, call: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.clockWith((clock) => {
    const later = () => Date.now() + millis
    return Effect.withClock(call, {
      [Clock.ClockTypeId]: Clock.ClockTypeId,
      unsafeCurrentTimeMillis: later,
      unsafeCurrentTimeNanos: () => clock.unsafeCurrentTimeNanos(),
      currentTimeMillis: Effect.sync(later),
      currentTimeNanos: clock.currentTimeNanos,
      sleep: (duration) => clock.sleep(duration)
    })
  })

/** Stores a session created at `now`. */
const storedAt = (store: Store, now: number, fields: Parameters<typeof aRecord>[0] = {}) =>
  stored(store, {
    ...times(now),
    expiry: { at: now + hour, deadline: undefined, lifetime: undefined },
    ...fields
  })

const times = (now: number) => ({ createdAt: now, authenticatedAt: now, modifiedAt: now, lastSeenAt: now })

/** Milliseconds by which the clocks of the store and of this process may differ. */
const tolerance = clockSlack + minute

export const clockLaws: ReadonlyArray<Law> = [
  law(
    "`removeExpired` from a clock ahead of the store's fails with reason `clock` and deletes nothing",
    function*(store) {
      const now = Date.now()
      const one = yield* storedAt(store, now)
      for (const ahead of [hour + 2 * minute, tenYears]) {
        const removal = yield* Effect.either(
          withClockAhead(ahead, store.removeExpired({ now: now + ahead, limit: 100 }))
        )
        yield* equal("reason", removal._tag === "Left" ? removal.left.reason : removal.right, "clock")
      }
      yield* isAlive(store, one, now)
      yield* equal("from a correct clock", yield* store.removeExpired({ now, limit: 100 }), 0)
    }
  ),

  law(
    "a write from a clock that is ahead sets no later expiry than the store's clock allows, and no time in the future",
    function*(store) {
      const now = Date.now()
      const ahead = now + 50 * minute
      const expiry = { at: ahead + hour, deadline: undefined, lifetime: undefined }
      const later = { ...times(ahead), expiry }
      const browser = { ...expiry, lifetime: { _tag: "Browser" } as const }

      const created = freshKey()
      yield* equal("create", yield* store.create(created, aRecord(later), ahead), "created")
      const touched = yield* storedAt(store, now)
      yield* equal(
        "touch",
        yield* store.touch(touched.key, { lastSeenAt: ahead, expiresAt: ahead + hour, now: ahead }),
        "touched"
      )
      const saved = yield* storedAt(store, now)
      yield* equal(
        "save",
        yield* store.save(saved.key, { ...saved.record, ...later }, { expectedVersion: 1, now: ahead }),
        "saved"
      )
      const changed = yield* storedAt(store, now)
      const other = { ...changed.record, ...later, expiry: browser }
      yield* equal(
        "save with another lifetime",
        yield* store.save(changed.key, other, { expectedVersion: 1, now: ahead }),
        "saved"
      )
      const old = yield* storedAt(store, now)
      const rotated = freshKey()
      yield* equal(
        "rotate",
        yield* store.rotate(old.key, rotated, { ...old.record, ...later }, { expectedVersion: 1, now: ahead }),
        "saved"
      )

      for (const [what, key] of Object.entries({ created, rotated })) {
        const record = yield* loaded(store, key, now)
        yield* holds(`${what}: the expiry is bounded`, record.expiry.at <= Date.now() + hour + tolerance)
        yield* holds(`${what}: lastSeenAt is not in the future`, record.lastSeenAt <= Date.now() + tolerance)
      }
      for (const [what, { key }] of Object.entries({ touched, saved, changed })) {
        const record = yield* loaded(store, key, now)
        yield* holds(`${what}: the expiry is bounded`, record.expiry.at <= Date.now() + hour + tolerance)
        yield* holds(`${what}: the expiry has moved forward`, record.expiry.at >= now + hour)
        yield* holds(`${what}: lastSeenAt is not in the future`, record.lastSeenAt <= Date.now() + tolerance)
        yield* holds(`${what}: modifiedAt is not in the future`, record.modifiedAt <= Date.now() + tolerance)
      }
    }
  ),

  law("a fixed end time (`Until`) is stored as given, whatever the caller's clock", function*(store) {
    const now = Date.now()
    const at = now + 3 * day
    const until = { expiry: { at, deadline: undefined, lifetime: { _tag: "Until", at } as const } }
    const key = freshKey()
    yield* equal("create", yield* store.create(key, aRecord({ ...times(now + hour), ...until }), now + hour), "created")
    yield* equal("the expiry", (yield* loaded(store, key, now)).expiry.at, at)
    yield* holds("the record is alive until then", yield* isThere(store, key, at - 1))
  })
]
