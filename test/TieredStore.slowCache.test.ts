/**
 * A write that one process has confirmed is visible at once to another process that shares its Redis, however slow its connection is.
 */
import { it } from "@effect/vitest"
import { Duration, Effect, Logger, Metric, Option } from "effect"
import { MemoryStore, SessionMetrics } from "effect-session"
import type { Stored } from "effect-session/Fixtures"
import { freshKey, namespace, start, stored } from "effect-session/Fixtures"
import type { SessionStoreError, Store } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import * as TieredStore from "effect-session/TieredStore"
import { assert, describe } from "vitest"
import { activeMillis } from "./support/activeTime.js"
import * as LossyProxy from "./support/lossyProxy.js"
import { storeAt } from "./support/redisClients.js"
import * as Redis from "./support/servers/redis.js"

const lease = 60_000

/** Longer than any delay of a busy machine, so that only the delay of the proxy matters. */
const longTimeout = { invalidationTimeout: "20 seconds" } as const

/** Two processes that share a Redis cache and an origin. `far` has a connection that can be slow. */
const processes = (options: Partial<TieredStore.TieredStoreOptions> = {}) =>
  Effect.gen(function*() {
    const server = yield* Redis.make()
    const proxy = yield* LossyProxy.make(server.port)
    const origin = FaultyStore.controlled(MemoryStore.make()).store
    const process = (port: number) =>
      Effect.flatMap(
        storeAt(`redis://127.0.0.1:${port}`, { prefix: "cache:", durableDestroy: false }),
        (cache) => TieredStore.make(cache, origin, { lease, ...options })
      )
    // A long timeout, so that `near` does not bypass the cache on a busy machine.
    const [near, far] = [
      yield* Effect.flatMap(
        storeAt(server.url, { prefix: "cache:", durableDestroy: false }),
        (cache) => TieredStore.make(cache, origin, { lease, cacheTimeout: "5 seconds", ...options })
      ),
      yield* process(proxy.port)
    ]
    return { server, proxy, origin, near, far }
  })

/** A session that is cached, as a read of `near` shows. */
const cachedSession = (near: Store) =>
  Effect.tap(stored(near), ({ key }) =>
    Effect.gen(function*() {
      yield* near.load(key, start)
      const before = yield* reads
      assert.isTrue(Option.isSome(yield* near.load(key, start)))
      assert.strictEqual(((yield* reads).get("hit") ?? 0) - (before.get("hit") ?? 0), 1, "the session is not cached")
    }))

const reads = Effect.map(Metric.value(SessionMetrics.cacheReads), ({ occurrences }) => new Map(occurrences))

const unconfirmed = Effect.map(
  Metric.value(SessionMetrics.cacheInvalidations),
  ({ occurrences }) => occurrences.get("unconfirmed") ?? 0
)

const writes: ReadonlyArray<
  readonly [name: string, run: (store: Store, one: Stored) => Effect.Effect<unknown, SessionStoreError>]
> = [
  [
    "a save",
    (store, { key, record }) => store.save(key, { ...record, data: `"new"` }, { expectedVersion: 1, now: start })
  ],
  ["a rotation", (store, { key, record }) => store.rotate(key, freshKey(), record, { expectedVersion: 1, now: start })],
  ["a logout", (store, { key }) => store.destroy(key)],
  ["a revocation by id", (store, { record }) => store.revoke(namespace, record.id)],
  ["a revocation by subject", (store, { record }) => store.revokeSubject(namespace, record.subject ?? "")]
]

/** Checks that `near` returns the record of the origin. */
const agrees = (near: Store, origin: Store, { key }: Stored, title: string) =>
  Effect.gen(function*() {
    assert.deepStrictEqual(yield* near.load(key, start), yield* origin.load(key, start), title)
  })

describe("a process with a slow connection to a shared cache", () => {
  for (const millis of [0, 60, 150, 250]) {
    it.scopedLive(`${millis} ms for each command: each write is visible to other processes as soon as it is confirmed`, () =>
      Effect.gen(function*() {
        const { origin, far, near, proxy } = yield* processes(millis > 60 ? longTimeout : {})
        // The server loads the scripts.
        for (const [, run] of writes) yield* Effect.flatMap(cachedSession(near), (one) => run(far, one))
        const before = yield* unconfirmed
        yield* proxy.slow(millis)
        for (const [name, run] of writes) {
          const one = yield* cachedSession(near)
          yield* run(far, one)
          yield* agrees(near, origin, one, name)
        }
        assert.strictEqual(yield* unconfirmed, before)
      }))
  }

  it.scopedLive("a read of the cache that timed out does not block the next write", () =>
    Effect.gen(function*() {
      const { origin, far, near, proxy } = yield* processes(longTimeout)
      for (const [, run] of writes) yield* Effect.flatMap(cachedSession(near), (one) => run(far, one))
      const before = yield* unconfirmed
      yield* proxy.slow(100)
      for (const [name, run] of writes) {
        const one = yield* cachedSession(near)
        yield* far.load(one.key, start)
        yield* run(far, one)
        yield* agrees(near, origin, one, name)
      }
      assert.strictEqual(yield* unconfirmed, before)
    }))

  it.scopedLive("500 ms for each command: the same with an invalidationTimeout of twenty seconds", () =>
    Effect.gen(function*() {
      const { origin, far, near, proxy } = yield* processes(longTimeout)
      for (const [, run] of writes) yield* Effect.flatMap(cachedSession(near), (one) => run(far, one))
      yield* proxy.slow(500)
      for (const [name, run] of writes) {
        const one = yield* cachedSession(near)
        yield* run(far, one)
        yield* agrees(near, origin, one, name)
      }
    }))

  it.scopedLive("a server that pauses for a while: each write is visible to other processes as soon as it is confirmed", () =>
    Effect.gen(function*() {
      const { origin, far, near, server } = yield* processes(longTimeout)
      for (const [, run] of writes) yield* Effect.flatMap(cachedSession(near), (one) => run(far, one))
      for (const [name, run] of writes) {
        const one = yield* cachedSession(near)
        yield* server.ask("CLIENT", "PAUSE", "400", "ALL")
        yield* run(far, one)
        yield* agrees(near, origin, one, name)
      }
    }))
})

describe("a cache that does not confirm in time", () => {
  it.scopedLive("the write is confirmed in less than a second, counted and logged, and visible when the cache answers again", () =>
    Effect.gen(function*() {
      const { origin, far, near, server } = yield* processes()
      for (const [, run] of writes) yield* Effect.flatMap(cachedSession(near), (one) => run(far, one))
      const one = yield* cachedSession(near)
      const before = yield* unconfirmed
      const warnings: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        if (logLevel._tag === "Warning") warnings.push(String(message))
      })
      yield* server.signal("SIGSTOP")
      // `activeMillis` counts less on a busy machine, so it is used for the upper limit only.
      const [elapsed, [spent]] = yield* Effect.timed(
        activeMillis(Effect.provide(far.destroy(one.key), Logger.replace(Logger.defaultLogger, logger)))
      )
      assert.isAtLeast(Duration.toMillis(elapsed), 500)
      assert.isBelow(spent, 1000)
      assert.strictEqual((yield* unconfirmed) - before, 1)
      assert.lengthOf(warnings, 1)
      assert.match(
        warnings[0] ?? "",
        /did not confirm the invalidation of a session .*until its lease \(1m\) has passed/
      )
      yield* server.signal("SIGCONT")
      // The tombstone is still written once the cache answers.
      yield* Effect.repeat(near.load(one.key, start), { until: Option.isNone }).pipe(Effect.timeout("10 seconds"))
      yield* agrees(near, origin, one, "afterwards")
    }))

  it.effect("a timeout of zero or infinity is rejected", () =>
    Effect.gen(function*() {
      for (const limit of [0, Infinity]) {
        for (const name of ["invalidationTimeout", "cacheTimeout"] as const) {
          const made = TieredStore.make(MemoryStore.make(), MemoryStore.make(), { lease, [name]: limit })
          assert.match((yield* Effect.flip(made)).message, /1 millisecond or more, and finite/)
        }
      }
    }))
})
