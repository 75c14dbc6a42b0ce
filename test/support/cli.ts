/**
 * Runs the command line in this process or in a child process, and opens the stores that it works on.
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import { Terminal } from "@effect/platform/Terminal"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import type { SqlClient } from "@effect/sql/SqlClient"
import { ConfigProvider, Console, Context, Deferred, Effect, Exit, Layer, type Scope } from "effect"
import { FileStore } from "effect-session"
import * as Cli from "effect-session/Cli"
import type { RedisClient } from "effect-session/RedisClient"
import { SessionStore } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import * as SqlStore from "effect-session/SqlStore"
import { build } from "esbuild"
import { spawn } from "node:child_process"
import { rmSync } from "node:fs"
import * as Path from "node:path"
import { afterAll, assert, beforeAll } from "vitest"
import { Screen } from "../../src/internal/cli/output.js"
import type { HelpId } from "../../src/internal/help.js"
import { freshPrefix } from "./localStores.js"
import {
  mariadbUrl,
  mysqlClient,
  ofMariadb,
  ofRedis,
  postgresClient,
  redisClient,
  redisClusterClient,
  redisStore
} from "./serverClients.js"
import * as servers from "./sharedServers.js"
import { temporaryDirectory } from "./temporaryDirectories.js"

export interface Answer {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

export const done = (stdout: string): Answer => ({ exitCode: 0, stdout, stderr: "" })
export const failure = (exitCode: number, sentence: string, help: HelpId): Answer => ({
  exitCode,
  stdout: "",
  stderr: `${sentence} (help: ${help})\n`
})

/** Runs the program in this process with this environment, and with pipes as its streams. */
export const runWith = (
  env: Readonly<Record<string, string>>,
  args: ReadonlyArray<string>,
  screen: Screen["Type"] = { isTTY: false, write: () => {} }
) =>
  Effect.gen(function*() {
    let [stdout, stderr] = ["", ""]
    const terminal = yield* Terminal
    const console = yield* Console.consoleWith(Effect.succeed)
    const log = (text: unknown) => void (stdout += `${text}\n`)
    const error = (text: unknown) => void (stderr += `${text}\n`)
    const exitCode = yield* Cli.run(["node", "effect-session", ...args]).pipe(
      Effect.provideService(Terminal, { ...terminal, isTTY: Effect.succeed(false) }),
      Effect.provideService(Screen, screen),
      Effect.withConsole({
        ...console,
        log: (text) => Effect.sync(() => log(text)),
        error: (text) => Effect.sync(() => error(text)),
        // The logger writes with it.
        unsafe: { ...console.unsafe, log, error }
      }),
      Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(env))))
    )
    return { exitCode, stdout, stderr } satisfies Answer
  }).pipe(Effect.provide(NodeContext.layer))

export const run = (...args: ReadonlyArray<string>) => runWith({}, args)

export interface Database {
  readonly url: string
  readonly client: Layer.Layer<SqlClient, unknown>
}

export type OpenDatabase = Effect.Effect<Database, never, Scope.Scope>

export const postgres: OpenDatabase = Effect.sync(() => ({ url: servers.postgres(), client: postgresClient() }))

export const mariadb: OpenDatabase = Effect.sync(() => ({ url: mariadbUrl(), client: mysqlClient() }))

export const sqlite: OpenDatabase = Effect.map(temporaryDirectory("cli"), (directory) => {
  const filename = Path.join(directory, "sessions.sqlite")
  return { url: `sqlite:${filename}`, client: SqliteClient.layer({ filename }) }
})

export const databases: ReadonlyArray<readonly [name: string, open: OpenDatabase]> = [
  ["postgres", postgres],
  ...ofMariadb(["mariadb", mariadb] as const),
  ["sqlite", sqlite]
]

/** A store with the URL and the prefix by which the command line finds it. */
export interface Opened {
  readonly url: string
  readonly prefix: ReadonlyArray<string>
  readonly options: ReadonlyArray<string>
  readonly store: Store
}

const opened = (url: string, prefix: ReadonlyArray<string>, store: Store): Opened => ({
  url,
  prefix,
  options: ["--database-url", url, ...prefix],
  store
})

/** A database with the tables of a SQL store. */
export const migrated = (open: OpenDatabase) =>
  Effect.gen(function*() {
    const { client, url } = yield* open
    const prefix = freshPrefix()
    const options = ["--prefix", prefix]
    const answer = yield* run("migrate", "--database-url", url, ...options)
    assert.deepStrictEqual(answer, done("Applied 0001_sessions.\n"))
    return opened(url, options, yield* Effect.provide(SqlStore.make({ prefix }), yield* Layer.build(client)))
  })

const redisAt = (url: () => string, client: Layer.Layer<RedisClient>) =>
  Effect.suspend(() => {
    const prefix = freshPrefix()
    return Effect.map(
      Layer.build(redisStore(client, prefix)),
      (context) => opened(url(), ["--prefix", prefix], Context.get(context, SessionStore))
    )
  })

export const redis = redisAt(() => servers.redis(), redisClient)

/** A Redis Cluster, addressed by one of its nodes. */
export const redisCluster = redisAt(() => `redis://127.0.0.1:${servers.redisCluster()[1]}`, redisClusterClient)

export const files = Effect.gen(function*() {
  const directory = yield* temporaryDirectory("cli")
  const store = yield* Effect.provide(FileStore.make({ directory, durability: "none" }), NodeContext.layer)
  return opened(`file:${directory}`, [], store)
})

/** Stores of every kind that the command line knows. */
export const stores: ReadonlyArray<readonly [name: string, open: Effect.Effect<Opened, unknown, Scope.Scope>]> = [
  ...databases.map(([name, open]) => [name, migrated(open)] as const),
  ...ofRedis(["redis", redis] as const),
  ["file", files]
]

/** Bundles the program into one file, so that it starts as fast as an installed one. Inside the project, where packages resolve. */
export const builtProgram = (): string => {
  const program = `node_modules/.cache/cli-${process.pid}-${freshPrefix()}.mjs`
  beforeAll(() =>
    build({
      entryPoints: ["src/bin.ts"],
      bundle: true,
      packages: "external",
      platform: "node",
      format: "esm",
      outfile: program,
      logLevel: "silent"
    })
  )
  afterAll(() => rmSync(program, { force: true }))
  return program
}

const {
  DATABASE_URL: _,
  FROM_DATABASE_URL: __,
  SESSION_NAMESPACE: ___,
  TO_DATABASE_URL: ____,
  ...inherited
} = process.env

/** A running process. */
export interface Begun {
  /** Completes when stderr has a matching line. Fails if the process ends without one. */
  readonly prints: (line: RegExp) => Effect.Effect<void, Error>
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>
  readonly ended: Effect.Effect<Answer>
}

/** Starts the program as a child process with pipes. The end of the scope kills it. */
export const begun = (
  program: string,
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>> = {},
  hook: ReadonlyArray<string> = []
): Effect.Effect<Begun, never, Scope.Scope> =>
  Effect.gen(function*() {
    const ended = yield* Deferred.make<Answer>()
    const awaited: Array<readonly [line: RegExp, printed: Deferred.Deferred<void, Error>]> = []
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, [...hook, program, ...args], {
          env: { ...inherited, ...env },
          stdio: ["ignore", "pipe", "pipe"]
        })
      ),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    let [stdout, stderr] = ["", ""]
    // `exit` is emitted before the last output.
    let isClosed = false
    const checkOutput = () => {
      for (const [line, printed] of awaited) {
        if (line.test(stderr)) Deferred.unsafeDone(printed, Exit.void)
        else if (isClosed) Deferred.unsafeDone(printed, Exit.fail(new Error(`ended with: ${stderr}`)))
      }
    }
    child.stdout.setEncoding("utf8").on("data", (text: string) => void (stdout += text))
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text
      checkOutput()
    })
    child.on("close", (exitCode) => {
      isClosed = true
      Deferred.unsafeDone(ended, Exit.succeed({ exitCode: exitCode ?? -1, stdout, stderr }))
      checkOutput()
    })
    return {
      prints: (line) =>
        Effect.flatMap(Deferred.make<void, Error>(), (printed) => {
          awaited.push([line, printed])
          checkOutput()
          return Deferred.await(printed)
        }),
      signal: (signal) => Effect.sync(() => void child.kill(signal)),
      ended: Deferred.await(ended)
    }
  })
