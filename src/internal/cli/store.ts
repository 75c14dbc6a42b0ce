/**
 * The store of the command line: in a database, in Redis or in files, as the URL says.
 */
import * as Options from "@effect/cli/Options"
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Record from "effect/Record"
import * as Redacted from "effect/Redacted"
import * as FileStore from "../../FileStore.js"
import * as RedisClient from "../../RedisClient.js"
import * as RedisStore from "../../RedisStore.js"
import type { Store } from "../../SessionStore.js"
import { SessionStore } from "../../SessionStore.js"
import type { TableNames } from "../../SqlStore.js"
import { families } from "../file/names.js"
import type { CliFailure, DatabaseUrl } from "./database.js"
import { client, driver, explained, failed, fileOf, parse, sqlStore } from "./database.js"

/** A URL, as an option or from the environment. */
export const urlOption = (name: string, variable: string, description: string) =>
  Options.redacted(name).pipe(
    Options.withFallbackConfig(Config.redacted(variable)),
    Options.withDescription(`${description} Variable: ${variable}.`)
  )

/** The prefix and the schema of a store. `side` begins the names of the options. */
export const namesOption = (side = ""): Options.Options<TableNames> =>
  Options.all({
    prefix: Options.optional(Options.text(`${side}prefix`)).pipe(Options.withDescription(
      "What the names of the tables, or of the keys in Redis, begin with. Default: as the engine's."
    )),
    schema: Options.optional(Options.text(`${side}schema`)).pipe(Options.withDescription(
      "The schema of the tables in Postgres. Default: the first one of search_path that has them."
    ))
  }).pipe(Options.map(Record.getSomes))

export const namespaceOption = Options.text("namespace").pipe(
  Options.withFallbackConfig(Config.string("SESSION_NAMESPACE")),
  Options.withDescription("The namespace of the session's tag: its id, unless given. Variable: SESSION_NAMESPACE.")
)

/** Works on one store. To leave it does not wait for a database that is silent. */
export const withStore = <A, E, R>(
  url: DatabaseUrl,
  names: TableNames,
  use: (store: Store, now: number) => Effect.Effect<A, E, R>
) =>
  Effect.flatMap(store(url, names), (layer) =>
    Effect.provide(
      Effect.flatMap(
        Effect.all([SessionStore, Clock.currentTimeMillis]),
        ([store, now]) => use(store, now)
      ),
      layer
    )).pipe(explained(url), Effect.disconnect)

/** Where a URL leads that is none of a SQL database. */
export const kindOf = (url: DatabaseUrl): "sql" | "redis" | "file" => {
  const text = Redacted.value(url)
  return /^rediss?:/i.test(text) ? "redis" : /^file:/i.test(text) ? "file" : "sql"
}

/** The store, with the names that its engine would use unless others are given. Nothing is made that is not there. */
export const store = (
  url: DatabaseUrl,
  names: TableNames,
  connections = 1
): Effect.Effect<
  Layer.Layer<SessionStore, unknown, FileSystem.FileSystem | Path.Path>,
  CliFailure | PlatformError,
  FileSystem.FileSystem | Path.Path
> => {
  const kind = kindOf(url)
  if (names.schema !== undefined && kind !== "sql") {
    return failed("Only Postgres has schemas: leave out the option.")
  }
  switch (kind) {
    case "redis":
      return Effect.map(
        redis(url),
        (client) => Layer.provide(RedisStore.layerWith({ ...names, durableDestroy: false }), client)
      )
    case "file":
      return Effect.map(directoryOf(url), (directory) => FileStore.layer({ directory }))
    case "sql":
      return Effect.map(
        client(url, false, connections),
        (client) => Layer.provide(sqlStore(names), client)
      )
  }
}

/** What a URL that can be read leads to, without the user, the password and what else it may hold. */
export const placeOf = (url: DatabaseUrl): string => {
  const kind = kindOf(url)
  if (kind === "file") return `the files in ${pathOf(url)}`
  const text = Redacted.value(url)
  if (/^sqlite:/i.test(text)) return `SQLite in ${fileOf(url)}`
  const name = kind === "redis" ? "Redis" : /^postgres/i.test(text) ? "Postgres" : "MySQL"
  return `${name} at ${new URL(text).host}`
}

/** `file:directory`, and `file://` before an absolute path. */
const pathOf = (url: DatabaseUrl): string => Redacted.value(url).replace(/^file:(?:\/\/)?/i, "")

const directoryOf = (url: DatabaseUrl) =>
  Effect.gen(function*() {
    const directory = pathOf(url)
    if (directory === "") return yield* failed("The database URL names no directory: file:path/to/directory.")
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    // A slip of the pen must not become a store: the server makes its own.
    return (yield* fs.exists(path.join(directory, families[0])))
      ? directory
      : yield* failed(`There is no file store in ${directory}: the server makes it when it starts.`)
  })

/** A client of the server, or of the Cluster that it belongs to. */
const redis = (url: DatabaseUrl) =>
  Effect.gen(function*() {
    const parsed = yield* parse(url)
    if (parsed.host === "") return yield* failed("The database URL names no host: redis://user:password@host.")
    const database = parsed.searchParams.get("db") ?? parsed.pathname.slice(1)
    if (!/^[0-9]*$/.test(database)) return yield* failed("A database of Redis is a number: redis://host/0.")
    // Selected below: the driver would go on with another database if there is none of that number.
    parsed.pathname = ""
    parsed.searchParams.delete("db")
    const { Cluster, Redis } = yield* driver("ioredis", () => import("ioredis"))
    return Layer.scoped(
      RedisClient.RedisClient,
      Effect.gen(function*() {
        const node = yield* connected(() =>
          new Redis(parsed.href, {
            lazyConnect: true,
            maxRetriesPerRequest: 0,
            retryStrategy: () => null,
            // How long it waits for a server that does not take leave.
            disconnectTimeout: 100
          })
        )
        if (Number(database) > 0) yield* attempt(() => node.select(Number(database)))
        const info = yield* Effect.orElseSucceed(attempt(() => node.info("cluster")), () => "")
        if (!info.includes("cluster_enabled:1")) return RedisClient.ioredis(node)
        const { host = "", port = 6379 } = node.options
        const cluster = yield* connected(() =>
          new Cluster([{ host, port }], {
            lazyConnect: true,
            clusterRetryStrategy: () => null,
            redisOptions: node.options
          })
        )
        return RedisClient.ioredis(cluster)
      })
    )
  })

/** What is used of a client of ioredis while it connects. */
interface Connecting {
  connect(): Promise<void>
  disconnect(): void
  on(event: "error", listener: (error: Error) => void): unknown
}

/** A client until the end of the scope. What its connection reports tells more than what `connect` fails with. */
const connected = <A extends Connecting>(make: () => A) =>
  Effect.tap(
    Effect.acquireRelease(Effect.sync(make), (client) => Effect.sync(() => client.disconnect())),
    (client) => {
      let reported: Error | undefined
      client.on("error", (error) => void (reported = error))
      return attempt(() => client.connect()).pipe(
        Effect.mapError((error) => reported ?? error),
        // The driver's own limit ends when the server takes the connection, whether it says something or not.
        Effect.timeoutFail({
          duration: "5 seconds",
          onTimeout: () => Object.assign(new Error("the server is silent"), { code: "ETIMEDOUT" })
        })
      )
    }
  )

const attempt = <A>(run: () => Promise<A>): Effect.Effect<A, unknown> =>
  Effect.tryPromise({ try: run, catch: (error) => error })
