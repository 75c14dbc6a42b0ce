/**
 * A corrupt record does not affect other records: the published laws, on every store whose records can be corrupted.
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Context, Effect, Layer, Logger, type Scope } from "effect"
import { FileStore, MemoryStore } from "effect-session"
import * as CacheStore from "effect-session/CacheStore"
import { namespace, start, type Stored, stored } from "effect-session/Fixtures"
import * as MigratingStore from "effect-session/MigratingStore"
import { RedisClient } from "effect-session/RedisClient"
import { SessionStore } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import type { StoreKey } from "effect-session/StoreKey"
import { corruptionLaws } from "effect-session/testing"
import * as TieredStore from "effect-session/TieredStore"
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import * as Path from "node:path"
import { assert, describe } from "vitest"
import { encodeName, isContentName, shardOf } from "../src/internal/file/names.js"
import { freshPrefix, sqliteClient, sqlStore } from "./support/localStores.js"
import {
  mysqlClient,
  ofMariadb,
  ofRedis,
  postgresClient,
  redisClient,
  redisClusterClient,
  redisStore
} from "./support/serverClients.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

/** A store, and a function that corrupts a record and returns how to repair it. */
interface Corruptible {
  readonly store: Store
  readonly corruptRecord: (key: StoreKey) => Effect.Effect<Effect.Effect<void, unknown>, unknown>
}

type Opening = Effect.Effect<Corruptible, unknown, Scope.Scope>

const sql = (client: Layer.Layer<SqlClient, unknown>): Opening =>
  Effect.gen(function*() {
    const prefix = freshPrefix()
    const context = yield* Layer.build(sqlStore(client, prefix))
    const sql = Context.get(context, SqlClient)
    const write = (key: StoreKey, lifetime: string | null) =>
      Effect.asVoid(
        sql`UPDATE ${sql(`${prefix}sessions`)} SET lifetime = ${lifetime} WHERE ${sql("key")} = ${key}`
      )
    return {
      store: Context.get(context, SessionStore),
      corruptRecord: (key) => Effect.as(write(key, "{nonsense"), write(key, null))
    }
  })

const redis = (client: Layer.Layer<RedisClient, unknown>, tagOf: (key: StoreKey) => string): Opening =>
  Effect.gen(function*() {
    const prefix = freshPrefix()
    const context = yield* Layer.build(redisStore(client, prefix))
    const { send } = Context.get(context, RedisClient)
    const hash = (command: string, key: StoreKey, ...args: ReadonlyArray<string>) => {
      const name = `${prefix}{${tagOf(key)}}:${key}`
      return Effect.promise(() => send(name, [command, name, "m", ...args]))
    }
    return {
      store: Context.get(context, SessionStore),
      corruptRecord: (key) =>
        Effect.flatMap(
          hash("hget", key),
          (before) => Effect.as(hash("hset", key, "[nonsense"), Effect.asVoid(hash("hset", key, String(before))))
        )
    }
  })

const files: Opening = Effect.gen(function*() {
  const directory = yield* temporaryDirectory("files")
  const store = yield* Effect.provide(FileStore.make({ directory, durability: "none" }), NodeContext.layer)
  const contentOf = (key: StoreKey) => {
    const record = Path.join(directory, "records", shardOf(encodeName(key)), encodeName(key))
    return Path.join(record, readdirSync(record).find(isContentName) ?? assert.fail("there is no content"))
  }
  return {
    store,
    corruptRecord: (key) =>
      Effect.sync(() => {
        const content = contentOf(key)
        const before = readFileSync(content)
        writeFileSync(content, before.subarray(0, -1))
        return Effect.sync(() => writeFileSync(content, before))
      })
  }
})

const over = (opening: Opening, make: (store: Store) => Effect.Effect<Store, unknown>): Opening =>
  Effect.flatMap(opening, ({ corruptRecord, store }) => Effect.map(make(store), (store) => ({ store, corruptRecord })))

const stores: Readonly<Record<string, Opening>> = {
  file: files,
  sqlite: sql(sqliteClient),
  postgres: sql(postgresClient()),
  ...Object.fromEntries([
    ...ofMariadb(["mariadb", sql(mysqlClient())] as const),
    ...ofRedis(
      ["redis", redis(redisClient, () => "all")] as const,
      ["redis-cluster", redis(redisClusterClient, (key) => key.charAt(0))] as const
    )
  ]),
  "cached sqlite": over(
    sql(sqliteClient),
    (origin) => Effect.flatMap(CacheStore.make(), (cache) => TieredStore.make(cache, origin, { lease: "1 millis" }))
  ),
  "sqlite as the source of a migration": over(
    sql(sqliteClient),
    (from) => Effect.succeed(MigratingStore.make(from, MemoryStore.make(), { phase: "prepare" }))
  ),
  "sqlite as the target of a migration": over(
    sql(sqliteClient),
    (to) => Effect.succeed(MigratingStore.make(MemoryStore.make(), to, { phase: "move" }))
  )
}

describe.each(Object.entries(stores))("%s", (_, opening) => {
  for (const [i, { name }] of corruptionLaws(() => Effect.never).entries()) {
    it.scopedLive(name, () =>
      Effect.gen(function*() {
        const { corruptRecord, store } = yield* opening
        const { law } = corruptionLaws(corruptRecord)[i] ?? assert.fail("there is no such law")
        yield* Effect.provideService(law, SessionStore, store)
      }))
  }
})

/** The secrets of a session, which must not be logged. */
const assertNoSecretIn = (text: string, { key, record: { data, subject, writeId } }: Stored) => {
  for (const secret of [key, data, subject ?? "", writeId, "nonsense"]) assert.notInclude(text, secret)
}

describe.each(Object.entries(stores))("%s", (name, opening) => {
  it.scopedLive("list logs which record it skips, without its content", () =>
    Effect.gen(function*() {
      const { corruptRecord, store } = yield* opening
      const corrupt = yield* stored(store, { data: `"of the session"`, subject: "the subject", writeId: "the write" })
      yield* corruptRecord(corrupt.key)
      const lines: Array<string> = []
      const logger = Logger.map(Logger.stringLogger, (line) => void lines.push(line))
      assert.deepStrictEqual(
        yield* store.list(namespace, "the subject", start).pipe(
          Effect.provide(Logger.replace(Logger.defaultLogger, logger))
        ),
        []
      )
      assert.lengthOf(lines, 1)
      const [line = ""] = lines
      assert.include(line, "level=WARN")
      // The index of a Redis store does not contain the id of a corrupt record.
      const which = name.startsWith("redis")
        ? "a corrupt record whose id is unknown"
        : `the corrupt record ${corrupt.record.id}`
      assert.include(line, `A list of the sessions of \\"laws\\" omits ${which}.`)
      assertNoSecretIn(line, corrupt)
    }))
})
