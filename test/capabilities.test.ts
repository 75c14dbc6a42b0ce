/**
 * What stores claim beyond the contract, put to the test by real crashes: processes and servers that are killed with
 * SIGKILL, in the middle of what they do for others, and started again.
 */
import * as MysqlClient from "@effect/sql-mysql2/MysqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Redacted, Scope } from "effect"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import type { Capabilities, Store } from "effect-session/SessionStore"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import { capabilityLaws, LawBroken } from "effect-session/testing"
import * as Path from "node:path"
import { assert, describe } from "vitest"
import { freePort } from "../examples/shop/freePort.js"
import { intercepted } from "../src/internal/store/intercepted.js"
import { isAlive, start, stored } from "../src/internal/testing/records.js"
import type { Place } from "./support/killableStore.js"
import { openAt, openInChildProcess } from "./support/killableStore.js"
import { sharedDirectory } from "./support/outages.js"
import * as Postgres from "./support/postgresServer.js"
import { storeAt } from "./support/redisClients.js"
import * as Mariadb from "./support/servers/mariadb.js"
import * as Redis from "./support/servers/redis.js"
import { until } from "./support/servers/server.js"
import { ofMariadb, ofRedis } from "./support/stores.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

/** A store, and what can happen to what keeps its records. */
interface Kept {
  readonly store: Store
  readonly kill: Effect.Effect<void, unknown>
  /** Starts again what was killed, and gives another store on it. */
  readonly again: Effect.Effect<Store, unknown, Scope.Scope>
}

type Keeping = Effect.Effect<Kept, unknown, Scope.Scope>

/** Sessions on this machine, written by a process that is killed, and opened by another one. */
const onThisMachine = (kind: Place["kind"]): Keeping =>
  Effect.gen(function*() {
    const place = { kind, path: Path.join(yield* temporaryDirectory("crash"), "sessions") }
    const { kill, store } = yield* openInChildProcess(place)
    return { store, kill, again: openAt(place) }
  })

const sqlOn = (client: Layer.Layer<SqlClient, unknown>) =>
  Effect.map(
    Layer.build(SqlStore.layer.pipe(Layer.provide(SqlMigrations.layer), Layer.provideMerge(client))),
    (context) => ({ store: Context.get(context, SessionStore), sql: Context.get(context, SqlClient) })
  )

/** A Postgres, whose processes are all killed. */
const postgres = (settings?: string) =>
  Effect.gen(function*() {
    const start = yield* Postgres.startable(settings)
    const opened = Effect.flatMap(start, ({ signal, url }) =>
      Effect.map(
        sqlOn(PgClient.layer({ url: Redacted.make(url), maxConnections: 3 })),
        ({ sql, store }) => ({ sql, store, kill: signal("SIGKILL") })
      ))
    return { ...yield* opened, again: Effect.map(opened, ({ store }) => store) }
  })

const mariadb = Effect.gen(function*() {
  const options = { directory: Path.join(yield* sharedDirectory, "data"), port: yield* freePort }
  const opened = Effect.flatMap(Mariadb.make(options), ({ signal, url }) =>
    Effect.map(
      sqlOn(MysqlClient.layer({ url: Redacted.make(url), maxConnections: 3 })),
      ({ sql, store }) => ({ sql, store, kill: signal("SIGKILL") })
    ))
  return { ...yield* opened, again: Effect.map(opened, ({ store }) => store) }
})

const redis = (settings: Redis.Options["settings"] = {}) =>
  Effect.gen(function*() {
    const options = { directory: yield* Redis.temporary, port: yield* freePort, settings }
    const opened = Effect.gen(function*() {
      const server = yield* Redis.make(options)
      // What is under way when the server ends has failed, and is not sent to the next one.
      const client = { enableOfflineQueue: false, retryStrategy: () => null }
      const store = yield* storeAt(server.url, { prefix: "shop:" }, client)
      return { store, kill: server.signal("SIGKILL"), save: server.ask("SAVE") }
    })
    return { ...yield* opened, again: Effect.map(opened, ({ store }) => store) }
  })

/** Every keeper, with what its store must claim. */
const keepers: ReadonlyArray<readonly [name: string, claims: Capabilities, keeping: Keeping]> = [
  ["sqlite, synchronous=FULL", { durableDestroy: true, remote: false }, onThisMachine("sqlite")],
  ["file", { durableDestroy: true, remote: false }, onThisMachine("files")],
  ["postgres", { durableDestroy: true, remote: true }, postgres()],
  ...ofMariadb(["mariadb", { durableDestroy: true, remote: true }, mariadb] as const),
  ...ofRedis(
    [
      "redis, appendfsync always",
      { durableDestroy: true, remote: true },
      redis({ appendonly: "yes", appendfsync: "always" })
    ] as const
  )
]

/** A store that has been killed in the middle of what it did for others, as it is when it has been started again. */
const crashed = ({ again, kill, store }: Kept) =>
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
    return yield* again
  }).pipe(Effect.timeout("2 minutes"))

/** Runs one of the laws. What was there before the crash must be there after it, or the law has seen nothing. */
const obeys = (index: number, kept: Kept) =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const one = yield* stored(kept.store)
    let after = kept.store
    const crash = Effect.map(Scope.extend(crashed(kept), scope), (store) => after = store)
    const law = capabilityLaws(crash)[index]
    if (law === undefined) return assert.fail("there is no such law")
    yield* Effect.provideService(law.law, SessionStore, kept.store)
    assert.notStrictEqual(after, kept.store, "there was a crash")
    yield* isAlive(after, one, start)
  })

const laws = capabilityLaws(Effect.never).map(({ name }, index) => [name, index] as const)

describe.each(keepers)("%s", (_, claims, keeping) => {
  for (const [title, index] of laws) {
    it.scopedLive(title, () =>
      Effect.gen(function*() {
        const kept = yield* keeping
        assert.deepStrictEqual(kept.store.capabilities, claims)
        yield* obeys(index, kept)
      }))
  }
})

for (const name of ofRedis("redis without persistence")) {
  it.scopedLive(`${name} claims nothing and is not asked; a claim is caught, because nothing is left`, () =>
    Effect.gen(function*() {
      const kept = yield* redis()
      assert.deepStrictEqual(kept.store.capabilities, { durableDestroy: false, remote: true })
      const { law } = capabilityLaws(Effect.dieMessage("it was asked"))[0] ?? assert.fail("there are no laws")
      yield* Effect.provideService(law, SessionStore, kept.store)
      const broken = yield* Effect.flip(obeys(0, { ...kept, store: yield* boasting(kept.store, Effect.void) }))
      assert.instanceOf(broken, LawBroken)
      assert.match(broken.message, /^load: expected \{.* but got nothing$/)
    }))
}

/** A keeper that can lose what it has confirmed: all that comes after `forget`. */
interface Forgetting extends Kept {
  readonly forget: Effect.Effect<unknown, unknown>
  /** What a store that is made from then on claims of destroys. */
  readonly claimed: Effect.Effect<boolean, unknown>
}

type Forgetful = Effect.Effect<Forgetting, unknown, Scope.Scope>

const claimOf = ({ capabilities }: Store) => capabilities.durableDestroy

const forgetful: ReadonlyArray<readonly [name: string, keeping: Forgetful]> = [
  [
    "postgres that writes a commit down later",
    Effect.map(postgres("synchronous_commit = off\n"), (kept) => ({
      ...kept,
      forget: Effect.gen(function*() {
        // Later is never, then: on a slow machine its next turn might come before the crash.
        yield* Effect.repeat(stopWalWriter(kept.sql), { until: (isIdle) => isIdle })
        yield* kept.sql`CHECKPOINT`
      }),
      claimed: Effect.succeed(claimOf(kept.store))
    }))
  ],
  ...ofMariadb(
    [
      "mariadb that writes a commit down later",
      Effect.map(mariadb, (kept) => ({
        ...kept,
        forget: Effect.gen(function*() {
          yield* kept.sql`SET GLOBAL innodb_flush_log_at_timeout = 2700`
          // The thread that writes the log each second may have read the old setting, and be about to write: on a busy machine,
          // what is committed next would be in it. Its next turn is counted when this one has ended, and reads the new one.
          const turns = yield* turnsOf(kept.sql)
          yield* until(Effect.orDie(turnsOf(kept.sql)), (now) => now > turns)
          yield* kept.sql`SET GLOBAL innodb_flush_log_at_trx_commit = 0`
        }),
        claimed: Effect.map(Effect.provideService(SqlStore.make(), SqlClient, kept.sql), claimOf)
      }))
    ] as const
  ),
  ...ofRedis(
    [
      "redis with snapshots",
      Effect.map(redis(), (kept) => ({ ...kept, forget: kept.save, claimed: Effect.succeed(claimOf(kept.store)) }))
    ] as const
  )
]

/**
 * Stops the process that writes the log of Postgres. Gives whether it was idle: if it was writing, it would hold the log's lock
 * for ever, and a checkpoint would wait for that. Then it goes on.
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

/** How often the thread of InnoDB has ended its turn, in which it writes the log if that is due. */
const turnsOf = (sql: SqlClient) =>
  Effect.map(
    sql<{ readonly Value: string }>`SHOW GLOBAL STATUS LIKE 'Innodb_master_thread_%_loops'`,
    (rows) => {
      assert.lengthOf(rows, 2)
      return rows.reduce((sum, { Value }) => sum + Number(Value), 0)
    }
  )

const ends: ReadonlySet<string> = new Set(["destroy", "revoke", "revokeSubject"])

/** The same store, with the claim that what it ends does not come back; it forgets that it has ended anything. */
const boasting = (store: Store, forget: Effect.Effect<unknown, unknown>) =>
  Effect.map(Effect.cached(Effect.orDie(forget)), (forgetOnce) =>
    intercepted(
      { ...store, capabilities: { ...store.capabilities, durableDestroy: true } },
      (operation, call) => ends.has(operation) ? Effect.zipRight(forgetOnce, call) : call
    ))

describe.each(forgetful)("%s, and a store that claims too much", (_, keeping) => {
  for (const [title, index] of laws) {
    it.scopedLive(`is caught: ${title}`, () =>
      Effect.gen(function*() {
        const { claimed, forget, ...kept } = yield* keeping
        // It is not one of ours: those ask, and claim less.
        const lose = Effect.zipRight(forget, Effect.map(claimed, (claims) => assert.isFalse(claims)))
        const broken = yield* Effect.flip(obeys(index, { ...kept, store: yield* boasting(kept.store, lose) }))
        assert.instanceOf(broken, LawBroken)
        assert.strictEqual(broken.message, "load: expected false but got true")
      }))
  }
})
