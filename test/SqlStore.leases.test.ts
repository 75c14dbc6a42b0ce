/**
 * Connections that execute several statements of the store before they go back to the pool of the application.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { SqlClient } from "@effect/sql/SqlClient"
import * as Statement from "@effect/sql/Statement"
import { it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Option, Redacted, Scope, Tracer } from "effect"
import { isAlive, start, stored } from "effect-session/Fixtures"
import { SessionStore } from "effect-session/SessionStore"
import * as SqlStore from "effect-session/SqlStore"
import type { Socket } from "node:net"
import { connect, createServer } from "node:net"
import { assert } from "vitest"
import { range, together } from "./support/concurrency.js"
import { untilWaiting } from "./support/databases.js"
import { next } from "./support/engines.js"
import { freshPrefix, sqlStore } from "./support/localStores.js"
import { postgresClient } from "./support/serverClients.js"
import * as servers from "./support/sharedServers.js"
import { works } from "./support/storeCalls.js"

/** A store and the application on one pool of this size, and another client of the test. */
const setUp = (maxConnections: number) =>
  Effect.gen(function*() {
    const [prefix, applicationName] = [freshPrefix(), freshPrefix()]
    const client = PgClient.layer({ url: Redacted.make(servers.postgres()), maxConnections, applicationName })
    const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
    const context = yield* Layer.buildWithScope(Layer.fresh(sqlStore<unknown>(client, prefix)), scope)
    const admin = Context.get(yield* Layer.build(Layer.fresh(postgresClient({ maxConnections: 2 }))), SqlClient)
    const other = yield* admin.reserve
    const say = (statement: string) => other.executeUnprepared(statement, [], undefined)
    return {
      store: Context.get(context, SessionStore),
      sql: Context.get(context, SqlClient),
      close: Scope.close(scope, Exit.void),
      admin,
      prefix,
      hold: Effect.zipRight(say("BEGIN"), say(`SELECT id FROM ${prefix}sessions FOR UPDATE`)),
      release: say("COMMIT"),
      backends: admin<{ readonly pid: number }>`SELECT pid FROM pg_stat_activity
        WHERE application_name = ${applicationName}`
    }
  })

/** A proxy in front of Postgres. It can answer a packet as PgBouncer does that found no server for it, and closes a moment later. */
const pooler = (postgres: string) =>
  Effect.async<{ readonly close: Effect.Effect<void>; readonly port: number; readonly refuseNext: () => void }>(
    (resume) => {
      const { hostname, port } = new URL(postgres)
      const fields = Buffer.from("SFATAL\0C08P01\0Mquery_wait_timeout\0\0")
      const head = Buffer.from("E\0\0\0\0")
      head.writeInt32BE(fields.length + 4, 1)
      let refuses = false
      const sockets = new Set<Socket>()
      const proxy = createServer((client) => {
        const server = connect(Number(port), hostname)
        for (const socket of [client, server]) sockets.add(socket.on("error", () => {}))
        client.on("close", () => server.destroy())
        server.on("data", (data) => client.write(data))
        client.on("data", (data) => {
          if (!refuses) return server.write(data)
          refuses = false
          client.write(Buffer.concat([head, fields]))
          setTimeout(() => client.destroy(), 50)
        })
      }).listen(0, "127.0.0.1", () => {
        const address = proxy.address()
        resume(Effect.succeed({
          close: Effect.sync(() => {
            proxy.close()
            for (const socket of sockets) socket.destroy()
          }),
          port: typeof address === "object" && address !== null ? address.port : 0,
          refuseNext: () => void (refuses = true)
        }))
      })
    }
  )

/** A pool of one connection, on which a save waits for a row that the test holds. */
const blocked = Effect.gen(function*() {
  const { admin, hold, prefix, release, store } = yield* setUp(1)
  const [held, other] = [yield* stored(store), yield* stored(store)]
  yield* hold
  const first = yield* Effect.fork(store.save(held.key, next(held.record), { expectedVersion: 1, now: start }))
  const [pid = 0] = yield* untilWaiting(admin, "postgres", prefix, 1)
  return { admin, first, held, other, pid, release, store }
})

for (const size of [1, 2, 5]) {
  it.scopedLive(`queries of the application are answered while 64 callers use a pool of ${size} without pause`, () =>
    Effect.gen(function*() {
      const { sql, store } = yield* setUp(size)
      const one = yield* stored(store)
      let loads = 0
      const load = Effect.tap(isAlive(store, one, start), () => Effect.sync(() => loads++))
      yield* Effect.forkScoped(together(range(64).map(() => Effect.forever(load))))
      yield* Effect.repeat(Effect.sleep("10 millis"), { until: () => loads > 200 })
      const begun = loads
      // The callers never pause: if the store did not return its connection, the application would wait forever.
      yield* Effect.repeatN(Effect.zipRight(sql`SELECT 1`, sql.withTransaction(sql`SELECT 2`)), 9)
      assert.isAbove(loads, begun)
    }))
}

it.scopedLive("an idle connection goes back to the pool: the application gets the only one after every statement", () =>
  Effect.gen(function*() {
    const { sql, store } = yield* setUp(1)
    const one = yield* stored(store)
    // If the store kept the connection, the transaction would never get one.
    yield* Effect.repeatN(
      Effect.zipRight(isAlive(store, one, start), sql.withTransaction(isAlive(store, one, start))),
      99
    )
  }))

it.scopedLive("consecutive and concurrent statements share one connection, and use more of the pool if one is slow", () =>
  Effect.gen(function*() {
    const { backends, hold, prefix, admin, release, store } = yield* setUp(3)
    const one = yield* stored(store)
    yield* Effect.repeatN(isAlive(store, one, start), 99)
    assert.lengthOf(yield* backends, 1)
    yield* hold
    const save = yield* Effect.fork(store.save(one.key, next(one.record), { expectedVersion: 1, now: start }))
    yield* untilWaiting(admin, "postgres", prefix, 1)
    yield* isAlive(store, one, start)
    assert.lengthOf(yield* backends, 2)
    yield* release
    assert.strictEqual(yield* save, "saved")
  }))

it.scopedLive("a statement that is interrupted while it waits for a leased connection is never sent", () =>
  Effect.gen(function*() {
    const { first, other, release, store } = yield* blocked
    const second = yield* Effect.fork(store.save(other.key, next(other.record), { expectedVersion: 1, now: start }))
    const third = yield* Effect.fork(store.load(other.key, start))
    yield* Effect.sleep("20 millis")
    yield* Fiber.interrupt(second)
    yield* release
    assert.strictEqual(yield* first, "saved")
    // It is sent after the second one would have been.
    assert.deepStrictEqual(yield* Effect.flatten(third), other.record)
    yield* isAlive(store, other, start)
  }))

it.scopedLive("a statement that is interrupted is cancelled, and the next one in the queue is executed", () =>
  Effect.gen(function*() {
    const { first, held, other, release, store } = yield* blocked
    const second = yield* Effect.fork(store.load(other.key, start))
    yield* Effect.sleep("20 millis")
    yield* Fiber.interrupt(first)
    assert.deepStrictEqual(yield* Effect.flatten(second), other.record)
    yield* release
    yield* isAlive(store, held, start)
  }))

it.scopedLive("a connection that ends while it is leased fails its statement, and no other", () =>
  Effect.gen(function*() {
    const { admin, first, held, other, pid, release, store } = yield* blocked
    const second = yield* Effect.fork(store.load(other.key, start))
    yield* Effect.sleep("20 millis")
    yield* admin`SELECT pg_terminate_backend(${pid})`
    const error = yield* Effect.flip(Fiber.join(first))
    assert.deepInclude({ ...error }, { operation: "save", reason: "unavailable" })
    assert.deepStrictEqual(yield* Effect.flatten(second), other.record)
    yield* release
    yield* isAlive(store, held, start)
  }))

it.scopedLive("a pooler that ends a connection with a fatal error fails one statement: the next one has a new connection", () =>
  Effect.gen(function*() {
    const { close, port, refuseNext } = yield* pooler(servers.postgres())
    yield* Effect.addFinalizer(() => close)
    const url = new URL(servers.postgres())
    url.host = `127.0.0.1:${port}`
    const client = PgClient.layer({ url: Redacted.make(url.href), maxConnections: 1 })
    const context = yield* Layer.build(Layer.fresh(sqlStore<unknown>(client, freshPrefix())))
    const store = Context.get(context, SessionStore)
    const one = yield* stored(store)
    yield* isAlive(store, one, start)
    refuseNext()
    const refused = yield* Effect.fork(Effect.flip(store.load(one.key, start)))
    const later = yield* Effect.fork(store.load(one.key, start))
    assert.include(JSON.stringify((yield* refused).cause), "08P01")
    assert.deepStrictEqual(yield* Effect.flatten(later), one.record)
  }))

it.scopedLive("a connection that cannot be reserved fails the statements that have waited for it, and the next ones work", () =>
  Effect.gen(function*() {
    const prefix = freshPrefix()
    const client = PgClient.layer({
      url: Redacted.make(servers.postgres()),
      maxConnections: 1,
      connectTimeout: "3 seconds"
    })
    const context = yield* Layer.build(Layer.fresh(sqlStore<unknown>(client, prefix)))
    const [store, sql] = [Context.get(context, SessionStore), Context.get(context, SqlClient)]
    const one = yield* stored(store)
    const held = yield* Deferred.make<void>()
    const isHeld = yield* Deferred.make<void>()
    yield* Effect.forkScoped(
      sql.withTransaction(Effect.zipRight(Deferred.succeed(isHeld, undefined), Deferred.await(held)))
    )
    yield* Deferred.await(isHeld)
    const errors = yield* together(range(20).map(() => Effect.flip(store.load(one.key, start))))
    assert.deepStrictEqual([...new Set(errors.map(({ reason }) => reason))], ["unavailable"])
    yield* Deferred.succeed(held, undefined)
    yield* isAlive(store, one, start)
  }))

it.scopedLive("the pool closes while the store is used without pause, and leaves no connection", () =>
  Effect.gen(function*() {
    const { backends, close, store } = yield* setUp(2)
    const one = yield* stored(store)
    let loads = 0
    const load = Effect.zipRight(isAlive(store, one, start), Effect.sync(() => loads++))
    // A closed pool fails at once: without a pause, the loop would starve this process.
    const caller = Effect.forever(Effect.catchAll(load, () => Effect.sleep("1 millis")))
    yield* Effect.forkScoped(together(range(16).map(() => caller)))
    yield* Effect.repeat(Effect.sleep("1 millis"), { until: () => loads > 100 })
    yield* close
    yield* Effect.repeat(Effect.delay(backends, "1 millis"), { until: (rows) => rows.length === 0 })
  }))

it.scopedLive("statements are spans where there is a tracer, and pass the transformer of the application", () =>
  Effect.gen(function*() {
    const { store } = yield* setUp(1)
    const one = yield* stored(store)
    const spans: Array<string> = []
    const texts: Array<string> = []
    const silent = yield* Effect.tracer
    const tracer = Tracer.make({
      context: silent.context,
      span: (...all) => {
        spans.push(all[0])
        return silent.span(...all)
      }
    })
    yield* Effect.withTracer(store.load(one.key, start), tracer)
    assert.deepStrictEqual(spans, ["sql.execute"])
    yield* store.load(one.key, start).pipe(
      Effect.locally(
        Statement.currentTransformer,
        Option.some((statement) => Effect.sync(() => (texts.push(statement.compile()[0]), statement)))
      )
    )
    assert.lengthOf(texts, 1)
  }))

it.scopedLive("a client that does not expose the connections of `pg` reserves one for every statement", () =>
  Effect.gen(function*() {
    const prefix = freshPrefix()
    const context = yield* Layer.build(Layer.fresh(sqlStore<unknown>(postgresClient({ maxConnections: 1 }), prefix)))
    const sql = Context.get(context, SqlClient).withoutTransforms()
    let reservations = 0
    const reserve = Effect.map(sql.reserve, (connection) => {
      reservations++
      return {
        execute: connection.execute.bind(connection),
        executeRaw: connection.executeRaw.bind(connection),
        executeStream: connection.executeStream.bind(connection),
        executeUnprepared: connection.executeUnprepared.bind(connection),
        executeValues: connection.executeValues.bind(connection)
      }
    })
    const foreign: SqlClient = Object.assign(Object.create(sql), { reserve, withoutTransforms: () => foreign })
    const store = yield* Effect.provideService(SqlStore.make({ prefix }), SqlClient, foreign)
    yield* works(store)
    assert.isAbove(reservations, 10)
  }))
