/**
 * The capabilities that stores declare, tested by crashes: processes and servers are killed with SIGKILL during writes and
 * started again.
 */
import * as MysqlClient from "@effect/sql-mysql2/MysqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Redacted, Scope } from "effect"
import { isAlive, start, stored } from "effect-session/Fixtures"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import type { Capabilities, Store } from "effect-session/SessionStore"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import { capabilityLaws, FaultyStore, LawBroken } from "effect-session/testing"
import * as Path from "node:path"
import { assert, describe } from "vitest"
import { freePort } from "../examples/shop/freePort.js"
import type { Place } from "./support/killableStore.js"
import { openAt, openInChildProcess } from "./support/killableStore.js"
import { sharedDirectory } from "./support/outages.js"
import * as Postgres from "./support/postgresServer.js"
import { storeAt } from "./support/redisClients.js"
import { ofMariadb, ofRedis } from "./support/serverClients.js"
import * as Mariadb from "./support/servers/mariadb.js"
import * as Redis from "./support/servers/redis.js"
import { until } from "./support/servers/server.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

/** A store on a process or server that can be killed and restarted. */
interface Killable {
  readonly store: Store
  readonly kill: Effect.Effect<void, unknown>
  /** Restarts the killed process or server and opens a new store on it. */
  readonly restart: Effect.Effect<Store, unknown, Scope.Scope>
}

type Opening = Effect.Effect<Killable, unknown, Scope.Scope>

/** A local store, written by a child process and reopened by this one. */
const inChildProcess = (kind: Place["kind"]): Opening =>
  Effect.gen(function*() {
    const place = { kind, path: Path.join(yield* temporaryDirectory("crash"), "sessions") }
    const { kill, store } = yield* openInChildProcess(place)
    return { store, kill, restart: openAt(place) }
  })

const sqlOn = (client: Layer.Layer<SqlClient, unknown>) =>
  Effect.map(
    Layer.build(SqlStore.layer.pipe(Layer.provide(SqlMigrations.layer), Layer.provideMerge(client))),
    (context) => ({ store: Context.get(context, SessionStore), sql: Context.get(context, SqlClient) })
  )

/** A Postgres server; all of its processes are killed. */
const postgres = (settings?: string) =>
  Effect.gen(function*() {
    const start = yield* Postgres.startable(settings)
    const opened = Effect.flatMap(start, ({ signal, url }) =>
      Effect.map(
        sqlOn(PgClient.layer({ url: Redacted.make(url), maxConnections: 3 })),
        ({ sql, store }) => ({ sql, store, kill: signal("SIGKILL") })
      ))
    return { ...yield* opened, restart: Effect.map(opened, ({ store }) => store) }
  })

const mariadb = Effect.gen(function*() {
  const options = { directory: Path.join(yield* sharedDirectory, "data"), port: yield* freePort }
  const opened = Effect.flatMap(Mariadb.make(options), ({ signal, url }) =>
    Effect.map(
      sqlOn(MysqlClient.layer({ url: Redacted.make(url), maxConnections: 3 })),
      ({ sql, store }) => ({ sql, store, kill: signal("SIGKILL") })
    ))
  return { ...yield* opened, restart: Effect.map(opened, ({ store }) => store) }
})

const redis = (settings: Redis.Options["settings"] = {}) =>
  Effect.gen(function*() {
    const options = { directory: yield* Redis.temporary, port: yield* freePort, settings }
    const opened = Effect.gen(function*() {
      const server = yield* Redis.make(options)
      // Calls in progress when the server ends fail and are not resent to the restarted server.
      const client = { enableOfflineQueue: false, retryStrategy: () => null }
      const store = yield* storeAt(server.url, { prefix: "shop:" }, client)
      return { store, kill: server.signal("SIGKILL"), save: server.ask("SAVE") }
    })
    return { ...yield* opened, restart: Effect.map(opened, ({ store }) => store) }
  })

/** Stores, with the capabilities that they must declare. */
const durable: ReadonlyArray<readonly [name: string, capabilities: Capabilities, opening: Opening]> = [
  ["sqlite, synchronous=FULL", { durableDestroy: true, remote: false, limitsSubjects: true }, inChildProcess("sqlite")],
  ["file", { durableDestroy: true, remote: false, limitsSubjects: true }, inChildProcess("files")],
  ["postgres", { durableDestroy: true, remote: true, limitsSubjects: true }, postgres()],
  ...ofMariadb(["mariadb", { durableDestroy: true, remote: true, limitsSubjects: true }, mariadb] as const),
  ...ofRedis(
    [
      "redis, appendfsync always",
      { durableDestroy: true, remote: true, limitsSubjects: true },
      redis({ appendonly: "yes", appendfsync: "always" })
    ] as const
  )
]

/** Kills a store during writes of another fiber, restarts it and returns the store after the restart. */
const crashAndRestart = ({ kill, restart, store }: Killable) =>
  Effect.gen(function*() {
    const busy = yield* Deferred.make<void>()
    const others = yield* Effect.suspend(() => stored(store, { namespace: "others" })).pipe(
      Effect.zipRight(Deferred.succeed(busy, undefined)),
      Effect.forever,
      Effect.fork
    )
    yield* Deferred.await(busy)
    yield* kill
    const error = yield* Effect.flip(Fiber.join(others))
    assert.instanceOf(error, SessionStoreError)
    assert.strictEqual(error.reason, "unavailable")
    return yield* restart
  }).pipe(Effect.timeout("2 minutes"))

/** Runs a law and checks that a record stored before the crash is still there: otherwise the law proves nothing. */
const runLaw = (index: number, killable: Killable) =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const one = yield* stored(killable.store)
    let after = killable.store
    const crash = Effect.map(Scope.extend(crashAndRestart(killable), scope), (store) => after = store)
    const law = capabilityLaws(crash)[index]
    if (law === undefined) return assert.fail("unknown law")
    yield* Effect.provideService(law.law, SessionStore, killable.store)
    assert.notStrictEqual(after, killable.store, "the store was restarted")
    yield* isAlive(after, one, start)
  })

const laws = capabilityLaws(Effect.never).map(({ name }, index) => [name, index] as const)

describe.each(durable)("%s", (_, capabilities, opening) => {
  for (const [title, index] of laws) {
    it.scopedLive(title, () =>
      Effect.gen(function*() {
        const killable = yield* opening
        assert.deepStrictEqual(killable.store.capabilities, capabilities)
        yield* runLaw(index, killable)
      }))
  }
})

for (const name of ofRedis("redis without persistence")) {
  it.scopedLive(`${name} declares no durability and passes; a store on it that declares durability fails, because no record is left`, () =>
    Effect.gen(function*() {
      const killable = yield* redis()
      assert.deepStrictEqual(killable.store.capabilities, { durableDestroy: false, remote: true, limitsSubjects: true })
      const { law } = capabilityLaws(Effect.dieMessage("the law crashed the store"))[0] ?? assert.fail("no laws")
      yield* Effect.provideService(law, SessionStore, killable.store)
      const broken = yield* Effect.flip(
        runLaw(0, { ...killable, store: yield* declaringDurability(killable.store, Effect.void) })
      )
      assert.instanceOf(broken, LawBroken)
      assert.match(broken.message, /^load: expected \{.* but got nothing$/)
    }))
}

/** A server that loses every confirmed write after `disableDurability`. */
interface Lossy extends Killable {
  readonly disableDurability: Effect.Effect<unknown, unknown>
  /** The `durableDestroy` that a store opened afterwards declares. */
  readonly declared: Effect.Effect<boolean, unknown>
}

type OpeningLossy = Effect.Effect<Lossy, unknown, Scope.Scope>

const isDurable = ({ capabilities }: Store) => capabilities.durableDestroy

const lossy: ReadonlyArray<readonly [name: string, opening: OpeningLossy]> = [
  [
    "postgres with synchronous_commit = off",
    Effect.map(postgres("synchronous_commit = off\n"), (kept) => ({
      ...kept,
      disableDurability: Effect.gen(function*() {
        // Stopped for good: on a slow machine it might flush the log before the crash.
        yield* Effect.repeat(stopWalWriter(kept.sql), { until: (isIdle) => isIdle })
        yield* kept.sql`CHECKPOINT`
      }),
      declared: Effect.succeed(isDurable(kept.store))
    }))
  ],
  ...ofMariadb(
    [
      "mariadb with innodb_flush_log_at_trx_commit = 0",
      Effect.map(mariadb, (kept) => ({
        ...kept,
        disableDurability: Effect.gen(function*() {
          yield* kept.sql`SET GLOBAL innodb_flush_log_at_timeout = 2700`
          // The thread that flushes the log each second may have read the old setting and be about to flush, which on a busy
          // machine could include the next commit. Once its current loop is counted, the next one reads the new setting.
          const loops = yield* loopsOf(kept.sql)
          yield* until(Effect.orDie(loopsOf(kept.sql)), (now) => now > loops)
          yield* kept.sql`SET GLOBAL innodb_flush_log_at_trx_commit = 0`
        }),
        declared: Effect.map(Effect.provideService(SqlStore.make(), SqlClient, kept.sql), isDurable)
      }))
    ] as const
  ),
  ...ofRedis(
    [
      "redis with snapshots",
      Effect.map(
        redis(),
        (kept) => ({ ...kept, disableDurability: kept.save, declared: Effect.succeed(isDurable(kept.store)) })
      )
    ] as const
  )
]

/**
 * Stops the WAL writer of Postgres and returns whether it was idle. A stopped writer that was writing would hold the WAL lock,
 * and a checkpoint would wait for it forever, so in that case it is resumed.
 */
const stopWalWriter = (sql: SqlClient) =>
  Effect.gen(function*() {
    const ask = sql<{ pid: number; wait_event: string | null }>`
      SELECT pid, wait_event FROM pg_stat_activity WHERE backend_type = 'walwriter'`
    const [found = assert.fail("there is no WAL writer")] = yield* ask
    yield* Postgres.sent([found.pid], "SIGSTOP")
    const isIdle = (yield* ask).every(({ wait_event }) => wait_event === "WalWriterMain")
    if (!isIdle) yield* Postgres.sent([found.pid], "SIGCONT")
    return isIdle
  })

/** Number of completed loops of the InnoDB master thread, which flushes the log. */
const loopsOf = (sql: SqlClient) =>
  Effect.map(
    sql<{ readonly Value: string }>`SHOW GLOBAL STATUS LIKE 'Innodb_master_thread_%_loops'`,
    (rows) => {
      assert.lengthOf(rows, 2)
      return rows.reduce((sum, { Value }) => sum + Number(Value), 0)
    }
  )

const endingOperations: ReadonlySet<string> = new Set(["destroy", "revoke", "revokeSubject"])

/** The store, declaring `durableDestroy`, which disables durability before its first destroy or revocation. */
const declaringDurability = (store: Store, disable: Effect.Effect<unknown, unknown>) =>
  Effect.map(Effect.cached(Effect.orDie(disable)), (disableOnce) =>
    FaultyStore.intercept(
      { ...store, capabilities: { ...store.capabilities, durableDestroy: true } },
      (operation, call) => endingOperations.has(operation) ? Effect.zipRight(disableOnce, call) : call
    ))

describe.each(lossy)("%s, and a store that declares durability", (_, opening) => {
  for (const [title, index] of laws) {
    it.scopedLive(`fails the law: ${title}`, () =>
      Effect.gen(function*() {
        const { declared, disableDurability, ...killable } = yield* opening
        // The stores of this package read the settings and do not declare it.
        const lose = Effect.zipRight(
          disableDurability,
          Effect.map(declared, (isDeclared) => assert.isFalse(isDeclared))
        )
        const broken = yield* Effect.flip(
          runLaw(index, { ...killable, store: yield* declaringDurability(killable.store, lose) })
        )
        assert.instanceOf(broken, LawBroken)
        assert.strictEqual(broken.message, "load: expected false but got true")
      }))
  }
})
