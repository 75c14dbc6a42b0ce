/**
 * The store of the command line: in a database, in Redis or in files, as the URL says.
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as FileStore from "../FileStore.js"
import * as RedisStore from "../RedisStore.js"
import type { SessionStore } from "../SessionStore.js"
import * as SqlStore from "../SqlStore.js"
import type { DatabaseUrl } from "./cliDatabase.js"
import { client, CliFailure, driver } from "./cliDatabase.js"

/** Where a URL leads that is none of a SQL database. */
export const kindOf = (url: DatabaseUrl): "sql" | "redis" | "file" => {
  const text = Redacted.value(url)
  return /^rediss?:/i.test(text) ? "redis" : /^file:/i.test(text) ? "file" : "sql"
}

/** The store, with the names that its engine would use unless a prefix is given. */
export const store = (
  url: DatabaseUrl,
  prefix: string | undefined
): Effect.Effect<
  Layer.Layer<SessionStore, unknown, FileSystem.FileSystem | Path.Path>,
  CliFailure,
  FileSystem.FileSystem
> => {
  const options = prefix === undefined ? {} : { prefix }
  switch (kindOf(url)) {
    case "redis":
      return Effect.map(redis(url), (client) => Layer.provide(RedisStore.layer(options), client))
    case "file":
      return Effect.succeed(FileStore.layer({ directory: Redacted.value(url).replace(/^file:(?:\/\/)?/i, "") }))
    case "sql":
      return Effect.map(client(url, false), (client) => Layer.provide(SqlStore.layer(options), client))
  }
}

const redis = (url: DatabaseUrl) =>
  Effect.map(driver("ioredis", () => import("ioredis")), ({ Redis }) =>
    Layer.scoped(
      RedisStore.RedisClient,
      Effect.flatMap(
        Effect.acquireRelease(
          Effect.sync(() =>
            new Redis(Redacted.value(url), {
              lazyConnect: true,
              connectTimeout: 5000,
              maxRetriesPerRequest: 0,
              retryStrategy: () => null
            }).on("error", () => {})
          ),
          (client) => Effect.sync(() => client.disconnect())
        ),
        (client) =>
          Effect.tryPromise({
            try: () => client.connect(),
            catch: () =>
              new CliFailure({ exitCode: 1, message: "The Redis server cannot be reached, or refuses the user." })
          }).pipe(Effect.as(RedisStore.ioredis(client)))
      )
    ))
