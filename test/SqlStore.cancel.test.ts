/**
 * Cancellation of statements whose caller was interrupted while they wait on the server.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Redacted } from "effect"
import { isAlive, isDead, namespace, start, stored } from "effect-session/Fixtures"
import type { Write } from "effect-session/SessionEngine"
import { SessionStore } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import { range, together } from "./support/concurrency.js"
import { untilWaiting } from "./support/databases.js"
import { engineOf, next, opened, record, written } from "./support/engines.js"
import { freshPrefix, sqlStore } from "./support/localStores.js"
import * as Postgres from "./support/postgresServer.js"
import { mysqlClient, ofMariadb, postgresClient } from "./support/serverClients.js"

const databases = [
  ["postgres", postgresClient, "SELECT 0 AS cancelled, pg_sleep(0.05)"],
  // SLEEP returns 1 if it was cancelled.
  ...ofMariadb(["mariadb", mysqlClient, "SELECT SLEEP(0.05) AS cancelled"] as const)
] as const

for (const [name, client, pause] of databases) {
  /** A store with a pool of this size, and another connection that can lock its rows. */
  const setUp = (maxConnections: number) =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const context = yield* Layer.build(sqlStore<unknown>(client({ maxConnections }), prefix))
      const admin = Context.get(yield* Layer.build(Layer.fresh(client({ maxConnections: 2 }))), SqlClient)
      const other = yield* admin.reserve
      const execute = (statement: string) => other.executeUnprepared(statement, [], undefined)
      return {
        store: Context.get(context, SessionStore),
        sql: Context.get(context, SqlClient),
        hold: Effect.zipRight(execute("BEGIN"), execute(`SELECT id FROM ${prefix}sessions FOR UPDATE`)),
        release: execute("COMMIT"),
        waiting: (count: number) => untilWaiting(admin, name, prefix, count)
      }
    })

  /** Checks that statements of other callers, one on each connection of the pool, are not cancelled. */
  const othersComplete = (sql: SqlClient, count: number) =>
    Effect.map(
      together(range(count).map(() => sql.unsafe<{ readonly cancelled: unknown }>(pause))),
      (all) => assert.deepStrictEqual(all.map(([row]) => Number(row?.cancelled)), range(count).map(() => 0))
    )

  describe(`${name}: an interrupted statement that waits for a row`, () => {
    for (const size of [1, 5]) {
      for (const tag of ["Save", "Rotate"] as const) {
        it.scopedLive(`${tag}, with a pool of ${size}: is cancelled, and the next statement is executed`, () =>
          Effect.gen(function*() {
            const { hold, release, sql, store, waiting } = yield* setUp(size)
            const engine = yield* engineOf(store, { timeout: "700 millis" })
            const lenient = yield* engineOf(store, { timeout: "20 seconds" })
            const { record: before, value } = yield* written(lenient, { _tag: "Create", record: record() })
            const write: Write = { _tag: tag, value, record: next(before), expectedVersion: 1 }
            yield* hold
            const error = yield* Effect.flip(engine.write(write, start))
            assert.strictEqual(error.reason, "timeout")
            // The row is still locked, so only the cancellation can have ended them.
            yield* waiting(0)
            yield* othersComplete(sql, size)
            yield* release
            yield* othersComplete(sql, size)
            assert.deepStrictEqual(yield* opened(lenient, value), before)
            const after = yield* written(lenient, write)
            assert.deepStrictEqual(yield* opened(lenient, after.value), next(before))
          }))
      }
    }

    it.scopedLive("an interrupted transaction executes none of its statements", () =>
      Effect.gen(function*() {
        const { hold, release, sql, store, waiting } = yield* setUp(1)
        const spared = yield* stored(store)
        const one = yield* stored(store)
        yield* hold
        const revocation = yield* Effect.fork(store.revokeSubject(namespace, "ann", spared.record.id))
        yield* waiting(1)
        yield* Fiber.interrupt(revocation)
        yield* waiting(0)
        yield* release
        yield* othersComplete(sql, 1)
        yield* isAlive(store, one, start)
        yield* isAlive(store, spared, start)
        yield* store.revokeSubject(namespace, "ann", spared.record.id)
        yield* isDead(store, one, start)
        yield* isAlive(store, spared, start)
      }))

    it.scopedLive(
      "interrupted at the moment at which it ends: it is executed or not, and no other statement is cancelled",
      () =>
        Effect.gen(function*() {
          const { hold, release, sql, store, waiting } = yield* setUp(1)
          const one = yield* stored(store)
          let now = one.record
          for (let i = 0; i < 8; i++) {
            yield* hold
            const later = next(now)
            const save = yield* Effect.fork(store.save(one.key, later, { expectedVersion: now.version, now: start }))
            yield* waiting(1)
            yield* together([release, Fiber.interrupt(save), othersComplete(sql, 1)])
            yield* othersComplete(sql, 1)
            const found = yield* Effect.flatten(store.load(one.key, start))
            assert.deepInclude([now, later], found)
            now = found
          }
        })
    )
  })
}

describe("postgres: a server that accepts new connections late", () => {
  it.scopedLive("receives the request to cancel even after the connection was closed", () =>
    Effect.gen(function*() {
      const { first, url } = yield* yield* Postgres.startable()
      const prefix = freshPrefix()
      const client = (maxConnections: number) =>
        Layer.fresh(PgClient.layer({ url: Redacted.make(url), maxConnections }))
      const store = Context.get(yield* Layer.build(sqlStore<unknown>(client(1), prefix)), SessionStore)
      const admin = Context.get(yield* Layer.build(client(2)), SqlClient)
      const other = yield* admin.reserve
      const execute = (statement: string) => other.executeUnprepared(statement, [], undefined)
      const one = yield* stored(store)
      yield* Effect.zipRight(execute("BEGIN"), execute(`SELECT id FROM ${prefix}sessions FOR UPDATE`))
      const save = yield* Effect.fork(
        store.save(one.key, next(one.record), { expectedVersion: one.record.version, now: start })
      )
      yield* untilWaiting(admin, "postgres", prefix, 1)
      yield* Postgres.sent([first], "SIGSTOP")
      yield* Fiber.interrupt(save)
      // The connection has been closed.
      yield* Effect.sleep("800 millis")
      yield* Postgres.sent([first], "SIGCONT")
      yield* untilWaiting(admin, "postgres", prefix, 0)
      yield* execute("COMMIT")
      assert.deepStrictEqual(yield* Effect.flatten(store.load(one.key, start)), one.record)
    }))
})

describe("postgres: a commit that waits for a replica", () => {
  it.scopedLive("is not cancelled when its caller is interrupted, because it would become visible without the replica", () =>
    Effect.gen(function*() {
      const { url } = yield* yield* Postgres.startable()
      const clientWith = (parameters: Record<string, string>, maxConnections = 1) => {
        const whole = new URL(url)
        for (const [name, value] of Object.entries(parameters)) whole.searchParams.set(name, value)
        return PgClient.layer({ url: Redacted.make(whole.href), maxConnections })
      }
      const prefix = freshPrefix()
      const local = yield* Layer.build(sqlStore(clientWith({ options: "-c synchronous_commit=local" }), prefix))
      const store = Context.get(local, SessionStore)
      const one = yield* stored(store)
      const strict = yield* Layer.build(Layer.fresh(sqlStore(clientWith({}), prefix)))
      const sql = Context.get(local, SqlClient)
      const reload = sql.unsafe("SELECT pg_reload_conf()")
      yield* Effect.acquireRelease(
        Effect.zipRight(sql.unsafe("ALTER SYSTEM SET synchronous_standby_names = 'absent'"), reload),
        () => Effect.orDie(Effect.zipRight(sql.unsafe("ALTER SYSTEM RESET synchronous_standby_names"), reload))
      )
      const waits = sql.unsafe("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
      // Commits wait once the checkpointer has read the setting, and no view shows when that is.
      const probe = Context.get(yield* Layer.build(Layer.fresh(clientWith({}, 2))), SqlClient)
      yield* Effect.forkScoped(Effect.forever(probe.unsafe("SELECT pg_logical_emit_message(true, '', '')")))
      yield* Effect.repeat(waits, { until: (rows) => rows.length === 1 })
      const save = yield* Effect.fork(
        Context.get(strict, SessionStore).save(one.key, next(one.record), {
          expectedVersion: one.record.version,
          now: start
        })
      )
      yield* Effect.repeat(waits, { until: (rows) => rows.length === 2 })
      yield* Fiber.interrupt(save)
      // The only connection of the pool is free again, or there is a new one.
      yield* Context.get(strict, SqlClient).unsafe("SELECT 1")
      assert.lengthOf(yield* waits, 2)
      yield* isAlive(store, one, start)
    }))
})
