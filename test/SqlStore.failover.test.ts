/**
 * Databases that become read-only, as a demoted primary does, while their address points to the new primary.
 */
import * as MysqlClient from "@effect/sql-mysql2/MysqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted, type Scope } from "effect"
import { isThere, start, stored } from "effect-session/Fixtures"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import { assert, describe } from "vitest"
import { activeMillis } from "./support/activeTime.js"
import * as LossyProxy from "./support/lossyProxy.js"
import { sharedDirectory } from "./support/outages.js"
import * as Postgres from "./support/postgresServer.js"
import { ofMariadb } from "./support/serverClients.js"
import * as Mariadb from "./support/servers/mariadb.js"
import { until } from "./support/servers/server.js"
import { works } from "./support/storeCalls.js"

type Client = Layer.Layer<SqlClient, unknown>

interface Database {
  /** A running server, with a user `app` that cannot write while the server is read-only. */
  readonly server: Effect.Effect<string, unknown, Scope.Scope>
  readonly client: (url: string, maxConnections?: number) => Client
  /** Statements after which the server rejects every write, also on open connections. */
  readonly demote: ReadonlyArray<string>
  readonly app: (url: URL) => void
}

const pg: Database = {
  server: Effect.flatMap(Postgres.startable(), (start) => Effect.map(start, ({ url }) => url)),
  client: (url, maxConnections = 3) => PgClient.layer({ url: Redacted.make(url), maxConnections }),
  demote: ["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"],
  app: () => {}
}

const mariadb: Database = {
  server: Effect.gen(function*() {
    const { url } = yield* Mariadb.make({ directory: `${yield* sharedDirectory}/data` })
    const admin = Context.get(yield* Layer.build(mariadb.client(url, 1)), SqlClient)
    const name = new URL(url).pathname.slice(1)
    yield* admin.unsafe("CREATE USER app@'%' IDENTIFIED BY 'pass'")
    yield* admin.unsafe(`GRANT ALL ON \`${name}\`.* TO app@'%'`)
    return url
  }),
  client: (url, maxConnections = 3) => MysqlClient.layer({ url: Redacted.make(url), maxConnections }),
  demote: ["SET GLOBAL read_only = 1"],
  app: (url) => {
    url.username = "app"
    url.password = "pass"
  }
}

describe("a database that becomes read-only, while its address points to another one", () => {
  for (
    const [name, { app, client, demote, server }] of [
      ["postgres", pg],
      ...ofMariadb(["mariadb", mariadb] as const)
    ] as const
  ) {
    it.scopedLive(`${name}: writes fail as unavailable, and succeed on the other one within seconds`, () =>
      Effect.gen(function*() {
        const [first, second] = [yield* server, yield* server]
        const portOf = (url: string) => Number(new URL(url).port)
        for (const url of [first, second]) {
          yield* Effect.scoped(Layer.build(Layer.provide(SqlMigrations.layer, client(url, 1))))
        }
        const proxy = yield* LossyProxy.make(portOf(first))
        const url = new URL(first)
        url.port = String(proxy.port)
        url.hostname = "127.0.0.1"
        app(url)
        const context = yield* Layer.build(Layer.provide(SqlStore.layer, client(url.href)))
        const store = Context.get(context, SessionStore)
        const one = yield* stored(store)
        const admin = Context.get(yield* Layer.build(client(first, 1)), SqlClient)
        for (const statement of demote) yield* admin.unsafe(statement)
        const error = yield* Effect.flip(
          Effect.repeat(store.touch(one.key, { lastSeenAt: start, expiresAt: one.record.expiry.at, now: start }), {
            until: () => false,
            times: 100
          })
        )
        assert.instanceOf(error, SessionStoreError)
        assert.strictEqual(error.reason, "unavailable")
        assert.isTrue(yield* isThere(store, one.key, start))
        yield* proxy.connectTo(portOf(second))
        const [spent] = yield* activeMillis(
          until(Effect.either(Effect.delay(stored(store), "100 millis")), ({ _tag }) => _tag === "Right")
        )
        assert.isBelow(spent, 10_000)
        yield* works(store)
      }))
  }
})
