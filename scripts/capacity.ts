/**
 * `npx tsx scripts/capacity.ts [sessions]`: bytes per session in each store, on servers that it starts itself, and the lengths of sealed
 * cookies. Each session has a subject and 200 or 1,000 bytes of data.
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as MysqlClient from "@effect/sql-mysql2/MysqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { SqlClient } from "@effect/sql/SqlClient"
import { Context, Effect, Layer, Option, Redacted, Schema, type Scope } from "effect"
import { CookieEngine, FileStore, Keyring, Session, SessionStore } from "effect-session"
import { aRecord, freshId, freshKey, start } from "effect-session/Fixtures"
import * as RedisClient from "effect-session/RedisClient"
import * as RedisStore from "effect-session/RedisStore"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import { Redis } from "ioredis"
import { execFileSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import { statSync } from "node:fs"
import * as Path from "node:path"
import { directory } from "../bench/servers.js"
import * as EmbeddedPostgres from "../examples/shop/EmbeddedPostgres.js"
import * as MariadbServer from "../test/support/servers/mariadb.js"
import * as RedisServer from "../test/support/servers/redis.js"

const sessions = Number(process.argv[2] ?? 5_000)

interface Measured {
  readonly store: SessionStore.Store
  /** The bytes that the store uses, with its indexes. */
  readonly bytes: Effect.Effect<number, unknown>
}

const sql = <E>(
  client: Layer.Layer<SqlClient, E>,
  size: (sql: SqlClient) => Effect.Effect<number, unknown>
): Effect.Effect<Measured, unknown, Scope.Scope> =>
  Effect.map(
    Layer.build(SqlStore.layer.pipe(Layer.provide(SqlMigrations.layer), Layer.provideMerge(client))),
    (context) => ({
      store: Context.get(context, SessionStore.SessionStore),
      bytes: size(Context.get(context, SqlClient))
    })
  )

const numberIn = (rows: ReadonlyArray<object>): number => Number(Object.values(rows[0] ?? {})[0])

const postgres = Effect.gen(function*() {
  const url = yield* EmbeddedPostgres.make({ directory: Path.join(yield* directory, "data") })
  return yield* sql(PgClient.layer({ url: Redacted.make(url) }), (sql) =>
    Effect.zipRight(
      sql.unsafe("VACUUM effect_sessions"),
      Effect.map(sql.unsafe("SELECT pg_total_relation_size('effect_sessions')"), numberIn)
    ))
})

const mariadb = Effect.gen(function*() {
  const { url } = yield* MariadbServer.make({ directory: Path.join(yield* directory, "data") })
  return yield* sql(MysqlClient.layer({ url: Redacted.make(url) }), (sql) =>
    Effect.zipRight(
      sql.unsafe("OPTIMIZE TABLE effect_sessions"),
      Effect.map(
        sql.unsafe(
          "SELECT file_size FROM information_schema.innodb_sys_tablespaces WHERE name LIKE '%/effect_sessions'"
        ),
        numberIn
      )
    ))
})

const sqlite = Effect.gen(function*() {
  const filename = Path.join(yield* directory, "sessions.sqlite")
  return yield* sql(
    SqliteClient.layer({ filename }),
    (sql) => Effect.map(sql.unsafe("PRAGMA wal_checkpoint(TRUNCATE)"), () => statSync(filename).size)
  )
})

const redis = Effect.gen(function*() {
  const { url } = yield* RedisServer.make()
  const client = yield* Effect.acquireRelease(
    Effect.sync(() => new Redis(url)),
    (client) => Effect.promise(() => client.quit())
  )
  const store = yield* Effect.provideService(
    RedisStore.make({ durableDestroy: false }),
    RedisClient.RedisClient,
    RedisClient.ioredis(client)
  )
  const bytes = Effect.promise(async () => Number(/used_memory:(\d+)/.exec(await client.info("memory"))?.[1]))
  return { store, bytes }
})

const files = Effect.gen(function*() {
  const root = yield* directory
  const store = yield* Effect.provide(FileStore.make({ directory: root, durability: "none" }), NodeContext.layer)
  // Blocks on disk, not lengths.
  const bytes = Effect.sync(() => Number.parseInt(execFileSync("du", ["-sk", root], { encoding: "utf8" })) * 1024)
  return { store, bytes }
})

const bytesPerSession = ({ bytes, store }: Measured, data: string) =>
  Effect.gen(function*() {
    const before = yield* bytes
    yield* Effect.forEach(
      Array.from({ length: sessions }, (_, i) => i),
      (i) => store.create(freshKey(), aRecord({ id: freshId(), subject: `user-${i}`, data }), start),
      { concurrency: 8, discard: true }
    )
    return Math.round(((yield* bytes) - before) / sessions)
  })

/** JSON of this many bytes that does not compress. */
const dataOf = (length: number) =>
  JSON.stringify({ value: randomBytes(length).toString("base64url").slice(0, length - 12) })

class App extends Session.Tag<App>()("capacity/App", {
  schema: Schema.Struct({ value: Schema.String }),
  initial: { value: "" }
}) {}

const cookieLength = (data: string) =>
  Effect.gen(function*() {
    const secret = Redacted.make(randomBytes(32).toString("base64url"))
    const keyring = Layer.effect(Keyring.Keyring, Keyring.make([{ id: "k", secret }]))
    const context = yield* Layer.build(
      App.layer.pipe(Layer.provide(CookieEngine.layer), Layer.provide(keyring))
    )
    const { value } = JSON.parse(data)
    const session = yield* Context.get(context, App.service).create({ value }, { subject: "user-1" })
    return Redacted.value(Option.getOrThrow(yield* session.token)).length
  })

const lengths = [200, 1000] as const

console.log(`${sessions} sessions\nstore     ${lengths.map((length) => `${length} B of data`.padStart(16)).join("")}`)
const row = (name: string, figures: ReadonlyArray<number>) =>
  console.log(name.padEnd(10) + figures.map((bytes) => `${bytes} B`.padStart(16)).join(""))

for (const [name, make] of Object.entries({ postgres, mariadb, sqlite, redis, files })) {
  const measured = Effect.forEach(
    lengths,
    (length) => Effect.scoped(Effect.flatMap(make, (measured) => bytesPerSession(measured, dataOf(length))))
  )
  row(name, await Effect.runPromise(measured))
}
row("cookie", await Effect.runPromise(Effect.scoped(Effect.forEach(lengths, (length) => cookieLength(dataOf(length))))))
