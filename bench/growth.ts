/**
 * Load and save rates, and bytes per session, by the number of sessions in a database. Each size has its own server, and the
 * measurements of all sizes are interleaved.
 */
import { Effect, Option, type Scope } from "effect"
import { aRecord, keyOf, start, stored } from "effect-session/Fixtures"
import type { SessionStore } from "effect-session/SessionStore"
import { createHash } from "node:crypto"
import * as RedisServer from "../test/support/servers/redis.js"
import { data } from "./app.js"
import { interleaved, measured, options } from "./harness.js"
import { digits, publish, ratio, withSpread } from "./report.js"
import {
  type Operation,
  operations,
  pgPool,
  postgresServer,
  postgresStore,
  redisClient,
  redisStore
} from "./storeContenders.js"

type Store = SessionStore["Type"]

const rounds = options.rounds(9)
const millis = 250
const visitors = 16
const largest = Number(options.positionals[0] ?? 1_000_000)
const sizes = [1_000, 10_000, 100_000, 1_000_000].filter((size) => size <= largest)

/** A store filled with sessions, and the bytes that they use on the server. */
interface Filled {
  readonly store: Store
  readonly bytes: number
}

const record = aRecord({ data: JSON.stringify(data) })
const keyNumber = (i: number) => keyOf(createHash("sha256").update(`key-${i}`).digest("base64url"))

// The same keys as `keyNumber`. Expiry times are spread over an hour, as in production.
const hashed = (text: string) => `translate(rtrim(encode(sha256((${text})::bytea), 'base64'), '='), '+/', '-_')`
const fillPostgres = (template: string, size: number) => `
INSERT INTO effect_sessions (key, namespace, id, data, schema_version, subject, version, write_id, created_at,
  authenticated_at, modified_at, last_seen_at, expires_at, deadline, lifetime, namespace_epoch, subject_epoch)
SELECT ${hashed("'key-' || i")}, namespace, substr(${
  hashed("'id-' || i")
}, 1, 22), data, schema_version, 'user-' || i, version,
  write_id, created_at, authenticated_at, modified_at, last_seen_at, expires_at + i % 3600000, deadline, lifetime,
  namespace_epoch, subject_epoch
FROM effect_sessions, generate_series(0, ${size - 1}) AS i WHERE key = '${template}'`

const postgres = (size: number): Effect.Effect<Filled, unknown, Scope.Scope> =>
  Effect.gen(function*() {
    const url = yield* postgresServer
    const store = yield* postgresStore(url)
    const pool = yield* pgPool(url)
    const query = (text: string) => Effect.promise(() => pool.query({ text }))
    const template = yield* stored(store, { data: record.data })
    yield* query(fillPostgres(template.key, size))
    yield* store.destroy(template.key)
    yield* query("VACUUM ANALYZE effect_sessions")
    yield* query("CHECKPOINT")
    const { rows: [row] } = yield* query("SELECT pg_total_relation_size('effect_sessions') AS bytes")
    return { store, bytes: Number(row?.bytes) }
  })

const redis = (size: number): Effect.Effect<Filled, unknown, Scope.Scope> =>
  Effect.gen(function*() {
    const server = yield* RedisServer.make()
    const memory = Effect.map(server.ask("INFO", "memory"), (info) => Number(/^used_memory:(\d+)/m.exec(info)?.[1]))
    const store = yield* redisStore(yield* redisClient(server.url, true))
    const empty = yield* memory
    let created = 0
    yield* Effect.forEach(
      Array.from({ length: Math.min(size, 500) }),
      () =>
        Effect.whileLoop({
          while: () => created < size,
          body: () => create(store, created++),
          step: () => {}
        }),
      { concurrency: "unbounded", discard: true }
    )
    return { store, bytes: (yield* memory) - empty }
  })

const expiryOf = (i: number) => ({ ...record.expiry, at: record.expiry.at + i % 3_600_000 })

const create = (store: Store, i: number) =>
  stored(store, { data: record.data, subject: `user-${i}`, expiry: expiryOf(i) }, keyNumber(i))

/** Operations per second of concurrent visitors, each using its own sessions in random order. */
const rate = async (store: Store, size: number, versions: Map<number, number>, operation: Operation) => {
  const began = performance.now()
  const end = began + millis
  let count = 0
  await Effect.runPromise(Effect.forEach(
    Array.from({ length: visitors }),
    (_, visitor) =>
      Effect.whileLoop({
        while: () => performance.now() < end,
        body: (): Effect.Effect<unknown, unknown> => {
          const i = visitors * Math.floor(Math.random() * Math.floor(size / visitors)) + visitor
          if (operation === "load") {
            return Effect.filterOrDieMessage(store.load(keyNumber(i), start), Option.isSome, "a session is missing")
          }
          const version = versions.get(i) ?? 1
          versions.set(i, version + 1)
          return Effect.filterOrDieMessage(
            store.save(keyNumber(i), { ...record, expiry: expiryOf(i), version: version + 1 }, {
              expectedVersion: version,
              now: start
            }),
            (outcome) => outcome === "saved",
            "a session could not be saved"
          )
        },
        step: () => void count++
      }),
    { concurrency: "unbounded", discard: true }
  ))
  return count * 1000 / (performance.now() - began)
}

const databases = { postgres, redis }
type Database = keyof typeof databases

const isIncluded = (database: Database) => options.only?.includes(database) ?? true

const measure = (database: Database) =>
  Effect.gen(function*() {
    const tasks = new Map<string, () => Promise<number>>()
    const bytes = new Map<number, number>()
    for (const size of sizes) {
      const filled = yield* databases[database](size)
      bytes.set(size, filled.bytes / size)
      const versions = new Map<number, number>()
      for (const operation of operations) {
        tasks.set(`${operation} ${size}`, () => rate(filled.store, size, versions, operation))
      }
    }
    const { noise, results } = yield* Effect.promise(() => interleaved(tasks, { rounds }))
    const of = (operation: Operation, size: number) => results.get(`${operation} ${size}`) ?? measured([])
    const cells = (operation: Operation, size: number) => [
      withSpread(of(operation, size)),
      ratio(of(operation, size).median, of(operation, sizes[0] ?? size).median)
    ]
    return {
      noise,
      table: {
        title: database,
        columns: ["sessions", "bytes per session", "loads/s", "to the fewest", "saves/s", "to the fewest"],
        rows: sizes.map((size) => [
          size.toLocaleString("en"),
          digits(bytes.get(size) ?? Number.NaN),
          ...cells("load", size),
          ...cells("save", size)
        ])
      }
    }
  }).pipe(Effect.scoped, Effect.runPromise)

export const growth = async (): Promise<void> => {
  for (const database of ["postgres", "redis"] as const) {
    if (!isIncluded(database)) continue
    const { noise, table } = await measure(database)
    publish({
      name: `growth-${database}`,
      title: `Stores that grow: ${database}`,
      about: `A load and a save of a session of 591 bytes, ${visitors} at once, each time of another session.`,
      rounds,
      noise,
      tables: [table],
      plots: [],
      budgets: []
    })
  }
}
