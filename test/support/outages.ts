/**
 * Outages of a database as visitors see them. The same checks run on every database.
 */
import { SqlClient } from "@effect/sql/SqlClient"
import { Context, Deferred, Effect, Exit, Layer, Scope } from "effect"
import { isAlive, isDead, start, stored } from "effect-session/Fixtures"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import { chmod, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { assert } from "vitest"
import { activeMillis } from "./activeTime.js"
import { range, together } from "./concurrency.js"
import { sqlStore } from "./localStores.js"
import type { Signal } from "./servers/server.js"
import * as Shop from "./shop.js"
import { begin, between, ok, ShopSession, valueOf } from "./shop.js"
import { reads, storeTwoRecords, writes } from "./storeCalls.js"

/** A folder that users other than root can access. */
export const sharedDirectory = Effect.acquireRelease(
  Effect.promise(async () => {
    const directory = await mkdtemp(Path.join(tmpdir(), "effect-session-outage-"))
    await chmod(directory, 0o755)
    return directory
  }),
  (directory) => Effect.promise(() => rm(directory, { recursive: true, force: true }))
)

/** A server of one test, which the test can kill and stop. */
export interface Running {
  readonly url: string
  /** Sends the signal to all of its processes, and waits for the effect. */
  readonly signal: (name: Signal) => Effect.Effect<void>
}

/** A server that can be restarted on its port and data, and a client whose connections time out after a second. */
export interface Startable<E = unknown> {
  readonly start: Effect.Effect<Running, E, Scope.Scope>
  readonly client: (url: string, maxConnections?: number) => Layer.Layer<SqlClient, unknown>
}

/** Checks that every call fails with `unavailable` while the server is down, and that it has all confirmed writes after a crash. */
export const survivesCrash = <E>({ client, start: started }: Startable<E>) =>
  Effect.gen(function*() {
    const running = yield* Scope.make()
    const { signal, url } = yield* Scope.extend(started, running)
    const context = yield* Layer.build(
      SqlStore.layer.pipe(Layer.provide(SqlMigrations.layer), Layer.provide(client(url)))
    )
    const store = Context.get(context, SessionStore)
    assert.deepStrictEqual(store.capabilities, { durableDestroy: true, remote: true, limitsSubjects: true })
    const one = yield* storeTwoRecords(store)
    const destroyed = yield* stored(store)
    const revoked = yield* stored(store, { subject: "revoked" })
    yield* store.revokeSubject(revoked.record.namespace, "revoked")
    yield* store.destroy(destroyed.key)

    yield* signal("SIGKILL")
    yield* Scope.close(running, Exit.void)
    for (const [name, run] of [...reads, ...writes]) {
      const error = yield* Effect.flip(Effect.timeout(run(store, one), "30 seconds"))
      assert.instanceOf(error, SessionStoreError, name)
      assert.deepStrictEqual([error.operation, error.reason], [name.split(" ")[0], "unavailable"])
      assert.notInclude(error.message, url)
    }

    // The same store works again with the restarted server.
    yield* started
    yield* isAlive(store, one, start)
    yield* isDead(store, destroyed, start)
    yield* isDead(store, revoked, start)
  })

export const increment = Effect.zipRight(ShopSession.update("count", (n) => n + 1), ok)

/** The numbers of successful and failed requests of a visitor. */
export interface Tally {
  readonly cookie: string
  done: number
  refused: number
}

/** Two applications on one store: `shop` with the default timeouts, `lenient` with long ones. */
export interface Shops {
  readonly shop: Shop.Shop
  readonly lenient: Shop.Shop
}

export const shopsOn = (store: Context.Tag.Service<SessionStore>) => {
  const layer = Layer.succeed(SessionStore, store)
  return Effect.all({ shop: Shop.make(layer, Shop.defaultTimeouts), lenient: Shop.make(layer) })
}

/** Runs an effect while visitors count, each in its own session. Returns their tallies. */
export const underLoad = <E, R>({ lenient, shop }: Shops, happens: Effect.Effect<unknown, E, R>, visitors = 4) =>
  Effect.gen(function*() {
    let isOver = false
    const all: ReadonlyArray<Tally> = yield* Effect.forEach(
      range(visitors),
      () => Effect.map(begin(lenient), (cookie) => ({ cookie, done: 0, refused: 0 }))
    )
    const visit = (tally: Tally) =>
      Effect.flatMap(shop.request(increment, tally.cookie), ({ cookie, status }) => {
        assert.include([200, 503], status)
        assert.isUndefined(cookie)
        if (status === 200) return Effect.sync(() => ++tally.done > 0)
        tally.refused++
        // A pause, because immediate failures would starve everything else in this process.
        return Effect.delay(Effect.succeed(false), "10 millis")
      })
    const visits = yield* Effect.fork(
      together(all.map((tally) => Effect.repeat(visit(tally), { until: () => isOver })))
    )
    yield* Effect.ensuring(happens, Effect.sync(() => void (isOver = true)))
    yield* visits
    // Now each visitor succeeds again.
    yield* together(all.map((tally) => Effect.repeat(visit(tally), { until: (done) => done })))
    return all
  })

/** Checks that no confirmed increment is lost and no failed one is applied twice. */
export const countIsPlausible = ({ lenient }: Pick<Shops, "lenient">, { cookie, done, refused }: Tally) =>
  Effect.gen(function*() {
    const { count } = yield* valueOf(lenient, cookie)
    assert.isAtLeast(count, done)
    assert.isAtMost(count, done + refused)
    assert.strictEqual((yield* lenient.request(increment, cookie)).status, 200)
    // A server may apply a failed request late.
    const after = (yield* valueOf(lenient, cookie)).count
    assert.isAtLeast(after, count + 1)
    assert.isAtMost(after, done + refused + 1)
  })

/** Checks that connections that break under load cause at worst a 503 and lose nothing. */
export const survivesBrokenConnections = <E>(shops: Shops, cut: Effect.Effect<ReadonlyArray<unknown>, E>) =>
  Effect.gen(function*() {
    let ended = 0
    const cutting = Effect.map(Effect.delay(cut, "50 millis"), (connections) => void (ended += connections.length))
    const all = yield* underLoad(shops, Effect.repeatN(cutting, 20))
    assert.isAbove(ended, 0)
    yield* Effect.forEach(all, (tally) => countIsPlausible(shops, tally))
  })

/** Milliseconds: the default commit timeout, a second for the load, and half a second for the rest. */
export const timeLimitMillis = 3500

/** Checks that a request fails with 503 within the time limit. */
export const failsInTime = (request: Effect.Effect<Shop.Answer>) =>
  Effect.map(activeMillis(request), ([millis, { cookie, headers, status }]) => {
    assert.deepStrictEqual([status, headers.get("retry-after"), cookie], [503, "5", undefined])
    assert.isBelow(millis, timeLimitMillis)
  })

/** Checks that a request succeeds within the time limit. */
export const succeedsInTime = (request: Effect.Effect<Shop.Answer>) =>
  Effect.map(activeMillis(request), ([millis, { status }]) => {
    assert.strictEqual(status, 200)
    assert.isBelow(millis, timeLimitMillis)
  })

/** A shop, and the SQL client whose connections the test can take. */
export const shopOn = (client: Layer.Layer<SqlClient, unknown>) =>
  Effect.gen(function*() {
    const context = yield* Layer.build(sqlStore(client))
    return { ...yield* shopsOn(Context.get(context, SessionStore)), sql: Context.get(context, SqlClient) }
  })

/** Checks requests while the application holds the only connection. */
export const poolExhausted = (client: Layer.Layer<SqlClient, unknown>) =>
  Effect.gen(function*() {
    const { lenient, shop, sql } = yield* shopOn(client)
    const cookie = yield* begin(lenient)
    const rotation = yield* between(ShopSession.update("count", (n) => n + 1), ShopSession.rotate)
    const rotating = yield* Effect.fork(failsInTime(shop.request(rotation.handler, cookie)))
    yield* rotation.reached
    const [held, release] = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
    const holder = yield* Effect.fork(
      sql.withTransaction(Effect.zipRight(Deferred.succeed(held, undefined), Deferred.await(release)))
    )
    yield* Deferred.await(held)

    yield* rotation.go
    yield* rotating
    yield* together(range(3).map(() => failsInTime(shop.request(increment, cookie))))
    yield* Deferred.succeed(release, undefined)
    yield* holder

    // The failed rotation was not applied late: it would have ended this cookie.
    assert.strictEqual((yield* lenient.request(increment, cookie)).status, 200)
    assert.strictEqual((yield* valueOf(lenient, cookie)).count, 1)
  })
