/**
 * The bookshop of `examples/django`, as a child process.
 */
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { chmodSync, cpSync, symlinkSync } from "node:fs"
import * as Path from "node:path"
import { temporaryDirectory } from "./temporaryDirectories.js"

export interface Bookshop {
  /** The file that Postgres has while it runs. */
  readonly postgres: string
  /** Sends a signal to npm and the program, as a terminal does. Django is not in their process group. */
  readonly signal: (name: NodeJS.Signals) => void
  /** The first line of output that matches. Fails if the bookshop ends before. */
  readonly printed: (line: RegExp) => Effect.Effect<ReadonlyArray<string>, Error>
  /** All that it has printed, when it has ended. */
  readonly output: Effect.Effect<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }>
}

/**
 * Starts the bookshop with a data folder of its own. The end of the scope ends it as Ctrl-C does, because Django has its own process group.
 */
export const start = (environment: Readonly<Record<string, string>> = {}) =>
  Effect.gen(function*() {
    const project = yield* temporaryDirectory("bookshop")
    // The embedded Postgres may run as another user.
    chmodSync(project, 0o755)
    cpSync("examples", Path.join(project, "examples"), { recursive: true })
    for (const name of ["package.json", "tsconfig.json", "src", "node_modules"]) {
      symlinkSync(Path.resolve(name), Path.join(project, name))
    }
    const { DATABASE_URL: _, PORT: __, ...inherited } = process.env
    const child = spawn("npm", ["run", "--silent", "example:django"], {
      cwd: project,
      env: { ...inherited, NO_COLOR: "1", ...environment },
      detached: true,
      stdio: ["ignore", "pipe", "pipe"]
    })
    let stdout = ""
    let stderr = ""
    child.stdout.on("data", (chunk: Buffer) => stdout += chunk)
    child.stderr.on("data", (chunk: Buffer) => stderr += chunk)
    // When every process that has inherited the output has ended.
    const closed = new Promise<number | null>((resolve) => child.once("close", resolve))
    const bookshop: Bookshop = {
      postgres: Path.join(project, ".data", "django", "postmaster.pid"),
      signal: (name) => {
        if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
          process.kill(-child.pid, name)
        }
      },
      printed: (line) =>
        Effect.async((resume) => {
          const look = () => {
            const found = line.exec(stdout)
            if (found !== null) {
              resume(Effect.succeed(found))
            }
          }
          child.stdout.on("data", look)
          void closed.then((code) =>
            resume(Effect.fail(new Error(`The bookshop ended with ${code}: ${stdout}${stderr}`)))
          )
          look()
        }),
      output: Effect.map(Effect.promise(() => closed), (code) => ({ code, stdout, stderr }))
    }
    yield* Effect.addFinalizer(() => Effect.zipRight(Effect.sync(() => bookshop.signal("SIGINT")), bookshop.output))
    return bookshop
  })

/** Waits until the bookshop is open. */
export const opened = (bookshop: Bookshop) =>
  Effect.gen(function*() {
    const [, url = ""] = yield* bookshop.printed(/open at (http:\/\/127\.0\.0\.1:\d+) - Ctrl-C closes it\.\n/)
    const [, username = "", password = ""] = yield* bookshop.printed(/Log in as (\S+) with the password (\S+)\.\n/)
    return { url, username, password }
  })
