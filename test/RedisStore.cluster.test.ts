import { it } from "@effect/vitest"
import { Effect, Option } from "effect"
import {
  aRecord,
  freshKey,
  hour,
  isAlive,
  isDead,
  isKeyDead,
  isThere,
  keyOf,
  minute,
  namespace,
  start,
  stored
} from "effect-session/Fixtures"
import type { Client as Client } from "effect-session/RedisClient"
import * as RedisClient from "effect-session/RedisClient"
import type { Store } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import { engineOf, next, opened as openedBy, record, written } from "./support/engines.js"
import { freshPrefix } from "./support/localStores.js"
import { clusterOn, recordingClient, storeOn } from "./support/redisClients.js"
import * as Server from "./support/servers/redis.js"
import * as servers from "./support/sharedServers.js"

/** A store on the test run's Cluster, with access to the commands it sends and to the keys it has. */
const opened = Effect.gen(function*() {
  const ports = servers.redisCluster()
  yield* Server.clusterReady(ports)
  const cluster = yield* clusterOn(ports)
  const prefix = freshPrefix()
  const { client, sent } = recordingClient(RedisClient.ioredis(cluster))
  const names = Effect.promise(async () =>
    (await Promise.all(cluster.nodes("master").map((node) => node.keys(`${prefix}*`)))).flat()
      .map((name) => name.slice(prefix.length))
  )
  return { cluster, client, store: yield* storeOn(client, { prefix }), sent, prefix, names }
})

/** The script calls, without the EVAL that follows if a node does not know the script yet. */
const evaluations = (sent: ReadonlyArray<ReadonlyArray<string>>) => sent.filter(([name]) => name === "evalsha")

/** Generates a key of the shard with this tag. */
const keyIn = (tag: string) => keyOf(tag + freshKey().slice(1))

const tags = [..."-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"]
const ending = (at: number) => ({ expiry: { at, deadline: undefined, lifetime: undefined } })
const inEveryShard = (store: Store, at = start + hour) =>
  Effect.forEach(tags, (tag) => stored(store, ending(at), keyIn(tag)), { concurrency: 16 })

describe("a Cluster", () => {
  it.scopedLive("distributes sessions over all nodes, and lists, counts, revokes and removes all of them", () =>
    Effect.gen(function*() {
      const { cluster, names, prefix, store } = yield* opened
      const all = yield* inEveryShard(store)
      const sizes = yield* Effect.promise(() =>
        Promise.all(cluster.nodes("master").map((node) => node.keys(`${prefix}*`).then((keys) => keys.length)))
      )
      assert.isTrue(sizes.length === 3 && sizes.every((size) => size > 10), String(sizes))
      assert.lengthOf(yield* store.list(namespace, "ann", start), tags.length)
      assert.deepStrictEqual(yield* store.count(start), { current: tags.length, expired: 0 })
      const spared = all[17] ?? assert.fail()
      yield* store.revokeSubject(namespace, "ann", spared.record.id)
      const there = yield* Effect.forEach(all, ({ key }) => isThere(store, key, start))
      assert.deepStrictEqual(there, all.map((one) => one === spared))
      assert.strictEqual(yield* store.removeExpired({ now: start + hour, limit: 50 }), 50)
      assert.strictEqual(yield* store.removeExpired({ now: start + hour, limit: 50 }), tags.length - 50)
      yield* store.removeExpired({ now: start + hour, limit: 50 })
      // Only the current epoch of each shard is left.
      assert.deepStrictEqual((yield* names).sort(), tags.map((tag) => `{${tag}}:epochs`).sort())
    }))

  it.scopedLive("needs one call for load, save and touch, and two for rotate and create, which reserve an id", () =>
    Effect.gen(function*() {
      const { sent, store } = yield* opened
      const { key, record } = yield* stored(store)
      const calls: ReadonlyArray<readonly [calls: number, run: Effect.Effect<unknown, unknown>]> = [
        [1, store.load(key, start)],
        [1, store.save(key, record, { expectedVersion: 1, now: start })],
        [1, store.touch(key, { lastSeenAt: start, expiresAt: start + hour, now: start })],
        [2, store.rotate(key, keyIn(key.charAt(0)), record, { expectedVersion: 2, now: start })],
        [2, store.create(freshKey(), aRecord(), start)]
      ]
      for (const [count, run] of calls) {
        sent.length = 0
        yield* run
        assert.lengthOf(evaluations(sent), count)
      }
    }))
})

describe("a rotation in a Cluster", () => {
  it.scopedLive("stays in its shard when the engine draws the token, and needs no forwarding entry", () =>
    Effect.gen(function*() {
      const { names, sent, store } = yield* opened
      const engine = yield* engineOf(store, { timeout: "20 seconds" })
      const first = yield* written(engine, { _tag: "Create", record: record() })
      sent.length = 0
      const second = yield* written(engine, {
        _tag: "Rotate",
        value: first.value,
        record: next(first.record),
        expectedVersion: 1
      })
      assert.lengthOf(evaluations(sent), 2)
      assert.deepStrictEqual(yield* openedBy(engine, second.value), next(first.record))
      assert.lengthOf((yield* names).filter((name) => /^\{.\}:.{43}$/.test(name)), 1)
    }))

  it.scopedLive("to a key of another shard writes a forwarding entry, which is removed with the session", () =>
    Effect.gen(function*() {
      const { cluster, prefix, store } = yield* opened
      const forwardingOf = (key: string) => `${prefix}{${key.charAt(0)}}:${key}`
      const ends: ReadonlyArray<readonly [string, (key: ReturnType<typeof keyIn>) => Effect.Effect<unknown, unknown>]> =
        [
          ["destroy", (key) => store.destroy(key)],
          [
            "revoke",
            (key) =>
              Effect.flatMap(store.load(key, start), (found) => store.revoke(namespace, Option.getOrThrow(found).id))
          ],
          ["removeExpired", () => store.removeExpired({ now: start + hour, limit: 10 })],
          [
            "rotate",
            (key) =>
              Effect.flatMap(
                store.load(key, start),
                (found) => store.rotate(key, keyIn("C"), Option.getOrThrow(found), { expectedVersion: 2, now: start })
              )
          ]
        ]
      for (const [name, end] of ends) {
        const { key, record } = yield* stored(store, {}, keyIn("A"))
        const moved = { key: keyIn("B"), record: { ...record, version: 2 } }
        assert.strictEqual(yield* store.rotate(key, moved.key, record, { expectedVersion: 1, now: start }), "saved")
        yield* isAlive(store, moved, start)
        yield* isKeyDead(store, { key, record }, start)
        const left = yield* Effect.promise(() => cluster.pttl(forwardingOf(moved.key)))
        // Until the deadline of the session, and not only until its current expiry.
        assert.isAbove(left, 23 * hour)
        assert.isAtMost(left, 24 * hour + minute)
        yield* end(moved.key)
        assert.strictEqual(yield* Effect.promise(() => cluster.exists(forwardingOf(moved.key))), 0, name)
        assert.strictEqual(yield* store.create(moved.key, aRecord(), start), "created", name)
        yield* store.destroy(moved.key)
      }
    }))
})

/** A client whose script calls fail from the `from`th on. */
const failing = (client: Client, from: number): Client => {
  let calls = 0
  return {
    ...client,
    send: (key, command) => {
      if (command[0] === "evalsha") calls++
      return calls >= from ? Promise.reject(new Error("broken")) : client.send(key, command)
    }
  }
}

describe("an operation in several shards that fails half-way", () => {
  it.scopedLive("create: the session is absent, a retry succeeds, and `removeExpired` releases an abandoned id", () =>
    Effect.gen(function*() {
      const { client, names, prefix, store } = yield* opened
      const broken = yield* storeOn(failing(client, 2), { prefix })
      const one = { key: freshKey(), record: aRecord() }
      assert.strictEqual((yield* Effect.flip(broken.create(one.key, one.record, start))).reason, "unavailable")
      yield* isDead(store, one, start)
      assert.strictEqual(yield* store.create(one.key, one.record, start), "created")
      yield* isAlive(store, one, start)

      const lost = { key: freshKey(), record: aRecord() }
      const again = yield* storeOn(failing(client, 2), { prefix })
      yield* Effect.flip(again.create(lost.key, lost.record, start))
      // The prolonged session keeps its directory entry, and the abandoned id is released.
      yield* store.touch(one.key, { lastSeenAt: start, expiresAt: start + 3 * hour, now: start })
      yield* store.removeExpired({ now: start + 2 * hour, limit: 10 })
      yield* isAlive(store, {
        ...one,
        record: { ...one.record, expiry: { ...one.record.expiry, at: start + 3 * hour } }
      }, start)
      yield* store.removeExpired({ now: start + 3 * hour, limit: 10 })
      assert.deepStrictEqual(yield* names, [])
    }))

  it.scopedLive("destroy: the session is gone, although its id could not be released", () =>
    Effect.gen(function*() {
      const { client, names, prefix, store } = yield* opened
      const one = yield* stored(store)
      const broken = yield* storeOn(failing(client, 2), { prefix })
      yield* broken.destroy(one.key)
      yield* isDead(store, one, start)
      yield* store.removeExpired({ now: start + hour, limit: 10 })
      // The reason why the session ended has a time to live.
      assert.deepStrictEqual(yield* names, [`{${one.key.charAt(0)}}:ended:${one.key}`])
    }))

  it.scopedLive("revokeAll: the call fails, and a retry completes the revocation", () =>
    Effect.gen(function*() {
      const { client, prefix, store } = yield* opened
      const all = yield* inEveryShard(store)
      const broken = yield* storeOn(failing(client, 30), { prefix })
      assert.strictEqual((yield* Effect.flip(broken.revokeAll(namespace))).operation, "revokeAll")
      const halfway = yield* Effect.forEach(all, ({ key }) => isThere(store, key, start))
      assert.include(halfway, true)
      yield* store.revokeAll(namespace)
      yield* Effect.forEach(all, (one) => Effect.map(isThere(store, one.key, start), assert.isFalse))
    }))
})

describe("a Cluster during resharding, and with unsafe nodes", () => {
  it.scopedLive(
    "while a slot is migrated, calls succeed or fail with `unavailable`: no session is absent or revived",
    () =>
      Effect.gen(function*() {
        const nodes = yield* Server.makeCluster()
        const ports = nodes.map(({ port }) => port)
        yield* Server.clusterReady(ports)
        const cluster = yield* clusterOn(ports, { maxRedirections: 4, retryDelayOnTryAgain: 1 })
        const store = yield* storeOn(RedisClient.ioredis(cluster), { prefix: "" })
        const all = yield* Effect.forEach([1, 2, 3, 4], () => stored(store, {}, keyIn("A")))
        const revoked = yield* stored(store, { subject: "bob" }, keyIn("A"))
        yield* store.revokeSubject(namespace, "bob")

        const slot = yield* nodes[0].ask("CLUSTER", "KEYSLOT", "{A}")
        const ids = yield* Effect.forEach(nodes, ({ ask }) => ask("CLUSTER", "MYID"))
        const holders = yield* Effect.forEach(nodes, ({ ask }) => ask("CLUSTER", "COUNTKEYSINSLOT", slot))
        const from = holders.findIndex((count) => count !== "0")
        const to = (from + 1) % 3
        const [source, target] = [nodes[from] ?? nodes[0], nodes[to] ?? nodes[0]]
        yield* target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[from] ?? "")
        yield* source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[to] ?? "")
        const keys = (yield* source.ask("CLUSTER", "GETKEYSINSLOT", slot, "100")).split("\n").sort()
        assert.isAbove(keys.length, 8)
        for (const key of keys) {
          yield* source.ask("MIGRATE", "127.0.0.1", String(target.port), key, "0", "5000")
          for (const one of [...all, revoked]) {
            const answer = yield* Effect.either(store.load(one.key, start))
            if (answer._tag === "Left") assert.strictEqual(answer.left.reason, "unavailable")
            else assert.strictEqual(Option.isSome(answer.right), one !== revoked, key)
            const touched = yield* Effect.either(
              store.touch(one.key, { lastSeenAt: start, expiresAt: start, now: start })
            )
            if (touched._tag === "Right") assert.strictEqual(touched.right, one === revoked ? "gone" : "touched", key)
          }
        }
        for (const { ask } of nodes) yield* ask("CLUSTER", "SETSLOT", slot, "NODE", ids[to] ?? "")
        yield* Effect.forEach(all, (one) => isAlive(store, one, start))
        yield* isDead(store, revoked, start)
      })
  )

  it.scopedLive(
    "one node with an unsafe setting decides: allkeys-lru is rejected, appendfsync everysec gives up durableDestroy",
    () =>
      Effect.gen(function*() {
        const nodes = yield* Server.makeCluster({ settings: { appendonly: "yes", appendfsync: "always" } })
        const ports = nodes.map(({ port }) => port)
        yield* Server.clusterReady(ports)
        const cluster = yield* clusterOn(ports)
        const build = storeOn(RedisClient.ioredis(cluster))
        assert.isTrue((yield* build).capabilities.durableDestroy)
        yield* nodes[1].ask("CONFIG", "SET", "appendfsync", "everysec")
        assert.isFalse((yield* build).capabilities.durableDestroy)
        yield* nodes[2].ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        assert.strictEqual((yield* Effect.flip(build))._tag, "SessionConfigError")
        // Also if only CONFIG is permitted, every node is checked.
        const plain = RedisClient.ioredis(cluster)
        const withoutInfo = {
          ...plain,
          sendToAll: (command: ReadonlyArray<string>) =>
            command[0] === "info" ? Promise.reject(new Error("NOPERM no INFO")) : plain.sendToAll(command)
        }
        assert.strictEqual((yield* Effect.flip(storeOn(withoutInfo)))._tag, "SessionConfigError")
      })
  )
})
