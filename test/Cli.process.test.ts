/**
 * The program in its own process, with pipes as output: environment, exit code, stdout and stderr, signals and termination. Other
 * tests of the command line run it in this process.
 */
import { it } from "@effect/vitest"
import { Deferred, Effect, Exit } from "effect"
import { aRecord, freshId, freshKey, hour } from "effect-session/Fixtures"
import type { Server, Socket } from "node:net"
import { createServer } from "node:net"
import { assert, describe } from "vitest"
import { activeMillis } from "./support/activeTime.js"
import { begun, builtProgram, databases, done, failure, files, stores } from "./support/cli.js"
import { range, together } from "./support/concurrency.js"
import { freshPrefix } from "./support/localStores.js"
import { ofRedis } from "./support/serverClients.js"

const program = builtProgram()

/** Runs the program and waits for its end. */
const runWith = (
  env: Readonly<Record<string, string>>,
  args: ReadonlyArray<string>,
  hook: ReadonlyArray<string> = []
) => Effect.scoped(Effect.flatMap(begun(program, args, env, hook), ({ ended }) => ended))

const run = (...args: ReadonlyArray<string>) => runWith({}, args)

describe.each(stores)("%s", (_, open) => {
  it.scopedLive("a command with options from the environment completes and exits", () =>
    Effect.gen(function*() {
      const { prefix, store, url } = yield* open
      const expiry = { at: Date.now() + hour, deadline: undefined, lifetime: undefined }
      const record = aRecord({ expiry })
      yield* store.create(freshKey(), record, record.createdAt)
      const env = { DATABASE_URL: url, SESSION_NAMESPACE: record.namespace }
      assert.deepStrictEqual(yield* runWith(env, ["stats", ...prefix]), done("current  1\nexpired  0\n"))
      assert.deepStrictEqual(
        yield* runWith(env, ["revoke", record.id, ...prefix]),
        done("The session is revoked.\n")
      )
    }))
})

describe.each(databases)("%s", (_, open) => {
  it.scopedLive("migrate in three concurrent processes creates the tables once, and none fails", () =>
    Effect.gen(function*() {
      const { url } = yield* open
      const options = ["--database-url", url, "--prefix", freshPrefix()]
      const answers = yield* together(range(3).map(() => run("migrate", ...options)))
      const first = done("Applied 0001_sessions.\n")
      const others = done("The tables are up to date.\n")
      assert.sameDeepMembers(answers, [first, others, others])
    }))
})

it.scopedLive("an error is one sentence on stderr, and an exit code", () =>
  Effect.gen(function*() {
    const { url } = yield* files
    assert.deepStrictEqual(
      yield* run("revoke", freshId(), "--database-url", url, "--namespace", "shop"),
      failure(3, "There is no such session in this namespace.", "session-not-found")
    )
    assert.deepStrictEqual(yield* run(), failure(2, "A command is missing; --help lists them.", "cli-usage"))
    assert.deepStrictEqual(
      yield* run("stats"),
      failure(2, "Neither --database-url nor DATABASE_URL is given.", "cli-usage")
    )
    assert.deepStrictEqual(
      yield* run("stats", "--database-url", "postgres://ann:hunter2@127.0.0.1:1/shop"),
      failure(1, "The database at 127.0.0.1:1 cannot be reached (ECONNREFUSED).", "database-unreachable")
    )
  }))

it.live("--help prints to stdout without colours", () =>
  Effect.gen(function*() {
    const { exitCode, stderr, stdout } = yield* run("--help")
    assert.deepStrictEqual([exitCode, stderr], [0, ""])
    assert.match(stdout, /^ +- migrate /m)
    assert.notInclude(stdout, "\u001b")
  }))

it.live("a missing driver is named in the error", () => {
  const hooks = `export const resolve = (name, context, next) => {
    if (!name.startsWith("@effect/sql-") && name !== "ioredis") return next(name, context)
    throw Object.assign(new Error("Cannot find package"), { code: "ERR_MODULE_NOT_FOUND" })
  }`
  const register = `import { register } from "node:module"; register(${
    JSON.stringify(`data:text/javascript,${encodeURIComponent(hooks)}`)
  })`
  const without = ["--import", `data:text/javascript,${encodeURIComponent(register)}`]
  const drivers = [
    ["@effect/sql-pg@0.53", ["stats", "--database-url", "postgres://ann:hunter2@127.0.0.1:1/shop"]],
    ["@effect/sql-mysql2@0.53", ["stats", "--database-url", "mysql://ann:hunter2@127.0.0.1:1/shop"]],
    ["@effect/sql-sqlite-node@0.53", ["migrate", "--database-url", "sqlite:none.sqlite"]],
    ["ioredis@5", ["stats", "--database-url", "redis://ann:hunter2@127.0.0.1:1"]]
  ] as const
  return Effect.forEach(
    drivers,
    ([name, args]) =>
      Effect.map(runWith({}, args, without), (answer) =>
        assert.deepStrictEqual(
          answer,
          failure(1, `The database driver is not installed: npm install ${name}`, "database-driver-missing")
        )),
    { concurrency: 2 }
  )
})

describe("a database that accepts connections and never answers", () => {
  const silent = (onConnection: () => void) =>
    Effect.acquireRelease(
      Effect.async<{ readonly host: string; readonly sockets: Set<Socket>; readonly server: Server }>((resume) => {
        const sockets = new Set<Socket>()
        const server = createServer((socket) => {
          sockets.add(socket.on("error", () => {}))
          onConnection()
        }).listen(0, "127.0.0.1", () => {
          const address = server.address()
          const port = typeof address === "object" ? address?.port : undefined
          resume(Effect.succeed({ host: `127.0.0.1:${port}`, sockets, server }))
        })
      }),
      ({ server, sockets }) =>
        Effect.sync(() => {
          for (const socket of sockets) socket.destroy()
          server.close()
        })
    )

  const schemes = ["postgres", "mysql", ...ofRedis("redis")]

  it.scopedLive(`is a failure: ${schemes.join(", ")}`, () =>
    Effect.forEach(schemes, (scheme) =>
      Effect.gen(function*() {
        const { host } = yield* silent(() => {})
        assert.deepStrictEqual(
          yield* run("stats", "--database-url", `${scheme}://ann:hunter2@${host}/${scheme === "redis" ? "" : "shop"}`),
          failure(1, `The database at ${host} cannot be reached (no answer).`, "database-unreachable")
        )
      }), { concurrency: "unbounded" }))

  for (
    const [command, scheme] of [...schemes.map((scheme) => ["stats", scheme] as const), ["copy", "postgres"] as const]
  ) {
    const signal = scheme === "mysql" ? "SIGTERM" : "SIGINT"
    it.scopedLive(`can be interrupted by ${signal} at once, with a failure: ${command} of ${scheme}`, () =>
      Effect.gen(function*() {
        const connected = yield* Deferred.make<void>()
        const { host } = yield* silent(() => Deferred.unsafeDone(connected, Exit.void))
        const url = `${scheme}://ann@${host}/${scheme === "redis" ? "" : "shop"}`
        const options = command === "copy"
          ? ["--from", url, "--to", "sqlite:none.sqlite", "--namespace", "shop"]
          : ["--database-url", url]
        const child = yield* begun(program, [command, ...options])
        yield* Deferred.await(connected)
        const [millis, ended] = yield* activeMillis(Effect.zipRight(child.signal(signal), child.ended))
        assert.deepStrictEqual(ended, { exitCode: 130, stdout: "", stderr: "" })
        assert.isBelow(millis, 3000)
      }))
  }
})
