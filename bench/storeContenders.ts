/**
 * The contenders of `stores`: the stores of this library, their drivers with the same statements or scripts, and the stores of
 * other libraries.
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as MysqlClient from "@effect/sql-mysql2/MysqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { Context, Effect, Layer, Option, Redacted, type Scope } from "effect"
import * as FileStore from "effect-session/FileStore"
import { start, type Stored, stored } from "effect-session/Fixtures"
import * as RedisClient from "effect-session/RedisClient"
import * as RedisStore from "effect-session/RedisStore"
import { SessionStore } from "effect-session/SessionStore"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import { Redis } from "ioredis"
import { randomUUID } from "node:crypto"
import { mkdir, open, readFile, rename } from "node:fs/promises"
import { createRequire } from "node:module"
import * as Path from "node:path"
import { createClient } from "redis"
import * as EmbeddedPostgres from "../examples/shop/EmbeddedPostgres.js"
import { type Parameters, parametersOf } from "../src/internal/sql/rows.js"
import { type Prepared, statements } from "../src/internal/sql/statements.js"
import { type Dialect, tablesOf } from "../src/internal/sql/tables.js"
import * as MariadbServer from "../test/support/servers/mariadb.js"
import * as RedisServer from "../test/support/servers/redis.js"
import { type Data, data } from "./app.js"
import { directory } from "./servers.js"

export const operations = ["load", "save"] as const
export type Operation = typeof operations[number]

export const crowds = [1, 16, 64] as const
const mostVisitors = 64
const writers = 50
const connections = 8

/** Results of conflicting writes. */
export interface Correctness {
  /** Number of updates stored, of 50 that all read the session before the first of them was written. */
  readonly kept: number
  /** Number of saves that the store rejected with a conflict. */
  readonly conflicts: number
  /** Whether the session exists after a destroy followed by a save of the record loaded before it. */
  readonly revived: boolean
}

export interface Contender {
  readonly name: string
  /** Runs operations sequentially for each of `visitors` concurrent visitors, each with its own session. Returns their number. */
  readonly run: (operation: Operation, visitors: number, millis: number) => Promise<number>
  /** Absent for a bare driver, which does not detect conflicts. */
  readonly correctness?: () => Promise<Correctness>
}

/** The contenders of one database. The first is the driver, to which the ratios refer. */
export interface Group {
  readonly name: string
  readonly make: Effect.Effect<ReadonlyArray<Contender>, unknown, Scope.Scope>
}

// Stores of this library

/** A session with its current version. */
type Visitor = Stored & { version: number }

const json = JSON.stringify(data)
const next = (visitor: Visitor) => ({ ...visitor.record, data: json, version: visitor.version + 1 })

const visitorsOf = (store: SessionStore["Type"], from = 0) =>
  Effect.forEach(
    Array.from({ length: mostVisitors }),
    (_, i) =>
      Effect.map(
        stored(store, { data: json, subject: `user-${from + i}` }),
        (one): Visitor => ({ ...one, version: 1 })
      )
  )

const loading = (store: SessionStore["Type"], { key }: Visitor) =>
  Effect.flatMap(
    store.load(key, start),
    (found) => Option.isSome(found) ? Effect.void : Effect.dieMessage("a session that was stored was not found")
  )

const saving = (store: SessionStore["Type"], visitor: Visitor) =>
  Effect.flatMap(
    store.save(visitor.key, next(visitor), { expectedVersion: visitor.version, now: start }),
    (outcome) => {
      if (outcome !== "saved") return Effect.dieMessage(`a save was answered with ${outcome}`)
      visitor.version++
      return Effect.void
    }
  )

const correctnessOf = (store: SessionStore["Type"]): Effect.Effect<Correctness, unknown> =>
  Effect.gen(function*() {
    const { key, record } = yield* stored(store, { data: "0" })
    const load = Effect.flatten(store.load(key, start))
    let conflicts = 0
    const update = (seen: typeof record): Effect.Effect<void, unknown> =>
      Effect.flatMap(
        store.save(
          key,
          { ...seen, data: String(Number(seen.data) + 1), version: seen.version + 1 },
          { expectedVersion: seen.version, now: start }
        ),
        (outcome) => {
          if (outcome === "saved") return Effect.void
          conflicts++
          return Effect.flatMap(load, update)
        }
      )
    const together = { concurrency: "unbounded" } as const
    const seen = yield* Effect.all(Array.from({ length: writers }, () => load), together)
    yield* Effect.forEach(seen, update, together)
    const last = yield* load
    yield* store.destroy(key)
    yield* store.save(key, { ...last, version: last.version + 1 }, { expectedVersion: last.version, now: start })
    return { kept: Number(last.data), conflicts, revived: Option.isSome(yield* store.load(key, start)) }
  })

/** A store of this library; its visitors are fibers. */
export const ofStore = (
  name: string,
  store: SessionStore["Type"],
  visitors: ReadonlyArray<Visitor>
): Contender => ({
  name,
  run: async (operation, crowd, millis) => {
    const perform = operation === "load" ? loading : saving
    const end = performance.now() + millis
    let count = 0
    await Effect.runPromise(Effect.forEach(
      visitors.slice(0, crowd),
      (visitor) =>
        Effect.whileLoop({
          while: () => performance.now() < end,
          body: () => perform(store, visitor),
          step: () => void count++
        }),
      { concurrency: "unbounded", discard: true }
    ))
    return count
  },
  correctness: () => Effect.runPromise(correctnessOf(store))
})

// Drivers, and stores of other libraries, which return promises

type Calls = Readonly<Record<Operation, () => unknown>>

const ofCalls = (name: string, visitors: ReadonlyArray<Calls>): Contender => ({
  name,
  run: async (operation, crowd, millis) => {
    const end = performance.now() + millis
    let count = 0
    await Promise.all(
      visitors.slice(0, crowd).map(async (visitor) => {
        const call = visitor[operation]
        while (performance.now() < end) {
          await call()
          count++
        }
      })
    )
    return count
  }
})

/** A store of express-session. */
export interface ConnectStore {
  readonly get: (id: string) => Promise<object | null | undefined>
  readonly set: (id: string, data: Data) => Promise<void>
  readonly destroy: (id: string) => Promise<void>
  readonly close: () => Promise<void>
}

export type ConnectStoreName = "connect-pg-simple" | "connect-redis" | "express-mysql-session" | "session-file-store"

export type MakeConnectStore = (name: ConnectStoreName, where: string, connections: number) => Promise<ConnectStore>

const countOf = (found: object | null | undefined): number =>
  found != null && "count" in found ? Number(found.count) : Number.NaN

const ofConnectStore = (name: ConnectStoreName, where: string) =>
  Effect.gen(function*() {
    // Its libraries are installed in `bench/node_modules`, outside the type-checked sources.
    const { make }: { readonly make: MakeConnectStore } = yield* Effect.promise(() =>
      import(new URL("./peers/connectStores.mjs", import.meta.url).href)
    )
    const store = yield* Effect.acquireRelease(
      Effect.promise(() => make(name, where, connections)),
      (store) => Effect.promise(store.close)
    )
    const visitors = yield* Effect.forEach(Array.from({ length: mostVisitors }), () =>
      Effect.promise(async (): Promise<Calls> => {
        const id = randomUUID()
        let count = 0
        await store.set(id, data)
        return {
          load: async () => {
            if (countOf(await store.get(id)) !== count) {
              throw new Error(`${name} gave another session`)
            }
          },
          save: () =>
            store.set(id, { ...data, count: ++count })
        }
      }))
    return {
      ...ofCalls(name, visitors),
      correctness: async () => {
        const id = randomUUID()
        await store.set(id, { ...data, count: 0 })
        const seen = await Promise.all(Array.from({ length: writers }, () =>
          store.get(id)))
        await Promise.all(seen.map((found) => store.set(id, { ...data, count: countOf(found) + 1 })))
        const kept = countOf(await store.get(id))
        await store.destroy(id)
        await store.set(id, { ...data, count: kept })
        return { kept, conflicts: 0, revived: await store.get(id) != null }
      }
    } satisfies Contender
  })

// SQL

/** Loads the driver version of Effect's client, not one that a peer has installed. */
const requireBeside = (client: string) => createRequire(createRequire(import.meta.url).resolve(client))

const prefix = "effect_"

const sqlStore = <E>(client: Layer.Layer<SqlClientOf, E>) =>
  Effect.map(
    Layer.build(SqlStore.layer.pipe(Layer.provide(SqlMigrations.layer), Layer.provide(client))),
    Context.get(SessionStore)
  )

type SqlClientOf = Layer.Layer.Context<typeof SqlStore.layer>

/** The store's statements, sent by the driver directly. */
const ofDriver = (
  name: string,
  dialect: Dialect,
  visitors: ReadonlyArray<Visitor>,
  send: (name: Operation, prepared: Prepared, values: ReadonlyArray<unknown>) => unknown
): Contender => {
  const texts = statements(dialect, tablesOf(prefix))
  return ofCalls(
    name,
    visitors.map((visitor): Calls => ({
      load: () => send("load", texts.load, texts.load.names.map((name) => name === "key" ? visitor.key : start)),
      save: () => {
        const parameters: Parameters = parametersOf(next(visitor), {
          key: visitor.key,
          expected: visitor.version,
          now: start
        })
        visitor.version++
        return send("save", texts.save, texts.save.names.map((name) => Reflect.get(parameters, name)))
      }
    }))
  )
}

/** The part of `pg` in use; the package has no types. */
interface PgPool {
  readonly query: (statement: object) => Promise<{ readonly rows: ReadonlyArray<Readonly<Record<string, unknown>>> }>
  readonly end: () => Promise<void>
}

export const pgPool = (url: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const Pg: { readonly Pool: new(options: object) => PgPool } = requireBeside("@effect/sql-pg")("pg")
      return new Pg.Pool({ connectionString: url, max: connections })
    }),
    (pool) => Effect.promise(() => pool.end())
  )

export const postgresServer = Effect.gen(function*() {
  return yield* EmbeddedPostgres.make({ directory: Path.join(yield* directory, "data") })
})

export const postgresStore = (url: string) =>
  sqlStore(PgClient.layer({ url: Redacted.make(url), maxConnections: connections }))

const postgres = Effect.gen(function*() {
  const url = yield* postgresServer
  const store = yield* postgresStore(url)
  const pool = yield* pgPool(url)
  const visitors = yield* visitorsOf(store)
  return [
    ofDriver(
      "pg, named statements",
      "pg",
      visitors,
      (name, { text }, values) => pool.query({ name, text, values })
    ),
    ofDriver("pg, not named", "pg", visitors, (_, { text }, values) => pool.query({ text, values })),
    ofStore("SqlStore", store, visitors),
    yield* ofConnectStore("connect-pg-simple", url)
  ]
})

/** The part of `mysql2` in use. */
interface MysqlPool {
  readonly execute: (
    text: string,
    values: ReadonlyArray<unknown>,
    done: (error: unknown, rows: unknown) => void
  ) => void
  readonly end: (done: () => void) => void
}

const mariadb = Effect.gen(function*() {
  const { url } = yield* MariadbServer.make({ directory: Path.join(yield* directory, "data") })
  const store = yield* sqlStore(MysqlClient.layer({ url: Redacted.make(url), maxConnections: connections }))
  const pool = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const Mysql: { readonly createPool: (options: object) => MysqlPool } = requireBeside("@effect/sql-mysql2")(
        "mysql2"
      )
      return Mysql.createPool({ uri: url, connectionLimit: connections, supportBigNumbers: true })
    }),
    (pool) => Effect.async<void>((resume) => pool.end(() => resume(Effect.void)))
  )
  const visitors = yield* visitorsOf(store)
  return [
    ofDriver(
      "mysql2, prepared",
      "mysql",
      visitors,
      (_, { text }, values) =>
        new Promise((resolve, reject) =>
          pool.execute(text, values, (error, rows) => error == null ? resolve(rows) : reject(error))
        )
    ),
    ofStore("SqlStore", store, visitors),
    yield* ofConnectStore("express-mysql-session", url)
  ]
})

/** The part of `better-sqlite3` in use; the package has no types. */
interface Sqlite {
  readonly pragma: (text: string) => unknown
  readonly prepare: (text: string) => { readonly all: (...values: ReadonlyArray<unknown>) => unknown }
  readonly close: () => void
}

const sqlite = Effect.gen(function*() {
  const filename = Path.join(yield* directory, "sessions.sqlite")
  const store = yield* sqlStore(SqliteClient.layer({ filename }))
  const database = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const Database: new(file: string) => Sqlite = requireBeside("@effect/sql-sqlite-node")("better-sqlite3")
      return new Database(filename)
    }),
    (database) => Effect.sync(() => database.close())
  )
  database.pragma("journal_mode = WAL")
  const texts = statements("sqlite", tablesOf(prefix))
  const prepared = { load: database.prepare(texts.load.text), save: database.prepare(texts.save.text) }
  const visitors = yield* visitorsOf(store)
  return [
    ofDriver("better-sqlite3, prepared", "sqlite", visitors, (name, _, values) => prepared[name].all(...values)),
    ofStore("SqlStore", store, visitors)
  ]
})

// Redis

type RedisCommand = ReadonlyArray<string>

/** Records the commands that a store sends for one load and one save of each session. */
const commandsOf = (client: RedisClient.RedisClient["Type"], visitors: ReadonlyArray<Visitor>) =>
  Effect.gen(function*() {
    let last: RedisCommand = []
    const store = yield* redisStore({
      ...client,
      send: (key, command) => {
        last = command
        return client.send(key, command)
      }
    })
    // The first call of each script sends its text, later calls its hash.
    yield* Effect.forEach(
      visitors.slice(0, 1),
      (visitor) => Effect.zip(loading(store, visitor), saving(store, visitor))
    )
    return yield* Effect.forEach(visitors, (visitor) =>
      Effect.gen(function*() {
        yield* loading(store, visitor)
        const load = last
        yield* saving(store, visitor)
        return { load, save: last, visitor }
      }))
  })

export const redisStore = (client: RedisClient.RedisClient["Type"]) =>
  Effect.provideService(RedisStore.make({ durableDestroy: false }), RedisClient.RedisClient, client)

/** Makes two contenders: the store, and its client with the same commands. */
const onRedis = (
  driver: string,
  client: RedisClient.RedisClient["Type"],
  send: (command: RedisCommand) => Promise<unknown>
) =>
  Effect.gen(function*() {
    const store = yield* redisStore(client)
    const visitors = yield* visitorsOf(store)
    const commands = yield* commandsOf(client, visitors)
    const calls = commands.map(({ load, save, visitor }): Calls => {
      // The last argument of a save is the expected version.
      const rest = save.slice(0, -1)
      return { load: () => send(load), save: () => send([...rest, String(visitor.version++)]) }
    })
    return [ofCalls(`${driver}, the same scripts`, calls), ofStore("RedisStore", store, visitors)]
  })

const connect = (url: string, enableAutoPipelining: boolean) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const client = new Redis(url, { enableAutoPipelining })
      await client.ping()
      return client
    }),
    (client) => Effect.sync(() => client.disconnect())
  )

export const redisClient = (url: string, enableAutoPipelining: boolean) =>
  Effect.map(connect(url, enableAutoPipelining), RedisClient.ioredis)

const redis = (enableAutoPipelining: boolean) =>
  Effect.gen(function*() {
    const { url } = yield* RedisServer.make()
    const client = yield* connect(url, enableAutoPipelining)
    const shape = RedisClient.ioredis(client)
    return yield* onRedis(
      "ioredis",
      shape,
      ([, sha = "", count = "", ...rest]) => client.evalsha(sha, count, ...rest)
    )
  })

const nodeRedis = Effect.gen(function*() {
  const { url } = yield* RedisServer.make()
  const client = yield* Effect.acquireRelease(
    Effect.promise(async () => {
      const client = createClient({ url })
      await client.connect()
      return client
    }),
    (client) => Effect.promise(() => client.close())
  )
  return [
    ...yield* onRedis("node-redis", RedisClient.nodeRedis(client), (command) => client.sendCommand([...command])),
    yield* ofConnectStore("connect-redis", url)
  ]
})

// Files

/** Replaces a file durably and atomically. */
const replace = async (folder: string, name: string, text: string) => {
  const draft = Path.join(folder, `${name}.${randomUUID()}`)
  const file = await open(draft, "wx", 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(draft, Path.join(folder, name))
  const opened = await open(folder)
  try {
    await opened.sync()
  } finally {
    await opened.close()
  }
}

const files = Effect.gen(function*() {
  const folder = yield* directory
  const bare = Path.join(folder, "bare")
  yield* Effect.promise(() => mkdir(bare))
  const store = yield* Effect.provide(FileStore.make({ directory: Path.join(folder, "ours") }), NodeContext.layer)
  const visitors = yield* visitorsOf(store)
  const calls = yield* Effect.forEach(visitors, ({ key, record }) =>
    Effect.promise(async (): Promise<Calls> => {
      const text = JSON.stringify(record)
      await replace(bare, key, text)
      return {
        load: async () => JSON.parse(await readFile(Path.join(bare, key), "utf8")),
        save: () => replace(bare, key, text)
      }
    }))
  return [
    ofCalls("fs: write, fsync, rename", calls),
    ofStore("FileStore", store, visitors),
    yield* ofConnectStore("session-file-store", Path.join(folder, "peer"))
  ]
})

export const groups: ReadonlyArray<Group> = [
  { name: "postgres", make: postgres },
  { name: "mariadb", make: mariadb },
  { name: "sqlite", make: sqlite },
  { name: "redis", make: redis(false) },
  { name: "redis-auto-pipelining", make: redis(true) },
  { name: "node-redis", make: nodeRedis },
  { name: "files", make: files }
]
