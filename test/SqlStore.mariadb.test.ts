/**
 * Behaviour of MariaDB and MySQL: servers without strict mode, binary names, isolation, replicas.
 */
import * as MysqlClient from "@effect/sql-mysql2/MysqlClient"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Layer, Redacted, Scope } from "effect"
import { StoredEngine } from "effect-session"
import {
  aRecord,
  freshKey,
  hour,
  isAlive,
  isDead,
  isThere,
  keyOf,
  namespace,
  start,
  stored
} from "effect-session/Fixtures"
import { SessionStore } from "effect-session/SessionStore"
import { afterAll, assert, beforeAll, describe } from "vitest"
import { createLaws } from "../src/internal/testing/createLaws.js"
import { dataLaws } from "../src/internal/testing/dataLaws.js"
import { directoryLaws } from "../src/internal/testing/directoryLaws.js"
import { removalLaws } from "../src/internal/testing/removalLaws.js"
import { revocationLaws } from "../src/internal/testing/revocationLaws.js"
import { rotateLaws } from "../src/internal/testing/rotateLaws.js"
import { saveLaws } from "../src/internal/testing/saveLaws.js"
import { touchLaws } from "../src/internal/testing/touchLaws.js"
import { range, together } from "./support/concurrency.js"
import { dump, untilWaiting } from "./support/databases.js"
import { freshPrefix, sqlStore } from "./support/localStores.js"
import { sharedDirectory } from "./support/outages.js"
import { mysqlClient } from "./support/serverClients.js"
import * as Mariadb from "./support/servers/mariadb.js"
import { storeTwoRecords } from "./support/storeCalls.js"

/** The laws that depend on single statements. */
const laws = [createLaws, saveLaws, touchLaws, rotateLaws, removalLaws, directoryLaws, revocationLaws, dataLaws].flat()

/** Starts a server with these settings for all tests of a group, and returns clients of it. */
const serverWith = (...settings: ReadonlyArray<string>) => {
  const scope = Effect.runSync(Scope.make())
  let url = ""
  beforeAll(async () => {
    const server = Effect.flatMap(sharedDirectory, (folder) => Mariadb.make({ directory: `${folder}/data`, settings }))
    url = (await Effect.runPromise(Scope.extend(server, scope))).url
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  return (user = "root") =>
    Layer.suspend(() => MysqlClient.layer({ url: Redacted.make(url.replace("root", user)), maxConnections: 10 }))
}

/** A store on new tables, and its client. */
const opened = (client: Layer.Layer<SqlClient, unknown>, prefix = freshPrefix()) =>
  Effect.map(Layer.build(sqlStore(client, prefix)), (context) => ({
    prefix,
    store: Context.get(context, SessionStore),
    sql: Context.get(context, SqlClient)
  }))

/** Reserves another connection, and returns a function that executes statements on it. */
const otherConnection = (sql: SqlClient) =>
  Effect.map(sql.reserve, (connection) => (statement: string) => connection.executeUnprepared(statement, [], undefined))

describe("a server without strict mode, in another time zone, with another default engine", () => {
  const client = serverWith(
    "--sql-mode=",
    "--transaction-isolation=READ-COMMITTED",
    "--default-time-zone=+13:00",
    "--character-set-server=latin1",
    "--default-storage-engine=MyISAM",
    "--innodb-default-row-format=compact",
    "--innodb-strict-mode=OFF"
  )

  for (const { law, name } of laws) {
    it.live(name, () => Effect.provide(law, sqlStore(client())))
  }

  it.scopedLive("a name that is too long is rejected, not truncated", () =>
    Effect.gen(function*() {
      const { prefix, sql, store } = yield* opened(client())
      const long = "\u{1f600}".repeat(255)
      const one = yield* stored(store, { namespace: long, subject: long })
      const before = yield* dump(sql, prefix)
      const tooLong = `${long}a`
      for (
        const call of [
          store.create(freshKey(), aRecord({ subject: tooLong }), start),
          store.create(freshKey(), aRecord({ namespace: tooLong }), start),
          store.rotate(one.key, freshKey(), { ...one.record, subject: tooLong }, { expectedVersion: 1, now: start }),
          store.revokeSubject(long, tooLong),
          store.revokeSubject(long, tooLong, one.record.id),
          store.revokeSubject(tooLong, long),
          store.revokeAll(tooLong),
          store.revoke(tooLong, one.record.id),
          store.list(long, tooLong, start)
        ]
      ) {
        const error = yield* Effect.flip(call)
        assert.strictEqual(error.reason, "unavailable")
        assert.instanceOf(error.cause instanceof Error ? error.cause.cause : undefined, RangeError)
      }
      assert.strictEqual(yield* dump(sql, prefix), before)
      yield* isAlive(store, one, start)
    }))

  for (const newKey of ["0", "z"]) {
    it.scopedLive(`a revocation by id finds a session that has moved to ${newKey}… while the revocation waited for its lock`, () =>
      Effect.gen(function*() {
        const { prefix, sql, store } = yield* opened(client())
        const one = yield* stored(store, {}, keyOf("K".repeat(43)))
        const moved = keyOf(newKey.repeat(43))
        const execute = yield* otherConnection(sql)
        yield* execute("BEGIN")
        yield* execute(
          `SELECT * FROM ${prefix}sessions WHERE namespace = '${namespace}' AND id = '${one.record.id}' FOR UPDATE`
        )
        const revocation = yield* Effect.fork(store.revoke(namespace, one.record.id))
        yield* untilWaiting(sql, "mariadb", prefix, 1)
        yield* execute(`UPDATE ${prefix}sessions SET \`key\` = '${moved}'`)
        yield* execute("COMMIT")
        assert.isTrue(yield* revocation)
        assert.isFalse(yield* isThere(store, moved, start))
        yield* isDead(store, one, start)
      }))
  }
})

describe("a server with sql_mode=ORACLE", () => {
  const client = serverWith(
    "--sql-mode=ORACLE,NO_BACKSLASH_ESCAPES,ONLY_FULL_GROUP_BY,HIGH_NOT_PRECEDENCE,PAD_CHAR_TO_FULL_LENGTH",
    "--transaction-isolation=SERIALIZABLE",
    "--innodb-snapshot-isolation=ON"
  )
  for (const { law, name } of laws) {
    it.live(name, () => Effect.provide(law, sqlStore(client())))
  }
})

describe("a server that becomes a replica", () => {
  const client = serverWith()

  it.scopedLive("a rejected write closes its connection, so that the next connection may reach the new primary", () =>
    Effect.gen(function*() {
      const user = freshPrefix().slice(0, -1)
      const prefix = freshPrefix()
      const admin = (yield* opened(client(), prefix)).sql
      yield* admin.unsafe(`CREATE USER ${user}`)
      yield* admin.unsafe(`GRANT ALL ON test.* TO ${user}`)
      const { store } = yield* opened(client(user), prefix)
      const one = yield* stored(store)
      const connections = Effect.map(
        admin.unsafe<{ readonly id: number }>(`SELECT id FROM information_schema.processlist WHERE user = '${user}'`),
        (rows) => rows.map(({ id }) => id)
      )
      const before = yield* connections
      yield* admin.unsafe("SET GLOBAL read_only = ON")
      assert.strictEqual(
        (yield* Effect.flip(store.save(one.key, one.record, { expectedVersion: 1, now: start }))).reason,
        "unavailable"
      )
      yield* isAlive(store, one, start)
      yield* admin.unsafe("SET GLOBAL read_only = OFF")
      assert.strictEqual(yield* store.save(one.key, one.record, { expectedVersion: 1, now: start }), "saved")
      assert.isAbove(before.length, 0)
      assert.isTrue((yield* connections).some((id) => !before.includes(id)))
    }))
})

describe("removeExpired", () => {
  const expired = { expiry: { at: start, deadline: undefined, lifetime: undefined } }

  it.scopedLive("skips locked rows without waiting", () =>
    Effect.gen(function*() {
      const { prefix, sql, store } = yield* opened(mysqlClient())
      const all = yield* together(range(5).map(() => stored(store, expired)))
      const execute = yield* otherConnection(sql)
      yield* execute("BEGIN")
      yield* execute(`SELECT * FROM ${prefix}sessions WHERE \`key\` = '${all[2]?.key}' FOR UPDATE`)
      assert.strictEqual(yield* Effect.timeout(store.removeExpired({ now: start, limit: 10 }), "30 seconds"), 4)
      yield* execute("ROLLBACK")
      assert.strictEqual(yield* store.removeExpired({ now: start, limit: 10 }), 1)
    }))

  it.scopedLive("concurrent calls share the work, and none waits for another", () =>
    Effect.gen(function*() {
      const { prefix, sql, store } = yield* opened(mysqlClient())
      yield* together(range(100).map(() => stored(store, expired)))
      const alive = yield* stored(store)
      // Another process is deleting 40 of them.
      const [held, release] = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
      const first = yield* Effect.fork(sql.withTransaction(
        sql.unsafe(
          `SELECT id FROM ${prefix}sessions WHERE expires_at <= ${start} ORDER BY expires_at LIMIT 40 FOR UPDATE SKIP LOCKED`
        ).pipe(
          Effect.zipRight(Deferred.succeed(held, undefined)),
          Effect.zipRight(Deferred.await(release))
        )
      ))
      yield* Deferred.await(held)
      const removed = yield* Effect.timeout(
        together(range(3).map(() => store.removeExpired({ now: start, limit: 30 }))),
        "30 seconds"
      )
      assert.strictEqual(removed.reduce((a, b) => a + b, 0), 60)
      yield* Deferred.succeed(release, undefined)
      yield* first
      assert.strictEqual(yield* store.removeExpired({ now: start, limit: 100 }), 40)
      yield* isAlive(store, alive, start)
    }))
})

describe("stored rows", () => {
  it.scopedLive("contain no token in any column", () =>
    Effect.gen(function*() {
      const { prefix, sql, store } = yield* opened(mysqlClient())
      const engine = yield* StoredEngine.make(store).bind({ namespace, cookieName: "session" })
      const outcome = yield* engine.write({ _tag: "Create", record: aRecord() }, start)
      if (outcome._tag !== "Written") return assert.fail(outcome._tag)
      yield* store.revokeSubject(namespace, "ann")
      const text = yield* dump(sql, prefix)
      assert.include(text, outcome.record.id)
      const token = Redacted.value(outcome.value)
      const bytes = Buffer.from(token.slice(3), "base64url")
      for (const encoding of [token, token.slice(3), bytes.toString("hex"), bytes.toString("base64")]) {
        assert.notInclude(text, encoding)
      }
    }))

  it.scopedLive("are readable: keys, names and data are text, and times are numbers", () =>
    Effect.gen(function*() {
      const { prefix, sql, store } = yield* opened(mysqlClient())
      const { key, record } = yield* storeTwoRecords(store)
      const rows = yield* sql.unsafe(
        `SELECT CAST(\`key\` AS CHAR) AS k, CAST(subject AS CHAR) AS s, data AS d, expires_at AS e FROM ${prefix}sessions ` +
          `WHERE id = '${record.id}'`
      )
      assert.deepStrictEqual(rows, [{ k: key, s: "ann", d: record.data, e: start + hour }])
    }))
})
