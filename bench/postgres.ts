/**
 * What the store costs on top of its driver: `SqlStore` on a Postgres of its own, against `pg` that is told the same
 * statements, named so that the server prepares them once, and not named, and against `SqlClient`.
 * `npm run bench -- postgres`
 */
import { PgClient } from "@effect/sql-pg"
import { SqlClient } from "@effect/sql/SqlClient"
import { Effect, Layer, Redacted } from "effect"
import { SessionStore } from "effect-session"
import { chmod, mkdtemp, rm } from "node:fs/promises"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import * as EmbeddedPostgres from "../examples/shop/EmbeddedPostgres.js"
import { type Parameters, parametersOf } from "../src/internal/sql/rows.js"
import { type Prepared, statements } from "../src/internal/sql/statements.js"
import { tablesOf } from "../src/internal/sql/tables.js"
import { start, type Stored, stored } from "../src/internal/testing/records.js"
import * as SqlMigrations from "../src/SqlMigrations.js"
import * as SqlStore from "../src/SqlStore.js"

/** As much as is used of the driver of `PgClient`, which comes without types. */
interface Pool {
  readonly query: (statement: object) => Promise<unknown>
  readonly end: () => Promise<void>
}
const Pg: { readonly Pool: new(options: object) => Pool } = createRequire(import.meta.url)("pg")

const maxConnections = 8
const rounds = 9
const perRound = 4_000
const data = JSON.stringify({ cart: "x".repeat(580) })

/** One who asks again and again, for a session of their own. */
type Visitor = Stored & { version: number }
type Operation = (visitor: Visitor) => Effect.Effect<unknown, unknown>

/** Operations per second, of so many visitors at once, and what one costs this process, in microseconds of the processor. */
const rate = (operation: Operation, visitors: ReadonlyArray<Visitor>) =>
  Effect.gen(function*() {
    const each = Math.floor(perRound / visitors.length)
    const [began, cpu] = [performance.now(), process.cpuUsage()]
    yield* Effect.forEach(
      visitors,
      (visitor) => Effect.repeatN(Effect.suspend(() => operation(visitor)), each - 1),
      { concurrency: "unbounded", discard: true }
    )
    const { system, user } = process.cpuUsage(cpu)
    const count = each * visitors.length
    return { rate: (count * 1000) / (performance.now() - began), cost: (system + user) / count }
  })

type Measured = Effect.Effect.Success<ReturnType<typeof rate>>

const median = (all: ReadonlyArray<number>) => [...all].sort((a, b) => a - b)[all.length >> 1] ?? 0

/** The contenders in turns, each beside its ratio to the first. */
const compare = (title: string, contenders: Readonly<Record<string, Operation>>, visitors: ReadonlyArray<Visitor>) =>
  Effect.gen(function*() {
    const rates = new Map<string, Array<Measured>>(Object.keys(contenders).map((name) => [name, []]))
    for (let round = -1; round < rounds; round++) {
      for (const [name, operation] of Object.entries(contenders)) {
        const measured = yield* rate(operation, visitors)
        // The first round warms up.
        if (round >= 0) rates.get(name)?.push(measured)
      }
    }
    console.log(`\n${title}, ${visitors.length} at once`)
    const medians = [...rates].map(([name, all]) => ({
      name,
      rate: median(all.map(({ rate }) => rate)),
      cost: median(all.map(({ cost }) => cost))
    }))
    const [first] = medians
    for (const { cost, name, rate } of medians) {
      const [faster, dearer] = [rate / (first?.rate ?? rate), cost / (first?.cost ?? cost)].map((ratio) =>
        ratio.toFixed(2)
      )
      console.log(
        `  ${name.padEnd(24)} ${rate.toFixed(0).padStart(7)} /s   × ${faster}   ${
          cost.toFixed(0).padStart(5)
        } µs   × ${dearer}`
      )
    }
  })

const texts = statements("pg", tablesOf("effect_"))

const contest = Effect.gen(function*() {
  const store = yield* SessionStore
  const sql = yield* SqlClient
  const { config } = yield* PgClient.PgClient
  const pool = yield* Effect.acquireRelease(
    Effect.sync(() =>
      new Pg.Pool({ connectionString: Redacted.value(config.url ?? Redacted.make("")), max: maxConnections })
    ),
    (pool) => Effect.promise(() => pool.end())
  )
  const visitors = yield* Effect.forEach(
    Array.from({ length: 64 }),
    () => Effect.map(stored(store, { data }), (one): Visitor => ({ ...one, version: 1 }))
  )
  yield* Effect.forEach(Array.from({ length: 2_000 }), () => stored(store, { data }))
  yield* sql`VACUUM ANALYZE effect_sessions`

  const valuesOf = ({ names }: Prepared, parameters: Parameters) => names.map((name) => parameters[name])
  const ways: Readonly<
    Record<string, (prepared: Prepared, parameters: Parameters) => Effect.Effect<unknown, unknown>>
  > = {
    "pg, a named statement": (prepared, parameters) => {
      const name = prepared === texts.load ? "load" : "save"
      return Effect.promise(() => pool.query({ name, text: prepared.text, values: valuesOf(prepared, parameters) }))
    },
    "pg, not named": (prepared, parameters) =>
      Effect.promise(() => pool.query({ text: prepared.text, values: valuesOf(prepared, parameters) })),
    SqlClient: (prepared, parameters) => sql.unsafe(prepared.text, valuesOf(prepared, parameters))
  }

  const reading = (way: (typeof ways)[string]): Operation => ({ key }) => way(texts.load, { key, now: start })
  const next = (visitor: Visitor) => ({ ...visitor.record, data, version: visitor.version + 1 })
  const saving = (way: (typeof ways)[string]): Operation => (visitor) => {
    const expected = visitor.version
    const parameters = { key: visitor.key, expected, now: start, ...parametersOf(next(visitor)) }
    visitor.version++
    return way(texts.save, parameters)
  }
  const loads = {
    ...Object.fromEntries(Object.entries(ways).map(([name, way]) => [name, reading(way)])),
    SqlStore: ({ key }: Visitor) => store.load(key, start)
  }
  const saves = {
    ...Object.fromEntries(Object.entries(ways).map(([name, way]) => [name, saving(way)])),
    SqlStore: (visitor: Visitor) =>
      Effect.flatMap(store.save(visitor.key, next(visitor), visitor.version, start), (outcome) => {
        if (outcome !== "saved") return Effect.dieMessage(`a save was answered with ${outcome}`)
        visitor.version++
        return Effect.void
      })
  }
  for (const count of [1, 16, 64]) {
    const crowd = visitors.slice(0, count)
    yield* compare("load", loads, crowd)
    yield* compare("save", saves, crowd)
  }
})

const program = Effect.gen(function*() {
  const directory = yield* Effect.acquireRelease(
    Effect.promise(async () => {
      const directory = await mkdtemp(Path.join(tmpdir(), "effect-session-bench-"))
      await chmod(directory, 0o755)
      return directory
    }),
    (directory) => Effect.promise(() => rm(directory, { recursive: true, force: true }))
  )
  const url = yield* EmbeddedPostgres.make({ directory: Path.join(directory, "data") })
  const sql = PgClient.layer({ url: Redacted.make(url), maxConnections })
  yield* contest.pipe(
    Effect.scoped,
    Effect.provide(Layer.provideMerge(SqlStore.layer(), Layer.provideMerge(SqlMigrations.layer(), sql)))
  )
})

Effect.runPromise(Effect.scoped(program)).catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
