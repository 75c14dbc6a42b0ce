/**
 * Child processes. Their program is bundled once, so that hundreds of them start quickly.
 */
import { Deferred, Effect, Exit } from "effect"
import { build } from "esbuild"
import { spawn, type SpawnOptions } from "node:child_process"
import { chmod } from "node:fs/promises"
import * as Path from "node:path"
import { temporaryDirectory } from "./temporaryDirectories.js"

/** Bundles a program of this folder. Every user of the machine may run it. */
export const bundle = (name: string) =>
  Effect.gen(function*() {
    const directory = yield* temporaryDirectory("program")
    const outfile = Path.join(directory, `${name}.mjs`)
    yield* Effect.promise(() =>
      build({
        entryPoints: [new URL(`./${name}.ts`, import.meta.url).pathname],
        outfile,
        bundle: true,
        platform: "node",
        external: ["pg-native"],
        format: "esm",
        logLevel: "error",
        // CommonJS modules in the bundle load modules of node with `require`.
        banner: { js: `import { createRequire } from "node:module"; const require = createRequire(import.meta.url);` }
      })
    )
    yield* Effect.promise(() => chmod(directory, 0o755))
    return outfile
  })

export interface Child {
  /** Completes when the process has printed this number of lines. */
  readonly printed: (lines: number) => Effect.Effect<void, Error>
  /** The lines printed so far. */
  readonly soFar: () => ReadonlyArray<string>
  /** All lines, when the process has ended. Fails if it exits with a code other than 0. */
  readonly lines: Effect.Effect<ReadonlyArray<string>, Error>
  /** Kills the process. */
  readonly kill: Effect.Effect<void>
}

/** Starts a process. The end of the scope kills it. */
export const startProcess = (
  command: string,
  args: ReadonlyArray<string>,
  options: SpawnOptions = {}
) =>
  Effect.gen(function*() {
    const waiting: Array<readonly [lines: number, then: Deferred.Deferred<void, Error>]> = []
    const lines = yield* Deferred.make<ReadonlyArray<string>, Error>()
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] })),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    let [stdout, stderr] = ["", ""]
    child.stdout?.on("data", (chunk: Buffer) => {
      stdout += chunk.toString("utf8")
      const count = stdout.split("\n").length - 1
      for (const [lines, then] of waiting) if (count >= lines) Deferred.unsafeDone(then, Exit.void)
    })
    child.stderr?.on("data", (chunk: Buffer) => {
      stderr += chunk.toString("utf8")
    })
    let failed: Error | undefined
    child.on("error", (error) => void (failed = error))
    child.on("close", (code, signal) => {
      failed ??= new Error(`ended with ${code ?? signal}: ${stderr}`)
      Deferred.unsafeDone(
        lines,
        code === 0 || signal === "SIGKILL" ? Exit.succeed(stdout.split("\n").slice(0, -1)) : Exit.fail(failed)
      )
      for (const [, then] of waiting) Deferred.unsafeDone(then, Exit.fail(failed))
    })
    return {
      printed: (lines) =>
        Effect.flatMap(Deferred.make<void, Error>(), (then) => {
          waiting.push([lines, then])
          if (failed !== undefined) Deferred.unsafeDone(then, Exit.fail(failed))
          else if (stdout.split("\n").length > lines) Deferred.unsafeDone(then, Exit.void)
          return Deferred.await(then)
        }),
      soFar: () => stdout.split("\n").slice(0, -1),
      lines: Deferred.await(lines),
      kill: Effect.sync(() => void child.kill("SIGKILL"))
    } satisfies Child
  })

/** Starts a bundled program with a job as its argument. */
export const startProgram = (program: string, job: unknown, options?: SpawnOptions) =>
  startProcess(process.execPath, [program, JSON.stringify(job)], options)
