/**
 * A bookshop half in Django and half in Effect, with one login and one cart. `npm run example:django` starts it, Ctrl-C stops it.
 */
import { HttpServer } from "@effect/platform"
import { NodeContext, NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Config, Console, Effect, Layer, Option, Redacted } from "effect"
import { createServer } from "node:http"
import * as Path from "node:path"
import * as EmbeddedPostgres from "../shop/EmbeddedPostgres.js"
import { data } from "../shop/folder.js"
import { freePort } from "../shop/freePort.js"
import { app } from "./cart.js"
import * as Django from "./django.js"
import * as Proxy from "./proxy.js"
import { sessions } from "./session.js"

const user = { name: "ada", password: "lovelace" }

/** Both sides sign sessions with it. A real one is a secret, and is not in the code. */
const secretKey = "the SECRET_KEY of an example that runs on one machine only"

const databaseUrl = Effect.flatMap(
  Config.option(Config.string("DATABASE_URL")),
  Option.match({
    onNone: () => EmbeddedPostgres.make({ directory: Path.join(data, "django") }),
    onSome: Effect.succeed
  })
)

const bookshop = Effect.gen(function*() {
  // 0: any port that is free.
  const port = yield* Config.withDefault(Config.integer("PORT"), 0)
  yield* Console.log("Starting Postgres …")
  const url = yield* databaseUrl
  yield* Console.log("Starting Django …")
  const django = yield* Django.serve({ DATABASE_URL: url, SECRET_KEY: secretKey }, user)
  const effect = yield* freePort
  yield* Layer.build(
    HttpServer.serve(app).pipe(
      Layer.provide(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: effect })),
      Layer.provide(sessions(Redacted.make(secretKey))),
      Layer.provide(PgClient.layer({ url: Redacted.make(url) }))
    )
  )
  const open = yield* Proxy.listen({ port, django, effect })
  yield* Console.log(`The bookshop is open at http://127.0.0.1:${open} - Ctrl-C closes it.`)
  yield* Console.log(`Log in as ${user.name} with the password ${user.password}.`)
  return yield* Effect.never
})

NodeRuntime.runMain(
  bookshop.pipe(
    Effect.scoped,
    Effect.provide(NodeContext.layer),
    Effect.tapError(({ message }) => Console.error(message))
  ),
  { disableErrorReporting: true }
)
