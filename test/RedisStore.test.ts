import { it } from "@effect/vitest"
import { Effect, FastCheck, Option, Redacted } from "effect"
import {
  anyRecord,
  anyText,
  aRecord,
  freshKey,
  hour,
  isAlive,
  isDead,
  loaded,
  minute,
  namespace,
  start,
  stored
} from "effect-session/Fixtures"
import type { Client as Client } from "effect-session/RedisClient"
import * as RedisClient from "effect-session/RedisClient"
import type { Store } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import { forAll } from "../src/internal/testing/law.js"
import { range } from "./support/concurrency.js"
import { engineOf, next, record, written } from "./support/engines.js"
import { freshPrefix } from "./support/localStores.js"
import { ioredisOn, recordingClient, storeOn } from "./support/redisClients.js"
import * as Server from "./support/servers/redis.js"
import * as servers from "./support/sharedServers.js"
import { works } from "./support/storeCalls.js"

const url = () => servers.redis()

/** A store, the commands that it sends, and a client to inspect its keys. */
const opened = Effect.gen(function*() {
  const redis = yield* ioredisOn(url())
  const prefix = freshPrefix()
  const { client, sent } = recordingClient(RedisClient.ioredis(redis))
  const store = yield* storeOn(client, { prefix })
  return { redis, store, sent, nameOf: (rest: string) => `${prefix}{all}:${rest}` }
})

describe("records that Redis deletes by itself", () => {
  it.scopedLive("every write sets the time to live to a minute after the expiry; indexes and revocations have none", () =>
    Effect.gen(function*() {
      const { nameOf, redis, store } = yield* opened
      const { key, record } = yield* stored(store)
      const endsIn = (millis: number, of = key) =>
        Effect.map(Effect.promise(() => redis.pttl(nameOf(of))), (left) => {
          assert.isAtMost(left, millis + minute)
          assert.isAbove(left, millis + minute - 20_000)
        })
      yield* endsIn(hour)
      yield* store.touch(key, { lastSeenAt: start, expiresAt: start + 2 * hour, now: start })
      yield* endsIn(2 * hour)
      yield* store.save(key, { ...record, expiry: { ...record.expiry, at: start + 3 * hour } }, {
        expectedVersion: 1,
        now: start
      })
      yield* endsIn(3 * hour)
      yield* store.revokeSubject(namespace, "ann", record.id)
      yield* endsIn(3 * hour)
      const newKey = freshKey()
      yield* store.rotate(key, newKey, { ...record, expiry: { ...record.expiry, at: start + 4 * hour } }, {
        expectedVersion: 2,
        now: start
      })
      yield* endsIn(4 * hour, newKey)
      const over = { ...record.expiry, at: start - hour, lifetime: { _tag: "Until", at: start - hour } } as const
      yield* store.save(newKey, { ...record, expiry: over }, { expectedVersion: 3, now: start })
      yield* endsIn(0, newKey)

      for (const name of ["ids", "subjects", "ends", "epochs", "outlived"]) {
        assert.strictEqual(yield* Effect.promise(() => redis.pttl(nameOf(name))), -1, name)
      }
    }))

  it.scopedLive("the record is absent for every operation; its entries are counted, and removed, as if it had expired", () =>
    Effect.gen(function*() {
      const { nameOf, redis, store } = yield* opened
      const one = yield* stored(store)
      const other = yield* stored(store, { expiry: { at: start + 2 * hour, deadline: undefined, lifetime: undefined } })
      yield* Effect.promise(() => redis.del(nameOf(one.key)))
      yield* isDead(store, one, start)
      yield* isAlive(store, other, start)
      assert.isFalse(yield* store.revoke(namespace, one.record.id))
      assert.deepStrictEqual(yield* store.count(start), { current: 2, expired: 0 })
      assert.strictEqual(yield* store.removeExpired({ now: start + hour, limit: 10 }), 1)
      assert.deepStrictEqual(yield* store.count(start), { current: 1, expired: 0 })
      assert.strictEqual(yield* store.create(freshKey(), aRecord({ id: one.record.id }), start), "created")
    }))

  it.scopedLive("the clean-up of its entries keeps a new record under the same key", () =>
    Effect.gen(function*() {
      const { nameOf, redis, store } = yield* opened
      const first = yield* stored(store)
      yield* Effect.promise(() => redis.del(nameOf(first.key)))
      const record = aRecord({ expiry: { at: start + 2 * hour, deadline: undefined, lifetime: undefined } })
      yield* stored(store, record, first.key)
      yield* isDead(store, { key: freshKey(), record: first.record }, start)
      assert.strictEqual(yield* store.removeExpired({ now: start + hour, limit: 10 }), 1)
      yield* isAlive(store, { key: first.key, record }, start + hour)
    }))
})

describe("after all sessions have ended", () => {
  it.scopedLive("only the current epoch is left: revocations are kept until the records that they ended have expired", () =>
    Effect.gen(function*() {
      const { nameOf, redis, store } = yield* opened
      const ended = yield* stored(store, { subject: "ann" })
      yield* stored(store, {
        subject: undefined,
        expiry: { at: start + 2 * hour, deadline: undefined, lifetime: undefined }
      })
      yield* store.destroy((yield* stored(store)).key)
      yield* store.revoke(namespace, (yield* stored(store)).record.id)
      yield* store.revokeSubject(namespace, "ann")
      yield* store.revokeSubject(namespace, "bob")
      const revoked = Effect.promise(() => redis.hlen(nameOf("epochs")))
      for (const [now, removed, left] of [[start, 0, 3], [start + hour, 1, 3], [start + hour, 0, 3]] as const) {
        assert.strictEqual(yield* store.removeExpired({ now, limit: 10 }), removed)
        assert.strictEqual(yield* revoked, left)
        yield* isDead(store, ended, start)
      }
      yield* store.removeExpired({ now: start + 2 * hour, limit: 10 })
      yield* store.removeExpired({ now: start + 2 * hour, limit: 10 })
      assert.strictEqual(yield* revoked, 1)
      // The reasons why sessions ended have a time to live.
      const names = yield* Effect.promise(() => redis.keys(nameOf("*")))
      assert.deepStrictEqual(names.filter((name) => !name.startsWith(nameOf("ended:"))), [nameOf("epochs")])
      assert.lengthOf(names, 3)
    }))
})

describe("text", () => {
  it.scopedLive("every field preserves every JavaScript string", () =>
    Effect.gen(function*() {
      const { store } = yield* opened
      const record = FastCheck.tuple(anyRecord, anyText, anyText, anyText, anyText).map(
        ([record, namespace, subject, writeId, data]) => ({ ...record, namespace, subject, writeId, data })
      )
      yield* forAll(record, (record) =>
        Effect.gen(function*() {
          const { key } = yield* stored(store, record)
          yield* isAlive(store, { key, record }, start)
          yield* store.touch(key, { lastSeenAt: start, expiresAt: start, now: start })
          yield* isAlive(store, { key, record: yield* loaded(store, key, start) }, start)
        }), 100)
    }))

  it.scopedLive("unusual namespaces and subjects are never confused with each other", () =>
    Effect.gen(function*() {
      const { store } = yield* opened
      const names = [
        "\ud800",
        "\ud801",
        "\ufffd",
        "\u{10ffff}",
        "\u{10ffff}d800",
        "\u{10ffff}0000",
        "\udbff",
        "__proto__",
        "constructor",
        "toString",
        "now",
        "",
        "\u0000",
        "\u0000\u0000",
        "1:a",
        "a 1"
      ]
      const all = yield* Effect.forEach(names, (name) => stored(store, { namespace: name, subject: name }))
      for (const [i, name] of names.entries()) {
        yield* store.revokeSubject(name, name)
        const there = yield* Effect.forEach(all, ({ key }) => Effect.map(store.load(key, start), Option.isSome))
        assert.deepStrictEqual(there, names.map((_, j) => j > i), JSON.stringify(name))
      }
    }))
})

describe("calls", () => {
  const one = (store: Store) => stored(store)

  it.scopedLive("the operations of a request need one call each", () =>
    Effect.gen(function*() {
      const { sent, store } = yield* opened
      yield* works(store)
      const { key, record } = yield* one(store)
      const spared = yield* one(store)
      const costs: ReadonlyArray<readonly [calls: number, run: Effect.Effect<unknown, unknown>]> = [
        [1, store.load(key, start)],
        [1, store.save(key, record, { expectedVersion: 1, now: start })],
        [1, store.touch(key, { lastSeenAt: start, expiresAt: start + hour, now: start })],
        [1, store.rotate(key, freshKey(), record, { expectedVersion: 2, now: start })],
        [1, store.destroy(key)],
        [2, store.count(start)],
        [2, store.find(namespace, spared.record.id, start)],
        [2, store.revokeSubject(namespace, "ann", spared.record.id)],
        [1, store.revokeSubject(namespace, "ann")],
        [1, store.revokeAll(namespace)]
      ]
      for (const [calls, run] of costs) {
        sent.length = 0
        yield* run
        assert.lengthOf(sent, calls, sent.map(([name]) => name).join(" "))
      }
      // One of eight creations prunes index entries, in three calls.
      sent.length = 0
      yield* Effect.forEach(range(16), () => one(store))
      assert.lengthOf(sent, 16 + 2 * 3)
    }))

  it.scopedLive("contain no token that a browser could present", () =>
    Effect.gen(function*() {
      const { sent, store } = yield* opened
      const engine = yield* engineOf(store, { timeout: "20 seconds" })
      const first = yield* written(engine, { _tag: "Create", record: record({ data: "to be found" }) })
      const second = yield* written(engine, {
        _tag: "Rotate",
        value: first.value,
        record: next(first.record),
        expectedVersion: 1
      })
      yield* engine.destroy(second.value)
      const all = sent.flat().join("\n")
      assert.include(all, "to be found")
      for (const { value } of [first, second]) {
        const bytes = Buffer.from(Redacted.value(value).slice(3), "base64url")
        for (const encoding of ["base64url", "base64", "hex", "latin1", "utf8"] as const) {
          assert.notInclude(all, bytes.toString(encoding).replace("=", ""))
        }
      }
    }))

  it.scopedLive("never iterate over all keys", () =>
    Effect.gen(function*() {
      const server = yield* Server.make()
      yield* Effect.flatMap(
        ioredisOn(server.url),
        (redis) => Effect.flatMap(storeOn(RedisClient.ioredis(redis)), works)
      )
      const stats = yield* server.ask("INFO", "commandstats")
      const used = [...stats.matchAll(/^cmdstat_([^:]+):/gm)].map(([, name = ""]) => name)
      assert.include(used, "evalsha")
      assert.deepStrictEqual(used.filter((name) => /scan|keys|random|dump|sort/.test(name)), [])
    }))

  it.scopedLive("work after the server has flushed its scripts", () =>
    Effect.gen(function*() {
      const server = yield* Server.make()
      const redis = yield* ioredisOn(server.url)
      const store = yield* storeOn(RedisClient.ioredis(redis))
      yield* works(store)
      yield* server.ask("SCRIPT", "FLUSH")
      yield* works(store)
    }))
})

describe("a command that the driver resends after a lost reply", () => {
  /** A client that sends every command twice and returns the second reply. `between` runs between the two. */
  const doubling = (client: Client, between: () => Effect.Effect<unknown, unknown> = () => Effect.void): Client => ({
    ...client,
    send: (key, command) =>
      client.send(key, command)
        .then(() => Effect.runPromise(between()))
        .then(() => client.send(key, command))
  })

  it.scopedLive("gets the same reply as the first time", () =>
    Effect.gen(function*() {
      const redis = yield* ioredisOn(url())
      yield* works(yield* storeOn(doubling(RedisClient.ioredis(redis))))
    }))

  it.scopedLive("gets the same reply even after other writes", () =>
    Effect.gen(function*() {
      const client = RedisClient.ioredis(yield* ioredisOn(url()))
      const prefix = freshPrefix()
      const store = yield* storeOn(client, { prefix })
      const { key, record } = yield* stored(store)
      const other = Effect.flatMap(loaded(store, key, start), (found) =>
        store.save(key, { ...found, data: `${found.data}.` }, { expectedVersion: found.version, now: start }))
      const doubled = yield* storeOn(
        doubling(client, () =>
          Effect.repeatN(other, 6)),
        { prefix }
      )
      assert.strictEqual(
        yield* doubled.save(key, { ...record, data: "mine" }, { expectedVersion: 1, now: start }),
        "saved"
      )
      assert.strictEqual((yield* loaded(store, key, start)).data, "mine.......")
      const newKey = freshKey()
      const rotating = yield* storeOn(doubling(client), { prefix })
      assert.strictEqual(yield* rotating.rotate(key, newKey, record, { expectedVersion: 9, now: start }), "saved")
      assert.strictEqual((yield* loaded(store, newKey, start)).version, 10)
    }))
})
