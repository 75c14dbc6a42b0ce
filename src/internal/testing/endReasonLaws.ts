/**
 * `endReason`: the reason why a session ended is the true one, or absent. A store that keeps reasons also passes `endReasonLaws`.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Stored } from "../../Fixtures.js"
import { aRecord, day, freshId, freshKey, hour, loaded, minute, start, stored } from "../../Fixtures.js"
import type { Law } from "../../Law.js"
import type { SessionRecord } from "../../SessionRecord.js"
import type { EndReason, Store } from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"
import { equal, holds, law } from "./law.js"

/** One way in which a session ends. */
interface Ending {
  readonly name: string
  readonly reason: EndReason
  readonly end: (store: Store, one: Stored) => Effect.Effect<unknown, unknown>
  /** The record is deleted, so that its key is free. */
  readonly deletes: boolean
}

const expiry = (at: number): SessionRecord["expiry"] => ({ at, deadline: start + day, lifetime: undefined })

/** The time at which the reasons are read. A session whose ending is `expired` has expired then. */
const now = start + 2 * minute

const deletions: ReadonlyArray<Ending> = [
  { name: "a logout", reason: "loggedOut", deletes: true, end: (store, { key }) => store.destroy(key) },
  {
    name: "a revocation by id",
    reason: "revoked",
    deletes: true,
    end: (store, { record: { id, namespace } }) => store.revoke(namespace, id)
  },
  {
    name: "a revocation by id and subject",
    reason: "revoked",
    deletes: true,
    end: (store, { record: { id, namespace, subject } }) => store.revoke(namespace, id, subject)
  },
  {
    name: "a login with a limit",
    reason: "limit",
    deletes: true,
    end: (store, { record: { namespace } }) =>
      store.create(freshKey(), aRecord({ namespace }), start, { max: 1, onFull: "oldest" })
  }
]

const others: ReadonlyArray<Ending> = [
  {
    name: "a rotation",
    reason: "rotated",
    deletes: false,
    end: (store, { key, record }) =>
      store.rotate(key, freshKey(), { ...record, version: 2 }, { expectedVersion: 1, now: start })
  },
  {
    name: "a revocation of the subject",
    reason: "subjectRevoked",
    deletes: false,
    end: (store, { record: { namespace } }) => store.revokeSubject(namespace, "ann")
  },
  {
    name: "a revocation of the namespace",
    reason: "allRevoked",
    deletes: false,
    end: (store, { record: { namespace } }) => store.revokeAll(namespace)
  }
]

/** The endings that the store has. */
const possible = (store: Store, endings: ReadonlyArray<Ending>) =>
  endings.filter(({ reason }) => reason !== "limit" || store.capabilities.limitsSubjects === true)

/** Ends one session in each way, each in a namespace of its own, and runs the check. */
const forEnding = (
  store: Store,
  endings: ReadonlyArray<Ending>,
  check: (ending: Ending, one: Stored) => Effect.Effect<unknown, unknown>,
  fields: Partial<SessionRecord> = {}
) =>
  Effect.forEach(possible(store, endings), (ending, index) =>
    Effect.gen(function*() {
      const one = yield* stored(store, { namespace: `laws ${index}`, ...fields })
      yield* ending.end(store, one)
      yield* check(ending, one)
    }), { discard: true })

const reasonOf = (store: Store, key: StoreKey, at: number) =>
  Effect.map(store.endReason(key, at), Option.getOrUndefined)

/** Makes the laws of a store that knows every reason, or of any store, whose reasons may be absent. */
const lawsOf = (isKnown: boolean, names: readonly [ends: string, lasts: string, first: string, again: string]) => {
  const expected = (store: Store, what: string, key: StoreKey, at: number, reason: EndReason) =>
    Effect.flatMap(
      reasonOf(store, key, at),
      (actual) => !isKnown && actual === undefined ? Effect.void : equal(what, actual, reason)
    )
  const [ends, lasts, first, again] = names
  return [
    law(ends, function*(store) {
      const expired = yield* stored(store, { expiry: expiry(now) })
      yield* expected(store, "an expired session", expired.key, now, "expired")
      yield* forEnding(
        store,
        [...deletions, ...others],
        ({ name, reason }, { key }) => expected(store, name, key, start, reason)
      )
    }),

    law(lasts, function*(store) {
      const end = start + hour + minute
      const ended: Array<readonly [Ending, Stored]> = []
      // A touch has moved the end.
      const endings = [...deletions, ...others].map((ending): Ending => ({
        ...ending,
        end: (store, one) =>
          Effect.zipRight(
            store.touch(one.key, { lastSeenAt: start, expiresAt: end, now: start }),
            ending.end(store, one)
          )
      }))
      yield* forEnding(store, endings, (ending, one) => Effect.sync(() => ended.push([ending, one])))
      yield* stored(store, { expiry: expiry(now) })
      yield* store.removeExpired({ now, limit: 100 })
      for (const [{ name, reason }, { key }] of ended) {
        yield* expected(store, `${name}, before the end`, key, end - 1, reason)
        const after = yield* reasonOf(store, key, end)
        yield* holds(
          `after the end, the reason of ${name} is absent${after === undefined ? "" : `, and it is ${after}`}`,
          // A record that a revocation has ended may still be stored, and expire.
          after === undefined || (after === "expired" && reason.endsWith("Revoked"))
        )
      }
    }),

    law(first, function*(store) {
      yield* forEnding(
        store,
        [...deletions, ...others],
        ({ name, reason }, { key, record: { id, namespace } }) =>
          Effect.gen(function*() {
            yield* store.destroy(key)
            yield* expected(store, `${name}, then a logout`, key, start, reason)
            yield* store.revoke(namespace, id)
            yield* expected(store, `${name}, then a revocation by id`, key, start, reason)
            yield* store.revokeSubject(namespace, "ann")
            yield* expected(store, `${name}, then a revocation of the subject`, key, start, reason)
          })
      )
    }),

    law(again, function*(store) {
      yield* forEnding(store, deletions, ({ name }, { key, record: { namespace } }) =>
        Effect.gen(function*() {
          const next = aRecord({ namespace, subject: "bob", expiry: expiry(start + minute) })
          yield* equal(`${name}: create under its key`, yield* store.create(key, next, start), "created")
          yield* equal(`${name}: a live session`, yield* reasonOf(store, key, start), undefined)
          yield* expected(store, `${name}: a session that expired`, key, now, "expired")
          yield* store.removeExpired({ now, limit: 100 })
          const after = yield* reasonOf(store, key, now)
          yield* holds(
            `after ${name}, a session with the same key that was removed as expired is expired, or its reason is ` +
              `absent${after === undefined ? "" : `, and it is ${after}`}`,
            after === undefined || after === "expired"
          )
          const last = aRecord({ namespace, subject: "bob" })
          yield* equal(`${name}: create again`, yield* store.create(key, last, start), "created")
          yield* store.revokeSubject(namespace, "bob")
          yield* expected(store, `${name}: then a revocation of the subject`, key, start, "subjectRevoked")
        }))
    })
  ]
}

/** Laws of every store. */
export const possibleEndReasonLaws: ReadonlyArray<Law> = [
  law("`endReason` of a live session and of an unknown key is absent", function*(store) {
    yield* equal("an unknown key", yield* reasonOf(store, freshKey(), start), undefined)
    const [one, other] = [yield* stored(store), yield* stored(store)]
    const moved = freshKey()
    const options = { expectedVersion: 1, now: start }
    yield* store.save(one.key, one.record, options)
    yield* store.touch(one.key, { lastSeenAt: start + 1, expiresAt: start + 2 * hour, now: start })
    yield* store.rotate(other.key, moved, { ...other.record, version: 2 }, options)
    yield* store.revokeSubject(one.record.namespace, "ann", one.record.id)
    const { id } = yield* stored(store, { subject: "bob", expiry: expiry(now) }).pipe(
      Effect.map(({ record }) => record)
    )
    yield* store.revoke(one.record.namespace, freshId(), "ann")
    yield* store.revoke(one.record.namespace, id, "ann")
    yield* loaded(store, one.key, start)
    yield* equal("a live session", yield* reasonOf(store, one.key, start), undefined)
    // A conflict ends nothing.
    const bob = yield* stored(store, { subject: "bob" })
    yield* store.rotate(bob.key, one.key, bob.record, options)
    yield* equal("a session after a conflict", yield* reasonOf(store, bob.key, start), undefined)
  }),
  ...lawsOf(false, [
    "`endReason` of a session that ended is the true reason, or absent",
    "`endReason` does not become wrong when other records are removed, and is absent once the session would have expired",
    "`endReason` is the reason of the first end, or absent: a later logout or revocation does not change it",
    "`endReason` is never the reason of an earlier session with the same key"
  ])
]

export const endReasonLaws: ReadonlyArray<Law> = lawsOf(true, [
  "`endReason` returns the reason of every session that ended",
  "`endReason` returns the reason until the session would have expired, also after the removal of other records",
  "`endReason` returns the reason of the first end, despite a later logout or revocation",
  "`endReason` returns the reason of the last of several sessions with the same key"
])
