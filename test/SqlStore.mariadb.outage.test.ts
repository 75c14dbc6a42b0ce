/**
 * MariaDB, ended, stopped, cut off and out of reach, with visitors in the middle of it.
 */
import * as MysqlClient from "@effect/sql-mysql2/MysqlClient"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import { describe } from "vitest"
import { freePort } from "../examples/shop/freePort.js"
import { poolExhausted, sharedDirectory, shopOn, survivesBrokenConnections, survivesCrash } from "./support/outages.js"
import { play } from "./support/outageScenarios.js"
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
    "killed: every call says that it is unavailable; started again it holds what was confirmed",
    () => Effect.flatMap(startable, survivesCrash)
  )

  play(startable)
})

describe("MariaDB rejects connections", () => {
  it.scopedLive(
    "connections that are cut under load are 503 at the worst, and nothing is lost",
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

  it.scopedLive("a pool that the application has exhausted gives 503 in time, and works again when it is free", () =>
    poolExhausted(mysqlClient({ maxConnections: 1 })))
})
