/**
 * `revoke`, `revokeSubject` and `revokeAll`: one write ends sessions without their keys.
 */
import * as Effect from "effect/Effect"
import type { Stored } from "../../Fixtures.js"
import { freshId, freshKey, hour, isAlive, isDead, isThere, namespace, start, stored } from "../../Fixtures.js"
import type { Law } from "../../Law.js"
import type { SessionRecord } from "../../SessionRecord.js"
import type { Store } from "../../SessionStore.js"
import { equal, law, range, together } from "./law.js"

const allAlive = (store: Store, all: ReadonlyArray<Stored>) => Effect.forEach(all, (one) => isAlive(store, one, start))
const allDead = (store: Store, all: ReadonlyArray<Stored>) => Effect.forEach(all, (one) => isDead(store, one, start))

/** Moves a record to a new key and to this subject. */
const rotatedTo = (store: Store, { key, record }: Stored, subject: string | undefined) =>
  Effect.gen(function*() {
    const next: Stored = { key: freshKey(), record: { ...record, id: freshId(), subject, version: record.version + 1 } }
    yield* equal(
      "rotate",
      yield* store.rotate(key, next.key, next.record, { expectedVersion: record.version, now: start }),
      "saved"
    )
    return next
  })

/** Names that a database, a locale or incorrect escaping may treat as equal or misinterpret. */
const subjects = [
  "ann",
  "Ann",
  "ANN",
  " ann",
  "ann ",
  "anna",
  "o'brien",
  "o''brien",
  `"ann"`,
  "a\\nn",
  "an%",
  "an_",
  "*",
  "null",
  "undefined",
  "0",
  "00",
  "'; DROP TABLE sessions; --",
  ":subject",
  "$1",
  "?",
  "\u00e9",
  "e\u0301",
  "stra\u00dfe",
  "strasse",
  "\u0130",
  "i",
  "I",
  "\u{1f600}",
  "\ufeff",
  "x".repeat(255),
  `${"x".repeat(254)}y`,
  "\u{1f600}".repeat(255)
]

export const revocationLaws: ReadonlyArray<Law> = [
  law("`revoke` ends the session of an id and returns whether there was one", function*(store) {
    const one = yield* stored(store)
    const other = yield* stored(store)
    const { id } = one.record
    yield* equal("in another namespace", yield* store.revoke("another", id), false)
    yield* equal("an unknown id", yield* store.revoke(namespace, freshId()), false)
    yield* isAlive(store, one, start)
    yield* equal("revoke", yield* store.revoke(namespace, id), true)
    yield* isDead(store, one, start)
    yield* equal("again", yield* store.revoke(namespace, id), false)
    yield* isAlive(store, other, start)
  }),

  law("`revokeSubject` ends every session of the subject and no others", function*(store) {
    const ended = yield* together(range(5).map(() => stored(store, { subject: "ann" })))
    const others = yield* together<Stored, unknown>([
      stored(store, { subject: "bob" }),
      stored(store, { subject: undefined }),
      stored(store, { subject: "ann", namespace: "another" })
    ])
    yield* store.revokeSubject(namespace, "ann")
    yield* allDead(store, ended)
    yield* allAlive(store, others)
  }),

  law("`revokeSubject` does not affect sessions created later, until it is called again", function*(store) {
    yield* store.revokeSubject(namespace, "ann")
    const first = yield* stored(store, { subject: "ann" })
    yield* isAlive(store, first, start)
    yield* store.revokeSubject(namespace, "ann")
    const second = yield* stored(store, { subject: "ann" })
    yield* isDead(store, first, start)
    yield* isAlive(store, second, start)
    yield* store.revokeSubject(namespace, "ann")
    yield* store.revokeSubject(namespace, "ann")
    yield* allDead(store, [first, second])
  }),

  law("`revokeSubject` ends a session despite concurrent `save` and `touch` calls", function*(store) {
    yield* Effect.forEach(range(10), () =>
      Effect.gen(function*() {
        const one = yield* stored(store)
        yield* together<unknown, unknown>([
          store.save(one.key, one.record, { expectedVersion: 1, now: start }),
          store.revokeSubject(namespace, "ann"),
          store.touch(one.key, { lastSeenAt: start + 1, expiresAt: start + 2 * hour, now: start })
        ])
        yield* isDead(store, one, start)
      }))
  }),

  law("`revokeSubject` keeps the session `except`, which can be saved and rotated as before", function*(store) {
    const spared = yield* stored(store)
    const ended = yield* together(range(3).map(() => stored(store)))
    yield* store.revokeSubject(namespace, "ann", spared.record.id)
    yield* isAlive(store, spared, start)
    yield* allDead(store, ended)
    yield* store.revokeSubject(namespace, "ann", spared.record.id)
    yield* equal("save", yield* store.save(spared.key, spared.record, { expectedVersion: 1, now: start }), "saved")
    const next = yield* rotatedTo(store, { ...spared, record: { ...spared.record, version: 2 } }, "ann")
    yield* store.revokeSubject(namespace, "ann")
    yield* allDead(store, [spared, next])
  }),

  law("the session `except` is valid at every moment of a `revokeSubject` call", function*(store) {
    yield* Effect.forEach(range(20), () =>
      Effect.gen(function*() {
        const { key, record } = yield* stored(store)
        const [, touched, saved, ...there] = yield* Effect.all([
          store.revokeSubject(namespace, "ann", record.id),
          store.touch(key, { lastSeenAt: start + 1, expiresAt: start + hour, now: start }),
          store.save(key, { ...record, data: `"new"` }, { expectedVersion: 1, now: start }),
          ...range(4).map(() => isThere(store, key, start))
        ], { concurrency: "unbounded" })
        yield* equal("touch, save and loads", [touched, saved, ...there], ["touched", "saved", true, true, true, true])
        yield* isAlive(store, { key, record: { ...record, data: `"new"`, version: 2, lastSeenAt: start + 1 } }, start)
        yield* store.destroy(key)
      }))
  }),

  law(
    "the session `except` may rotate during a `revokeSubject` call, and is valid under the new key",
    function*(store) {
      yield* Effect.forEach(range(20), () =>
        Effect.gen(function*() {
          const { key, record } = yield* stored(store)
          const rotated = { key: freshKey(), record: { ...record, data: `"rotated"`, version: 2 } }
          const [, outcome] = yield* Effect.all([
            store.revokeSubject(namespace, "ann", record.id),
            store.rotate(key, rotated.key, rotated.record, { expectedVersion: 1, now: start })
          ], { concurrency: "unbounded" })
          yield* equal("rotate", outcome, "saved")
          yield* isAlive(store, rotated, start)
          yield* equal("load of the old key", yield* isThere(store, key, start), false)
          yield* store.destroy(rotated.key)
        }))
    }
  ),

  law("`revokeSubject` does not revive an `except` that was revoked before", function*(store) {
    const one = yield* stored(store)
    yield* store.revokeSubject(namespace, "ann")
    yield* store.revokeSubject(namespace, "ann", one.record.id)
    yield* isDead(store, one, start)
    yield* store.revokeSubject(namespace, "ann", one.record.id)
    yield* isDead(store, one, start)
  }),

  law("`revokeSubject` does not revive an `except` that was ended by `revokeAll` or has expired", function*(store) {
    const one = yield* stored(store)
    yield* store.revokeSubject(namespace, "ann", one.record.id)
    yield* isDead(store, one, start + hour)
    yield* store.revokeAll(namespace)
    yield* store.revokeSubject(namespace, "ann", one.record.id)
    yield* isDead(store, one, start)
  }),

  law(
    "`revokeSubject` with an `except` of another subject neither spares, ends nor revives that session",
    function*(store) {
      const ann = yield* stored(store, { subject: "ann" })
      const bob = yield* stored(store, { subject: "bob" })
      const elsewhere = yield* stored(store, { subject: "ann", namespace: "another" })
      yield* store.revokeSubject(namespace, "ann", bob.record.id)
      yield* isDead(store, ann, start)
      yield* allAlive(store, [bob, elsewhere])
      yield* store.revokeSubject(namespace, "bob", ann.record.id)
      yield* allDead(store, [ann, bob])
      const again = yield* stored(store, { subject: "ann" })
      yield* store.revokeSubject(namespace, "ann", elsewhere.record.id)
      yield* isDead(store, again, start)
      yield* store.revokeSubject("another", "ann")
      yield* isDead(store, elsewhere, start)
    }
  ),

  law("`revokeSubject` with an unknown `except` ends all sessions of the subject", function*(store) {
    const one = yield* stored(store)
    yield* store.revokeSubject(namespace, "ann", freshId())
    yield* isDead(store, one, start)
  }),

  law(
    "a session rotated to a subject after that subject's revocation is valid until the next revocation",
    function*(store) {
      for (const before of ["ann", undefined] as const) {
        const one = yield* stored(store, { subject: before })
        yield* store.revokeSubject(namespace, "bob")
        const next = yield* rotatedTo(store, one, "bob")
        yield* isAlive(store, next, start)
        yield* isDead(store, one, start)
        yield* store.revokeSubject(namespace, "bob")
        yield* isDead(store, next, start)
      }
    }
  ),

  law(
    "`revokeSubject` ends a session of the subject however often it was rotated",
    function*(store) {
      yield* store.revokeSubject(namespace, "ann")
      const first = yield* stored(store)
      const second = yield* rotatedTo(store, first, "ann")
      const third = yield* rotatedTo(store, second, "ann")
      yield* isAlive(store, third, start)
      yield* store.revokeSubject(namespace, "ann")
      yield* allDead(store, [first, second, third])
    }
  ),

  law("`revokeSubject` does not end a session that was rotated away from the subject", function*(store) {
    const one = yield* stored(store, { subject: "ann" })
    yield* store.revokeSubject(namespace, "bob")
    const anonymous = yield* rotatedTo(store, one, undefined)
    yield* store.revokeSubject(namespace, "ann")
    yield* isAlive(store, anonymous, start)
    const back = yield* rotatedTo(store, anonymous, "ann")
    yield* isAlive(store, back, start)
  }),

  law("`revokeAll` ends every session of the namespace, including anonymous ones, and no others", function*(store) {
    const ended = yield* Effect.forEach(["ann", "bob", undefined], (subject) => stored(store, { subject }))
    const other = yield* stored(store, { namespace: "another" })
    yield* store.revokeAll(namespace)
    yield* allDead(store, ended)
    yield* isAlive(store, other, start)
  }),

  law("`revokeAll` does not affect sessions created later, until it is called again", function*(store) {
    yield* store.revokeAll(namespace)
    const later = yield* Effect.forEach(["ann", undefined], (subject) => stored(store, { subject }))
    yield* allAlive(store, later)
    const moved = yield* Effect.forEach(later, (one) => rotatedTo(store, one, "bob"))
    yield* allAlive(store, moved)
    yield* store.revokeAll(namespace)
    yield* allDead(store, [...later, ...moved])
  }),

  law("subjects are compared exactly: similar names are different subjects", function*(store) {
    const all = yield* Effect.forEach(subjects, (subject) => stored(store, { subject }))
    for (const { record } of all) {
      const listed = yield* store.list(namespace, record.subject ?? "", start)
      yield* equal(`the list of ${record.subject}`, listed.map(({ subject }) => subject), [record.subject])
    }
    for (const [i, one] of all.entries()) {
      yield* store.revokeSubject(namespace, one.record.subject ?? "")
      const there = yield* Effect.forEach(all, ({ key }) => isThere(store, key, start))
      yield* equal(`the sessions left after ${one.record.subject}`, there, range(all.length).map((j) => j > i))
    }
  }),

  law("the empty string is a subject of its own: revoking it ends no other sessions", function*(store) {
    const one = yield* stored(store, { subject: "" })
    const others = yield* Effect.forEach(["ann", undefined], (subject) => stored(store, { subject }))
    yield* store.revokeSubject(namespace, "")
    yield* isDead(store, one, start)
    yield* allAlive(store, others)
  }),

  law("namespace and subject are kept apart, whatever separators they contain", function*(store) {
    const pairs: ReadonlyArray<Pick<SessionRecord, "namespace" | "subject">> = [
      { namespace: "a", subject: "b:c" },
      { namespace: "a:b", subject: "c" },
      { namespace: "a", subject: `b","c` },
      { namespace: `a","b`, subject: "c" },
      { namespace: "a", subject: undefined },
      { namespace: "A", subject: "b:c" },
      { namespace: "ab", subject: "c" },
      { namespace: "a", subject: "bc" }
    ]
    const all = yield* Effect.forEach(pairs, (pair) => stored(store, pair))
    for (const [i, { namespace, subject }] of pairs.entries()) {
      if (subject === undefined) continue
      yield* store.revokeSubject(namespace, subject)
      const there = yield* Effect.forEach(all, ({ key }) => isThere(store, key, start))
      yield* equal(
        `the sessions left after ${JSON.stringify(pairs[i])}`,
        there,
        pairs.map((pair, j) => j > i || pair.subject === undefined)
      )
    }
  })
]
