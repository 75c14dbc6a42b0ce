/**
 * Starts the servers that the tests talk to, once for the whole run, on free ports and empty data; stops them after it.
 */
import { Effect, Exit, Scope } from "effect"
import { readFileSync, rmSync } from "node:fs"
import { chmod, mkdtemp } from "node:fs/promises"
import { constants, tmpdir } from "node:os"
import * as Path from "node:path"
import type { TestProject } from "vitest/node"
import * as EmbeddedPostgres from "../../examples/shop/EmbeddedPostgres.js"

declare module "vitest" {
  export interface ProvidedContext {
    /** The URL of a real Postgres. */
    postgresUrl: string
  }
}

export default async (project: TestProject) => {
  const scope = Effect.runSync(Scope.make())
  const directory = await mkdtemp(Path.join(tmpdir(), "effect-session-"))
  const postgres = Path.join(directory, "postgres")
  const run = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) => Effect.runPromise(Scope.extend(effect, scope))
  const remove = () => rmSync(directory, { recursive: true, force: true, maxRetries: 5 })

  const giveUp = () => {
    abort(postgres)
    remove()
  }
  // First of all, because vitest ends the process when its own turn comes.
  process.prependOnceListener("exit", giveUp)
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    // It stays, so that a second signal does not end the process while it cleans up after the first.
    process.on(signal, () => process.exit(128 + constants.signals[signal]))
  }

  // Postgres runs as another user when the tests run as root, and must be able to enter.
  await chmod(directory, 0o755)
  project.provide("postgresUrl", await run(EmbeddedPostgres.make({ directory: postgres })))

  return async () => {
    await Effect.runPromise(Scope.close(scope, Exit.void))
    process.off("exit", giveUp)
    remove()
  }
}

/** Ends the server on data that nobody wants any more, in a process that has no time left to wait for it. */
const abort = (data: string): void => {
  try {
    process.kill(Number.parseInt(readFileSync(Path.join(data, "postmaster.pid"), "utf8")), "SIGQUIT")
  } catch {
    // It is not running.
  }
}
