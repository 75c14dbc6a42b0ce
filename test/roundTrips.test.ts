/**
 * SQL statements and Redis commands per request, compared with the table in `docs/engines.md`.
 */
import * as Statement from "@effect/sql/Statement"
import { it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { Expiry, Session, StoredEngine } from "effect-session"
import * as CacheStore from "effect-session/CacheStore"
import * as RedisClient from "effect-session/RedisClient"
import * as RedisStore from "effect-session/RedisStore"
import type { SessionStore } from "effect-session/SessionStore"
import * as TieredStore from "effect-session/TieredStore"
import { readFileSync } from "node:fs"
import { assert } from "vitest"
import { freshPrefix, sqlStore } from "./support/localStores.js"
import { recordingClient } from "./support/redisClients.js"
import { visit } from "./support/requestWithoutHttp.js"
import { ofRedis, postgresClient, redisClient, redisClusterClient } from "./support/serverClients.js"

class App extends Session.Tag<App>()("test/RoundTrips", {
  schema: Schema.Struct({ count: Schema.optionalWith(Schema.Number, { default: () => 0 }) }),
  // No touch during the test.
  expiry: Expiry.absolute("1 day")
}) {}

/** A Redis store with its own prefix that counts the commands sent. */
const countedRedis = (client: Layer.Layer<RedisClient.RedisClient, unknown>, count: () => void) =>
  RedisStore.layerWith({ prefix: freshPrefix() }).pipe(
    Layer.provide(Layer.effect(
      RedisClient.RedisClient,
      Effect.map(RedisClient.RedisClient, (client) => {
        const noted = recordingClient(client).client
        return {
          ...noted,
          send: (key, command) => {
            count()
            return noted.send(key, command)
          }
        }
      })
    )),
    Layer.provide(client)
  )

/** The stores in the columns of the table. `redis` is called for each Redis command. */
const engines: ReadonlyArray<
  readonly [name: string, store: (redis: () => void) => Layer.Layer<SessionStore, unknown>]
> = [
  ["Postgres", () => sqlStore(postgresClient())],
  ["cache, Postgres", () => TieredStore.layer(CacheStore.layer, sqlStore(postgresClient()), { lease: "1 minute" })],
  ...ofRedis(
    ["Redis, Postgres", (redis) =>
      TieredStore.layer(countedRedis(redisClient, redis), sqlStore(postgresClient()), {
        lease: "1 minute",
        cacheTimeout: "5 seconds"
      })] as typeof engines[number],
    ["Redis", (redis) => countedRedis(redisClient, redis)] as typeof engines[number],
    ["Redis Cluster", (redis) => countedRedis(redisClusterClient, redis)] as typeof engines[number]
  )
]

/** Measures the round trips of each request over one store, such as `1 SQL + 2 Redis`. */
const measured = (store: (redis: () => void) => Layer.Layer<SessionStore, unknown>) =>
  Effect.gen(function*() {
    let statements = 0
    let commands = 0
    const served = App.layer.pipe(
      Layer.provide(StoredEngine.layerWith({ timeout: "5 seconds" })),
      Layer.provide(store(() => commands++))
    )
    const context = yield* Layer.build(served)
    const request = <A, E>(handler: Effect.Effect<A, E, App>, cookie?: string) =>
      Effect.gen(function*() {
        statements = 0
        commands = 0
        const answer = yield* visit(App, handler, cookie).pipe(
          Effect.provide(context),
          Statement.withTransformer((self) =>
            Effect.sync(() => {
              statements++
              return self
            })
          )
        )
        const parts = [[statements, "SQL"], [commands, "Redis"]].filter(([count]) => count !== 0)
        return {
          cookie: answer.cookie,
          cost: parts.length === 0 ? "0" : parts.map((part) => part.join(" ")).join(" + ")
        }
      })
    const increment = App.update("count", (n) => n + 1)
    const scenario = Effect.gen(function*() {
      const created = yield* request(increment)
      const rows: Array<readonly [string, string]> = [["a first visit that makes a session", created.cost]]
      const row = (name: string, handler: Effect.Effect<unknown, unknown, App>) =>
        Effect.map(request(handler, created.cookie), ({ cookie, cost }) => {
          rows.push([name, cost])
          return cookie
        })
      yield* row("untouched", Effect.void)
      yield* row("read, for the first time", App.value)
      yield* row("read again within the lease", App.value)
      yield* row("`reload` and read", Effect.zipRight(App.reload, App.value))
      yield* row("read and written", increment)
      yield* row("read just after a write", App.value)
      const rotated = yield* request(App.rotate, created.cookie)
      rows.push(["a login", rotated.cost])
      rows.push(["a logout", (yield* request(App.destroy, rotated.cookie)).cost])
      return rows
    })
    // Some calls also load a script or do maintenance, so the most frequent value counts.
    const runs = yield* Effect.replicateEffect(scenario, 30)
    return (runs[0] ?? []).map(([name], i) => [name, mostFrequent(runs.flatMap((rows) => rows[i]?.[1] ?? []))] as const)
  })

const mostFrequent = (costs: ReadonlyArray<string>): string => {
  const times = (cost: string) => costs.filter((other) => other === cost).length
  return [...costs].sort((a, b) => times(b) - times(a))[0] ?? ""
}

it.scopedLive("the table of round trips in docs/engines.md equals the measured values", () =>
  Effect.gen(function*() {
    const columns = yield* Effect.forEach(engines, ([name, store]) =>
      Effect.map(measured(store), (rows) => [name, new Map(rows)] as const))
    const requests = [...columns[0]?.[1].keys() ?? []]
    const table = [
      [
        "request",
        ...columns.map(([name]) =>
          name
        )
      ],
      ...requests.map((request) => [request, ...columns.map(([, rows]) => rows.get(request) ?? "")])
    ]
    const page = readFileSync("docs/engines.md", "utf8").split("<!-- round trips: test/roundTrips.test.ts -->")[1] ?? ""
    const written = page.split("\n").filter((line) => line.startsWith("|") && !/^\|[ :-]+\|[ :|-]*$/.test(line))
      .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()))
    // Without Redis, its columns are not compared.
    const shown = written.map((cells) =>
      cells.filter((_, i) => i === 0 || columns.some(([name]) => name === written[0]?.[i]))
    )
    assert.deepStrictEqual(shown, table, table.map((cells) => `| ${cells.join(" | ")} |`).join("\n"))
  }))
