import { Effect } from "effect"
import { Cluster } from "ioredis"
import { createCluster } from "redis"
import * as RedisStore from "effect-session/RedisStore"
import { aRecord, freshKey, freshId, start } from "../src/internal/testing/records.ts"
const run = async (name: string, client: any) => {
  const store = await Effect.runPromise(Effect.provideService(RedisStore.make({ prefix: freshKey() }), RedisStore.RedisClient, client))
  for (let i = 0; i < 5; i++) await Effect.runPromise(store.create(freshKey(), aRecord(), start))
  const time = async (what: string, f: () => Effect.Effect<unknown, unknown>) => {
    await Effect.runPromise(f()); const cpu = process.cpuUsage(); const t = Date.now(); const N = 100
    for (let i = 0; i < N; i++) await Effect.runPromise(f())
    const d = process.cpuUsage(cpu); console.log(name, what, "wall ms", (Date.now() - t) / N, "cpu ms", (d.user + d.system) / 1000 / N)
  }
  await time("load", () => store.load(freshKey(), start))
  await time("find", () => store.find("laws", freshId(), start))
  await time("list", () => store.list("laws", "ann", start))
  await time("scan", () => store.scan("laws", undefined, 100, start))
  await time("removeExpired", () => store.removeExpired(start, 100))
  await time("revokeSubject", () => store.revokeSubject("laws", "x"))
}
const c = new Cluster([{ host: "127.0.0.1", port: 7401 }]); await run("ioredis", RedisStore.ioredis(c)); c.disconnect()
const a = new Cluster([{ host: "127.0.0.1", port: 7401 }], { enableAutoPipelining: true }); await run("ioredis auto", RedisStore.ioredis(a)); a.disconnect()
const n = await createCluster({ rootNodes: [{ url: "redis://127.0.0.1:7401" }] }).connect(); await run("node-redis", RedisStore.nodeRedis(n)); n.destroy()
