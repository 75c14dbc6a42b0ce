/**
 * A bookshop half in Django and half in Effect, with one login and one cart: `npm run example:django` starts it, Ctrl-C stops it.
 */
import { HttpServer } from "@effect/platform"
import { NodeContext, NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Config, Console, Effect, Layer, Redacted } from "effect"
import { createServer } from "node:http"
import * as Path from "node:path"
import * as EmbeddedPostgres from "../shop/EmbeddedPostgres.js"
import { data } from "../shop/folder.js"
import { freePort } from "../shop/freePort.js"
import { app, sessions } from "./cart.js"
import * as Django from "./django.js"
import * as Proxy from "./proxy.js"

/** The visitor of the example. */
const user = { name: "ada", password: "lovelace" }

/** Both sides sign sessions with it. It protects nothing here, so that visitors stay logged in across restarts. */
const secretKey = Config.withDefault(
  Config.redacted("SECRET_KEY"),
  Redacted.make("of-the-example-on-this-machine-only")
)

const databaseUrl = Effect.flatMap(
  Config.option(Config.string("DATABASE_URL")),
  Effect.orElse(() => EmbeddedPostgres.make({ directory: Path.join(data, "django") }))
)

const open = Effect.gen(function*() {
  const port = yield* Config.withDefault(Config.integer("PORT"), 3000)
  yield* Console.log("Opening Postgres …")
  const url = yield* databaseUrl
  const key = yield* secretKey
  yield* Console.log("Starting Django …")
  const django = yield* Django.serve({ DATABASE_URL: url, SECRET_KEY: Redacted.value(key) }, user)
  const effect = yield* freePort
  yield* Layer.build(
    HttpServer.serve(app).pipe(
      Layer.provide(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: effect })),
      Layer.provide(sessions(key)),
      Layer.provide(PgClient.layer({ url: Redacted.make(url) }))
    )
  )
  const address = yield* Proxy.listen({ port, django, effect })
  yield* Console.log(
    `The bookshop is open at http://127.0.0.1:${address} - log in as ${user.name}, password ${user.password}.`
  )
  return yield* Effect.never
})

NodeRuntime.runMain(
  open.pipe(
    Effect.scoped,
    Effect.provide(NodeContext.layer),
    Effect.tapError(({ message }) => Console.error(message))
  ),
  { disableErrorReporting: true }
)
