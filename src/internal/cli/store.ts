/**
 * Opens the store that a URL of the command line names: a SQL database, Redis or files.
 */
import * as Options from "@effect/cli/Options"
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
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

/** A URL, from an option or an environment variable. */
export const urlOption = (name: string, variable: string, description: string) =>
  Options.redacted(name).pipe(
    Options.withFallbackConfig(Config.redacted(variable)),
    Options.withDescription(`${description} Variable: ${variable}.`)
  )

/** The prefix and the schema of a store. `side` is the prefix of the option names. */
export const namesOption = (side = ""): Options.Options<TableNames> =>
  Options.all({
    prefix: Options.optional(Options.text(`${side}prefix`)).pipe(Options.withDescription(
      "The prefix of the tables, or of the keys in Redis. Default: that of the engine."
    )),
    schema: Options.optional(Options.text(`${side}schema`)).pipe(Options.withDescription(
      "The schema of the tables in Postgres. Default: the first one of search_path that has them."
    ))
  }).pipe(Options.map(Record.getSomes))

/** The URL and the names of a store. */
export const connection = {
  url: urlOption(
    "database-url",
    "DATABASE_URL",
    "postgres:// or mysql://user:password@host/database, sqlite:path, redis://host, or file:directory."
  ),
  names: namesOption()
}

export const namespaceOption = Options.text("namespace").pipe(
  Options.withFallbackConfig(Config.string("SESSION_NAMESPACE")),
  Options.withDescription("The namespace of the session's tag: its id, unless given. Variable: SESSION_NAMESPACE.")
)

/** An option that takes a whole number from `min` to `max`. */
export const integerBetween = (name: string, min: number, max: number, byDefault: number, description: string) =>
  Options.integer(name).pipe(
    Options.filterMap(
      (value) => value >= min && value <= max ? Option.some(value) : Option.none(),
      `--${name} takes a whole number from ${min} to ${max}.`
    ),
    Options.withDefault(byDefault),
    Options.withDescription(`${description} Default: ${byDefault}.`)
  )

/** Runs an effect with a store. An interruption does not wait for a database that does not answer. */
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

export const kindOf = (url: DatabaseUrl): "sql" | "redis" | "file" => {
  const text = Redacted.value(url)
  return /^rediss?:/i.test(text) ? "redis" : /^file:/i.test(text) ? "file" : "sql"
}

/** The layer of a store, with the default names of its engine unless others are given. It creates no tables, files or directories. */
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
    return failed("Only Postgres has schemas: leave out the option.", "table-names-invalid")
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

/** Describes the store of a valid URL, without the user, the password and the parameters. */
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
    if (directory === "") {
      return yield* failed("The database URL names no directory: file:path/to/directory.", "database-url-invalid")
    }
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    // Do not create a directory for a mistyped path.
    return (yield* fs.exists(path.join(directory, families[0])))
      ? directory
      : yield* failed(`There is no file store in ${directory}: the server creates it when it starts.`, "store-missing")
  })

/** A client of the server, or of the cluster that it belongs to. */
const redis = (url: DatabaseUrl) =>
  Effect.gen(function*() {
    const parsed = yield* parse(url)
    if (parsed.host === "") {
      return yield* failed("The database URL names no host: redis://user:password@host.", "database-url-invalid")
    }
    const database = parsed.searchParams.get("db") ?? parsed.pathname.slice(1)
    if (!/^[0-9]*$/.test(database)) {
      return yield* failed("A database of Redis is a number: redis://host/0.", "database-url-invalid")
    }
    // Selected below, because the driver ignores a failed selection and continues with another database.
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
            // Milliseconds to wait for the server to close the connection.
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

/** The part of a client of ioredis that is used to connect. */
interface Connecting {
  connect(): Promise<void>
  disconnect(): void
  on(event: "error", listener: (error: Error) => void): unknown
}

/** Connects a client until the scope closes. An `error` event is more specific than the error of `connect`, so it is preferred. */
const connected = <A extends Connecting>(make: () => A) =>
  Effect.tap(
    Effect.acquireRelease(Effect.sync(make), (client) => Effect.sync(() => client.disconnect())),
    (client) => {
      let reported: Error | undefined
      client.on("error", (error) => void (reported = error))
      return attempt(() => client.connect()).pipe(
        Effect.mapError((error) => reported ?? error),
        // The timeout of the driver ends when the server accepts the connection, even if the server never answers.
        Effect.timeoutFail({
          duration: "5 seconds",
          onTimeout: () => Object.assign(new Error("the server does not answer"), { code: "ETIMEDOUT" })
        })
      )
    }
  )

const attempt = <A>(run: () => Promise<A>): Effect.Effect<A, unknown> =>
  Effect.tryPromise({ try: run, catch: (error) => error })
