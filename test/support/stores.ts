/**
 * The stores that the laws are run on, each real and empty. A fast run has those that need no server.
 */
import { Context, Effect, Layer } from "effect"
import * as CacheStore from "effect-session/CacheStore"
import * as MigratingStore from "effect-session/MigratingStore"
import { SessionStore } from "effect-session/SessionStore"
import * as TieredStore from "effect-session/TieredStore"
import { isFast } from "./fast.js"
import { libsqlClient, localStores, type Named, sqliteClient, sqlStore } from "./localStores.js"
import { leftOut, valkey } from "./parts.js"
import {
  mysqlClient,
  ofMariadb,
  ofRedis,
  postgresClient,
  redisClient,
  redisClusterClient,
  redisStore,
  valkeyClient
} from "./serverClients.js"

/** Two stores whose sessions are created in the old one, so that each migrates when it is used. */
const moving = <E1, E2>(before: Layer.Layer<SessionStore, E1>, after: Layer.Layer<SessionStore, E2>) =>
  Layer.scoped(
    SessionStore,
    Effect.map(Effect.all([Layer.build(before), Layer.build(after)]), (contexts) => {
      const [from, to] = [Context.get(contexts[0], SessionStore), Context.get(contexts[1], SessionStore)]
      const create: typeof from.create = (key, record, now) =>
        // A migration uses two more versions temporarily.
        (record.version < Number.MAX_SAFE_INTEGER - 2 ? from : to).create(key, record, now)
      return { ...MigratingStore.make(from, to, { phase: "move" }), create }
    })
  )

/** Stores made of stores, by name. Each call of the layer makes an empty one. */
export const combined: ReadonlyArray<Named> = [
  ["cached sqlite", () => TieredStore.layer(CacheStore.layer, sqlStore(sqliteClient), { lease: "5 seconds" })],
  ...isFast() ? [] : ofRedis(
    ["redis, postgres", () =>
      TieredStore.layer(redisStore(redisClient), sqlStore(postgresClient()), {
        lease: "5 seconds",
        cacheTimeout: "5 seconds"
      })] as const,
    [
      "sqlite to redis",
      () => moving(sqlStore(sqliteClient), redisStore(redisClient))
    ] as const
  )
]

/** Every store, by name. Each call of the layer makes an empty one. */
export const stores: ReadonlyArray<Named> = [
  ...localStores,
  ...isFast() ? [] : [
    ["postgres", () => sqlStore(postgresClient())] as const,
    ...ofMariadb(["mariadb", () => sqlStore(mysqlClient())] as const),
    ...ofRedis(
      ["redis", () => redisStore(redisClient)] as const,
      ["redis-cluster", () => redisStore(redisClusterClient)] as const
    )
  ]
]

/** Stores with the statements of another one, on another server: the laws are run on them, and no other test of all stores. */
export const variants: ReadonlyArray<Named> = isFast() ? [] : [
  ["libsql", () => sqlStore(libsqlClient)],
  ...leftOut().includes(valkey) ? [] : [["valkey", () => redisStore(valkeyClient)] as const]
]
