/**
 * Removal of expired records: revocations stay in effect, and every record is counted once.
 */
import * as Effect from "effect/Effect"
import { freshKey, hour, isAlive, isDead, isThere, minute, namespace, start, stored } from "../../Fixtures.js"
import type { Law } from "../../Law.js"
import type { Store } from "../../SessionStore.js"
import { equal, holds, law, range } from "./law.js"

const now = start + 2 * minute

/** Expires before `now`. */
const brief = { expiry: { at: start + minute, deadline: undefined, lifetime: undefined } }

/** The subjects of records that expire while another record is revoked. */
const expiring: ReadonlyArray<readonly [name: string, subjects: ReadonlyArray<string | undefined>]> = [
  ["no records", []],
  ["the same subject", ["ann"]],
  ["another subject", ["bob"]],
  ["an anonymous session", [undefined]],
  ["several subjects", ["ann", "ann", "bob", undefined]]
]

/** Removes all expired records and returns their number. */
const removeAllExpired = (store: Store, at: number) =>
  Effect.iterate({ sum: 0, last: 1 }, {
    while: ({ last }) => last > 0,
    body: ({ sum }) => Effect.map(store.removeExpired({ now: at, limit: 100 }), (last) => ({ sum: sum + last, last }))
  }).pipe(Effect.map(({ sum }) => sum))

/** Expects a revocation to stay in effect while and after other records are removed. */
const staysRevoked = (
  store: Store,
  subject: string | undefined,
  revoke: (namespace: string) => Effect.Effect<void, unknown>
) =>
  Effect.forEach(expiring, ([name, subjects], index) =>
    Effect.gen(function*() {
      // Each case has its own namespace.
      const namespace = `laws ${index}`
      const one = yield* stored(store, { namespace, subject })
      yield* Effect.forEach(subjects, (subject) => stored(store, { namespace, subject, ...brief }))
      yield* revoke(namespace)
      const later = yield* stored(store, { namespace, subject })
      yield* equal(`${name}: the number of removed records`, yield* removeAllExpired(store, now), subjects.length)
      yield* equal(`${name}: removed by a second call`, yield* removeAllExpired(store, now), 0)
      yield* isDead(store, one, now)
      yield* isAlive(store, later, now)
    }), { discard: true })

export const cleanUpLaws: ReadonlyArray<Law> = [
  law(
    "`revokeSubject` stays in effect after `removeExpired`, whichever subjects' records were removed",
    function*(store) {
      yield* staysRevoked(store, "ann", (namespace) => store.revokeSubject(namespace, "ann"))
    }
  ),

  law("`revokeAll` stays in effect after `removeExpired`, whichever subjects' records were removed", function*(store) {
    yield* staysRevoked(store, "ann", (namespace) => store.revokeAll(namespace))
    const anonymous = yield* stored(store, { subject: undefined })
    yield* stored(store, { ...brief, subject: undefined })
    yield* store.revokeAll(namespace)
    yield* removeAllExpired(store, now)
    yield* isDead(store, anonymous, now)
  }),

  law("`revokeSubject` stays in effect when other sessions of the subject end", function*(store) {
    const one = yield* stored(store)
    const others = yield* Effect.forEach(range(3), () => stored(store))
    yield* store.revokeSubject(namespace, "ann")
    const later = yield* Effect.forEach(range(3), () => stored(store))
    yield* Effect.forEach(
      [...others, ...later],
      ({ key, record }, index) => index % 2 === 0 ? store.destroy(key) : store.revoke(namespace, record.id)
    )
    yield* removeAllExpired(store, now)
    yield* isDead(store, one, now)
  }),

  law(
    "new sessions of a subject whose records were removed are valid until the next revocation",
    function*(store) {
      for (const round of range(3)) {
        const expired = yield* stored(store, { subject: "ann", ...brief })
        yield* store.revokeSubject(namespace, "ann")
        yield* equal("removeExpired", yield* removeAllExpired(store, now), 1)
        yield* isDead(store, expired, start)
        const back = yield* stored(store, { subject: "ann" })
        yield* isAlive(store, back, now)
        // Also a session created while the last one is removed.
        const [, concurrent] = yield* Effect.all([
          Effect.zipRight(store.destroy(back.key), store.removeExpired({ now, limit: 100 })),
          stored(store, { subject: "ann" })
        ], { concurrency: "unbounded" })
        yield* isAlive(store, concurrent, now)
        if (round % 2 === 0) yield* store.revokeSubject(namespace, "ann")
        else yield* store.revokeAll(namespace)
        yield* isDead(store, concurrent, now)
        yield* removeAllExpired(store, now)
        yield* isDead(store, concurrent, now)
        yield* store.destroy(concurrent.key)
      }
    }
  ),

  law("`removeExpired` keeps revoked records, and `count` includes them, until they expire", function*(store) {
    const bySubject = yield* stored(store)
    const byAll = yield* stored(store, { subject: undefined })
    yield* store.revokeSubject(namespace, "ann")
    yield* store.revokeAll(namespace)
    yield* equal("removeExpired", yield* store.removeExpired({ now, limit: 100 }), 0)
    yield* equal("create under its key", yield* store.create(bySubject.key, byAll.record, now), "exists")
    yield* equal("count", yield* store.count(now), { current: 2, expired: 0 })
    yield* equal("removed after their expiry", yield* removeAllExpired(store, start + hour), 2)
    yield* equal("count", yield* store.count(start + hour), { current: 0, expired: 0 })
  }),

  law(
    "`count` returns the numbers of expired and of other records in all namespaces, including revoked ones",
    function*(store) {
      yield* equal("of an empty store", yield* store.count(start), { current: 0, expired: 0 })
      const all = yield* Effect.forEach(
        ["ann", "ann", "bob", undefined],
        (subject) => stored(store, { subject })
      )
      yield* stored(store, { namespace: "another" })
      yield* Effect.forEach(["ann", undefined, undefined], (subject) => stored(store, { ...brief, subject }))
      yield* equal("before the first expiry", yield* store.count(start + minute - 1), { current: 8, expired: 0 })
      yield* equal("after three have expired", yield* store.count(start + minute), { current: 5, expired: 3 })
      yield* store.revokeSubject(namespace, "ann")
      yield* store.revokeAll("another")
      yield* equal("after revocations", yield* store.count(now), { current: 5, expired: 3 })
      const [ended, revoked] = all
      yield* Effect.forEach(ended === undefined ? [] : [ended], ({ key }) => store.destroy(key))
      yield* Effect.forEach(revoked === undefined ? [] : [revoked], ({ record }) => store.revoke(namespace, record.id))
      yield* equal("after destroy and revoke", yield* store.count(now), { current: 3, expired: 3 })
      yield* equal("removeExpired", yield* removeAllExpired(store, now), 3)
      yield* equal("after removal of the expired records", yield* store.count(now), { current: 3, expired: 0 })
      yield* equal("after all have expired", yield* store.count(start + hour), { current: 0, expired: 3 })
    }
  ),

  law("`revoke` deletes a revoked record that is still stored, and returns true once", function*(store) {
    const one = yield* stored(store)
    yield* store.revokeSubject(namespace, "ann")
    yield* equal("revoke", yield* store.revoke(namespace, one.record.id), true)
    yield* equal("again", yield* store.revoke(namespace, one.record.id), false)
    yield* equal("count", yield* store.count(start), { current: 0, expired: 0 })
    yield* equal("create under its key", yield* store.create(one.key, one.record, start), "created")
    yield* holds("the new record is alive", yield* isThere(store, one.key, start))
    yield* equal("an unknown key", yield* isThere(store, freshKey(), start), false)
  })
]
