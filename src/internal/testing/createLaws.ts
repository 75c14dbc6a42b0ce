/**
 * `create` inserts and never replaces.
 */
import * as Effect from "effect/Effect"
import {
  aRecord,
  freshId,
  freshKey,
  hour,
  idOf,
  isAlive,
  isDead,
  isThere,
  keyOf,
  loaded,
  start,
  stored
} from "../../Fixtures.js"
import type { Law } from "../../Law.js"
import { count, equal, law, range, together } from "./law.js"

export const createLaws: ReadonlyArray<Law> = [
  law("`create` inserts the record: `load`, `find`, `scan` and `list` return it", function*(store) {
    const one = yield* stored(store)
    const anonymous = yield* stored(store, { subject: undefined, authenticatedAt: undefined })
    yield* isAlive(store, one, start)
    yield* isAlive(store, anonymous, start)
  }),

  law("`create` with a key that is in use returns `exists` and keeps the existing record", function*(store) {
    const one = yield* stored(store)
    const other = aRecord({ data: `"other"` })
    yield* equal("create", yield* store.create(one.key, other, start), "exists")
    yield* isAlive(store, one, start)
    yield* isDead(store, { key: freshKey(), record: other }, start)
  }),

  law("`create` with an id that is in use returns `exists` and keeps the existing record", function*(store) {
    const one = yield* stored(store)
    const key = freshKey()
    const other = aRecord({ id: one.record.id, data: `"other"` })
    yield* equal("create", yield* store.create(key, other, start), "exists")
    yield* isAlive(store, one, start)
    yield* equal("load of the other key", yield* isThere(store, key, start), false)
  }),

  law("`create` does not replace an expired record", function*(store) {
    const now = start + hour
    const { key, record } = yield* stored(store)
    const fresh = aRecord({ expiry: { at: now + hour, deadline: undefined, lifetime: undefined } })
    yield* equal("create under its key", yield* store.create(key, fresh, now), "exists")
    yield* equal("create of its id", yield* store.create(freshKey(), { ...fresh, id: record.id }, now), "exists")
    yield* isDead(store, { key, record }, now)
  }),

  law("`create` does not replace a revoked record", function*(store) {
    const one = yield* stored(store, { subject: "ann" })
    yield* store.revokeSubject(one.record.namespace, "ann")
    yield* equal("create under its key", yield* store.create(one.key, aRecord(), start), "exists")
    yield* equal("create of its id", yield* store.create(freshKey(), aRecord({ id: one.record.id }), start), "exists")
    yield* isDead(store, one, start)
  }),

  law("of concurrent `create` calls with one key exactly one succeeds, and its record is stored", function*(store) {
    const key = freshKey()
    const records = range(8).map((i) => aRecord({ data: `${i}` }))
    const outcomes = yield* together(records.map((record) => store.create(key, record, start)))
    yield* equal("how many were created", count(outcomes, "created"), 1)
    yield* equal("how many returned exists", count(outcomes, "exists"), 7)
    yield* equal("the stored record", yield* loaded(store, key, start), records[outcomes.indexOf("created")])
    yield* equal("how many are stored", (yield* store.scan("laws", { limit: 100, now: start })).length, 1)
  }),

  law("of concurrent `create` calls with one id exactly one succeeds", function*(store) {
    const id = freshId()
    const keys = range(8).map(freshKey)
    const outcomes = yield* together(keys.map((key) => store.create(key, aRecord({ id }), start)))
    const there = yield* together(keys.map((key) => isThere(store, key, start)))
    yield* equal("how many were created", count(outcomes, "created"), 1)
    yield* equal("which are stored", there, outcomes.map((outcome) => outcome === "created"))
  }),

  law("100 concurrent `create` calls with distinct keys all succeed", function*(store) {
    const all = yield* together(range(100).map((i) => stored(store, { data: `${i}`, createdAt: start + i })))
    const listed = yield* store.list("laws", "ann", start)
    yield* equal("the list", listed.map(({ id }) => id), all.map(({ record }) => record.id))
    yield* Effect.forEach(
      all,
      ({ key, record }) => Effect.flatMap(loaded(store, key, start), (found) => equal("load", found, record))
    )
  }),

  law("keys are case-sensitive", function*(store) {
    const upper = yield* stored(store, { data: `"upper"` }, keyOf("KEY".padEnd(43, "A")))
    const lower = yield* stored(store, { data: `"lower"` }, keyOf("key".padEnd(43, "a")))
    yield* store.destroy(lower.key)
    yield* isAlive(store, upper, start)
    yield* isDead(store, lower, start)
  }),

  law("ids are case-sensitive", function*(store) {
    const upper = yield* stored(store, { id: idOf("ID".padEnd(22, "A")) })
    const lower = yield* stored(store, { id: idOf("id".padEnd(22, "a")) })
    yield* equal("revoke", yield* store.revoke("laws", lower.record.id), true)
    yield* isAlive(store, upper, start)
    yield* isDead(store, lower, start)
  }),

  law("ids are unique per namespace: two namespaces may use the same id", function*(store) {
    const ours = yield* stored(store, { namespace: "ours" })
    const theirs = yield* stored(store, { namespace: "theirs", id: ours.record.id })
    yield* isAlive(store, ours, start)
    yield* isAlive(store, theirs, start)
  })
]
