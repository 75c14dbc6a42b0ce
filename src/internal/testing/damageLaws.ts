/**
 * What becomes of a record that is damaged, and of those around it.
 */
import * as Effect from "effect/Effect"
import type { Law } from "../../Law.js"
import type { Store } from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"
import { isCorruptEntry } from "../store/corrupt.js"
import { equal, holds, law, range } from "./law.js"
import type { Stored } from "./records.js"
import { hour, isAlive, isDead, minute, namespace, start, stored } from "./records.js"

/** What asking for a record fails with. */
const cannotBeRead = (store: Store, { key, record: { id } }: Stored) =>
  Effect.gen(function*() {
    const calls = { load: store.load(key, start), find: store.find(namespace, id, start) }
    for (const [name, call] of Object.entries(calls)) {
      const answer = yield* Effect.either(Effect.asVoid(call))
      yield* equal(name, answer._tag === "Left" ? answer.left.reason : "an answer", "corrupt")
    }
  })

const byId = (a: Stored, b: Stored) => (a.record.id < b.record.id ? -1 : 1)

/**
 * The laws of a record that is damaged. `damage` spoils what is kept under a key, past the store, as a disk, or a hand in the
 * database, does, but leaves what names the record, so that it is still found; what it gives puts that back as it was. A
 * store whose records cannot be damaged need not be asked.
 *
 * @since 0.5.0
 * @category laws
 */
export const damageLaws = <E1, E2>(
  damage: (key: StoreKey) => Effect.Effect<Effect.Effect<void, E2>, E1>
): ReadonlyArray<Law> => [
  law("a record that is damaged is an error, not absent, and is left as it is", function*(store) {
    const [bad, good] = [yield* stored(store), yield* stored(store)]
    const mend = yield* damage(bad.key)
    yield* cannotBeRead(store, bad)
    yield* store.list(namespace, "ann", start)
    yield* store.scan(namespace, { limit: 10, now: start })
    yield* cannotBeRead(store, bad)
    yield* isAlive(store, good, start)
    yield* mend
    yield* isAlive(store, bad, start)
  }),

  law("scan gives a record that is damaged its place, and all the others", function*(store) {
    const all = (yield* Effect.forEach(range(7), () => stored(store))).sort(byId)
    // The first, the last, and two that are neighbours.
    const bad = all.filter((_, i) => [0, 3, 4, 6].includes(i))
    yield* Effect.forEach(bad, ({ key }) => damage(key))
    const expected = all.map((one) => bad.includes(one) ? one.record.id : { ...one.record, key: one.key })
    for (const limit of [1, 2, 3, 10]) {
      const found: Array<unknown> = []
      let after: Stored["record"]["id"] | undefined
      do {
        const page = yield* store.scan(namespace, { after, limit, now: start })
        yield* holds(`a page of at most ${limit}`, page.length <= limit)
        for (const one of page) {
          if (isCorruptEntry(one)) yield* equal("the reason", one.error.reason, "corrupt")
          found.push(isCorruptEntry(one) ? one.id : one)
        }
        after = page.at(-1)?.id
      } while (after !== undefined && found.length < 100)
      yield* equal(`all pages of ${limit}`, found, expected)
    }
  }),

  law("list leaves out a record that is damaged, and shows the others", function*(store) {
    const all = yield* Effect.forEach(range(3), (i) => stored(store, { createdAt: start + i }))
    for (const [i, one] of all.entries()) {
      const mend = yield* damage(one.key)
      const others = all.filter((_, j) => i !== j).map(({ record: { data: _, ...info } }) => info)
      yield* equal("the list", yield* store.list(namespace, "ann", start), others)
      yield* mend
    }
  }),

  law("destroy and revoke end a record that is damaged", function*(store) {
    const [one, other, good] = [yield* stored(store), yield* stored(store), yield* stored(store)]
    yield* damage(one.key)
    yield* damage(other.key)
    yield* store.destroy(one.key)
    yield* isDead(store, one, start)
    yield* equal("revoke", yield* store.revoke(namespace, other.record.id), true)
    yield* isDead(store, other, start)
    yield* equal("revoke again", yield* store.revoke(namespace, other.record.id), false)
    yield* isAlive(store, good, start)
  }),

  law("a revocation ends a record that is damaged, also if it is mended afterwards", function*(store) {
    const [one, spared] = [yield* stored(store), yield* stored(store)]
    const mend = yield* damage(one.key)
    yield* store.revokeSubject(namespace, "ann", spared.record.id)
    yield* mend
    yield* isDead(store, one, start)
    yield* isAlive(store, spared, start)
    const mendSpared = yield* damage(spared.key)
    yield* store.revokeAll(namespace)
    yield* mendSpared
    yield* isDead(store, spared, start)
  }),

  law("a record that is damaged keeps none from being removed when it has expired", function*(store) {
    const ending = (at: number) => stored(store, { expiry: { at, deadline: undefined, lifetime: undefined } })
    const [bad] = [yield* ending(start + minute), yield* ending(start + 2 * minute), yield* stored(store)]
    yield* damage(bad.key)
    yield* store.removeExpired({ now: start + 3 * minute, limit: 10 })
    const { current, expired } = yield* store.count(start + 3 * minute)
    yield* holds("it is the only one that may be left", current + expired <= 2)
    yield* equal("of those that have not expired", (yield* store.count(start + hour - 1)).current >= 1, true)
  })
]
