/**
 * Serves the application on Node.js. Arguments: the URL of a Postgres, and a new directory.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as LibsqlClient from "@effect/sql-libsql/LibsqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Layer, Redacted } from "effect"
import { createServer } from "node:http"
import { portable, served, sql } from "./app.js"

const [, , url = "", directory = ""] = process.argv

served({
  ...portable,
  postgres: sql(PgClient.layer({ url: Redacted.make(url) })),
  libsql: sql(LibsqlClient.layer({ url: `file:${directory}/sessions.db` }))
}).pipe(
  Layer.provide(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })),
  Layer.launch,
  NodeRuntime.runMain
)
