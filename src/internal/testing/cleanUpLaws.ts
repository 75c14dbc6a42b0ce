/**
 * What stays true when records are cleaned up: what was revoked stays revoked, and every record is counted once.
 */
import * as Effect from "effect/Effect"
import type { Law } from "../../Law.js"
import type { Store } from "../../SessionStore.js"
import { equal, holds, law, range } from "./law.js"
import { freshKey, hour, isAlive, isDead, isThere, minute, namespace, start, stored } from "./records.js"

const now = start + 2 * minute

/** Expires before `now`. */
const brief = { expiry: { at: start + minute, deadline: undefined, lifetime: undefined } }

/** Whose records expire beside one that was revoked. */
const expiring: ReadonlyArray<readonly [whose: string, subjects: ReadonlyArray<string | undefined>]> = [
  ["nobody's", []],
  ["the same subject's", ["ann"]],
  ["another subject's", ["bob"]],
  ["nobody's by name", [undefined]],
  ["everyone's", ["ann", "ann", "bob", undefined]]
]

/** Removes everything that has expired, and says how much. */
const clean = (store: Store, at: number) =>
  Effect.iterate({ sum: 0, last: 1 }, {
    while: ({ last }) => last > 0,
    body: ({ sum }) => Effect.map(store.removeExpired({ now: at, limit: 100 }), (last) => ({ sum: sum + last, last }))
  }).pipe(Effect.map(({ sum }) => sum))

/** A revocation of one of these, with other records that expire: it holds while they are removed, and after that. */
const holdsWhileCleaning = (
  store: Store,
  subject: string | undefined,
  revoke: (namespace: string) => Effect.Effect<void, unknown>
) =>
  Effect.forEach(expiring, ([whose, subjects], index) =>
    Effect.gen(function*() {
      // Of its own, for each case.
      const namespace = `laws ${index}`
      const one = yield* stored(store, { namespace, subject })
      yield* Effect.forEach(subjects, (subject) => stored(store, { namespace, subject, ...brief }))
      yield* revoke(namespace)
      const later = yield* stored(store, { namespace, subject })
      yield* equal(`${whose}: how many were removed`, yield* clean(store, now), subjects.length)
      yield* equal(`${whose}: removed again`, yield* clean(store, now), 0)
      yield* isDead(store, one, now)
      yield* isAlive(store, later, now)
    }), { discard: true })

export const cleanUpLaws: ReadonlyArray<Law> = [
  law("a revocation of a subject holds after removeExpired, whoever's records were removed", function*(store) {
    yield* holdsWhileCleaning(store, "ann", (namespace) => store.revokeSubject(namespace, "ann"))
  }),

  law("a revocation of everyone holds after removeExpired, whoever's records were removed", function*(store) {
    yield* holdsWhileCleaning(store, "ann", (namespace) => store.revokeAll(namespace))
    const anonymous = yield* stored(store, { subject: undefined })
    yield* stored(store, { ...brief, subject: undefined })
    yield* store.revokeAll(namespace)
    yield* clean(store, now)
    yield* isDead(store, anonymous, now)
  }),

  law("a revocation of a subject holds when other sessions of the subject end", function*(store) {
    const one = yield* stored(store)
    const others = yield* Effect.forEach(range(3), () => stored(store))
    yield* store.revokeSubject(namespace, "ann")
    const later = yield* Effect.forEach(range(3), () => stored(store))
    yield* Effect.forEach(
      [...others, ...later],
      ({ key, record }, index) => index % 2 === 0 ? store.destroy(key) : store.revoke(namespace, record.id)
    )
    yield* clean(store, now)
    yield* isDead(store, one, now)
  }),

  law(
    "a subject comes back after its sessions were cleaned up: its new sessions live until the next revocation",
    function*(store) {
      for (const round of range(3)) {
        const gone = yield* stored(store, { subject: "ann", ...brief })
        yield* store.revokeSubject(namespace, "ann")
        yield* equal("removeExpired", yield* clean(store, now), 1)
        yield* isDead(store, gone, start)
        const back = yield* stored(store, { subject: "ann" })
        yield* isAlive(store, back, now)
        // Also one that begins while the last one is cleaned up.
        const [, beside] = yield* Effect.all([
          Effect.zipRight(store.destroy(back.key), store.removeExpired({ now, limit: 100 })),
          stored(store, { subject: "ann" })
        ], { concurrency: "unbounded" })
        yield* isAlive(store, beside, now)
        if (round % 2 === 0) yield* store.revokeSubject(namespace, "ann")
        else yield* store.revokeAll(namespace)
        yield* isDead(store, beside, now)
        yield* clean(store, now)
        yield* isDead(store, beside, now)
        yield* store.destroy(beside.key)
      }
    }
  ),

  law("removeExpired leaves what was revoked and has not expired: it counts until then", function*(store) {
    const bySubject = yield* stored(store)
    const byAll = yield* stored(store, { subject: undefined })
    yield* store.revokeSubject(namespace, "ann")
    yield* store.revokeAll(namespace)
    yield* equal("removeExpired", yield* store.removeExpired({ now, limit: 100 }), 0)
    yield* equal("create under its key", yield* store.create(bySubject.key, byAll.record, now), "exists")
    yield* equal("count", yield* store.count(now), { current: 2, expired: 0 })
    yield* equal("once they have expired", yield* clean(store, start + hour), 2)
    yield* equal("count", yield* store.count(start + hour), { current: 0, expired: 0 })
  }),

  law(
    "count tells how many records have expired and how many have not, in all namespaces, revoked ones too",
    function*(store) {
      yield* equal("of nothing", yield* store.count(start), { current: 0, expired: 0 })
      const all = yield* Effect.forEach(
        ["ann", "ann", "bob", undefined],
        (subject) => stored(store, { subject })
      )
      yield* stored(store, { namespace: "another" })
      yield* Effect.forEach(["ann", undefined, undefined], (subject) => stored(store, { ...brief, subject }))
      yield* equal("before any has expired", yield* store.count(start + minute - 1), { current: 8, expired: 0 })
      yield* equal("when three have", yield* store.count(start + minute), { current: 5, expired: 3 })
      yield* store.revokeSubject(namespace, "ann")
      yield* store.revokeAll("another")
      yield* equal("when some are revoked", yield* store.count(now), { current: 5, expired: 3 })
      const [ended, revoked] = all
      yield* Effect.forEach(ended === undefined ? [] : [ended], ({ key }) => store.destroy(key))
      yield* Effect.forEach(revoked === undefined ? [] : [revoked], ({ record }) => store.revoke(namespace, record.id))
      yield* equal("when two are ended by name", yield* store.count(now), { current: 3, expired: 3 })
      yield* equal("removeExpired", yield* clean(store, now), 3)
      yield* equal("when the expired are removed", yield* store.count(now), { current: 3, expired: 0 })
      yield* equal("when all have expired", yield* store.count(start + hour), { current: 0, expired: 3 })
    }
  ),

  law("revoke deletes also what is dead and still there, and says so, once", function*(store) {
    const one = yield* stored(store)
    yield* store.revokeSubject(namespace, "ann")
    yield* equal("revoke", yield* store.revoke(namespace, one.record.id), true)
    yield* equal("again", yield* store.revoke(namespace, one.record.id), false)
    yield* equal("count", yield* store.count(start), { current: 0, expired: 0 })
    yield* equal("create under its key", yield* store.create(one.key, one.record, start), "created")
    yield* holds("it is another one", yield* isThere(store, one.key, start))
    yield* equal("a stranger's key", yield* isThere(store, freshKey(), start), false)
  })
]
