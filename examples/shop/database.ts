/**
 * The shop's Postgres: the one at `DATABASE_URL`, or an embedded one with its data in the project's folder `.data`.
 */
import { PgClient } from "@effect/sql-pg"
import { Config, Console, Effect, Layer, Option, Redacted } from "effect"
import { rm } from "node:fs/promises"
import { createServer, type Server } from "node:net"
import * as Path from "node:path"
import * as EmbeddedPostgres from "./EmbeddedPostgres.js"
import { data, folder } from "./folder.js"
import { answers } from "./server.js"

const embedded = Effect.gen(function*() {
  yield* EmbeddedPostgres.programsRun
  yield* folder(".")
  yield* exclusive(Path.join(data, "shop.sock"))
  const directory = Path.join(data, "postgres")
  yield* Console.log(`Starting Postgres in ${directory} …`)
  return Redacted.make(yield* EmbeddedPostgres.make({ directory }))
})

const url = Effect.flatMap(
  Config.option(Config.redacted(Config.nonEmptyString("DATABASE_URL"))),
  Option.match({
    onNone: () => embedded,
    onSome: (url) => Effect.as(Console.log("Connecting to DATABASE_URL …"), url)
  })
)

export const layer = Layer.unwrapScoped(Effect.map(url, (url) => PgClient.layer({ url })))

/**
 * Fails if another shop uses the data directory. Starting stops a Postgres left by a killed shop, which would also stop the
 * database of a running one. A running shop therefore listens on a socket, which ends with its process.
 */
const exclusive = (path: string) =>
  Effect.gen(function*() {
    if (yield* answers({ path })) {
      return yield* new EmbeddedPostgres.EmbeddedPostgresError({
        message: `Another shop is open on the data in ${data}: close it first, or set DATABASE_URL for this one.`
      })
    }
    yield* Effect.acquireRelease(listen(path), (server) => Effect.sync(() => server.close()))
  })

/** Listens on the socket. If the file system does not support sockets, the shop starts without this check. */
const listen = (path: string) =>
  Effect.async<Server>((resume) => {
    const server = createServer()
    const done = () => resume(Effect.succeed(server))
    rm(path, { force: true })
      .then(() => server.on("error", done).listen(path, done), done)
  })
