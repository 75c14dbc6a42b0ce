/**
 * Corrupt records: how operations report and remove them, and that they do not affect other records.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type { Stored } from "../../Fixtures.js"
import { aRecord, freshKey, hour, isAlive, isDead, minute, namespace, start, stored } from "../../Fixtures.js"
import type { Law } from "../../Law.js"
import type { Store } from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"
import { isCorruptEntry } from "../store/corrupt.js"
import { equal, holds, law, range } from "./law.js"

/** Expects `load` and `find` to fail with reason `corrupt`. */
const expectCorrupt = (store: Store, { key, record: { id } }: Stored) =>
  Effect.gen(function*() {
    const calls = { load: store.load(key, start), find: store.find(namespace, id, start) }
    for (const [name, call] of Object.entries(calls)) {
      const answer = yield* Effect.either(Effect.asVoid(call))
      yield* equal(name, answer._tag === "Left" ? answer.left.reason : "success", "corrupt")
    }
  })

const byId = (a: Stored, b: Stored) => (a.record.id < b.record.id ? -1 : 1)

/**
 * Laws for corrupt records. `corrupt` makes the stored record of a key undecodable, bypassing the store, and returns an effect
 * that restores it. It must keep what the store finds the record by (its id and subject). Do not run these laws on a store
 * whose records cannot become corrupt, such as one that keeps them in memory.
 *
 * @since 0.5.0
 * @category laws
 */
export const corruptionLaws = <E1, E2>(
  corrupt: (key: StoreKey) => Effect.Effect<Effect.Effect<void, E2>, E1>
): ReadonlyArray<Law> => [
  law("`load` and `find` of a corrupt record fail with reason `corrupt` and do not change it", function*(store) {
    const [bad, good] = [yield* stored(store), yield* stored(store)]
    const repair = yield* corrupt(bad.key)
    yield* expectCorrupt(store, bad)
    yield* store.list(namespace, "ann", start)
    yield* store.scan(namespace, { limit: 10, now: start })
    yield* expectCorrupt(store, bad)
    yield* isAlive(store, good, start)
    yield* repair
    yield* isAlive(store, bad, start)
  }),

  law("`scan` returns a corrupt record as `Corrupt` in its place, and all the others", function*(store) {
    const all = (yield* Effect.forEach(range(7), () => stored(store))).sort(byId)
    // The first, the last and two adjacent ones.
    const bad = all.filter((_, i) => [0, 3, 4, 6].includes(i))
    yield* Effect.forEach(bad, ({ key }) => corrupt(key))
    const expected = all.map((one) => bad.includes(one) ? one.record.id : { ...one.record, key: one.key })
    for (const limit of [1, 2, 3, 10]) {
      const found: Array<unknown> = []
      let after: Stored["record"]["id"] | undefined
      do {
        const page = yield* store.scan(namespace, { after, limit, now: start })
        yield* holds(`a page holds at most ${limit} records`, page.length <= limit)
        for (const one of page) {
          if (isCorruptEntry(one)) yield* equal("the reason", one.error.reason, "corrupt")
          found.push(isCorruptEntry(one) ? one.id : one)
        }
        after = page.at(-1)?.id
      } while (after !== undefined && found.length < 100)
      yield* equal(`all pages of ${limit}`, found, expected)
    }
  }),

  law("`list` omits a corrupt record and returns the others", function*(store) {
    const all = yield* Effect.forEach(range(3), (i) => stored(store, { createdAt: start + i }))
    for (const [i, one] of all.entries()) {
      const repair = yield* corrupt(one.key)
      const others = all.filter((_, j) => i !== j).map(({ record: { data: _, ...info } }) => info)
      yield* equal("the list", yield* store.list(namespace, "ann", start), others)
      yield* repair
    }
  }),

  law("`destroy` and `revoke` remove a corrupt record", function*(store) {
    const [one, other, good] = [yield* stored(store), yield* stored(store), yield* stored(store)]
    yield* corrupt(one.key)
    yield* corrupt(other.key)
    yield* store.destroy(one.key)
    yield* isDead(store, one, start)
    yield* equal("revoke", yield* store.revoke(namespace, other.record.id), true)
    yield* isDead(store, other, start)
    yield* equal("revoke again", yield* store.revoke(namespace, other.record.id), false)
    yield* isAlive(store, good, start)
  }),

  law("a revoked corrupt record stays revoked after it is repaired", function*(store) {
    const [one, spared] = [yield* stored(store), yield* stored(store)]
    const repair = yield* corrupt(one.key)
    yield* store.revokeSubject(namespace, "ann", spared.record.id)
    yield* repair
    yield* isDead(store, one, start)
    yield* isAlive(store, spared, start)
    const repairSpared = yield* corrupt(spared.key)
    yield* store.revokeAll(namespace)
    yield* repairSpared
    yield* isDead(store, spared, start)
  }),

  law(
    "`endReason` of a corrupt record is absent, or fails with reason `corrupt`; after its removal it is true, or absent",
    function*(store) {
      const [one, other] = [yield* stored(store), yield* stored(store)]
      for (const { key } of [one, other]) {
        yield* corrupt(key)
        const answer = yield* Effect.either(store.endReason(key, start))
        yield* Either.match(answer, {
          onLeft: ({ reason }) => equal("the error", reason, "corrupt"),
          onRight: (reason) => equal("the reason", Option.getOrUndefined(reason), undefined)
        })
      }
      yield* store.destroy(one.key)
      yield* store.revoke(namespace, other.record.id)
      for (const [{ key }, expected] of [[one, "loggedOut"], [other, "revoked"]] as const) {
        yield* equal("the reason", Option.getOrElse(yield* store.endReason(key, start), () => expected), expected)
      }
    }
  ),

  law("a corrupt record does not prevent a login with a limit that ends the oldest session", function*(store) {
    const bad = yield* stored(store)
    yield* corrupt(bad.key)
    const [key, record] = [freshKey(), aRecord()]
    const outcome = yield* store.create(key, record, start, { max: 1, onFull: "oldest" })
    if (typeof outcome === "object") {
      yield* equal("the sessions that ended", outcome.ids, [bad.record.id])
      yield* isDead(store, bad, start)
    } else {
      yield* equal("create", outcome, "created")
    }
    yield* isAlive(store, { key, record }, start)
  }),

  law("`removeExpired` removes expired records despite a corrupt one", function*(store) {
    const ending = (at: number) => stored(store, { expiry: { at, deadline: undefined, lifetime: undefined } })
    const [bad] = [yield* ending(start + minute), yield* ending(start + 2 * minute), yield* stored(store)]
    yield* corrupt(bad.key)
    yield* store.removeExpired({ now: start + 3 * minute, limit: 10 })
    const { current, expired } = yield* store.count(start + 3 * minute)
    yield* holds("of the expired records only the corrupt one may remain", current + expired <= 2)
    yield* equal(
      "the record that has not expired is counted",
      (yield* store.count(start + hour - 1)).current >= 1,
      true
    )
  })
]
