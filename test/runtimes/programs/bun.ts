/**
 * Serves the application on Bun. Arguments: the URL of a Postgres, and a new directory.
 */
import * as BunHttpServer from "@effect/platform-bun/BunHttpServer"
import * as BunRuntime from "@effect/platform-bun/BunRuntime"
import * as LibsqlClient from "@effect/sql-libsql/LibsqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Layer, Redacted } from "effect"
import { portable, served, sql } from "./app.js"

const [, , url = "", directory = ""] = process.argv

served({
  ...portable,
  postgres: sql(PgClient.layer({ url: Redacted.make(url) })),
  libsql: sql(LibsqlClient.layer({ url: `file:${directory}/sessions.db` }))
}).pipe(
  // By default Bun closes a connection on which nothing is sent for ten seconds.
  Layer.provide(BunHttpServer.layer({ hostname: "127.0.0.1", port: 0, idleTimeout: 120 })),
  Layer.launch,
  BunRuntime.runMain
)
