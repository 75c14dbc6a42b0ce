/**
 * A real MariaDB server from the installed programs, started and stopped with a scope.
 */
import { Effect, Schema } from "effect"
import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import { writeFile } from "node:fs/promises"
import * as Path from "node:path"
import { freePort } from "../../../examples/shop/freePort.js"
import { find } from "./programs.js"
import * as Server from "./server.js"

export class MariadbError extends Schema.TaggedError<MariadbError>()("MariadbError", {
  message: Schema.String,
  cause: Schema.optional(Schema.Defect)
}) {}

export interface Options {
  /** Created if it does not exist, in a folder that other users can access. The data stays. */
  readonly directory: string
  /** Default: a free port. */
  readonly port?: number
  /** More command line options of the server. */
  readonly settings?: ReadonlyArray<string>
}

/** The database that the server creates. */
const database = "test"

/** Starts the server, and returns its URL and a way to signal it. It can start on the data of a killed server. */
export const make = ({ directory, settings = [], ...options }: Options) =>
  Effect.gen(function*() {
    const port = options.port ?? (yield* freePort)
    if (!existsSync(Path.join(directory, "mysql"))) yield* install(directory)
    const server = yield* Effect.acquireRelease(
      Effect.sync(() => Server.start(program("mariadbd"), [...serverOptions(directory, port), ...settings])),
      stop
    )
    yield* ready(server)
    return { url: `mysql://root@127.0.0.1:${port}/${database}`, signal: server.signal }
  })

/** The path of a program: servers are in a folder that only root has on the path. */
const program = (name: string) => find(name) ?? name

// As root, both run as the user of the package, because the server refuses to run as root.
const common = (directory: string) => [
  "--no-defaults",
  ...process.getuid?.() === 0 ? ["--user=mysql"] : [],
  `--datadir=${directory}`,
  // A starting server clears its folder for temporary tables, also of those of another server.
  `--tmpdir=${directory}`
]

const install = (directory: string) =>
  Effect.async<void, MariadbError>((resume) => {
    const options = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
    execFile(program("mariadb-install-db"), [...common(directory), ...options], (cause, stdout, stderr) =>
      resume(
        cause === null
          ? Effect.void
          : new MariadbError({ message: `MariaDB could not make its data directory: ${stdout}${stderr}`, cause })
      ))
  }).pipe(Effect.zipRight(Effect.promise(() =>
    writeFile(Path.join(directory, "init.sql"), `CREATE DATABASE IF NOT EXISTS ${database};\n`)
  )))

const serverOptions = (directory: string, port: number) => [
  ...common(directory),
  `--socket=${Path.join(directory, "mariadbd.sock")}`,
  `--pid-file=${Path.join(directory, "mariadbd.pid")}`,
  `--init-file=${Path.join(directory, "init.sql")}`,
  `--port=${port}`,
  "--bind-address=127.0.0.1",
  "--skip-name-resolve",
  "--max-connections=500",
  "--innodb-buffer-pool-size=64M",
  "--innodb-log-file-size=16M",
  "--aria-pagecache-buffer-size=1M"
]

/** Completes when the server logs that it accepts connections. */
const ready = ({ child, log }: Server.Running) =>
  Effect.async<void, MariadbError>((resume) => {
    child.stderr?.on("data", () => log().includes("ready for connections") && resume(Effect.void))
    child.once("error", (cause) => resume(new MariadbError({ message: "MariaDB cannot be run", cause })))
    child.once("exit", () => resume(new MariadbError({ message: `MariaDB did not start. Its output: ${log()}` })))
  })

/** Stops the server cleanly. Kills it if that takes more than ten seconds. */
const stop = ({ child, ended, signal }: Server.Running) =>
  Effect.suspend(() => {
    child.kill("SIGTERM")
    // A stopped process does not handle signals.
    child.kill("SIGCONT")
    return Effect.timeoutTo(Effect.interruptible(ended), {
      duration: "10 seconds",
      onSuccess: () => Effect.void,
      onTimeout: () => signal("SIGKILL")
    })
  }).pipe(Effect.flatten)
