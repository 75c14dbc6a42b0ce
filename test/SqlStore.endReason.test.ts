/**
 * Why a session of a SQL store has ended, on each database.
 */
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { aRecord, freshKey, hour, isDead, namespace, start, stored } from "effect-session/Fixtures"
import type { EndReason } from "effect-session/SessionStore"
import { SessionStore } from "effect-session/SessionStore"
import type { StoreKey } from "effect-session/StoreKey"
import { assert, describe } from "vitest"
import { freshPrefix, sqliteClient, sqlStore } from "./support/localStores.js"
import { mysqlClient, ofMariadb, partitioned, postgresClient } from "./support/serverClients.js"

const databases = [
  ["postgres", () => postgresClient()],
  ["sqlite", () => sqliteClient],
  ...ofMariadb(["mariadb", () => mysqlClient()] as const)
] as const

/** Asserts the reason of a key. */
const hasReason = (key: StoreKey, reason: EndReason | undefined, now = start) =>
  Effect.flatMap(
    SessionStore,
    (store) =>
      Effect.map(store.endReason(key, now), (found) => assert.strictEqual(Option.getOrUndefined(found), reason))
  )

for (const [name, client] of databases) {
  describe(name, () => {
    const withStore = <A, E>(
      title: string,
      test: (
        tables: { readonly sessions: string; readonly ends: string }
      ) => Effect.Effect<A, E, SessionStore | SqlClient>
    ) =>
      it.live(title, () => {
        const prefix = freshPrefix()
        return test({ sessions: `${prefix}sessions`, ends: `${prefix}session_ends` }).pipe(
          Effect.provide(sqlStore<unknown>(client(), prefix))
        )
      })

    withStore(
      "a session that is alive has no reason, and neither has a key that never had one",
      () =>
        Effect.gen(function*() {
          const { key } = yield* stored(yield* SessionStore)
          yield* hasReason(key, undefined)
          yield* hasReason(freshKey(), undefined)
        })
    )

    withStore(
      "each way to end a session keeps its reason until the session would have expired",
      () =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          const loggedOut = yield* stored(store)
          const revoked = yield* stored(store)
          const own = yield* stored(store)
          const rotated = yield* stored(store)
          const expired = yield* stored(store)
          const newKey = freshKey()
          yield* store.destroy(loggedOut.key)
          assert.isTrue(yield* store.revoke(namespace, revoked.record.id))
          assert.isTrue(yield* store.revoke(namespace, own.record.id, "ann"))
          assert.strictEqual(
            yield* store.rotate(rotated.key, newKey, rotated.record, { expectedVersion: 1, now: start }),
            "saved"
          )
          const end = start + hour
          for (
            const [key, reason] of [
              [loggedOut.key, "loggedOut"],
              [revoked.key, "revoked"],
              [own.key, "revoked"],
              [rotated.key, "rotated"]
            ] as const
          ) {
            yield* hasReason(key, reason)
            yield* hasReason(key, reason, end - 1)
            yield* hasReason(key, undefined, end)
          }
          yield* hasReason(newKey, undefined)
          yield* hasReason(expired.key, undefined, end - 1)
          yield* hasReason(expired.key, "expired", end)
        })
    )

    withStore(
      "a revocation of the subject and of everyone is the reason, also after a logout with the same cookie",
      () =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          const [ann, spared, bob] = [
            yield* stored(store),
            yield* stored(store),
            yield* stored(store, { subject: "bob" })
          ]
          const anonymous = yield* stored(store, { subject: undefined })
          yield* store.revokeSubject(namespace, "ann", spared.record.id)
          yield* hasReason(ann.key, "subjectRevoked")
          yield* hasReason(spared.key, undefined)
          yield* store.destroy(ann.key)
          yield* hasReason(ann.key, "subjectRevoked")
          yield* store.revokeAll(namespace)
          for (const { key } of [spared, bob, anonymous]) {
            yield* hasReason(key, "allRevoked")
            yield* store.destroy(key)
            yield* hasReason(key, "allRevoked")
          }
        })
    )

    withStore("a session that makes room for a newer one has the reason `limit`", () =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        const first = yield* stored(store)
        const [created, next] = [freshKey(), freshKey()]
        const limit = { max: 1, onFull: "oldest" } as const
        const record = aRecord()
        assert.deepStrictEqual(yield* store.create(created, record, start, limit), {
          _tag: "Evicted",
          ids: [first.record.id]
        })
        yield* hasReason(first.key, "limit")
        const other = yield* stored(store)
        assert.deepStrictEqual(
          yield* store.rotate(created, next, record, { expectedVersion: 1, now: start, limit }),
          { _tag: "Evicted", ids: [other.record.id] }
        )
        yield* hasReason(other.key, "limit")
        yield* hasReason(created, "rotated")
        yield* hasReason(next, undefined)
      }))

    withStore("a revocation by the id of a session of another subject changes nothing", () =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        const { key, record } = yield* stored(store)
        const anonymous = yield* stored(store, { subject: undefined })
        assert.isFalse(yield* store.revoke(namespace, record.id, "bob"))
        assert.isFalse(yield* store.revoke(namespace, anonymous.record.id, "ann"))
        assert.deepStrictEqual((yield* store.count(start)).current, 2)
        yield* hasReason(key, undefined)
        assert.isTrue(yield* store.revoke(namespace, record.id, "ann"))
        assert.isFalse(yield* store.revoke(namespace, record.id, "ann"))
      }))

    withStore("a write that ends no session keeps no reason", ({ ends }) =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        const sql = yield* SqlClient
        const { key, record } = yield* stored(store)
        yield* store.destroy(freshKey())
        assert.strictEqual(
          yield* store.rotate(key, freshKey(), record, { expectedVersion: 2, now: start }),
          "conflict"
        )
        assert.isFalse(yield* store.revoke(namespace, record.id, "bob"))
        assert.lengthOf(yield* sql.unsafe(`SELECT reason FROM ${ends}`), 0)
      }))

    withStore(
      "`removeExpired` also removes the reasons that are past their time",
      ({ ends }) =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          const sql = yield* SqlClient
          const short = yield* stored(store)
          const long = yield* stored(store, {
            expiry: { at: start + 2 * hour, deadline: undefined, lifetime: undefined }
          })
          yield* store.destroy(short.key)
          yield* store.destroy(long.key)
          const alive = yield* stored(store)
          // The count is of sessions only.
          assert.strictEqual(yield* store.removeExpired({ now: start + hour, limit: 10 }), 1)
          yield* isDead(store, alive, start + hour)
          const left = yield* sql.unsafe<{ readonly at: unknown }>(`SELECT expires_at AS at FROM ${ends}`)
          assert.deepStrictEqual(left.map(({ at }) => Number(at)), [start + 2 * hour])
          yield* hasReason(long.key, "loggedOut", start + hour)
        })
    )

    withStore(
      "logins that end older sessions succeed while reasons cannot be written",
      ({ ends }) =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          const sql = yield* SqlClient
          const [first, second] = [yield* stored(store), yield* stored(store, { subject: "bob" })]
          const [created, rotated, anonymous] = [freshKey(), freshKey(), yield* stored(store, { subject: undefined })]
          const limit = { max: 1, onFull: "oldest" } as const
          yield* sql.unsafe(`DROP TABLE ${ends}`)
          assert.deepStrictEqual(yield* store.create(created, aRecord(), start, limit), {
            _tag: "Evicted",
            ids: [first.record.id]
          })
          assert.deepStrictEqual(
            yield* store.rotate(anonymous.key, rotated, { ...anonymous.record, subject: "bob" }, {
              expectedVersion: 1,
              now: start,
              limit
            }),
            { _tag: "Evicted", ids: [second.record.id] }
          )
          for (const one of [first, second]) yield* isDead(store, one, start)
          assert.isTrue(Option.isNone(yield* store.load(anonymous.key, start)))
          for (const key of [created, rotated]) assert.isTrue(Option.isSome(yield* store.load(key, start)))
          assert.deepStrictEqual(yield* store.count(start), { current: 2, expired: 0 })
        })
    )

    withStore(
      "`removeExpired` succeeds while reasons cannot be written",
      ({ ends }) =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          const { key } = yield* stored(store)
          yield* Effect.flatMap(SqlClient, (sql) => sql.unsafe(`DROP TABLE ${ends}`))
          assert.strictEqual(yield* store.removeExpired({ now: start + hour, limit: 10 }), 1)
          assert.isTrue(Option.isNone(yield* store.load(key, start)))
        })
    )

    withStore(
      "a logout, a revocation and a rotation succeed while reasons cannot be written",
      ({ ends }) =>
        Effect.gen(function*() {
          const store = yield* SessionStore
          const sql = yield* SqlClient
          const [loggedOut, revoked, rotated] = [yield* stored(store), yield* stored(store), yield* stored(store)]
          yield* sql.unsafe(`DROP TABLE ${ends}`)
          yield* store.destroy(loggedOut.key)
          assert.isTrue(yield* store.revoke(namespace, revoked.record.id))
          const newKey = freshKey()
          assert.strictEqual(
            yield* store.rotate(rotated.key, newKey, rotated.record, { expectedVersion: 1, now: start }),
            "saved"
          )
          yield* isDead(store, loggedOut, start)
          yield* isDead(store, revoked, start)
          assert.isTrue(Option.isSome(yield* store.load(newKey, start)))
          assert.deepStrictEqual(yield* store.count(start), { current: 1, expired: 0 })
        })
    )

    withStore("a table with an unknown reason is an error, and not a reason", ({ ends }) =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        const sql = yield* SqlClient
        const { key } = yield* stored(store)
        yield* store.destroy(key)
        yield* sql.unsafe(`UPDATE ${ends} SET reason = 'bored'`)
        assert.strictEqual((yield* Effect.flip(store.endReason(key, start))).reason, "corrupt")
      }))
  })
}

it.live("a partitioned table keeps the reasons", () =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const [one, other] = [yield* stored(store), yield* stored(store)]
    const newKey = freshKey()
    yield* store.destroy(one.key)
    yield* hasReason(one.key, "loggedOut")
    assert.strictEqual(
      yield* store.rotate(other.key, newKey, other.record, { expectedVersion: 1, now: start }),
      "saved"
    )
    yield* hasReason(other.key, "rotated")
    yield* hasReason(newKey, undefined)
  }).pipe(Effect.provide(partitioned[1]())))
