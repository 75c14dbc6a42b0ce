/**
 * Real Redis and Valkey servers on free ports, alone or three as a Cluster. The end of the scope stops them.
 */
import { Effect, type Scope } from "effect"
import { execFile } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { freePort } from "../../../examples/shop/freePort.js"
import { find } from "./programs.js"
import * as Server from "./server.js"

export interface Options {
  /** The folder of its data, created if missing. Default: a temporary one. */
  readonly directory?: string
  readonly port?: number
  /** Default: Redis. */
  readonly product?: "redis" | "valkey"
  /** Settings as in the configuration file. By default nothing is written to the disk. */
  readonly settings?: Readonly<Record<string, string | ReadonlyArray<string>>>
}

export interface Redis {
  readonly port: number
  readonly url: string
  /** Runs a command, and returns what `redis-cli` prints. */
  readonly ask: (...command: ReadonlyArray<string>) => Effect.Effect<string>
  readonly signal: Server.Running["signal"]
}

/** Starts a server, and waits until it responds. */
export const make = (options: Options = {}): Effect.Effect<Redis, never, Scope.Scope> =>
  Effect.gen(function*() {
    const directory = options.directory ?? (yield* temporary)
    mkdirSync(directory, { recursive: true })
    const port = options.port ?? (yield* freePort)
    const settings = { port: String(port), bind: "127.0.0.1", dir: directory, save: "", appendonly: "no" }
    const all = Object.entries({ ...settings, ...options.settings })
    const args = all.flatMap(([name, value]) => [`--${name}`, ...[value].flat()])
    const { product = "redis" } = options
    const program = `${product}-server`
    const { ended, log, signal } = yield* Server.scoped(find(program) ?? program, args)
    const ask = (...command: ReadonlyArray<string>) => cli(port, command, `${product}-cli`)
    yield* Effect.raceFirst(
      Server.until(ask("PING"), (answer) => answer === "PONG"),
      Effect.flatMap(
        ended,
        () => Effect.dieMessage(`${program} ${args.join(" ")} did not start. Its output: ${log()}`)
      )
    )
    return { port, url: `redis://127.0.0.1:${port}`, ask, signal }
  })

const cli = (port: number, command: ReadonlyArray<string>, program = "redis-cli") =>
  Effect.async<string>((resume) => {
    execFile(
      find(program) ?? program,
      ["-p", String(port), ...command],
      (error, stdout) => resume(Effect.succeed(error === null ? stdout.trim() : `failed: ${error.message}`))
    )
  })

/** A node of a Cluster that can be restarted on its port. */
export interface Node extends Redis {
  readonly again: Effect.Effect<Redis, never, Scope.Scope>
}

/** Starts three servers as a Cluster. It is ready about two seconds later: see `clusterReady`. */
export const makeCluster = (
  { directory, settings }: Pick<Options, "directory" | "settings"> = {}
): Effect.Effect<readonly [Node, Node, Node], never, Scope.Scope> =>
  Effect.gen(function*() {
    const parent = directory ?? (yield* temporary)
    const node = (name: string) =>
      Effect.flatMap(Effect.all([freePort, freePort]), ([port, busPort]) => {
        const again = make({
          port,
          settings: { "cluster-enabled": "yes", "cluster-port": String(busPort), ...settings },
          directory: Path.join(parent, name)
        })
        return Effect.map(again, (server) => ({ ...server, busPort, again }))
      })
    const nodes = yield* Effect.all([node("a"), node("b"), node("c")], { concurrency: "unbounded" })
    for (const [i, { ask, busPort, port }] of nodes.entries()) {
      const from = Math.floor((i * slots) / nodes.length)
      const to = Math.floor(((i + 1) * slots) / nodes.length) - 1
      yield* ask("CLUSTER", "SET-CONFIG-EPOCH", String(i + 1))
      yield* ask("CLUSTER", "ADDSLOTSRANGE", String(from), String(to))
      yield* nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", String(port), String(busPort))
    }
    return nodes
  })

const slots = 16_384

/** Waits until every node of a Cluster knows all nodes and the owner of every slot. */
export const clusterReady = (ports: ReadonlyArray<number>): Effect.Effect<void> =>
  Effect.forEach(ports, (port) =>
    Server.until(
      cli(port, ["CLUSTER", "INFO"]),
      // Without `cluster-require-full-coverage` the state is "ok" before the slots of the others are known.
      (info) =>
        ["cluster_state:ok", `cluster_known_nodes:${ports.length}`, `cluster_slots_ok:${slots}`]
          .every((line) => info.includes(`${line}\r\n`))
    ), { concurrency: "unbounded", discard: true })

/** A folder that is removed at the end of the scope. */
export const temporary = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(Path.join(tmpdir(), "effect-session-redis-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }))
)
