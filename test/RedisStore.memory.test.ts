/**
 * Sessions on a server whose memory is full.
 */
import { it } from "@effect/vitest"
import { Effect, Logger, Option } from "effect"
import type { Stored } from "effect-session/Fixtures"
import {
  aRecord,
  freshKey,
  hour,
  isAlive,
  isDead,
  isThere,
  minute,
  namespace,
  start,
  stored
} from "effect-session/Fixtures"
import { SessionStoreError } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import { range } from "./support/concurrency.js"
import { engineOf, opened, record, written } from "./support/engines.js"
import { storeAt } from "./support/redisClients.js"
import { recordsIn } from "./support/scanPages.js"
import * as Server from "./support/servers/redis.js"

/** A server with one megabyte of memory left. */
const smallServer = (policy: string) =>
  Effect.gen(function*() {
    const server = yield* Server.make({ settings: { "maxmemory-policy": policy } })
    // The warning about the eviction policy is tested elsewhere.
    const store = yield* Effect.provide(storeAt(server.url), Logger.remove(Logger.defaultLogger))
    const used = /used_memory:(\d+)/.exec(yield* server.ask("INFO", "memory"))?.[1]
    yield* server.ask("CONFIG", "SET", "maxmemory", String(Number(used) + 1_000_000))
    return { ...server, store }
  })

const data = JSON.stringify("x".repeat(2000))

/** Creates sessions until a create fails. Returns the created ones, and the failed one with its error. */
const filled = (store: Store) =>
  Effect.gen(function*() {
    const taken: Array<Stored> = []
    for (;;) {
      const one = { key: freshKey(), record: aRecord({ data, subject: `s${taken.length}` }) }
      const made = yield* Effect.either(store.create(one.key, one.record, start))
      if (made._tag === "Left") return { taken, refused: one, error: made.left }
      taken.push(one)
    }
  })

describe("noeviction", () => {
  it.scopedLive("writes that need memory fail, no session is lost, and touches, logouts and revocations work", () =>
    Effect.gen(function*() {
      const { ask, store } = yield* smallServer("noeviction")
      const one = yield* stored(store)
      const spared = yield* stored(store, { subject: "bob" })
      const ended = yield* stored(store, { subject: "bob" })
      const { error, refused, taken } = yield* filled(store)
      assert.isAbove(taken.length, 50)
      assert.instanceOf(error, SessionStoreError)
      assert.deepStrictEqual([error.operation, error.reason], ["create", "unavailable"])

      // Far below what is used, so that the result does not depend on the size of one session.
      yield* ask("CONFIG", "SET", "maxmemory", "1mb")
      const denied = [
        store.save(one.key, one.record, { expectedVersion: 1, now: start }),
        store.rotate(one.key, freshKey(), one.record, { expectedVersion: 1, now: start })
      ]
      for (const write of denied) assert.strictEqual((yield* Effect.flip(write)).reason, "unavailable")
      yield* isThere(store, refused.key, start).pipe(Effect.map(assert.isFalse))
      yield* Effect.forEach(
        [one, ...taken.slice(0, 20)],
        (one) =>
          Effect.map(
            store.load(one.key, start),
            (found) => assert.deepStrictEqual(Option.getOrUndefined(found), one.record)
          )
      )

      assert.strictEqual(
        yield* store.touch(spared.key, { lastSeenAt: start, expiresAt: start + hour + minute, now: start }),
        "touched"
      )
      yield* store.revokeSubject(namespace, "bob", spared.record.id)
      assert.isFalse(yield* isThere(store, ended.key, start))
      assert.isTrue(yield* isThere(store, spared.key, start))
      yield* store.destroy(one.key)
      assert.isFalse(yield* isThere(store, one.key, start))
      const [last] = taken.slice(-1)
      assert.isTrue(last !== undefined && (yield* store.revoke(namespace, last.record.id)))
      yield* store.revokeAll("another")

      yield* ask("CONFIG", "SET", "maxmemory", "0")
      assert.strictEqual(yield* store.create(refused.key, refused.record, start), "created")
      yield* isAlive(store, refused, start)
      yield* isDead(store, ended, start)
      assert.strictEqual(yield* store.save(spared.key, spared.record, { expectedVersion: 1, now: start }), "saved")
    }))
})

for (const policy of ["volatile-lru", "volatile-ttl", "volatile-random"]) {
  describe(policy, () => {
    it.scopedLive("a session is complete or absent, and no revoked session is alive again", () =>
      Effect.gen(function*() {
        const { ask, store } = yield* smallServer(policy)
        const engine = yield* engineOf(store, { timeout: "20 seconds" })
        const visitor = yield* written(engine, { _tag: "Create", record: record() })
        const revoked = yield* Effect.forEach(range(20), () => stored(store, { subject: "ann" }))
        yield* store.revokeSubject(namespace, "ann")
        const all = yield* Effect.forEach(
          range(1500),
          (i) => Effect.either(stored(store, { data, subject: `s${i % 10}` }))
        )
        const evicted = /evicted_keys:(\d+)/.exec(yield* ask("INFO", "stats"))?.[1]
        assert.isAbove(Number(evicted), 100)
        yield* ask("CONFIG", "SET", "maxmemory", "0")

        const made = all.flatMap((one) => one._tag === "Right" ? [one.right] : [])
        const there = yield* Effect.filter(made, ({ key, record }) =>
          Effect.map(store.load(key, start), (found) => {
            if (Option.isSome(found)) assert.deepStrictEqual(found.value, record)
            return Option.isSome(found)
          }))
        assert.isTrue(there.length > 0 && there.length < made.length, `${there.length} of ${made.length}`)
        const ids = (records: ReadonlyArray<Stored["record"]>) => records.map(({ id }) => id).sort()
        assert.deepStrictEqual(
          ids(recordsIn(yield* store.scan(namespace, { limit: 2000, now: start }))),
          ids(there.map(({ record }) => record))
        )
        const listed = yield* store.list(namespace, "s3", start)
        assert.deepStrictEqual(
          listed.map(({ id }) => id).sort(),
          ids(there.map(({ record }) => record).filter(({ subject }) => subject === "s3"))
        )

        for (const { key } of revoked) assert.isFalse(yield* isThere(store, key, start))
        // An evicted session is absent, and any other one still belongs to its subject.
        const found = yield* opened(engine, visitor.value)
        assert.isTrue(found === undefined || found.subject === visitor.record.subject)
        // The index entries of evicted sessions do not accumulate.
        const { current } = yield* store.count(start)
        assert.isBelow(current, 2 * there.length)
        assert.strictEqual(yield* store.removeExpired({ now: start + hour, limit: 10_000 }), current)
      }))
  })
}
