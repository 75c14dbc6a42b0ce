/**
 * Outages of MariaDB under load: killed, stopped and unreachable.
 */
import * as MysqlClient from "@effect/sql-mysql2/MysqlClient"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import { describe } from "vitest"
import { freePort } from "../examples/shop/freePort.js"
import { poolExhausted, sharedDirectory, shopOn, survivesBrokenConnections, survivesCrash } from "./support/outages.js"
import { runScenarios } from "./support/outageScenarios.js"
import { mysqlClient } from "./support/serverClients.js"
import * as Mariadb from "./support/servers/mariadb.js"

const client = (url: string, maxConnections = 3) => {
  const patient = new URL(url)
  patient.searchParams.set("connectTimeout", "1000")
  return MysqlClient.layer({ url: Redacted.make(patient.href), maxConnections })
}

const startable = Effect.gen(function*() {
  const options = { directory: `${yield* sharedDirectory}/data`, port: yield* freePort }
  return { start: Mariadb.make(options), client }
})

describe("MariaDB becomes unavailable", () => {
  it.scopedLive(
    "killed: every call fails with `unavailable`, and after a restart it has every confirmed write",
    () => Effect.flatMap(startable, survivesCrash)
  )

  runScenarios(startable)
})

describe("MariaDB rejects connections", () => {
  it.scopedLive(
    "connections that are killed under load cause at worst a 503, and no update is lost",
    () =>
      Effect.gen(function*() {
        const { url } = yield* (yield* startable).start
        const shops = yield* shopOn(client(url))
        const admin = Context.get(yield* Layer.build(client(url, 1)), SqlClient)
        const cut = Effect.tap(
          admin.unsafe<{ readonly id: number }>(
            "SELECT id FROM information_schema.processlist WHERE user = 'root' AND id <> CONNECTION_ID()"
          ),
          Effect.forEach(({ id }) => Effect.ignore(admin.unsafe(`KILL CONNECTION ${id}`)))
        )
        yield* survivesBrokenConnections(shops, cut)
      })
  )

  it.scopedLive("a pool exhausted by the application: requests get 503 in time, and succeed once it is free", () =>
    poolExhausted(mysqlClient({ maxConnections: 1 })))
})
