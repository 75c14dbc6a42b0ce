/**
 * `rotate` moves a record to a new key atomically: the two keys are never valid together.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import {
  aRecord,
  day,
  freshId,
  freshKey,
  hour,
  isAlive,
  isDead,
  isKeyDead,
  isThere,
  minute,
  namespace,
  start,
  stored
} from "../../Fixtures.js"
import type { Law } from "../../Law.js"
import type { SessionRecord } from "../../SessionRecord.js"
import type { Store } from "../../SessionStore.js"
import type * as StoreKey from "../../StoreKey.js"
import { count, equal, holds, law, range, together } from "./law.js"

/** The record that a rotation writes: every field differs from the previous record, and some times are earlier. */
const successor = (fields: Partial<SessionRecord> = {}): SessionRecord => ({
  ...aRecord(),
  data: `"successor"`,
  attributes: `{"level":2}`,
  schemaVersion: 2,
  subject: "bob",
  version: 2,
  createdAt: start - minute,
  authenticatedAt: start + minute,
  modifiedAt: start - minute,
  lastSeenAt: start - minute,
  expiry: { at: start + minute, deadline: start + 2 * day, lifetime: { _tag: "Browser" } },
  ...fields
})

/** Expects a rotation to a key or id that is in use to return `conflict` and leave the record unchanged. */
const rotationConflicts = (
  store: Store,
  name: string,
  target: (key: StoreKey.StoreKey) => { readonly newKey: StoreKey.StoreKey; readonly record: SessionRecord }
) =>
  Effect.gen(function*() {
    const one = yield* stored(store)
    const { newKey, record } = target(one.key)
    yield* equal(name, yield* store.rotate(one.key, newKey, record, { expectedVersion: 1, now: start }), "conflict")
    yield* isAlive(store, one, start)
  })

export const rotateLaws: ReadonlyArray<Law> = [
  law(
    "if the store declares `colocated`, 1,000 random keys contain a colocated one, and rotation to it succeeds",
    function*(store) {
      const { colocated } = store.capabilities
      if (colocated === undefined) return
      for (const _ of range(5)) {
        const { key, record } = yield* stored(store)
        // An engine draws as many.
        const near = range(1000).map(freshKey).find((other) => colocated(key, other))
        if (near === undefined) return yield* holds("a colocated key is found among 1,000", false)
        yield* holds("colocated is symmetric", colocated(near, key))
        const rotated = { key: near, record: { ...record, version: 2 } }
        yield* equal(
          "rotate",
          yield* store.rotate(key, near, rotated.record, { expectedVersion: 1, now: start }),
          "saved"
        )
        yield* isAlive(store, rotated, start)
        yield* equal("load of the old key", yield* isThere(store, key, start), false)
      }
    }
  ),

  law(
    "`rotate` moves the record to the new key and replaces its contents; the old key and id are absent",
    function*(store) {
      const one = yield* stored(store)
      const newKey = freshKey()
      const record = successor()
      yield* equal("rotate", yield* store.rotate(one.key, newKey, record, { expectedVersion: 1, now: start }), "saved")
      yield* isDead(store, one, start)
      yield* isAlive(store, { key: newKey, record }, start)
      yield* isDead(store, { key: newKey, record }, start + minute)
    }
  ),

  law("`rotate` may keep the id, and sets the version to the expected version plus one", function*(store) {
    const one = yield* stored(store, { version: 41 })
    const newKey = freshKey()
    const record = { ...one.record, version: 42 }
    yield* equal(
      "rotate",
      yield* store.rotate(one.key, newKey, { ...record, version: 0 }, { expectedVersion: 41, now: start }),
      "saved"
    )
    yield* isKeyDead(store, one, start)
    yield* isAlive(store, { key: newKey, record }, start)
    yield* equal("save", yield* store.save(newKey, record, { expectedVersion: 42, now: start }), "saved")
  }),

  law("`rotate` with a lower or higher expected version returns `conflict` and changes nothing", function*(store) {
    const one = yield* stored(store, { version: 5 })
    const newKey = freshKey()
    const record = successor()
    yield* equal(
      "rotate at 4",
      yield* store.rotate(one.key, newKey, record, { expectedVersion: 4, now: start }),
      "conflict"
    )
    yield* equal(
      "rotate at 6",
      yield* store.rotate(one.key, newKey, record, { expectedVersion: 6, now: start }),
      "conflict"
    )
    yield* isAlive(store, one, start)
    yield* isDead(store, { key: newKey, record }, start)
  }),

  law(
    "`rotate` of an unknown or expired key returns `gone` and inserts nothing, from the exact time of expiry",
    function*(store) {
      const newKey = freshKey()
      const record = successor({ expiry: { at: start + day, deadline: undefined, lifetime: undefined } })
      yield* equal(
        "without a record",
        yield* store.rotate(freshKey(), newKey, record, { expectedVersion: 1, now: start }),
        "gone"
      )
      const { key } = yield* stored(store)
      yield* equal(
        "at the end",
        yield* store.rotate(key, newKey, record, { expectedVersion: 1, now: start + hour }),
        "gone"
      )
      yield* isDead(store, { key: newKey, record }, start + hour)
      yield* equal(
        "just before",
        yield* store.rotate(key, newKey, record, { expectedVersion: 1, now: start + hour - 1 }),
        "saved"
      )
      yield* isAlive(store, { key: newKey, record }, start + hour)
    }
  ),

  law(
    "`rotate` never replaces a record: a new key that is in use is a `conflict`, and both records stay",
    function*(store) {
      const other = yield* stored(store, { subject: "bob" })
      yield* rotationConflicts(store, "rotate", () => ({ newKey: other.key, record: successor() }))
      yield* isAlive(store, other, start)
    }
  ),

  law("`rotate` never replaces a record, not even an expired one", function*(store) {
    const expiry = { at: start, deadline: undefined, lifetime: undefined }
    const expired = yield* stored(store, { expiry })
    yield* rotationConflicts(store, "onto its key", () => ({ newKey: expired.key, record: successor() }))
    yield* rotationConflicts(
      store,
      "to its id",
      () => ({ newKey: freshKey(), record: successor({ id: expired.record.id }) })
    )
    yield* isDead(store, expired, start)
  }),

  law(
    "`rotate` never replaces a record: a new id that is in use is a `conflict`, and both records stay",
    function*(store) {
      const other = yield* stored(store, { subject: "bob" })
      yield* rotationConflicts(
        store,
        "rotate",
        () => ({ newKey: freshKey(), record: successor({ id: other.record.id }) })
      )
      yield* isAlive(store, other, start)
    }
  ),

  law("`rotate` to the record's own key returns `conflict`: the old key would stay valid", function*(store) {
    yield* rotationConflicts(store, "rotate", (key) => ({ newKey: key, record: successor() }))
  }),

  law(
    "of concurrent `rotate` calls of one record exactly one succeeds, and the others return `gone`",
    function*(store) {
      const one = yield* stored(store)
      const keys = range(8).map(freshKey)
      const outcomes = yield* together(
        keys.map((key) => store.rotate(one.key, key, successor(), { expectedVersion: 1, now: start }))
      )
      const there = yield* together(keys.map((key) => isThere(store, key, start)))
      yield* equal("how many were saved", count(outcomes, "saved"), 1)
      yield* equal("how many returned gone", count(outcomes, "gone"), 7)
      yield* equal("the keys that are alive", there, outcomes.map((outcome) => outcome === "saved"))
      yield* isDead(store, one, start)
    }
  ),

  law(
    "of concurrent `rotate` calls to one new key exactly one succeeds, and the others return `conflict`",
    function*(store) {
      const newKey = freshKey()
      const all = yield* together(range(4).map(() => stored(store)))
      const outcomes = yield* together(
        all.map(({ key }) => store.rotate(key, newKey, successor(), { expectedVersion: 1, now: start }))
      )
      const there = yield* together(all.map(({ key }) => isThere(store, key, start)))
      yield* equal("how many were saved", count(outcomes, "saved"), 1)
      yield* equal("how many returned conflict", count(outcomes, "conflict"), 3)
      yield* equal("the records that stay", there, outcomes.map((outcome) => outcome === "conflict"))
      yield* equal("load of the new key", yield* isThere(store, newKey, start), true)
    }
  ),

  law(
    "old and new key are never valid together, despite concurrent `save`, `touch` and `destroy` calls",
    function*(store) {
      yield* Effect.forEach(range(20), () =>
        Effect.gen(function*() {
          const { key, record } = yield* stored(store)
          const newKey = freshKey()
          // Once the new key has been seen alive, the old one must be dead.
          const observed = Effect.flatMap(isThere(store, newKey, start), (newAlive) =>
            Effect.flatMap(
              isThere(store, key, start),
              (oldAlive) => holds("old and new key are not both valid", !(newAlive && oldAlive))
            ))
          const rotated = { ...record, data: `"rotated"`, version: 2 }
          const [outcome] = yield* Effect.all([
            store.rotate(key, newKey, rotated, { expectedVersion: 1, now: start }),
            observed,
            store.save(key, { ...record, data: `"saved"` }, { expectedVersion: 1, now: start }),
            observed,
            store.touch(key, { lastSeenAt: start + 1, expiresAt: start + hour, now: start }),
            observed,
            store.destroy(key),
            observed
          ], { concurrency: "unbounded" })
          yield* isKeyDead(store, { key, record }, start)
          const now = Option.getOrUndefined(yield* store.load(newKey, start))
          yield* equal("the data under the new key", now?.data, outcome === "saved" ? `"rotated"` : undefined)
        }))
    }
  ),

  law("after a rotation, `destroy` of the old key does not end the record under the new key", function*(store) {
    const one = yield* stored(store)
    const newKey = freshKey()
    const record = successor()
    yield* equal("rotate", yield* store.rotate(one.key, newKey, record, { expectedVersion: 1, now: start }), "saved")
    yield* store.destroy(one.key)
    yield* isAlive(store, { key: newKey, record }, start)
    yield* store.destroy(newKey)
    yield* isDead(store, { key: newKey, record }, start)
  }),

  ...([
    ["revoke", (store: Store, record: SessionRecord) => store.revoke(namespace, record.id)],
    ["revokeSubject", (store: Store) => store.revokeSubject(namespace, "ann")],
    ["revokeAll", (store: Store) => store.revokeAll(namespace)]
  ] as const).map(([name, revocation]) =>
    law(`\`${name}\` concurrent with a rotation ends the record under both keys`, function*(store) {
      yield* Effect.forEach(range(10), () =>
        Effect.gen(function*() {
          const { key, record } = yield* stored(store)
          const newKey = freshKey()
          const rotated = { ...record, writeId: "rotated", version: 2 }
          const [outcome] = yield* Effect.all(
            [store.rotate(key, newKey, rotated, { expectedVersion: 1, now: start }), revocation(store, record)],
            { concurrency: "unbounded" }
          )
          yield* holds("the rotation returned saved or gone", outcome !== "conflict")
          yield* isDead(store, { key, record }, start)
          yield* isDead(store, { key: newKey, record: rotated }, start)
        }))
    })
  ),

  law(
    "a record rotated to another subject is ended by that subject's revocation, not by the previous one's",
    function*(store) {
      const first = yield* stored(store, { subject: "ann" })
      const stays = yield* stored(store, { subject: "ann" })
      const newKey = freshKey()
      const record = successor({ subject: "bob", id: freshId() })
      yield* equal(
        "rotate",
        yield* store.rotate(first.key, newKey, record, { expectedVersion: 1, now: start }),
        "saved"
      )
      yield* isAlive(store, stays, start)
      yield* store.revokeSubject(namespace, "ann")
      yield* isAlive(store, { key: newKey, record }, start)
      yield* store.revokeSubject(namespace, "bob")
      yield* isDead(store, { key: newKey, record }, start)
    }
  )
]
