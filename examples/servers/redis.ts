/**
 * Real Redis servers, alone or three as a Cluster, on free ports: they live as long as the scope, and no longer than
 * the process that started them, however that one ends.
 */
import { Effect, Schedule, type Scope } from "effect"
import { type ChildProcess, execFile, spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import * as Net from "node:net"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { freePort } from "../shop/EmbeddedPostgres.js"

export interface Options {
  /** Where its data is, made if it is not there; default one that goes with the scope. */
  readonly directory?: string
  readonly port?: number
  /** Settings, as they are in its configuration file. Nothing is written to the disk unless they say so. */
  readonly settings?: Readonly<Record<string, string | ReadonlyArray<string>>>
}

export interface Server {
  readonly port: number
  readonly url: string
  /** What it answers to a command, as `redis-cli` prints it. */
  readonly ask: (...command: ReadonlyArray<string>) => Effect.Effect<string>
  /** Sends a signal to the process. After `SIGKILL` it is gone when this is done. */
  readonly signal: (signal: "SIGKILL" | "SIGSTOP" | "SIGCONT") => Effect.Effect<void>
}

/** Starts a server, and waits until it answers. */
export const make = (options: Options = {}): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.gen(function*() {
    const directory = options.directory ?? (yield* temporary)
    mkdirSync(directory, { recursive: true })
    const port = options.port ?? (yield* freePort)
    const settings = { port: String(port), bind: "127.0.0.1", dir: directory, save: "", appendonly: "no" }
    const all = Object.entries({ ...settings, ...options.settings })
    const args = all.flatMap(([name, value]) => [`--${name}`, ...[value].flat()])
    const server = yield* Effect.acquireRelease(
      Effect.sync(() => spawned(args)),
      (server) => Effect.zipRight(kill(server, "SIGKILL"), ended(server))
    )
    const ask = (...command: ReadonlyArray<string>) => cli(port, command)
    yield* Effect.raceFirst(
      until(ask("PING"), (answer) => answer === "PONG"),
      Effect.zipRight(ended(server), Effect.dieMessage(`redis-server did not start with ${args.join(" ")}`))
    )
    return {
      port,
      url: `redis://127.0.0.1:${port}`,
      ask,
      signal: (signal) => Effect.zipRight(kill(server, signal), signal === "SIGKILL" ? ended(server) : Effect.void)
    }
  })

/** A server, and a shell that ends it when this process is no more: then the shell's input ends. */
const spawned = (args: ReadonlyArray<string>): ChildProcess => {
  // A group of its own: Ctrl-C is for the tests, and their scope ends the server.
  const server = spawn("redis-server", args, { stdio: "ignore", detached: true })
  server.on("error", () => {})
  const guard = spawn("sh", ["-c", `read -r _; kill -9 ${server.pid}`], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true
  })
  server.once("exit", () => guard.kill("SIGKILL"))
  return server
}

const cli = (port: number, command: ReadonlyArray<string>) =>
  Effect.async<string>((resume) => {
    execFile(
      "redis-cli",
      ["-p", String(port), ...command],
      (error, stdout) => resume(Effect.succeed(error === null ? stdout.trim() : `failed: ${error.message}`))
    )
  })

/** Starts three servers that know each other. Their Cluster works some two seconds later: see `clusterReady`. */
export const makeCluster = (
  { directory, settings }: Pick<Options, "directory" | "settings"> = {}
): Effect.Effect<readonly [Server, Server, Server], never, Scope.Scope> =>
  Effect.gen(function*() {
    const node = (name: string) =>
      Effect.flatMap(Effect.all([freePort, freePort]), ([port, busPort]) =>
        Effect.map(
          make({
            port,
            settings: { "cluster-enabled": "yes", "cluster-port": String(busPort), ...settings },
            ...(directory === undefined ? {} : { directory: Path.join(directory, name) })
          }),
          (server) => ({ ...server, busPort })
        ))
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

/** Waits until every node of a Cluster knows that all of it is there. */
export const clusterReady = (ports: ReadonlyArray<number>): Effect.Effect<void> =>
  Effect.forEach(ports, (port) =>
    until(
      cli(port, ["CLUSTER", "INFO"]),
      (info) => info.includes("cluster_state:ok") && info.includes(`cluster_known_nodes:${ports.length}`)
    ), { concurrency: "unbounded", discard: true })

/** A folder that goes with the scope. */
export const temporary = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(Path.join(tmpdir(), "effect-session-redis-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }))
)

/** Asks again and again, for twenty seconds at the most. */
export const until = <A>(ask: Effect.Effect<A>, isDone: (answer: A) => boolean): Effect.Effect<void> =>
  Effect.flatMap(ask, (answer) => isDone(answer) ? Effect.void : Effect.fail(answer)).pipe(
    Effect.retry(Schedule.spaced("20 millis")),
    Effect.timeout("20 seconds"),
    Effect.orDie
  )

const kill = (child: ChildProcess, signal: NodeJS.Signals) => Effect.sync(() => void child.kill(signal))

const ended = (child: ChildProcess) =>
  Effect.async<void>((resume) => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) resume(Effect.void)
    else child.once("exit", () => resume(Effect.void))
  })

/** A way to a server on which messages can get lost. */
export interface Way {
  readonly url: string
  readonly port: number
  /** The next thing that the server says is not passed on, and the connection breaks. */
  readonly loseNextReply: Effect.Effect<void>
  /** From now on nothing is passed on, in either direction, and no connection breaks. */
  readonly block: Effect.Effect<void>
}

/** Makes such a way to a port of this machine. */
export const way = (to: number): Effect.Effect<Way, never, Scope.Scope> =>
  Effect.gen(function*() {
    const port = yield* freePort
    const sockets = new Set<Net.Socket>()
    let losing = false
    let blocked = false
    const connect = (client: Net.Socket) => {
      const server = Net.connect(to, "127.0.0.1")
      const both = [client, server]
      for (const socket of both) {
        sockets.add(socket)
        socket.on("error", () => {})
        socket.on("close", () => {
          sockets.delete(socket)
          for (const other of both) other.destroy()
        })
      }
      client.on("data", (data) => void (blocked || server.write(data)))
      server.on("data", (data) => {
        if (losing) client.destroy()
        else if (!blocked) client.write(data)
        losing = false
      })
    }
    yield* Effect.acquireRelease(
      Effect.async<Net.Server>((resume) => {
        const server = Net.createServer(connect).listen(port, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.sync(() => {
          server.close()
          for (const socket of sockets) socket.destroy()
        })
    )
    return {
      port,
      url: `redis://127.0.0.1:${port}`,
      loseNextReply: Effect.sync(() => void (losing = true)),
      block: Effect.sync(() => void (blocked = true))
    }
  })
