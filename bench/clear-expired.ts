/**
 * Latency of visitors while expired sessions are removed from a Postgres: idle, one big DELETE, and sweeps in batches.
 * `npm run bench -- clear-expired [records]`; half of the records have expired.
 */
import { PgClient } from "@effect/sql-pg"
import { SqlClient } from "@effect/sql/SqlClient"
import { Effect, Layer, Option, Redacted } from "effect"
import { SessionReaper, StoredEngine, StoreKey } from "effect-session"
import type { SessionMaintenance } from "effect-session/SessionMaintenance"
import { SessionStore } from "effect-session/SessionStore"
import { chmod, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import * as EmbeddedPostgres from "../examples/shop/EmbeddedPostgres.js"
import * as SqlMigrations from "../src/SqlMigrations.js"
import * as SqlStore from "../src/SqlStore.js"

const records = Number(process.argv[2] ?? 200_000)
const visitors = 4
const rounds = 3
const hour = 3_600_000

/** SQL for the key of row `i` of `generate_series`. Even rows expire in an hour, odd rows an hour ago. */
const key = (i: string) => `translate(rtrim(encode(sha256(${i}::text::bytea), 'base64'), '='), '+/', '-_')`

const load = Effect.gen(function*() {
  const sql = yield* SqlClient
  const now = Date.now()
  yield* sql.unsafe(`TRUNCATE effect_sessions`)
  yield* sql.unsafe(
    `INSERT INTO effect_sessions (key, namespace, id, data, schema_version, subject, version, write_id, created_at, ` +
      `modified_at, last_seen_at, expires_at, deadline, namespace_epoch, subject_epoch) ` +
      `SELECT ${key("i")}, 'bench', lpad(i::text, 22, '0'), '{"cart":"' || repeat(md5(i::text), 18) || '"}', 1, ` +
      `'user' || i % 10000, 1, 'w' || i, ${now} - i, ${now} - i, ${now} - i, ` +
      // Roughly in row order, because sessions expire in the order of their last use.
      `${now} + (CASE WHEN i % 2 = 0 THEN ${hour} ELSE -${hour} END) + i * 600000::bigint / ${records} + ` +
      `(i * 7919::bigint) % 6000, ` +
      `${now} + ${24 * hour}, 0, 0 FROM generate_series(1, ${records}) i`
  )
  yield* sql.unsafe(`VACUUM ANALYZE effect_sessions`)
  yield* sql.unsafe(`CHECKPOINT`)
})

const livingKeys = Effect.gen(function*() {
  const sql = yield* SqlClient
  const rows = yield* sql.unsafe<{ readonly key: string }>(
    `SELECT key FROM effect_sessions WHERE expires_at > ${Date.now()} ORDER BY key LIMIT 5000`
  )
  return rows.flatMap((row) => Option.toArray(StoreKey.parse(row.key)))
})

/** Runs `work` while visitors load and touch sessions. Returns the duration of each visit and of `work`, in milliseconds. */
const during = <A, E, R>(work: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const store = yield* SessionStore
    const keys = yield* livingKeys
    const waits: Array<number> = []
    const visit = Effect.gen(function*() {
      const visited = keys[Math.floor(Math.random() * keys.length)]
      if (visited === undefined) return
      const began = performance.now()
      const now = Date.now()
      yield* store.load(visited, now)
      yield* store.touch(visited, { lastSeenAt: now, expiresAt: now + hour, now })
      waits.push(performance.now() - began)
      yield* Effect.sleep("2 millis")
    })
    const crowd = Effect.zipRight(
      Effect.all(Array.from({ length: visitors }, () => Effect.forever(visit)), { concurrency: visitors }),
      Effect.never
    )
    // Warm-up of half a second, which is not measured.
    yield* Effect.timeoutOption(crowd, "500 millis")
    waits.length = 0
    const began = performance.now()
    const removed = yield* Effect.raceFirst(work, crowd)
    return { removed, millis: performance.now() - began, waits }
  })

/** The measurements of one contender in all rounds. */
interface Total {
  readonly waits: ReadonlyArray<number>
  readonly millis: number
  readonly removed: number
}

const quantile = ({ waits }: Total, q: number) => waits[Math.min(waits.length - 1, Math.floor(waits.length * q))] ?? 0

const header = ["p50", "p99", "p99/idle", "worst", "> 10 ms", "seconds", "rows/s"]
const line = (name: string, cells: ReadonlyArray<string>) =>
  console.log(`  ${name.padEnd(24)}${cells.map((cell) => cell.padStart(10)).join("")}`)

const print = (name: string, total: Total, idle: Total) =>
  line(name, [
    quantile(total, 0.5).toFixed(2),
    quantile(total, 0.99).toFixed(2),
    `× ${(quantile(total, 0.99) / quantile(idle, 0.99)).toFixed(2)}`,
    quantile(total, 1).toFixed(2),
    `${(100 * total.waits.filter((wait) => wait > 10).length / total.waits.length).toFixed(2)} %`,
    (total.millis / 1000 / rounds).toFixed(2),
    total.removed === 0 ? "" : Math.round(total.removed / total.millis * 1000).toLocaleString("en")
  ])

const bigDelete = Effect.flatMap(
  SqlClient,
  (sql) =>
    Effect.as(sql.unsafe(`DELETE FROM effect_sessions WHERE expires_at <= ${Date.now()}`).raw, Math.floor(records / 2))
)
const contenders: Readonly<Record<string, Effect.Effect<number, unknown, SqlClient | SessionMaintenance>>> = {
  "idle": Effect.as(Effect.sleep("3 seconds"), 0),
  "one big DELETE": bigDelete,
  "sweep": SessionReaper.sweep({ budget: "10 minutes" }),
  "sweep, batches of 1,000": SessionReaper.sweep({ budget: "10 minutes", batch: 1000 }),
  "sweep, batches of 250": SessionReaper.sweep({ budget: "10 minutes", batch: 250 })
}

const bench = Effect.gen(function*() {
  const store = yield* SessionStore
  const totals = new Map<string, Total>()
  for (let round = 0; round < rounds; round++) {
    for (const [name, work] of Object.entries(contenders)) {
      yield* load
      const { millis, removed, waits } = yield* during(work)
      if (removed > 0 && (yield* store.count(Date.now())).expired > 0) console.log(`  ${name} left expired records`)
      const before = totals.get(name) ?? { waits: [], millis: 0, removed: 0 }
      totals.set(name, {
        waits: [...before.waits, ...waits].sort((a, b) => a - b),
        millis: before.millis + millis,
        removed: before.removed + removed
      })
    }
  }
  const idle = totals.get("idle")
  if (idle === undefined) return
  console.log(
    `${records.toLocaleString("en")} records, half of them expired; ${visitors} visitors; ${rounds} rounds; ` +
      `latency of a load and a touch for a visitor, in milliseconds`
  )
  line("", header)
  for (const [name, total] of totals) print(name, total, idle)
})

const directory = await mkdtemp(Path.join(tmpdir(), "effect-session-bench-"))
// As root, Postgres runs as another user, who needs access to the directory.
await chmod(directory, 0o755)
const engine = StoredEngine.layer.pipe(
  Layer.provideMerge(SqlStore.layer),
  Layer.provide(SqlMigrations.layer)
)
const database = Layer.unwrapScoped(Effect.map(
  EmbeddedPostgres.make({ directory: Path.join(directory, "postgres") }),
  (url) => PgClient.layer({ url: Redacted.make(url), maxConnections: 10 })
))
await Effect.runPromise(Effect.provide(bench, Layer.provideMerge(engine, database))).finally(() =>
  rm(directory, { recursive: true, force: true })
)
