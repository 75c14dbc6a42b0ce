/**
 * Databases, started for a benchmark and removed after it.
 */
import { Effect } from "effect"
import { chmod, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import * as EmbeddedPostgres from "../examples/shop/EmbeddedPostgres.js"
import * as RedisServer from "../test/support/servers/redis.js"
import type { Store } from "./app.js"
import { options } from "./harness.js"

export const directory = Effect.acquireRelease(
  Effect.promise(async () => {
    const directory = await mkdtemp(Path.join(tmpdir(), "effect-session-bench-"))
    // As root, Postgres runs as another user, who needs access to the directory.
    await chmod(directory, 0o755)
    return directory
  }),
  (directory) => Effect.promise(() => rm(directory, { recursive: true, force: true }))
)

/** Runs with the stores selected on the command line: memory, Redis and Postgres. */
export const withStores = (use: (stores: ReadonlyArray<Store>) => Promise<void>): Promise<void> =>
  Effect.gen(function*() {
    const stores: Array<Store> = options.has("memory") ? [{ _tag: "memory" }] : []
    if (options.has("redis")) {
      const { url } = yield* RedisServer.make()
      stores.push({ _tag: "redis", url })
    }
    if (options.has("postgres")) {
      const url = yield* EmbeddedPostgres.make({ directory: Path.join(yield* directory, "data") })
      stores.push({ _tag: "postgres", url })
    }
    yield* Effect.promise(() => use(stores))
  }).pipe(Effect.scoped, Effect.runPromise)
