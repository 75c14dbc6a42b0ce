/**
 * The shop's Postgres: the one at `DATABASE_URL`, or one of its own, whose data stays in the project's folder `.data`.
 */
import { PgClient } from "@effect/sql-pg"
import { Config, Effect, Layer, Option, Redacted } from "effect"
import { mkdir, rm } from "node:fs/promises"
import { createServer, type Server } from "node:net"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import * as EmbeddedPostgres from "./EmbeddedPostgres.js"
import { answers } from "./server.js"

export const data = fileURLToPath(new URL("../../.data", import.meta.url))

const embedded = Effect.gen(function*() {
  yield* keptFromOthers(Path.join(data, "shop.sock"))
  return Redacted.make(yield* EmbeddedPostgres.make({ directory: Path.join(data, "postgres") }))
})

const url = Effect.flatMap(
  Config.option(Config.redacted(Config.nonEmptyString("DATABASE_URL"))),
  Option.match({ onNone: () => embedded, onSome: Effect.succeed })
)

export const layer = Layer.unwrapScoped(Effect.map(url, (url) => PgClient.layer({ url })))

/**
 * Starting takes the data over from a Postgres that a killed shop has left behind. A shop that is still open would lose
 * its database by that, so it holds a socket that says so, and that ends with the process, however that ends.
 */
const keptFromOthers = (path: string) =>
  Effect.gen(function*() {
    if (yield* answers({ path })) {
      return yield* new EmbeddedPostgres.EmbeddedPostgresError({
        message: `Another shop is open on the data in ${data}: close it first, or set DATABASE_URL for this one.`
      })
    }
    yield* Effect.acquireRelease(listen(path), (server) => Effect.sync(() => server.close()))
  })

/** Where the folder cannot hold a socket, the shop opens without: then two at once are the user's own affair. */
const listen = (path: string) =>
  Effect.async<Server>((resume) => {
    const server = createServer()
    const done = () => resume(Effect.succeed(server))
    mkdir(data, { recursive: true })
      .then(() => rm(path, { force: true }))
      .then(() => server.on("error", done).listen(path, done), done)
  })
