/**
 * What a store promises to callers whose clock is ahead of its own: they end no session of others, and prolong none.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Law } from "../../Law.js"
import { clockSlack } from "../../SessionRecord.js"
import type { Store } from "../../SessionStore.js"
import { equal, holds, law } from "./law.js"
import { aRecord, day, freshKey, hour, isAlive, isThere, loaded, minute, stored } from "./records.js"

const tenYears = 3652 * day

/** A node whose clock is so far ahead of the true time. */
const onNodeAhead = <A, E>(millis: number, call: Effect.Effect<A, E>): Effect.Effect<A, E> =>
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

/** A session that began at this very moment. */
const begun = (store: Store, now: number, fields: Parameters<typeof aRecord>[0] = {}) =>
  stored(store, {
    ...times(now),
    expiry: { at: now + hour, deadline: undefined, lifetime: undefined },
    ...fields
  })

const times = (now: number) => ({ createdAt: now, authenticatedAt: now, modifiedAt: now, lastSeenAt: now })

/** The clocks of the store and of the one who runs the laws may differ a little. */
const tolerance = clockSlack + minute

export const clockLaws: ReadonlyArray<Law> = [
  law(
    "removeExpired by a clock that is ahead of the store's is refused with the reason clock, and deletes nothing",
    function*(store) {
      const now = Date.now()
      const one = yield* begun(store, now)
      for (const ahead of [hour + 2 * minute, tenYears]) {
        const removal = yield* Effect.either(onNodeAhead(ahead, store.removeExpired({ now: now + ahead, limit: 100 })))
        yield* equal("reason", removal._tag === "Left" ? removal.left.reason : removal.right, "clock")
      }
      yield* isAlive(store, one, now)
      yield* equal("by the right clock", yield* store.removeExpired({ now, limit: 100 }), 0)
    }
  ),

  law(
    "a write by a clock that is ahead moves an end no further than one by the store's clock, and no time into the future",
    function*(store) {
      const now = Date.now()
      const ahead = now + 50 * minute
      const expiry = { at: ahead + hour, deadline: undefined, lifetime: undefined }
      const later = { ...times(ahead), expiry }
      const browser = { ...expiry, lifetime: { _tag: "Browser" } as const }

      const created = freshKey()
      yield* equal("create", yield* store.create(created, aRecord(later), ahead), "created")
      const touched = yield* begun(store, now)
      yield* equal(
        "touch",
        yield* store.touch(touched.key, { lastSeenAt: ahead, expiresAt: ahead + hour, now: ahead }),
        "touched"
      )
      const saved = yield* begun(store, now)
      yield* equal(
        "save",
        yield* store.save(saved.key, { ...saved.record, ...later }, { expectedVersion: 1, now: ahead }),
        "saved"
      )
      const relived = yield* begun(store, now)
      const other = { ...relived.record, ...later, expiry: browser }
      yield* equal(
        "save of a lifetime",
        yield* store.save(relived.key, other, { expectedVersion: 1, now: ahead }),
        "saved"
      )
      const old = yield* begun(store, now)
      const rotated = freshKey()
      yield* equal(
        "rotate",
        yield* store.rotate(old.key, rotated, { ...old.record, ...later }, { expectedVersion: 1, now: ahead }),
        "saved"
      )

      for (const [what, key] of Object.entries({ created, rotated })) {
        const record = yield* loaded(store, key, now)
        yield* holds(`${what} ends in time`, record.expiry.at <= Date.now() + hour + tolerance)
        yield* holds(`${what} was not seen in the future`, record.lastSeenAt <= Date.now() + tolerance)
      }
      for (const [what, { key }] of Object.entries({ touched, saved, relived })) {
        const record = yield* loaded(store, key, now)
        yield* holds(`${what} ends in time`, record.expiry.at <= Date.now() + hour + tolerance)
        yield* holds(`${what} is prolonged all the same`, record.expiry.at >= now + hour)
        yield* holds(`${what} was not seen in the future`, record.lastSeenAt <= Date.now() + tolerance)
        yield* holds(`${what} was not modified in the future`, record.modifiedAt <= Date.now() + tolerance)
      }
    }
  ),

  law("a moment at which a session is to end is kept, whatever the clock", function*(store) {
    const now = Date.now()
    const at = now + 3 * day
    const until = { expiry: { at, deadline: undefined, lifetime: { _tag: "Until", at } as const } }
    const key = freshKey()
    yield* equal("create", yield* store.create(key, aRecord({ ...times(now + hour), ...until }), now + hour), "created")
    yield* equal("the end", (yield* loaded(store, key, now)).expiry.at, at)
    yield* holds("it is there until then", yield* isThere(store, key, at - 1))
  })
]
