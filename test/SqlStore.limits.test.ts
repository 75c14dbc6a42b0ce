/**
 * The limit of the live sessions of one subject, on each database and over several connections and processes.
 */
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Context, Effect, Layer, Option } from "effect"
import { aRecord, freshKey, hour, isDead, namespace, start, stored } from "effect-session/Fixtures"
import type { CreateOutcome, RotateOutcome, Store, SubjectLimit } from "effect-session/SessionStore"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import { writeFileSync } from "node:fs"
import * as Path from "node:path"
import { assert, describe } from "vitest"
import { startProcess } from "./support/childProcesses.js"
import { range, together } from "./support/concurrency.js"
import { untilWaiting } from "./support/databases.js"
import { freshPrefix, sqliteClient, sqlStore } from "./support/localStores.js"
import { mariadbUrl, mysqlClient, ofMariadb, partitioned, postgresClient } from "./support/serverClients.js"
import * as servers from "./support/sharedServers.js"
import type { Job } from "./support/sqlLimitProcess.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

const databases = [
  ["postgres", () => postgresClient(), servers.postgres],
  ["sqlite", () => sqliteClient, undefined],
  ...ofMariadb(["mariadb", () => mysqlClient(), () => mariadbUrl()] as const)
] as const

const modes = ["deny", "oldest"] as const

const deny = (max: number): SubjectLimit => ({ max, onFull: "deny" })
const oldest = (max: number): SubjectLimit => ({ max, onFull: "oldest" })

/** The ids of the live sessions of "ann". */
const alive = (store: Store, now = start) =>
  Effect.map(store.list(namespace, "ann", now), (sessions) => sessions.map(({ id }) => id))

/** The number of each outcome. */
const counted = (outcomes: ReadonlyArray<CreateOutcome | RotateOutcome>) => {
  const counts: Record<string, number> = {}
  for (const outcome of outcomes) {
    const name = typeof outcome === "string" ? outcome : `evicted ${outcome.ids.length}`
    counts[name] = (counts[name] ?? 0) + 1
  }
  return counts
}

const expected = { deny: { created: 3, full: 47 }, oldest: { created: 3, "evicted 1": 47 } }

const evicted = (outcome: CreateOutcome | RotateOutcome) => typeof outcome === "object" ? outcome.ids : []

for (const [name, client, urlOf] of databases) {
  describe(name, () => {
    const withStore = <A, E>(
      title: string,
      test: (store: Store, prefix: string) => Effect.Effect<A, E, SqlClient>
    ) =>
      it.live(title, () => {
        const prefix = freshPrefix()
        return Effect.flatMap(SessionStore, (store) => test(store, prefix)).pipe(
          Effect.provide(sqlStore<unknown>(client(), prefix))
        )
      })

    for (const onFull of modes) {
      withStore(
        `"${onFull}": of 50 logins at once with a limit of 3, exactly 3 are left`,
        (store) =>
          Effect.gen(function*() {
            const outcomes = yield* together(
              range(50).map((i) =>
                store.create(freshKey(), aRecord({ createdAt: start + i }), start, { max: 3, onFull })
              )
            )
            assert.deepStrictEqual(counted(outcomes), expected[onFull])
            assert.lengthOf(yield* alive(store), 3)
            assert.lengthOf(new Set(outcomes.flatMap(evicted)), onFull === "deny" ? 0 : 47)
          })
      )

      withStore(
        `"${onFull}": of 20 sessions that change to one subject at once with a limit of 1, exactly 1 is left`,
        (store) =>
          Effect.gen(function*() {
            const anonymous = yield* Effect.forEach(range(20), () => stored(store, { subject: undefined }))
            const outcomes = yield* together(anonymous.map(({ key, record }) =>
              store.rotate(key, freshKey(), { ...record, subject: "ann" }, {
                expectedVersion: 1,
                now: start,
                limit: { max: 1, onFull }
              })
            ))
            assert.deepStrictEqual(
              counted(outcomes),
              onFull === "deny" ? { saved: 1, full: 19 } : { saved: 1, "evicted 1": 19 }
            )
            assert.lengthOf(yield* alive(store), 1)
          })
      )

      it.scopedLive(
        `"${onFull}": of 50 logins of two processes at once with a limit of 3, exactly 3 are left`,
        () =>
          Effect.gen(function*() {
            const prefix = freshPrefix()
            const directory = yield* temporaryDirectory("limits")
            const url = urlOf?.() ?? Path.join(directory, "sessions.sqlite")
            const database = urlOf === undefined ? SqliteClient.layer({ filename: url }) : client()
            const store = Context.get(yield* Layer.build(sqlStore<unknown>(database, prefix)), SessionStore)
            const startWhen = Path.join(directory, "start")
            const job: Job = { database: name, url, prefix, limit: { max: 3, onFull }, logins: 25, startWhen }
            // Not bundled: SQLite is a native module.
            const child = startProcess(process.execPath, [
              ...["--conditions", "development", "--import", "tsx"],
              new URL("./support/sqlLimitProcess.ts", import.meta.url).pathname,
              JSON.stringify(job)
            ])
            const children = yield* Effect.all([child, child])
            yield* Effect.forEach(children, ({ printed }) => printed(1))
            writeFileSync(startWhen, "")
            const lines = yield* Effect.forEach(children, ({ lines }) => lines)
            const outcomes = lines.flatMap((lines) => lines.slice(1)).map((line): CreateOutcome => JSON.parse(line))
            assert.deepStrictEqual(counted(outcomes), expected[onFull])
            assert.lengthOf(yield* alive(store), 3)
          }),
        120_000
      )
    }

    withStore(
      "logins of other subjects, and those without a subject, are not counted",
      (store) =>
        Effect.gen(function*() {
          yield* stored(store, { subject: "bob" })
          yield* stored(store, { namespace: "other" })
          assert.strictEqual(yield* store.create(freshKey(), aRecord(), start, deny(1)), "created")
          for (const _ of range(3)) {
            assert.strictEqual(
              yield* store.create(freshKey(), aRecord({ subject: undefined }), start, deny(1)),
              "created"
            )
          }
        })
    )

    withStore(
      "sessions that have expired or were revoked do not count, and are not ended",
      (store) =>
        Effect.gen(function*() {
          const revoked = yield* stored(store)
          yield* store.revokeSubject(namespace, "ann")
          const expired = yield* stored(store, { expiry: { at: start + 1, deadline: undefined, lifetime: undefined } })
          const now = start + 1
          assert.strictEqual(yield* store.create(freshKey(), aRecord(), now, deny(1)), "created")
          assert.strictEqual(yield* store.create(freshKey(), aRecord(), now, deny(1)), "full")
          assert.deepStrictEqual(yield* store.endReason(revoked.key, start), Option.some("subjectRevoked"))
          assert.deepStrictEqual(yield* store.endReason(expired.key, now), Option.some("expired"))
          yield* store.revokeAll(namespace)
          assert.strictEqual(yield* store.create(freshKey(), aRecord(), now, deny(1)), "created")
        })
    )

    withStore(
      "\"oldest\" ends the oldest by time and id, in that order, and never the session that is written",
      (store) =>
        Effect.gen(function*() {
          const late = yield* stored(store, { createdAt: start + 5 })
          const same = yield* Effect.forEach(range(3), () => stored(store))
          const [a, b, c] = [...same].sort((x, y) => (x.record.id < y.record.id ? -1 : 1))
          if (a === undefined || b === undefined || c === undefined) return assert.fail()
          // It is older than all others.
          const record = aRecord({ createdAt: start - 1 })
          const key = freshKey()
          assert.deepStrictEqual(yield* store.create(key, record, start, oldest(3)), {
            _tag: "Evicted",
            ids: [a.record.id, b.record.id]
          })
          assert.deepStrictEqual(yield* alive(store), [record.id, c.record.id, late.record.id])
          const newKey = freshKey()
          assert.deepStrictEqual(
            yield* store.rotate(key, newKey, record, { expectedVersion: 1, now: start, limit: oldest(1) }),
            { _tag: "Evicted", ids: [c.record.id, late.record.id] }
          )
          assert.deepStrictEqual(yield* alive(store), [record.id])
          assert.isTrue(Option.isSome(yield* store.load(newKey, start)))
        })
    )

    withStore("the session that is rotated does not count, whatever id it gets", (store) =>
      Effect.gen(function*() {
        const { key, record } = yield* stored(store)
        const [second, third] = [freshKey(), freshKey()]
        assert.strictEqual(
          yield* store.rotate(key, second, record, { expectedVersion: 1, now: start, limit: deny(1) }),
          "saved"
        )
        assert.strictEqual(
          yield* store.rotate(second, third, aRecord(), { expectedVersion: 2, now: start, limit: deny(1) }),
          "saved"
        )
        assert.lengthOf(yield* alive(store), 1)
      }))

    for (const onFull of modes) {
      withStore(
        `"${onFull}": a write that fails for another reason returns that reason, and ends nothing`,
        (store) =>
          Effect.gen(function*() {
            const limit = { max: 1, onFull }
            const [one, other] = [yield* stored(store), yield* stored(store)]
            const anonymous = yield* stored(store, { subject: undefined })
            const before = yield* alive(store)
            assert.strictEqual(yield* store.create(one.key, aRecord(), start, limit), "exists")
            assert.strictEqual(yield* store.create(freshKey(), aRecord({ id: one.record.id }), start, limit), "exists")
            const toAnn = (key = anonymous.key, newKey = freshKey(), id = anonymous.record.id, expectedVersion = 1) =>
              store.rotate(key, newKey, aRecord({ id }), { expectedVersion, now: start, limit })
            assert.strictEqual(yield* toAnn(freshKey()), "gone")
            assert.strictEqual(yield* toAnn(anonymous.key, freshKey(), anonymous.record.id, 2), "conflict")
            assert.strictEqual(yield* toAnn(anonymous.key, one.key), "conflict")
            assert.strictEqual(yield* toAnn(anonymous.key, anonymous.key), "conflict")
            assert.strictEqual(yield* toAnn(anonymous.key, freshKey(), other.record.id), "conflict")
            assert.deepStrictEqual(yield* alive(store), before)
            if (onFull === "deny") assert.strictEqual(yield* toAnn(), "full")
            assert.isTrue(Option.isSome(yield* store.load(anonymous.key, start)))
          })
      )
    }

    withStore(
      "a write with a limit inside the application's transaction is an error, like any other write",
      (store) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient
          const error = yield* Effect.flip(sql.withTransaction(store.create(freshKey(), aRecord(), start, oldest(1))))
          assert.instanceOf(error, SessionStoreError)
          assert.strictEqual(error.reason, "transaction")
          assert.lengthOf(yield* alive(store), 0)
        })
    )

    withStore(
      "logins within a limit beside saves, rotations, logouts and revocations of the subject all succeed",
      (store) =>
        Effect.gen(function*() {
          yield* Effect.forEach(range(5), () => stored(store))
          const change = (i: number): Effect.Effect<unknown, SessionStoreError> => {
            const record = aRecord({ createdAt: start + i })
            const key = freshKey()
            return Effect.gen(function*() {
              yield* store.create(key, record, start, oldest(5))
              yield* store.save(key, record, { expectedVersion: 1, now: start })
              if (i % 4 === 0) yield* store.revokeSubject(namespace, "ann", record.id)
              if (i % 4 === 1) yield* store.destroy(key)
              if (i % 4 === 2) yield* store.revoke(namespace, record.id, "ann")
              yield* store.rotate(key, freshKey(), record, { expectedVersion: 2, now: start, limit: oldest(5) })
            })
          }
          yield* together(range(40).map(change))
          assert.isAtMost((yield* alive(store)).length, 5)
        })
    )
  })
}

for (
  const [name, client] of [["postgres", postgresClient], ...ofMariadb(["mariadb", mysqlClient] as const)] as const
) {
  it.live(`${name}: a login waits for another one of its subject, and for no other subject`, () => {
    const prefix = freshPrefix()
    return Effect.gen(function*() {
      const store = yield* SessionStore
      const sql = yield* SqlClient
      const first = yield* stored(store)
      // The first login waits for this row, while it has locked its subject.
      const other = yield* sql.reserve
      const execute = (statement: string) => other.executeUnprepared(statement, [], undefined)
      yield* execute("BEGIN")
      // By its key, because MariaDB would also lock the gaps into which others insert.
      yield* execute(
        `SELECT id FROM ${prefix}sessions WHERE ${name === "mariadb" ? "`key`" : "key"} = '${first.key}' FOR UPDATE`
      )
      const logins = yield* Effect.forEach(
        range(2),
        () => Effect.fork(store.create(freshKey(), aRecord(), start, oldest(1)))
      )
      yield* untilWaiting(sql, name, prefix, 2)
      assert.strictEqual(yield* store.create(freshKey(), aRecord({ subject: "bob" }), start, oldest(1)), "created")
      yield* execute("ROLLBACK")
      const outcomes = yield* Effect.forEach(logins, (login) => login)
      assert.deepStrictEqual(counted(outcomes), { "evicted 1": 2 })
      assert.lengthOf(yield* alive(store), 1)
      yield* isDead(store, first, start)
    }).pipe(Effect.scoped, Effect.provide(sqlStore<unknown>(client(), prefix)))
  })
}

it.live("postgres: the limit holds if the database has one snapshot for each transaction by default", () => {
  const prefix = freshPrefix()
  return Effect.gen(function*() {
    const sql = yield* SqlClient
    const connections = yield* Effect.forEach(range(10), () => sql.reserve)
    yield* Effect.forEach(
      connections,
      (connection) =>
        connection.executeUnprepared("SET default_transaction_isolation TO 'repeatable read'", [], undefined)
    )
  }).pipe(
    Effect.scoped,
    Effect.zipRight(Effect.gen(function*() {
      const store = yield* SessionStore
      const outcomes = yield* together(range(50).map(() => store.create(freshKey(), aRecord(), start, deny(3))))
      assert.deepStrictEqual(counted(outcomes), expected.deny)
    })),
    Effect.provide(sqlStore(postgresClient(), prefix))
  )
})

it.live("a partitioned table keeps the limit, and each end", () =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const outcomes = yield* together(
      range(50).map((i) => store.create(freshKey(), aRecord({ createdAt: start + i }), start, oldest(3)))
    )
    assert.deepStrictEqual(counted(outcomes), expected.oldest)
    assert.lengthOf(yield* alive(store, start + hour - 1), 3)
  }).pipe(Effect.provide(partitioned[1]())))
