import * as PgClient from "@effect/sql-pg/PgClient"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import { isAlive, isDead, start, stored } from "effect-session/Fixtures"
import { SessionStore } from "effect-session/SessionStore"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import * as Path from "node:path"
import { assert, describe } from "vitest"
import { freshPrefix } from "./support/localStores.js"
import { poolExhausted, sharedDirectory, shopOn, survivesBrokenConnections, survivesCrash } from "./support/outages.js"
import { runScenarios } from "./support/outageScenarios.js"
import * as Postgres from "./support/postgresServer.js"
import { postgresClient } from "./support/serverClients.js"
import * as servers from "./support/sharedServers.js"

const startable = Effect.map(Postgres.startable(), (start) => ({
  start,
  client: (url: string, maxConnections = 3) =>
    PgClient.layer({ url: Redacted.make(url), maxConnections, connectTimeout: "1 second" })
}))

describe("Postgres becomes unavailable", () => {
  it.scopedLive(
    "killed: every call fails with `unavailable`, and after a restart it has every confirmed write",
    () => Effect.flatMap(startable, survivesCrash)
  )

  runScenarios(startable)
})

describe("a database becomes unavailable", () => {
  it.scopedLive("postgres: connections that are killed under load cause at worst a 503, and no update is lost", () =>
    Effect.gen(function*() {
      const applicationName = freshPrefix()
      const shops = yield* shopOn(
        PgClient.layer({ url: Redacted.make(servers.postgres()), maxConnections: 3, applicationName })
      )
      const admin = Context.get(yield* Layer.build(postgresClient({ maxConnections: 1 })), SqlClient)
      const cut = admin.unsafe(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '${applicationName}'`
      )
      yield* survivesBrokenConnections(shops, cut)
    }))

  it.scopedLive("postgres: a pool exhausted by the application: requests get 503 in time, and succeed once it is free", () =>
    poolExhausted(postgresClient({ maxConnections: 1 })))

  it.scopedLive("sqlite: sessions that another process destroyed or revoked stay ended after the file is reopened", () =>
    Effect.gen(function*() {
      const filename = Path.join(yield* sharedDirectory, "sessions.sqlite")
      const opened = <A, E>(use: Effect.Effect<A, E, SessionStore>) =>
        Effect.provide(
          use,
          SqlStore.layer.pipe(Layer.provide(SqlMigrations.layer), Layer.provide(SqliteClient.layer({ filename })))
        )
      const [one, destroyed, revoked] = yield* opened(Effect.gen(function*() {
        const store = yield* SessionStore
        assert.deepStrictEqual(store.capabilities, { durableDestroy: false, remote: false, limitsSubjects: true })
        const all = [yield* stored(store), yield* stored(store), yield* stored(store, { subject: "revoked" })] as const
        yield* store.destroy(all[1].key)
        yield* store.revokeSubject(all[2].record.namespace, "revoked")
        return all
      }))
      yield* opened(Effect.gen(function*() {
        const store = yield* SessionStore
        yield* isAlive(store, one, start)
        yield* isDead(store, destroyed, start)
        yield* isDead(store, revoked, start)
      }))
    }))
})
