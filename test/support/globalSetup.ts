/**
 * Starts the servers that the tests talk to, once for the whole run, on free ports and empty data; stops them after it.
 */
import { Effect, Exit, Scope } from "effect"
import { chmod, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
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
  const run = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) => Effect.runPromise(Scope.extend(effect, scope))

  // Postgres runs as another user when the tests run as root, and must be able to enter.
  await chmod(directory, 0o755)
  project.provide("postgresUrl", await run(EmbeddedPostgres.make({ directory: Path.join(directory, "postgres") })))

  return async () => {
    await Effect.runPromise(Scope.close(scope, Exit.void))
    await rm(directory, { recursive: true, force: true })
  }
}
