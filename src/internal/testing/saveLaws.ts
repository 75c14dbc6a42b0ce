/**
 * `save` is a compare-and-set, never inserts, and moves times only forward.
 */
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import {
  aRecord,
  day,
  freshId,
  freshKey,
  hour,
  isAlive,
  isDead,
  isThere,
  loaded,
  minute,
  start,
  stored
} from "../../Fixtures.js"
import type { Law } from "../../Law.js"
import type { SessionRecord } from "../../SessionRecord.js"
import { count, equal, forAll, law, range, together } from "./law.js"

const offset = FastCheck.integer({ min: -day, max: day })

const lifetimes: ReadonlyArray<SessionRecord["expiry"]["lifetime"]> = [
  undefined,
  { _tag: "Inactivity", millis: hour },
  { _tag: "Inactivity", millis: 2 * hour },
  { _tag: "Until", at: start + 3 * hour },
  { _tag: "Until", at: start + 4 * hour },
  { _tag: "Browser" }
]

export const saveLaws: ReadonlyArray<Law> = [
  law(
    "`save` replaces data, attributes, schema version, write id, lifetime and times, and increments the version",
    function*(store) {
      const { key, record } = yield* stored(store, { version: 7 })
      const saved: SessionRecord = {
        ...record,
        data: `{"cart":["tea"]}`,
        attributes: `{"level":2}`,
        schemaVersion: 2,
        writeId: "another write",
        modifiedAt: start + minute,
        lastSeenAt: start + 2 * minute,
        expiry: { ...record.expiry, at: start + 2 * hour, lifetime: { _tag: "Inactivity", millis: hour } }
      }
      yield* equal("save", yield* store.save(key, saved, { expectedVersion: 7, now: start }), "saved")
      yield* isAlive(store, { key, record: { ...saved, version: 8 } }, start)
      const without = { ...saved, attributes: undefined }
      yield* equal(
        "save without attributes",
        yield* store.save(key, without, { expectedVersion: 8, now: start }),
        "saved"
      )
      yield* isAlive(store, { key, record: { ...without, version: 9 } }, start)
    }
  ),

  law(
    "`save` does not change id, subject, namespace, deadline, `createdAt` or `authenticatedAt`",
    function*(store) {
      const { key, record } = yield* stored(store)
      const other: SessionRecord = {
        ...record,
        namespace: "another",
        id: freshId(),
        subject: "bob",
        createdAt: start + minute,
        authenticatedAt: start + minute,
        expiry: { ...record.expiry, deadline: start + 2 * day }
      }
      yield* equal("save", yield* store.save(key, other, { expectedVersion: 1, now: start }), "saved")
      yield* isAlive(store, { key, record: { ...record, version: 2 } }, start)
      yield* isDead(store, { key: freshKey(), record: other }, start)
    }
  ),

  law("`save` accepts a lower schema version: it is the version of the saved data", function*(store) {
    const { key, record } = yield* stored(store, { schemaVersion: 3 })
    const saved = { ...record, data: `"as it was before"`, schemaVersion: 2 }
    yield* equal("save", yield* store.save(key, saved, { expectedVersion: 1, now: start }), "saved")
    yield* isAlive(store, { key, record: { ...saved, version: 2 } }, start)
  }),

  law("`save` with an unknown key returns `gone` and inserts nothing", function*(store) {
    const key = freshKey()
    const record = aRecord()
    yield* equal("save", yield* store.save(key, record, { expectedVersion: 1, now: start }), "gone")
    yield* isDead(store, { key, record }, start)
  }),

  law("`save` with a lower or higher expected version returns `conflict` and changes nothing", function*(store) {
    const one = yield* stored(store, { version: 5 })
    for (const expected of [0, 4, 6, Number.MAX_SAFE_INTEGER]) {
      const outcome = yield* store.save(
        one.key,
        { ...one.record, data: `"lost"`, version: expected + 1 },
        { expectedVersion: expected, now: start }
      )
      yield* equal(`save at ${expected}`, outcome, "conflict")
    }
    yield* isAlive(store, one, start)
  }),

  law(
    "of concurrent `save` calls with one expected version exactly one succeeds, and the others return `conflict`",
    function*(store) {
      const { key, record } = yield* stored(store)
      const outcomes = yield* together(
        range(8).map((i) => store.save(key, { ...record, data: `${i}` }, { expectedVersion: 1, now: start }))
      )
      yield* equal("how many were saved", count(outcomes, "saved"), 1)
      yield* equal("how many returned conflict", count(outcomes, "conflict"), 7)
      yield* isAlive(store, { key, record: { ...record, data: `${outcomes.indexOf("saved")}`, version: 2 } }, start)
    }
  ),

  law(
    "no update is lost: ten concurrent writers that retry `load` and `save` on conflict all take effect",
    function*(store) {
      const { key } = yield* stored(store, { data: "0" })
      const increment: Effect.Effect<void, unknown> = Effect.gen(function*() {
        const found = yield* loaded(store, key, start)
        const data = `${Number(found.data) + 1}`
        const outcome = yield* store.save(key, { ...found, data }, { expectedVersion: found.version, now: start })
        if (outcome !== "saved") yield* Effect.zipRight(equal("the outcome", outcome, "conflict"), increment)
      })
      yield* together(range(10).map(() => increment))
      const { data, version } = yield* loaded(store, key, start)
      yield* equal("the sum and the version", { data, version }, { data: "10", version: 11 })
    }
  ),

  law("`save` moves times only forward", function*(store) {
    yield* forAll(FastCheck.tuple(offset, offset, offset), ([modified, seen, end]) =>
      Effect.gen(function*() {
        const { key, record } = yield* stored(store, {
          expiry: { at: start + hour, deadline: start + 2 * day, lifetime: { _tag: "Inactivity", millis: hour } }
        })
        const saved: SessionRecord = {
          ...record,
          modifiedAt: start + modified,
          lastSeenAt: start + seen,
          // An equal lifetime, not the same object.
          expiry: { ...record.expiry, at: start + hour + end, lifetime: { _tag: "Inactivity", millis: hour } }
        }
        yield* equal("save", yield* store.save(key, saved, { expectedVersion: 1, now: start }), "saved")
        yield* isAlive(store, {
          key,
          record: {
            ...record,
            version: 2,
            modifiedAt: start + Math.max(0, modified),
            lastSeenAt: start + Math.max(0, seen),
            expiry: { ...record.expiry, at: start + hour + Math.max(0, end) }
          }
        }, start)
      }))
  }),

  law("`save` moves the expiry back only if the lifetime changes", function*(store) {
    for (const before of lifetimes) {
      for (const after of lifetimes) {
        const { key, record } = yield* stored(store, {
          expiry: { at: start + hour, deadline: start + day, lifetime: before }
        })
        const earlier = { ...record, expiry: { ...record.expiry, at: start + minute, lifetime: after } }
        yield* equal("save", yield* store.save(key, earlier, { expectedVersion: 1, now: start }), "saved")
        yield* equal(
          `the expiry, from ${JSON.stringify(before)} to ${JSON.stringify(after)}`,
          (yield* loaded(store, key, start)).expiry,
          { at: before === after ? start + hour : start + minute, deadline: start + day, lifetime: after }
        )
      }
    }
  }),

  law("`save` with a lifetime that ends sooner ends the session then", function*(store) {
    const { key, record } = yield* stored(store)
    const shortened = { ...record, expiry: { ...record.expiry, at: start + minute, lifetime: lifetimes[3] } }
    yield* equal("save", yield* store.save(key, shortened, { expectedVersion: 1, now: start }), "saved")
    yield* equal("load before", yield* isThere(store, key, start + minute - 1), true)
    yield* isDead(store, { key, record: { ...shortened, version: 2 } }, start + minute)
  }),

  law("`save` of an expired record returns `gone`, from the exact time of expiry", function*(store) {
    const { key, record } = yield* stored(store)
    const prolonged = { ...record, expiry: { ...record.expiry, at: start + 2 * hour } }
    yield* equal(
      "save at the time of expiry",
      yield* store.save(key, prolonged, { expectedVersion: 1, now: start + hour }),
      "gone"
    )
    yield* equal("save later", yield* store.save(key, prolonged, { expectedVersion: 1, now: start + day }), "gone")
    yield* isDead(store, { key, record }, start + hour)
    yield* equal(
      "save 1 ms before",
      yield* store.save(key, prolonged, { expectedVersion: 1, now: start + hour - 1 }),
      "saved"
    )
  }),

  law("versions close to the largest safe integer are supported", function*(store) {
    const version = Number.MAX_SAFE_INTEGER - 2
    const { key, record } = yield* stored(store, { version })
    yield* equal("save", yield* store.save(key, record, { expectedVersion: version, now: start }), "saved")
    yield* equal(
      "save at the old version",
      yield* store.save(key, record, { expectedVersion: version, now: start }),
      "conflict"
    )
    yield* isAlive(store, { key, record: { ...record, version: version + 1 } }, start)
  })
]
