/**
 * What `create` promises: it inserts, and never replaces.
 */
import * as Effect from "effect/Effect"
import type { Law } from "../../Law.js"
import { count, equal, law, range, together } from "./law.js"
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
} from "./records.js"

export const createLaws: ReadonlyArray<Law> = [
  law("create inserts: every way of asking then gives the record", function*(store) {
    const one = yield* stored(store)
    const anonymous = yield* stored(store, { subject: undefined, authenticatedAt: undefined })
    yield* isAlive(store, one, start)
    yield* isAlive(store, anonymous, start)
  }),

  law("create never replaces: a taken key keeps its record", function*(store) {
    const one = yield* stored(store)
    const other = aRecord({ data: `"other"` })
    yield* equal("create", yield* store.create(one.key, other, start), "exists")
    yield* isAlive(store, one, start)
    yield* isDead(store, { key: freshKey(), record: other }, start)
  }),

  law("create never replaces: a taken id keeps its record", function*(store) {
    const one = yield* stored(store)
    const key = freshKey()
    const other = aRecord({ id: one.record.id, data: `"other"` })
    yield* equal("create", yield* store.create(key, other, start), "exists")
    yield* isAlive(store, one, start)
    yield* equal("load of the other key", yield* isThere(store, key, start), false)
  }),

  law("create never replaces, not even a record that has expired", function*(store) {
    const now = start + hour
    const { key, record } = yield* stored(store)
    const fresh = aRecord({ expiry: { at: now + hour, deadline: undefined, lifetime: undefined } })
    yield* equal("create under its key", yield* store.create(key, fresh, now), "exists")
    yield* equal("create of its id", yield* store.create(freshKey(), { ...fresh, id: record.id }, now), "exists")
    yield* isDead(store, { key, record }, now)
  }),

  law("create never replaces, not even a record that was revoked", function*(store) {
    const one = yield* stored(store, { subject: "ann" })
    yield* store.revokeSubject(one.record.namespace, "ann")
    yield* equal("create under its key", yield* store.create(one.key, aRecord(), start), "exists")
    yield* equal("create of its id", yield* store.create(freshKey(), aRecord({ id: one.record.id }), start), "exists")
    yield* isDead(store, one, start)
  }),

  law("of concurrent creates of one key exactly one is done, and its record is the one that is kept", function*(store) {
    const key = freshKey()
    const records = range(8).map((i) => aRecord({ data: `${i}` }))
    const outcomes = yield* together(records.map((record) => store.create(key, record, start)))
    yield* equal("how many were created", count(outcomes, "created"), 1)
    yield* equal("how many existed", count(outcomes, "exists"), 7)
    yield* equal("the kept record", yield* loaded(store, key, start), records[outcomes.indexOf("created")])
    yield* equal("how many are kept", (yield* store.scan("laws", { limit: 100, now: start })).length, 1)
  }),

  law("of concurrent creates of one id exactly one is done", function*(store) {
    const id = freshId()
    const keys = range(8).map(freshKey)
    const outcomes = yield* together(keys.map((key) => store.create(key, aRecord({ id }), start)))
    const there = yield* together(keys.map((key) => isThere(store, key, start)))
    yield* equal("how many were created", count(outcomes, "created"), 1)
    yield* equal("which are kept", there, outcomes.map((outcome) => outcome === "created"))
  }),

  law("100 concurrent creates of distinct keys are all kept", function*(store) {
    const all = yield* together(range(100).map((i) => stored(store, { data: `${i}`, createdAt: start + i })))
    const listed = yield* store.list("laws", "ann", start)
    yield* equal("the list", listed.map(({ id }) => id), all.map(({ record }) => record.id))
    yield* Effect.forEach(
      all,
      ({ key, record }) => Effect.flatMap(loaded(store, key, start), (found) => equal("load", found, record))
    )
  }),

  law("keys that differ only in case are two keys", function*(store) {
    const upper = yield* stored(store, { data: `"upper"` }, keyOf("KEY".padEnd(43, "A")))
    const lower = yield* stored(store, { data: `"lower"` }, keyOf("key".padEnd(43, "a")))
    yield* store.destroy(lower.key)
    yield* isAlive(store, upper, start)
    yield* isDead(store, lower, start)
  }),

  law("ids that differ only in case are two ids", function*(store) {
    const upper = yield* stored(store, { id: idOf("ID".padEnd(22, "A")) })
    const lower = yield* stored(store, { id: idOf("id".padEnd(22, "a")) })
    yield* equal("revoke", yield* store.revoke("laws", lower.record.id), true)
    yield* isAlive(store, upper, start)
    yield* isDead(store, lower, start)
  }),

  law("an id belongs to its namespace: another namespace may have the same", function*(store) {
    const ours = yield* stored(store, { namespace: "ours" })
    const theirs = yield* stored(store, { namespace: "theirs", id: ours.record.id })
    yield* isAlive(store, ours, start)
    yield* isAlive(store, theirs, start)
  })
]
