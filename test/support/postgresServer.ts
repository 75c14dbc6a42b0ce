/**
 * A Postgres server for one test. Signals reach all of its processes.
 */
import { Effect } from "effect"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { appendFile } from "node:fs/promises"
import * as Path from "node:path"
import * as EmbeddedPostgres from "../../examples/shop/EmbeddedPostgres.js"
import { freePort } from "../../examples/shop/freePort.js"
import { sharedDirectory } from "./outages.js"
import { type Signal, stands, until } from "./servers/server.js"

/** Starts a server, and starts it again on the same port and data. `settings`: lines of its configuration file. */
export const startable = (settings = "") =>
  Effect.gen(function*() {
    const data = Path.join(yield* sharedDirectory, "data")
    const server = EmbeddedPostgres.make({ directory: data, port: yield* freePort })
    if (settings !== "") {
      yield* Effect.scoped(server)
      yield* Effect.promise(() => appendFile(Path.join(data, "postgresql.conf"), settings))
    }
    return Effect.gen(function*() {
      const url = yield* server
      const first = Number.parseInt(readFileSync(Path.join(data, "postmaster.pid"), "utf8"))
      const signal = (name: Signal) =>
        Effect.gen(function*() {
          // First the process that forks the others.
          yield* sent([first], name === "SIGKILL" ? "SIGSTOP" : name)
          yield* sent([first, ...childrenOf(first)], name)
        })
      // A stopped process does not react to the signal that ends it.
      yield* Effect.addFinalizer(() => signal("SIGCONT"))
      return { url, signal, first }
    })
  })

/** Sends a signal, and waits for its effect. */
export const sent = (pids: ReadonlyArray<number>, name: Signal) =>
  Effect.gen(function*() {
    for (const pid of pids) signalTo(pid, name)
    const isDone = name === "SIGSTOP" ? stands : name === "SIGKILL" ? isGone : () => Effect.succeed(true)
    for (const pid of pids) yield* until(isDone(pid), (done) => done)
  })

const signalTo = (pid: number, name: Signal | 0): boolean => {
  try {
    return process.kill(pid, name)
  } catch {
    // The process has already ended.
    return false
  }
}

/** Whether the process has ended. A zombie has. */
const isGone = (pid: number) => Effect.sync(() => !signalTo(pid, 0) || statOf(pid)[0] === "Z")

const childrenOf = (parent: number): ReadonlyArray<number> =>
  existsSync("/proc")
    ? readdirSync("/proc").map(Number).filter((pid) => pid > 0 && statOf(pid)[1] === String(parent))
    : []

/** State and parent of a process. They follow its name, which is in brackets and may contain any character. */
const statOf = (pid: number): ReadonlyArray<string> => {
  try {
    return /.*\) (.*)/s.exec(readFileSync(`/proc/${pid}/stat`, "utf8"))?.[1]?.split(" ") ?? []
  } catch {
    return []
  }
}
