/**
 * Starts the servers that the tests share, on free ports and empty data, each when a test first asks for it (see `sharedServers.ts`); stops
 * them after the run.
 */
import { Cause, Effect, Exit, Scope } from "effect"
import { readFileSync, rmSync } from "node:fs"
import { chmod, mkdtemp } from "node:fs/promises"
import { createServer } from "node:http"
import { constants } from "node:os"
import * as Path from "node:path"
import type { TestProject } from "vitest/node"
import * as EmbeddedPostgres from "../../examples/shop/EmbeddedPostgres.js"
import { isInstalled, leftOut, mariadb, redis, valkey } from "./parts.js"
import * as Mariadb from "./servers/mariadb.js"
import * as Redis from "./servers/redis.js"
import { packInto } from "./tarballs.js"
import { memoryFolder } from "./temporaryDirectories.js"

export default async (project: TestProject) => {
  const scope = Effect.runSync(Scope.make())
  // Tests that kill a server, or test its durability, start their own on a disk.
  const directory = await mkdtemp(Path.join(memoryFolder, "effect-session-"))
  const postgres = Path.join(directory, "postgres")
  const mariadbData = Path.join(directory, "mariadb")
  const packages = await mkdtemp(Path.join(directory, "packages-"))
  const run = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) => Effect.runPromise(Scope.extend(effect, scope))
  const remove = () => rmSync(directory, { recursive: true, force: true, maxRetries: 5 })

  const giveUp = () => {
    abort(Path.join(postgres, "postmaster.pid"), "SIGQUIT")
    abort(Path.join(mariadbData, "mariadbd.pid"), "SIGKILL")
    remove()
  }
  // Prepended, because the listener of vitest ends the process.
  process.prependOnceListener("exit", giveUp)
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    // Not `once`: a second signal must not end the process during the clean-up after the first.
    process.on(signal, () => process.exit(128 + constants.signals[signal]))
  }

  // If the tests run as root, the servers run as other users, who need access.
  await chmod(directory, 0o755)
  // If it is not installed, the tests that need it fail with a message and all others run.
  const hasRedis = isInstalled(redis) && !leftOut().includes(redis)
  const servers: Record<string, Effect.Effect<unknown, unknown, Scope.Scope>> = {
    postgres: EmbeddedPostgres.make({ directory: postgres }),
    mariadb: isInstalled(mariadb) && !leftOut().includes(mariadb)
      ? Effect.map(Mariadb.make({ directory: mariadbData }), ({ url }) => url)
      : Effect.succeed(""),
    redis: hasRedis
      ? Effect.map(Redis.make({ directory: Path.join(directory, "redis") }), ({ url }) => url)
      : Effect.succeed(""),
    valkey: isInstalled(valkey) && !leftOut().includes(valkey)
      ? Effect.map(Redis.make({ directory: Path.join(directory, "valkey"), product: "valkey" }), ({ url }) => url)
      : Effect.succeed(""),
    packages: Effect.tryPromise({ try: () => packInto(packages), catch: String }),
    redisCluster: hasRedis
      ? Effect.map(
        Redis.makeCluster({ directory: Path.join(directory, "cluster") }),
        (nodes) => nodes.map(({ port }) => port)
      )
      : Effect.succeed([])
  }
  const started = new Map<string, Promise<unknown>>()
  const start = (name: string): Promise<unknown> => {
    const known = started.get(name)
    if (known !== undefined) return known
    const server = servers[name] ?? Effect.fail(`There is no server "${name}"`)
    const starting = run(Effect.catchAllCause(server, (cause) => Effect.succeed({ error: Cause.pretty(cause) })))
    started.set(name, starting)
    return starting
  }
  /** Starts a server by name and answers with its URL or ports: see `sharedServers.ts`. */
  const control = createServer((request, response) => {
    void start((request.url ?? "").slice(1)).then((answer) => response.end(JSON.stringify(answer)))
  })
  await new Promise<void>((resolve) => control.listen(0, "127.0.0.1", resolve))
  const address = control.address()
  project.provide("serversUrl", `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}/`)

  return async () => {
    control.close()
    await Promise.all(started.values())
    // A clean shutdown of MariaDB would flush data that no test needs any more.
    abort(Path.join(mariadbData, "mariadbd.pid"), "SIGKILL")
    await Effect.runPromise(Scope.close(scope, Exit.void))
    process.off("exit", giveUp)
    remove()
  }
}

/** Kills a server without waiting for it. */
const abort = (pidFile: string, signal: NodeJS.Signals): void => {
  try {
    process.kill(Number.parseInt(readFileSync(pidFile, "utf8")), signal)
  } catch {
    // It is not running.
  }
}
