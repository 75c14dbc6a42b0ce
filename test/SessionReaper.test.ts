import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Layer, Logger, Metric, Random, Ref, Scope, TestClock } from "effect"
import { MemoryStore, SessionReaper } from "effect-session"
import { day, hour, isAlive, isThere, minute, start, stored } from "effect-session/Fixtures"
import { SessionConfigError } from "effect-session/SessionConfigError"
import { SessionMaintenance } from "effect-session/SessionMaintenance"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import * as SqlStore from "effect-session/SqlStore"
import { assert, describe } from "vitest"
import { range, together } from "./support/concurrency.js"
import { freshPrefix, sqliteClient, sqlStore } from "./support/localStores.js"
import { postgresClient } from "./support/serverClients.js"

const expiringAt = (at: number) => ({ expiry: { at, deadline: undefined, lifetime: undefined } })
const rows = (store: Store, count: number, at = start) =>
  together(range(count).map(() => stored(store, expiringAt(at))))

type Maintenance = SessionMaintenance["Type"]
const maintains = (store: Maintenance) => Layer.succeed(SessionMaintenance, store)
const noCount = Effect.succeed({ current: 0, expired: 0 })

/** A store with this `removeExpired`, and the times of its calls in milliseconds. */
const recorded = (removeExpired: (call: number) => Effect.Effect<number, SessionStoreError>) => {
  const times: Array<number> = []
  const store: Maintenance = {
    count: () => noCount,
    removeExpired: ({ now }) => Effect.suspend(() => removeExpired(times.push(now) - 1))
  }
  return { times, layer: maintains(store) }
}
const idle = () => Effect.succeed(0)

/** A random generator that always returns this number. */
const always = (fraction: number): Random.Random => {
  return { ...Random.make("any"), next: Effect.succeed(fraction) }
}
const tenMinutes = 10 * minute
describe("rounds", () => {
  for (
    const [fraction, times] of [
      [0, [0, 8 * minute, 16 * minute]],
      [0.5, [0.5 * minute, 10.5 * minute, 20.5 * minute]],
      [0.999, [0.999 * minute, 0.999 * minute + 11.996 * minute, 0.999 * minute + 2 * 11.996 * minute]]
    ] as const
  ) {
    it.scoped(`of ten minutes, with a jitter of ${fraction}`, () =>
      Effect.gen(function*() {
        const rounds = recorded(idle)
        yield* Layer.build(Layer.provide(SessionReaper.layer, rounds.layer))
        yield* TestClock.adjust(3 * tenMinutes - minute)
        times.forEach((time, i) => assert.strictEqual(rounds.times[i], Math.round(time)))
      }).pipe(Effect.withRandom(always(fraction))))
  }

  it.scoped("of several processes are not synchronized, and each keeps to its interval", () =>
    Effect.gen(function*() {
      const nodes = range(20).map(() => recorded(idle))
      yield* Effect.forEach(nodes, ({ layer }) => Layer.build(Layer.provide(SessionReaper.layer, layer)))
      yield* TestClock.adjust(3 * hour)
      const all = nodes.map(({ times }) => times)
      for (const times of all) {
        assert.isAtMost(times[0] ?? Infinity, minute)
        const gaps = times.slice(1).map((moment, i) => moment - (times[i] ?? 0))
        assert.isAtLeast(gaps.length, 14)
        assert.isTrue(gaps.every((gap) => gap >= 8 * minute && gap <= 12 * minute), String(gaps))
      }
      assert.strictEqual(new Set(all.map(String)).size, nodes.length)
    }))

  it.scoped("delete all records that have expired, and no others", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(start)
      const store = MemoryStore.make()
      yield* rows(store, 2500, start - 1)
      yield* rows(store, 7, start + hour)
      const living = yield* stored(store, expiringAt(start + 3 * hour))
      yield* Layer.build(Layer.provide(SessionReaper.layer, maintains(store)))
      yield* TestClock.adjust(2 * minute)
      assert.deepStrictEqual(yield* store.count(start), { current: 8, expired: 0 })
      yield* TestClock.adjust(hour + tenMinutes * 1.2)
      assert.deepStrictEqual(yield* store.count(start + 2 * hour), { current: 1, expired: 0 })
      yield* isAlive(store, living, start + 2 * hour)
    }))
})

describe("a round", () => {
  it.effect("pauses after each batch and ends when no expired record is left", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(start)
      const store = MemoryStore.make()
      yield* rows(store, 25, start)
      const batches: Array<number> = []
      const fiber = yield* Effect.fork(
        Effect.provide(
          SessionReaper.sweep({
            batch: 10,
            pause: "1 seconds",
            onBatch: (removed) => Effect.sync(() => void batches.push(removed))
          }),
          maintains(store)
        )
      )
      for (const expected of [[10], [10, 10], [10, 10, 5]]) {
        yield* TestClock.adjust(batches.length === 0 ? 0 : "1 seconds")
        assert.deepStrictEqual(batches, expected)
      }
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual(yield* Fiber.join(fiber), 25)
      assert.deepStrictEqual(batches, [10, 10, 5])
    }))

  /** Returns the sizes of the first six batches of a sweep, if each record takes `millisEach` milliseconds. */
  const sizes = (millisEach: number, options: SessionReaper.SweepOptions = {}) =>
    Effect.gen(function*() {
      const limits: Array<number> = []
      const store: Maintenance = {
        count: () => noCount,
        removeExpired: ({ limit }) =>
          Effect.delay(Effect.sync(() => (limits.push(limit), limit)), Math.round(limit * millisEach))
      }
      const sweep = SessionReaper.sweep({ budget: "1 seconds", ...options })
      const fiber = yield* Effect.fork(Effect.provide(sweep, maintains(store)))
      yield* TestClock.adjust("20 seconds")
      yield* Fiber.join(fiber)
      return limits.slice(0, 6)
    })

  it.effect("starts with 1,000 records and doubles its batches while they take less than 20 ms", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* sizes(0.003), [1000, 2000, 4000, 8000, 8000, 8000])
      assert.deepStrictEqual(yield* sizes(0.0001), [1000, 2000, 4000, 8000, 10_000, 10_000])
    }))

  it.effect("never exceeds `batch`, which is constant below 1,000", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* sizes(0.0001, { batch: 3000 }), [1000, 2000, 3000, 3000, 3000, 3000])
      assert.deepStrictEqual(yield* sizes(0.001, { batch: 250 }), [250, 250, 250, 250, 250, 250])
      assert.deepStrictEqual((yield* sizes(1, { batch: 250 })).slice(0, 3), [250, 250, 250])
    }))

  it.effect("halves a batch after one that took more than 50 ms, but not below 1,000", () =>
    Effect.gen(function*() {
      const limits: Array<number> = []
      const store: Maintenance = {
        count: () => noCount,
        // The store becomes busy after three batches.
        removeExpired: ({ limit }) =>
          Effect.suspend(() => Effect.as(Effect.sleep(limits.push(limit) > 3 ? limit / 20 : 1), limit))
      }
      const fiber = yield* Effect.fork(
        Effect.provide(SessionReaper.sweep({ budget: "1 seconds" }), maintains(store))
      )
      yield* TestClock.adjust("20 seconds")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(limits.slice(0, 8), [1000, 2000, 4000, 8000, 4000, 2000, 1000, 1000])
    }))

  it.scoped("ends when its budget is used up, and the next one removes the rest", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(start)
      const store = MemoryStore.make()
      yield* rows(store, 50, start)
      // Each batch takes three seconds: three begin within ten, with their pauses, and the fourth at nine.
      const slow: Maintenance = {
        ...store,
        removeExpired: ({ now, limit }) => Effect.delay(store.removeExpired({ now, limit }), "3 seconds")
      }
      yield* Layer.build(Layer.provide(SessionReaper.layerWith({ batch: 10 }), maintains(slow)))
      const left = Effect.map(store.count(start), ({ expired }) => expired)
      yield* TestClock.adjust(5 * minute)
      assert.strictEqual(yield* left, 10)
      yield* TestClock.adjust(12 * minute)
      assert.strictEqual(yield* left, 0)
    }))

  it.effect("fails with a timeout if a batch exceeds the budget, even an uninterruptible one", () =>
    Effect.gen(function*() {
      const release = yield* Deferred.make<void>()
      const hanging = recorded(() => Effect.uninterruptible(Effect.as(Deferred.await(release), 1)))
      const fiber = yield* Effect.fork(Effect.provide(Effect.flip(SessionReaper.sweep()), hanging.layer))
      yield* TestClock.adjust("10 seconds")
      const error = yield* Fiber.join(fiber)
      assert.deepStrictEqual([error.operation, error.reason], ["removeExpired", "timeout"])
      yield* Deferred.succeed(release, undefined)
    }))

  it.effect("counts the removed records", () =>
    Effect.gen(function*() {
      const store = MemoryStore.make()
      yield* TestClock.setTime(start)
      yield* rows(store, 12, start)
      const before = (yield* Metric.value(SessionReaper.removals)).count
      const fiber = yield* Effect.fork(Effect.provide(SessionReaper.sweep(), maintains(store)))
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual(yield* Fiber.join(fiber), 12)
      assert.strictEqual((yield* Metric.value(SessionReaper.removals)).count - before, 12)
    }))
})

describe("a store that fails", () => {
  const broken = new SessionStoreError({ operation: "removeExpired", reason: "unavailable" })
  for (
    const [what, failure] of [
      ["an error", Effect.fail(broken)],
      ["a defect", Effect.dieMessage("a bug")],
      ["an interruption", Effect.interrupt],
      ["a thrown error", Effect.sync((): number => JSON.parse("{"))],
      ["a call that hangs", Effect.never]
    ] as const
  ) {
    it.scoped(`${what} is logged once and counted, and does not end the reaper`, () => {
      const lines: Array<unknown> = []
      const logger = Logger.replace(Logger.defaultLogger, Logger.make(({ message }) => void lines.push(message)))
      return Effect.gen(function*() {
        const before = (yield* Metric.value(SessionReaper.failures)).count
        const rounds = recorded((call) => call === 0 ? failure : Effect.succeed(0))
        yield* Layer.build(Layer.provide(SessionReaper.layer, rounds.layer))
        yield* TestClock.adjust(2 * tenMinutes)
        assert.isAtLeast(rounds.times.length, 2)
        assert.strictEqual((yield* Metric.value(SessionReaper.failures)).count - before, 1)
        assert.deepStrictEqual(lines, [[
          "The session reaper could not delete expired sessions. The next round retries. (help: reaper-failed)"
        ]])
      }).pipe(Effect.provide(logger))
    })
  }

  it.effect("fails a sweep with its error, and the records removed before are counted", () =>
    Effect.gen(function*() {
      const before = (yield* Metric.value(SessionReaper.removals)).count
      const store = recorded((call) => call === 0 ? Effect.succeed(5) : Effect.fail(broken))
      const fiber = yield* Effect.fork(Effect.provide(Effect.flip(SessionReaper.sweep()), store.layer))
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual(yield* Fiber.join(fiber), broken)
      assert.strictEqual((yield* Metric.value(SessionReaper.removals)).count - before, 5)
    }))
})

describe("the end of the scope", () => {
  const whileRunning = (batch: Effect.Effect<number>) =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const rounds = recorded(() => Effect.zipRight(Deferred.succeed(begun, undefined), batch))
      const scope = yield* Scope.make()
      yield* Layer.buildWithScope(Layer.provide(SessionReaper.layer, rounds.layer), scope).pipe(
        Effect.uninterruptible
      )
      yield* TestClock.adjust(minute)
      yield* Deferred.await(begun)
      const before = yield* Metric.value(SessionReaper.failures)
      yield* Scope.close(scope, Exit.void)
      yield* TestClock.adjust(day)
      assert.strictEqual(rounds.times.length, 1)
      assert.deepStrictEqual(yield* Metric.value(SessionReaper.failures), before)
    })

  it.effect("interrupts a batch, even if the layer was built in an uninterruptible region", () =>
    Effect.gen(function*() {
      const interrupted = yield* Deferred.make<void>()
      yield* whileRunning(Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined)))
      yield* Deferred.await(interrupted)
    }))

  it.effect("does not wait for a batch that cannot be interrupted", () =>
    Effect.gen(function*() {
      const release = yield* Deferred.make<void>()
      yield* whileRunning(Effect.uninterruptible(Effect.as(Deferred.await(release), 1)))
      yield* Deferred.succeed(release, undefined)
    }))

  it.effect("interrupts the wait for the next round", () => whileRunning(Effect.succeed(0)))
})

describe("invalid options", () => {
  const bad: ReadonlyArray<readonly [options: SessionReaper.ReaperOptions, problem: string]> = [
    ...[0, -1, 1.5, 100_001, NaN, Infinity].map((batch) =>
      [{ batch }, "A batch must be a whole number of records from 1 to 100,000."] as const
    ),
    ...(["every", "budget", "pause"] as const).flatMap((name) =>
      ([0, -5, NaN, Infinity, "0 seconds", "21 days", Duration.infinity] as const).map((input) =>
        [{ [name]: input }, `"${name}" must be a positive duration of at most 20 days.`] as const
      )
    ),
    // Values that TypeScript rejects can come from a configuration file.
    [JSON.parse(`{"every":"often"}`), `"every" is not a duration.`]
  ]
  for (const [options, problem] of bad) {
    it.effect(`${Object.entries(options).map(([name, value]) => `${name}: ${String(value)}`)} is rejected`, () =>
      Effect.gen(function*() {
        const store = recorded(idle)
        const error = yield* Effect.flip(Effect.scoped(Layer.build(SessionReaper.layerWith(options))))
        assert.deepStrictEqual(
          error,
          new SessionConfigError({ subject: "SessionReaper", problem, help: "option-out-of-range" })
        )
        const exit = yield* Effect.exit(SessionReaper.sweep(options))
        assert.deepStrictEqual(exit, Exit.die(error))
        assert.deepStrictEqual(store.times, [])
      }).pipe(Effect.provide(maintains(MemoryStore.make()))))
  }

  for (const batch of [1, 100_000]) {
    it.effect(`a batch of ${batch} is accepted`, () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* SessionReaper.sweep({ batch, budget: "20 days", pause: "20 days" }), 0)
      }).pipe(Effect.provide(maintains(MemoryStore.make()))))
  }
})

describe("databases", () => {
  const end = Date.now() + day
  const clients = [["sqlite", () => sqliteClient], ["postgres", () => postgresClient()]] as const
  const sweepOf = (store: Store, options: SessionReaper.SweepOptions) =>
    Effect.provide(SessionReaper.sweep(options), maintains(store))

  for (const [name, client] of clients) {
    it.live(`${name}: two concurrent processes delete each record exactly once`, () => {
      const prefix = freshPrefix()
      return Effect.gen(function*() {
        const sql = yield* SqlClient
        const one = yield* SessionStore
        // Another process has its own connections; SQLite has a single writer.
        const other = name === "sqlite"
          ? one
          : yield* Effect.provide(SqlStore.make({ prefix }), yield* Layer.build(client()))
        yield* rows(one, 300)
        const living = yield* stored(one, expiringAt(end))
        const removed = yield* together([one, other].map((store) => sweepOf(store, { batch: 7, pause: "1 nanos" })))
        assert.strictEqual(removed.reduce((a, b) => a + b, 0), 300)
        yield* isAlive(one, living, start)
        assert.strictEqual((yield* sql.unsafe(`SELECT key FROM ${prefix}sessions`)).length, 1)
      }).pipe(Effect.scoped, Effect.provide(sqlStore<unknown>(client(), prefix)))
    })

    it.live(`${name}: a record touched between two batches is kept`, () =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        yield* rows(store, 5, start - 1)
        const touched = yield* stored(store, expiringAt(start + 1))
        const once = yield* Ref.make(false)
        // A process whose clock is behind, for which the record is still alive.
        const touch = Effect.zipRight(
          Ref.set(once, true),
          Effect.map(
            Effect.orDie(store.touch(touched.key, { lastSeenAt: start, expiresAt: end, now: start })),
            (outcome) => assert.strictEqual(outcome, "touched")
          )
        )
        const onBatch = () => Effect.unlessEffect(touch, Ref.get(once)).pipe(Effect.asVoid)
        assert.strictEqual(yield* sweepOf(store, { batch: 1, onBatch }), 5)
        assert.isTrue(yield* isThere(store, touched.key, end - 1))
      }).pipe(Effect.provide(sqlStore<unknown>(client()))))
  }

  it.live("postgres: a record locked by a touch is skipped without waiting", () => {
    const prefix = freshPrefix()
    return Effect.gen(function*() {
      const store = yield* SessionStore
      const sql = yield* SqlClient
      yield* rows(store, 20, start - 1)
      const { key } = yield* stored(store, expiringAt(start - 2))
      const locked = yield* Deferred.make<void>()
      const release = yield* Deferred.make<void>()
      const holder = yield* Effect.fork(sql.withTransaction(
        sql.unsafe(`UPDATE ${prefix}sessions SET expires_at = ${end} WHERE key = '${key}'`).pipe(
          Effect.zipRight(Deferred.succeed(locked, undefined)),
          Effect.zipRight(Deferred.await(release))
        )
      ))
      yield* Deferred.await(locked)
      assert.strictEqual(yield* sweepOf(store, { batch: 6 }), 20)
      yield* Deferred.succeed(release, undefined)
      yield* Fiber.join(holder)
      assert.strictEqual(yield* sweepOf(store, { batch: 6 }), 0)
      assert.isTrue(yield* isThere(store, key, end - 1))
    }).pipe(Effect.provide(sqlStore(postgresClient(), prefix)))
  })

  it.live("postgres: a batch deletes no more than its limit from a table with hash partitions", () => {
    const prefix = freshPrefix()
    return Effect.gen(function*() {
      const store = yield* SessionStore
      const sql = yield* SqlClient
      const table = `${prefix}sessions`
      yield* sql.unsafe(`ALTER TABLE ${table} RENAME TO ${table}_plain`)
      yield* sql.unsafe(`CREATE TABLE ${table} (LIKE ${table}_plain, PRIMARY KEY (key)) PARTITION BY HASH (key)`)
      for (const i of range(4)) {
        yield* sql.unsafe(
          `CREATE TABLE ${table}_${i} PARTITION OF ${table} FOR VALUES WITH (MODULUS 4, REMAINDER ${i})`
        )
      }
      yield* rows(store, 40, start - 1)
      const living = yield* stored(store, expiringAt(end))
      for (const limit of [1, 2, 7]) assert.strictEqual(yield* store.removeExpired({ now: start, limit }), limit)
      assert.deepStrictEqual(yield* store.count(start), { current: 1, expired: 30 })
      assert.strictEqual(yield* sweepOf(store, {}), 30)
      yield* isAlive(store, living, start)
    }).pipe(Effect.provide(sqlStore(postgresClient(), prefix)))
  })

  it.live("postgres: while another process deletes, there is nothing to do", () => {
    const prefix = freshPrefix()
    return Effect.gen(function*() {
      const store = yield* SessionStore
      const sql = yield* SqlClient
      yield* rows(store, 9)
      const locked = yield* Deferred.make<void>()
      const release = yield* Deferred.make<void>()
      const holder = yield* Effect.fork(sql.withTransaction(
        sql.unsafe(`SELECT pg_advisory_xact_lock(hashtext('${prefix}sessions'))`).pipe(
          Effect.zipRight(Deferred.succeed(locked, undefined)),
          Effect.zipRight(Deferred.await(release))
        )
      ))
      yield* Deferred.await(locked)
      assert.strictEqual(yield* sweepOf(store, {}), 0)
      yield* Deferred.succeed(release, undefined)
      yield* Fiber.join(holder)
      assert.strictEqual(yield* sweepOf(store, {}), 9)
    }).pipe(Effect.provide(sqlStore(postgresClient(), prefix)))
  })
})
