/**
 * Migration of live sessions from Postgres to Redis and back under load: lost sessions and updates, copy rate, and latency of
 * visitors. `npm run bench -- move [sessions] [seed]`; it starts its own servers.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted, Schema } from "effect"
import { Redis } from "ioredis"
import { execFile } from "node:child_process"
import { chmod, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { promisify } from "node:util"
import * as EmbeddedPostgres from "../examples/shop/EmbeddedPostgres.js"
import * as RedisClient from "../src/RedisClient.js"
import * as RedisStore from "../src/RedisStore.js"
import * as SqlMigrations from "../src/SqlMigrations.js"
import * as SqlStore from "../src/SqlStore.js"
import { copy, migrateThereAndBack, type Store } from "../test/support/migrationUnderLoad.js"
import * as RedisServer from "../test/support/servers/redis.js"

type Way = Effect.Effect.Success<ReturnType<typeof migrateThereAndBack>>["there"]

const postgresAt = (url: string): Store =>
  SqlStore.layer.pipe(
    Layer.provide(SqlMigrations.layer),
    Layer.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 10 }))
  )

const redisAt = (url: string): Store => {
  const connection = Effect.acquireRelease(
    Effect.sync(() => new Redis(url)),
    (client) => Effect.sync(() => client.disconnect())
  )
  const client = Layer.scoped(RedisClient.RedisClient, Effect.map(connection, RedisClient.ioredis))
  // This server is not durable, and the warning about that would go to the output that `copy` reports on.
  return Layer.provide(RedisStore.layerWith({ durableDestroy: false }), client)
}

const storeAt = (url: string) => url.startsWith("redis:") ? redisAt(url) : postgresAt(url)

const stages = ["old alone", "prepare", "move", "copy", "new alone"] as const

const line = (name: string, cells: ReadonlyArray<string>) =>
  console.log(`  ${name.padEnd(12)}${cells.map((cell) => cell.padStart(10)).join("")}`)

const print = (title: string, { alive, copied: { moved, seconds }, inNew, inOld, waits }: Way) => {
  const quantiles = (stage: typeof stages[number]) => {
    const sorted = waits.filter(([during]) => during === stage).map(([, , millis]) => millis).sort((a, b) => a - b)
    const at = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0
    return { count: sorted.length, p50: at(0.5), p99: at(0.99), worst: at(1) }
  }
  const count = (found: number) => found.toLocaleString("en")
  console.log(
    `\n${title}: ${count(alive)} sessions at the end, ${count(inNew.current)} in the new store, ` +
      `${count(inOld.current)} in the old`
  )
  console.log(`  copied ${count(moved)} in ${Math.round(seconds)} s: ${Math.round(moved / seconds)} per second`)
  line("", ["requests", "p50, ms", "p99, ms", "p50/idle", "p99/idle", "worst"])
  const idle = quantiles("old alone")
  for (const stage of stages) {
    const { count, p50, p99, worst } = quantiles(stage)
    const ratios = [p50 / idle.p50, p99 / idle.p99].map((ratio) => `× ${ratio.toFixed(2)}`)
    line(stage, [String(count), p50.toFixed(2), p99.toFixed(2), ...ratios, worst.toFixed(2)])
  }
}

/** Copies in a separate process, as `effect-session copy` does. */
const copyApart = (from: string, to: string) =>
  Effect.tryPromise(() => promisify(execFile)(process.execPath, [...process.argv.slice(1, 2), "copy", from, to])).pipe(
    Effect.flatMap(({ stdout }) => Schema.decode(Progress)(stdout)),
    Effect.tap(({ moved }) => Effect.sync(() => console.log(`copied ${moved} after ${process.uptime().toFixed(0)} s`)))
  )

const Progress = Schema.parseJson(Schema.Struct({ moved: Schema.Number, ended: Schema.Number }))

const bench = (sessions: number, seed: number, directory: string) =>
  Effect.gen(function*() {
    console.log(`${sessions} sessions, seed ${seed}; 3 nodes, 4 visitors with up to 4 requests at once`)
    const postgresUrl = yield* EmbeddedPostgres.make({ directory: Path.join(directory, "postgres") })
    const { url: redisUrl } = yield* RedisServer.make({ directory: Path.join(directory, "redis") })
    const [first, second] = [storeAt(postgresUrl), storeAt(redisUrl)]
    const { back, findings, there } = yield* migrateThereAndBack({
      first,
      second,
      sessions,
      seed,
      visitors: 4,
      pause: 20,
      requests: 500,
      copy: (from) => from === first ? copyApart(postgresUrl, redisUrl) : copyApart(redisUrl, postgresUrl)
    })
    print("From Postgres to Redis", there)
    print("From Redis to Postgres", back)
    console.log()
    for (const kind of ["logout", "lost update", "revived", "error"]) {
      console.log(`  ${kind.padEnd(12)}${String(findings.filter(([found]) => found === kind).length).padStart(10)}`)
    }
    for (const [kind, what] of findings.slice(0, 20)) console.log(`${kind}: ${what}`)
    if (findings.length > 0) process.exitCode = 1
  }).pipe(Effect.scoped)

const [command = "100000", ...rest] = process.argv.slice(2)
if (command === "copy") {
  const [from = "", to = ""] = rest
  console.log(Schema.encodeSync(Progress)(await Effect.runPromise(copy(storeAt(from), storeAt(to)))))
} else {
  const directory = await mkdtemp(Path.join(tmpdir(), "effect-session-bench-"))
  // As root, Postgres runs as another user, who needs access to the directory.
  await chmod(directory, 0o755)
  await Effect.runPromise(bench(Number(command), Number(rest[0] ?? Date.now() % 1_000_000), directory)).finally(() =>
    rm(directory, { recursive: true, force: true })
  )
}
