/**
 * `touch` moves `lastSeenAt` and the expiry forward and changes nothing else.
 */
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import { aRecord, day, freshKey, hour, isAlive, isDead, loaded, minute, start, stored } from "../../Fixtures.js"
import type { Law } from "../../Law.js"
import { equal, forAll, law, range, together } from "./law.js"

export const touchLaws: ReadonlyArray<Law> = [
  law(
    "`touch` moves `lastSeenAt` and the expiry forward, never beyond the deadline, and changes nothing else",
    function*(store) {
      const offset = FastCheck.integer({ min: -day, max: 3 * day })
      const deadline = FastCheck.oneof(
        FastCheck.constant(undefined),
        FastCheck.integer({ min: start + hour, max: start + 2 * day })
      )
      yield* forAll(FastCheck.tuple(offset, offset, deadline), ([seen, end, deadline]) =>
        Effect.gen(function*() {
          const { key, record } = yield* stored(store, {
            version: 3,
            expiry: { at: start + hour, deadline, lifetime: { _tag: "Inactivity", millis: hour } }
          })
          yield* equal(
            "touch",
            yield* store.touch(key, { lastSeenAt: start + seen, expiresAt: start + end, now: start }),
            "touched"
          )
          yield* isAlive(store, {
            key,
            record: {
              ...record,
              lastSeenAt: start + Math.max(0, seen),
              expiry: {
                ...record.expiry,
                at: Math.max(start + hour, Math.min(start + end, deadline ?? Number.MAX_SAFE_INTEGER))
              }
            }
          }, start)
        }))
    }
  ),

  law("`touch` with an unknown key returns `gone` and inserts nothing", function*(store) {
    const key = freshKey()
    yield* equal("touch", yield* store.touch(key, { lastSeenAt: start, expiresAt: start + hour, now: start }), "gone")
    yield* isDead(store, { key, record: aRecord() }, start)
  }),

  law("`touch` of an expired record returns `gone`, from the exact time of expiry", function*(store) {
    const { key, record } = yield* stored(store)
    yield* equal(
      "touch at the time of expiry",
      yield* store.touch(key, { lastSeenAt: start + hour, expiresAt: start + 2 * hour, now: start + hour }),
      "gone"
    )
    yield* isDead(store, { key, record }, start + hour)
    const before = start + hour - 1
    yield* equal(
      "touch 1 ms before",
      yield* store.touch(key, { lastSeenAt: before, expiresAt: start + 2 * hour, now: before }),
      "touched"
    )
    yield* equal("the expiry", (yield* loaded(store, key, start + hour)).expiry.at, start + 2 * hour)
  }),

  law(
    "`touch` does not conflict with a `save` of a record read before it, and is not undone by that `save`",
    function*(store) {
      const { key, record } = yield* stored(store)
      yield* equal(
        "touch",
        yield* store.touch(key, { lastSeenAt: start + minute, expiresAt: start + 2 * hour, now: start }),
        "touched"
      )
      yield* equal(
        "save",
        yield* store.save(key, { ...record, data: `"new"` }, { expectedVersion: 1, now: start }),
        "saved"
      )
      yield* isAlive(store, {
        key,
        record: {
          ...record,
          version: 2,
          data: `"new"`,
          lastSeenAt: start + minute,
          expiry: { ...record.expiry, at: start + 2 * hour }
        }
      }, start)
    }
  ),

  law("after concurrent `touch` calls the latest times are stored", function*(store) {
    const { key, record } = yield* stored(store)
    const outcomes = yield* together(
      range(20).map((i) =>
        store.touch(key, { lastSeenAt: start + (i * 7) % 20, expiresAt: start + hour + (i * 3) % 20, now: start })
      )
    )
    yield* equal("the outcomes", outcomes, range(20).map(() => "touched"))
    yield* isAlive(store, {
      key,
      record: { ...record, lastSeenAt: start + 19, expiry: { ...record.expiry, at: start + hour + 19 } }
    }, start)
  }),

  law("concurrent `touch` and `save` calls all take effect", function*(store) {
    yield* Effect.forEach(range(10), () =>
      Effect.gen(function*() {
        const { key, record } = yield* stored(store)
        const outcomes = yield* together<string, unknown>([
          store.touch(key, { lastSeenAt: start + 1, expiresAt: start + hour + 2, now: start }),
          store.save(key, { ...record, data: `"new"`, modifiedAt: start + 3 }, { expectedVersion: 1, now: start }),
          store.touch(key, { lastSeenAt: start + 2, expiresAt: start + hour + 1, now: start })
        ])
        yield* equal("the outcomes", outcomes, ["touched", "saved", "touched"])
        yield* isAlive(store, {
          key,
          record: {
            ...record,
            version: 2,
            data: `"new"`,
            modifiedAt: start + 3,
            lastSeenAt: start + 2,
            expiry: { ...record.expiry, at: start + hour + 2 }
          }
        }, start)
      }))
  })
]
