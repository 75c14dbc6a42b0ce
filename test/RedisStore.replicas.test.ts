/**
 * A Cluster with a replica that lags behind, and clients that are configured to send reads to replicas.
 */
import { it } from "@effect/vitest"
import { Effect, Option, type Scope } from "effect"
import { aRecord, freshKey, hour, namespace, start, stored } from "effect-session/Fixtures"
import type { Client } from "effect-session/RedisClient"
import * as RedisClient from "effect-session/RedisClient"
import { SessionStoreError } from "effect-session/SessionStore"
import type { Redis } from "ioredis"
import { createCluster } from "redis"
import { assert, describe } from "vitest"
import { freePort } from "../examples/shop/freePort.js"
import { clusterOn, ioredisOn, storeOn } from "./support/redisClients.js"
import * as Server from "./support/servers/redis.js"
import { until } from "./support/servers/server.js"
import { reads, storeTwoRecords, works, writes } from "./support/storeCalls.js"

/** A primary with all slots, and its replica. */
const pair = Effect.gen(function*() {
  const node = Effect.flatMap(Effect.all([freePort, freePort]), ([port, busPort]) =>
    Effect.map(
      Server.make({
        port,
        settings: {
          "cluster-enabled": "yes",
          "cluster-port": String(busPort),
          "enable-debug-command": "yes",
          "repl-diskless-sync-delay": "0"
        }
      }),
      (server) => ({ ...server, busPort })
    ))
  const [primary, replica] = [yield* node, yield* node]
  yield* primary.ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
  yield* replica.ask("CLUSTER", "MEET", "127.0.0.1", String(primary.port), String(primary.busPort))
  const id = yield* primary.ask("CLUSTER", "MYID")
  yield* until(replica.ask("CLUSTER", "NODES"), (nodes) => nodes.includes(id))
  yield* until(replica.ask("CLUSTER", "REPLICATE", id), (answer) => answer === "OK")
  yield* until(replica.ask("INFO", "replication"), (info) => info.includes("master_link_status:up"))
  yield* until(primary.ask("CLUSTER", "SLOTS"), (slots) => slots.includes(String(replica.port)))
  yield* until(primary.ask("CLUSTER", "INFO"), (info) => info.includes("cluster_state:ok"))
  yield* until(replica.ask("CLUSTER", "INFO"), (info) => info.includes("cluster_state:ok"))
  /** Stops replication: the replica still answers, with its current data. */
  const stopReplication = Effect.gen(function*() {
    yield* primary.ask("CONFIG", "SET", "repl-diskless-sync-delay", "600")
    yield* primary.ask("DEBUG", "CHANGE-REPL-ID")
    yield* primary.ask("CLIENT", "KILL", "TYPE", "replica")
    yield* until(replica.ask("INFO", "replication"), (info) => info.includes("master_link_status:down"))
  })
  return { primary, replica, stopReplication }
})

const nodeRedis = (port: number) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const cluster = createCluster({ rootNodes: [{ url: `redis://127.0.0.1:${port}` }], useReplicas: true })
      cluster.on("error", () => {})
      await cluster.connect()
      return cluster
    }),
    (cluster) => Effect.sync(() => cluster.destroy())
  )

const ioredis = (port: number, options: Parameters<typeof clusterOn>[1]) =>
  Effect.map(clusterOn([port], options), RedisClient.ioredis)

const clients: ReadonlyArray<
  readonly [name: string, on: (port: number) => Effect.Effect<Client, never, Scope.Scope>]
> = [
  [`ioredis with scaleReads "slave"`, (port) => ioredis(port, { scaleReads: "slave" })],
  [`ioredis with scaleReads "all"`, (port) => ioredis(port, { scaleReads: "all" })],
  [
    "ioredis with a scaleReads function that chooses replicas",
    (port) => ioredis(port, { scaleReads: (nodes: ReadonlyArray<Redis>) => nodes.slice(1) })
  ],
  [
    `ioredis with scaleReads "slave" and enableAutoPipelining`,
    (port) => ioredis(port, { scaleReads: "slave", enableAutoPipelining: true })
  ],
  ["node-redis with useReplicas", (port) => Effect.map(nodeRedis(port), RedisClient.nodeRedis)]
]

describe("a replica that lags behind", () => {
  for (const [name, on] of clients) {
    it.scopedLive(`${name}: is not used: new sessions are found, listed, counted and revoked at once`, () =>
      Effect.gen(function*() {
        const { stopReplication, primary, replica } = yield* pair
        const client = yield* on(primary.port)
        const store = yield* storeOn(client, { durableDestroy: false })
        yield* works(store)
        const { current } = yield* store.count(start)
        yield* stopReplication
        const one = yield* stored(store)
        const revocation = aRecord()
        assert.strictEqual(yield* store.create(freshKey(), revocation, start), "created")
        assert.strictEqual(yield* store.revoke(namespace, revocation.id), true)
        assert.isTrue(Option.isSome(yield* store.find(namespace, one.record.id, start)))
        assert.deepStrictEqual((yield* store.list(namespace, "ann", start)).map(({ id }) => id), [one.record.id])
        assert.lengthOf(yield* store.scan(namespace, { limit: 10, now: start }), 1)
        assert.deepStrictEqual(yield* store.count(start), { current: current + 1, expired: 0 })
        assert.strictEqual(yield* store.removeExpired({ now: start + 24 * hour, limit: 10 }), current + 1)
        const stats = yield* replica.ask("INFO", "commandstats")
        const used = [...stats.matchAll(/^cmdstat_([^:]+):/gm)].map(([, name = ""]) => name)
        assert.deepStrictEqual(used.filter((name) => /eval|^z(range|count|card)|^hm?get/.test(name)), [])
      }))
  }

  it.scopedLive("rejects every call of a client that sends all commands to it", () =>
    Effect.gen(function*() {
      const { primary, replica } = yield* pair
      const cluster = yield* ioredis(primary.port, {})
      const prefix = "shop:"
      const one = yield* Effect.flatMap(storeOn(cluster, { prefix, durableDestroy: false }), storeTwoRecords)
      assert.strictEqual(yield* primary.ask("WAIT", "1", "5000"), "1")
      const redis = yield* ioredisOn(replica.url, { readOnly: true })
      const misled: Client = { ...cluster, send: (_, [name = "", ...args]) => redis.call(name, args) }
      const store = yield* storeOn(misled, { prefix, durableDestroy: false })
      for (const [call, run] of [...reads, ...writes]) {
        const error = yield* Effect.flip(run(store, one))
        assert.instanceOf(error, SessionStoreError, call)
        assert.strictEqual(error.reason, "unavailable", call)
        assert.match(String(error.cause), /READONLY/, call)
      }
    }))
})
