/**
 * `list`, `find` and `scan`: they find live records without their keys.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { freshId, freshKey, hour, isAlive, minute, namespace, start, stored } from "../../Fixtures.js"
import type { Law } from "../../Law.js"
import type { SessionInfo, SessionRecord } from "../../SessionRecord.js"
import type { Corrupt, Located, Store } from "../../SessionStore.js"
import { equal, holds, law, range, together } from "./law.js"

const ids = (records: ReadonlyArray<Pick<SessionRecord, "id">>) => records.map(({ id }) => id)

/** Stores records that no query may return: ended ones, and one of another namespace. */
const othersAndDead = (store: Store) =>
  Effect.gen(function*() {
    yield* stored(store, { expiry: { at: start, deadline: undefined, lifetime: undefined } })
    yield* store.destroy((yield* stored(store)).key)
    yield* store.revoke(namespace, (yield* stored(store)).record.id)
    yield* stored(store, { subject: "revoked" })
    yield* store.revokeSubject(namespace, "revoked")
    yield* stored(store, { namespace: "another" })
  })

/** Reads all pages of `scan`, at most 100, in case a store never returns an empty page. */
const scanPages = (store: Store, limit: number) =>
  Effect.gen(function*() {
    const all: Array<ReadonlyArray<Corrupt | Located>> = []
    let after: SessionRecord["id"] | undefined
    do {
      const page = yield* store.scan(namespace, { after, limit, now: start })
      all.push(page)
      after = page.at(-1)?.id
    } while (after !== undefined && all.length < 100)
    return all
  })

/** Reads all pages of `list`, at most 100: the first page shorter than the limit is the last. */
const listPages = (store: Store, subject: string, limit: number) =>
  Effect.gen(function*() {
    const all: Array<ReadonlyArray<SessionInfo>> = []
    do {
      all.push(yield* store.list(namespace, subject, start, { limit, after: all.at(-1)?.at(-1) }))
    } while (all.at(-1)?.length === limit && all.length < 100)
    return all
  })

export const directoryLaws: ReadonlyArray<Law> = [
  law("`list` returns a subject's live records, oldest first, without their data", function*(store) {
    yield* othersAndDead(store)
    yield* stored(store, { subject: "bob" })
    yield* stored(store, { subject: undefined })
    const ages = [3, 1, 4, 0, 2]
    const all = yield* Effect.forEach(ages, (age) => stored(store, { subject: "ann", createdAt: start - age * minute }))
    const expected = all
      .map(({ record: { data: _, ...info } }) => info)
      .sort((a, b) => a.createdAt - b.createdAt)
    const listed = yield* store.list(namespace, "ann", start)
    yield* equal("the list", listed, expected)
    yield* holds("the list contains no data", listed.every((info) => !("data" in info)))
  }),

  law("the pages of `list` are complete, ordered by age, disjoint, and no longer than the limit", function*(store) {
    yield* othersAndDead(store)
    const all = yield* together(
      range(23).map((i) => stored(store, { subject: "ann", createdAt: start - (i % 5) * minute }))
    )
    const expected = all
      .map(({ record: { data: _, ...info } }) => info)
      .sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1))
    for (const limit of [1, 2, 5, 22, 23, 24, 1000]) {
      const found = yield* listPages(store, "ann", limit)
      yield* equal(`all pages of ${limit}`, found.flat(), expected)
      yield* holds(`pages hold at most ${limit} records`, found.every((page) => page.length <= limit))
      yield* holds(
        `only the last page is shorter than ${limit}`,
        found.slice(0, -1).every((page) => page.length === limit)
      )
    }
    yield* equal("with a limit of 0", yield* store.list(namespace, "ann", start, { limit: 0 }), [])
  }),

  law("a page of `list` holds 100 sessions by default", function*(store) {
    yield* Effect.forEach(range(103), (i) => stored(store, { createdAt: start - i }), { concurrency: 8 })
    const first = yield* store.list(namespace, "ann", start)
    yield* equal("the first page", first.map(({ createdAt }) => createdAt), range(100).map((i) => start - 102 + i))
    const second = yield* store.list(namespace, "ann", start, { after: first.at(-1) })
    yield* equal("the second page", second.map(({ createdAt }) => createdAt), [start - 2, start - 1, start])
  }),

  law(
    "`list` continues after a deleted session, and returns each remaining one once despite changes between pages",
    function*(store) {
      const all = yield* Effect.forEach(range(9), (i) => stored(store, { createdAt: start - 100 + 10 * i }))
      const [, second, , fourth, fifth, , seventh] = all
      const first = yield* store.list(namespace, "ann", start, { limit: 4 })
      yield* Effect.forEach(
        [second, fourth, seventh],
        (one) => one === undefined ? Effect.void : store.destroy(one.key)
      )
      // A rotation changes the key, not the age.
      if (fifth !== undefined) {
        yield* equal(
          "rotate",
          yield* store.rotate(fifth.key, freshKey(), fifth.record, { expectedVersion: 1, now: start }),
          "saved"
        )
      }
      // One sorts into the page already read, one into the rest.
      yield* stored(store, { createdAt: start - 95 })
      const young = yield* stored(store, { createdAt: start - 15 })
      const rest = yield* store.list(namespace, "ann", start, { limit: 100, after: first.at(-1) })
      yield* equal(
        "the first page",
        ids(first),
        all.slice(0, 4).map(({ record }) => record.id)
      )
      yield* equal("the second page", ids(rest), [
        ...[all[4], all[5], all[7]].flatMap((one) => one?.record.id ?? []),
        ...[all[8], young].sort((a, b) => (a?.record.createdAt ?? 0) - (b?.record.createdAt ?? 0))
          .flatMap((one) => one?.record.id ?? [])
      ])
    }
  ),

  law("`list` is empty for an unknown subject and in another namespace", function*(store) {
    yield* stored(store, { subject: "ann" })
    yield* equal("of an unknown subject", yield* store.list(namespace, "stranger", start), [])
    yield* equal("in another namespace", yield* store.list("another", "ann", start), [])
  }),

  law("`list` reflects saves, rotations and a change of subject", function*(store) {
    const { key, record } = yield* stored(store, { subject: "ann" })
    const newKey = freshKey()
    const versions = Effect.map(store.list(namespace, "ann", start), (list) => list.map(({ version }) => version))
    yield* equal("save", yield* store.save(key, record, { expectedVersion: 1, now: start }), "saved")
    yield* equal("after a save", yield* versions, [2])
    yield* equal("rotate", yield* store.rotate(key, newKey, record, { expectedVersion: 2, now: start }), "saved")
    yield* equal("after a rotation", yield* versions, [3])
    yield* equal(
      "rotate",
      yield* store.rotate(newKey, key, { ...record, subject: "bob" }, { expectedVersion: 3, now: start }),
      "saved"
    )
    yield* equal("after a rotation to another subject", yield* versions, [])
    yield* equal("of the new subject", ids(yield* store.list(namespace, "bob", start)), [record.id])
  }),

  law("`find` returns the live record of an id in its namespace", function*(store) {
    const { key, record } = yield* stored(store)
    yield* stored(store)
    const found = (namespace: string, now: number) =>
      Effect.map(store.find(namespace, record.id, now), Option.getOrUndefined)
    yield* equal("find", yield* found(namespace, start), record)
    yield* equal("in another namespace", yield* found("another", start), undefined)
    yield* equal("after expiry", yield* found(namespace, start + hour), undefined)
    yield* equal("an unknown id", yield* store.find(namespace, freshId(), start), Option.none())
    yield* store.destroy(key)
    yield* equal("after destroy", yield* found(namespace, start), undefined)
  }),

  law("`find` returns nothing for an id that a rotation replaced", function*(store) {
    const { key, record } = yield* stored(store)
    const rotated = { key: freshKey(), record: { ...record, id: freshId(), version: 2 } }
    yield* equal(
      "rotate",
      yield* store.rotate(key, rotated.key, rotated.record, { expectedVersion: 1, now: start }),
      "saved"
    )
    yield* equal("the old id", yield* store.find(namespace, record.id, start), Option.none())
    yield* isAlive(store, rotated, start)
  }),

  law("the pages of `scan` are complete, ordered by id, disjoint, and no longer than the limit", function*(store) {
    yield* othersAndDead(store)
    const all = yield* together(range(23).map((i) => stored(store, { subject: i % 2 === 0 ? undefined : `s${i}` })))
    const expected = all.map(({ key, record }) => ({ ...record, key })).sort((a, b) => a.id < b.id ? -1 : 1)
    for (const limit of [1, 2, 5, 22, 23, 24, 1000]) {
      const found = yield* scanPages(store, limit)
      yield* equal(`all pages of ${limit}`, found.flat(), expected)
      yield* holds(`pages hold at most ${limit} records`, found.every((page) => page.length <= limit))
    }
  }),

  law("`scan` continues after an id that was deleted", function*(store) {
    const all = yield* together(range(6).map(() => stored(store)))
    const sorted = all.sort((a, b) => a.record.id < b.record.id ? -1 : 1)
    const first = yield* store.scan(namespace, { limit: 3, now: start })
    yield* equal("the first page", ids(first), ids(sorted.slice(0, 3).map(({ record }) => record)))
    yield* Effect.forEach(first, ({ id }) => store.revoke(namespace, id))
    const second = yield* store.scan(namespace, { after: first.at(-1)?.id, limit: 3, now: start })
    yield* equal("the second page", ids(second), ids(sorted.slice(3).map(({ record }) => record)))
  }),

  law("`scan` is empty for an empty namespace and for a limit of 0", function*(store) {
    yield* stored(store)
    yield* equal("of another namespace", yield* store.scan("another", { limit: 10, now: start }), [])
    yield* equal("with a limit of 0", yield* store.scan(namespace, { limit: 0, now: start }), [])
  })
]
