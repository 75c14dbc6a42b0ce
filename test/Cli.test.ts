/**
 * The program, run as a user runs it: a process of its own, its output in pipes, on real databases.
 */
import { NodeContext } from "@effect/platform-node"
import { Terminal } from "@effect/platform/Terminal"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Console, Context, Deferred, Effect, Exit, Layer } from "effect"
import * as Cli from "effect-session/Cli"
import * as SqlStore from "effect-session/SqlStore"
import { build } from "esbuild"
import { execFile, spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import type { Server, Socket } from "node:net"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { afterAll, assert, beforeAll, describe, inject } from "vitest"
import { range, together } from "../src/internal/testing/law.js"
import { aRecord, freshId, freshKey, hour, idOf } from "../src/internal/testing/records.js"
import { works } from "./support/databases.js"
import { freshPrefix, mariadbUrl, mysqlClient, ofMariadb, postgresClient } from "./support/stores.js"

const directory = mkdtempSync(Path.join(tmpdir(), "effect-session-cli-"))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

interface Answer {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

/** The program in one file, as fast to start as it is when it is installed; inside the project, where packages are found. */
const program = `node_modules/.cache/cli-${process.pid}.mjs`

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

/** Runs the program and waits for its end. */
const runWith = (
  env: Readonly<Record<string, string>>,
  args: ReadonlyArray<string>,
  hook: ReadonlyArray<string> = []
) =>
  Effect.async<Answer>((resume) => {
    const { DATABASE_URL: _, SESSION_NAMESPACE: __, ...inherited } = process.env
    const child = execFile(
      process.execPath,
      [...hook, program, ...args],
      { env: { ...inherited, ...env } },
      (_, stdout, stderr) => resume(Effect.succeed({ exitCode: child.exitCode ?? -1, stdout, stderr }))
    )
  })

const run = (...args: ReadonlyArray<string>) => runWith({}, args)

const done = (stdout: string): Answer => ({ exitCode: 0, stdout, stderr: "" })
const failure = (exitCode: number, sentence: string): Answer => ({ exitCode, stdout: "", stderr: `${sentence}\n` })

const secret = "hunter2"

const databases: ReadonlyArray<
  readonly [
    name: string,
    open: () => { readonly url: string; readonly client: Layer.Layer<SqlClient, unknown> }
  ]
> = [
  ["postgres", () => ({ url: inject("postgresUrl"), client: postgresClient() })],
  ...ofMariadb(["mariadb", () => ({ url: mariadbUrl(), client: mysqlClient() })] as const),
  ["sqlite", () => {
    const filename = Path.join(directory, `${freshPrefix()}.sqlite`)
    return { url: `sqlite:${filename}`, client: SqliteClient.layer({ filename }) }
  }]
]

/** A database with our tables, and the options that lead to them. */
const migrated = (open: (typeof databases)[number][1]) =>
  Effect.gen(function*() {
    const { client, url } = open()
    const prefix = freshPrefix()
    const options = ["--database-url", url, "--prefix", prefix]
    assert.deepStrictEqual(yield* run("migrate", ...options), done("Applied 0001_sessions.\n"))
    const sql = yield* Layer.build(client)
    const store = yield* Effect.provide(SqlStore.make({ prefix }), sql)
    return { url, prefix, options, store }
  })

const soon = () => Date.now() + hour
const ends = (at: number) => ({ expiry: { at, deadline: at + hour, lifetime: undefined } })

describe.each(databases)("%s", (_, open) => {
  it.scopedLive("migrate makes the tables once", () =>
    Effect.gen(function*() {
      const { options } = yield* migrated(open)
      assert.deepStrictEqual(yield* run("migrate", ...options), done("The tables are up to date.\n"))
      assert.deepStrictEqual(yield* run("stats", ...options), done("current  0\nexpired  0\n"))
    }))

  it.live("migrate, by three processes at once, makes the tables once, and none fails", () =>
    Effect.gen(function*() {
      const options = ["--database-url", open().url, "--prefix", freshPrefix()]
      const answers = yield* together(range(3).map(() => run("migrate", ...options)))
      const first = done("Applied 0001_sessions.\n")
      const others = done("The tables are up to date.\n")
      assert.sameDeepMembers(answers, [first, others, others])
    }))

  it.scopedLive("migrate --print connects to nothing, and its SQL makes a store that works", () =>
    Effect.gen(function*() {
      const { client, url } = open()
      const prefix = freshPrefix()
      const nowhere = url.startsWith("sqlite:") ? "sqlite:" : `${url.split(":")[0]}://nobody@127.0.0.1:1/nothing`
      const { exitCode, stderr, stdout } = yield* run(
        "migrate",
        "--print",
        "--database-url",
        nowhere,
        "--prefix",
        prefix
      )
      assert.deepStrictEqual([exitCode, stderr], [0, ""])
      const statements = stdout.split(";\n").filter((statement) => statement.trim() !== "")
      const context = yield* Layer.build(client)
      yield* Effect.gen(function*() {
        const sql = yield* SqlClient
        yield* Effect.forEach(statements, (statement) => sql.unsafe(statement))
        yield* works(yield* SqlStore.make({ prefix }))
      }).pipe(Effect.provide(context))
    }))

  it.scopedLive("clear-expired deletes what has expired, and nothing with --dry-run", () =>
    Effect.gen(function*() {
      const { options, store } = yield* migrated(open)
      const fill = (count: number, at: number) =>
        Effect.forEach(range(count), () => store.create(freshKey(), aRecord(ends(at)), at - hour), { concurrency: 8 })
      yield* fill(3, soon())
      yield* fill(1200, Date.now() - 1)
      const before = done("current  3\nexpired  1200\n")
      assert.deepStrictEqual(yield* run("stats", ...options), before)
      assert.deepStrictEqual(
        yield* run("clear-expired", "--dry-run", ...options),
        done("1200 expired would be deleted, 3 current kept.\n")
      )
      assert.deepStrictEqual(yield* run("stats", ...options), before)
      // The whole output: in a pipe there is no progress, and no code that moves a cursor.
      assert.deepStrictEqual(
        yield* run("clear-expired", ...options),
        done("1200 expired deleted, 3 current kept.\n")
      )
      assert.deepStrictEqual(yield* run("stats", ...options), done("current  3\nexpired  0\n"))
      assert.deepStrictEqual(
        yield* run("clear-expired", ...options),
        done("0 expired deleted, 3 current kept.\n")
      )
    }))

  it.scopedLive("show prints metadata, the data only when asked, and never a key or a write", () =>
    Effect.gen(function*() {
      const { options, store } = yield* migrated(open)
      const at = Date.UTC(2100, 0, 1)
      const key = freshKey()
      const record = aRecord({
        ...ends(at),
        namespace: "shop/Session",
        subject: "ann\n\u001b[2Jbob",
        data: `{"card":"4242"}`,
        schemaVersion: 3,
        version: 1,
        authenticatedAt: undefined
      })
      yield* store.create(key, record, record.createdAt)
      const lines = [
        "namespace       shop/Session",
        `id              ${record.id}`,
        "subject         ann\\u000a\\u001b[2Jbob",
        "version         1",
        "schema version  3",
        "created         2023-11-14T22:13:20.000Z",
        "authenticated   -",
        "modified        2023-11-14T22:13:20.000Z",
        "last seen       2023-11-14T22:13:20.000Z",
        "expires         2100-01-01T00:00:00.000Z",
        "deadline        2100-01-01T01:00:00.000Z",
        ""
      ]
      const asked = [...options, "--namespace", "shop/Session", record.id]
      assert.deepStrictEqual(yield* run("show", ...asked), done(lines.join("\n")))
      const { stdout } = yield* run("show", "--data", ...asked)
      assert.strictEqual(stdout, [...lines.slice(0, -1), `data            {"card":"4242"}`, ""].join("\n"))
      assert.notInclude(stdout, key)
      assert.notInclude(stdout, record.writeId)
    }))

  it.scopedLive("show and revoke of a session that is not there end with 3", () =>
    Effect.gen(function*() {
      const { options, store } = yield* migrated(open)
      const missing = failure(3, "There is no such session in this namespace.")
      // An id that looks like an option.
      const record = aRecord({ ...ends(soon()), id: idOf(`-${freshId().slice(1)}`) })
      yield* store.create(freshKey(), record, record.createdAt)
      const ours = [...options, "--namespace", record.namespace]
      assert.deepStrictEqual(yield* run("show", freshId(), ...ours), missing)
      assert.deepStrictEqual(yield* run("show", record.id, ...options, "--namespace", "other"), missing)
      assert.deepStrictEqual(yield* run("revoke", freshId(), ...ours), missing)
      assert.strictEqual((yield* run("show", record.id, ...ours)).exitCode, 0)
      assert.deepStrictEqual(yield* run("revoke", record.id, ...ours), done("The session is revoked.\n"))
      assert.deepStrictEqual(yield* run("revoke", record.id, ...ours), missing)
      assert.deepStrictEqual(yield* run("show", record.id, ...ours), missing)
    }))

  it.scopedLive("the database and the namespace may come from the environment", () =>
    Effect.gen(function*() {
      const { prefix, store, url } = yield* migrated(open)
      const record = aRecord(ends(soon()))
      yield* store.create(freshKey(), record, record.createdAt)
      const env = { DATABASE_URL: url, SESSION_NAMESPACE: record.namespace }
      assert.deepStrictEqual(yield* runWith(env, ["revoke", "--prefix", prefix, record.id]), {
        ...done("The session is revoked.\n")
      })
    }))

  it.scopedLive("missing tables are told from other failures", () =>
    Effect.gen(function*() {
      const { url } = yield* migrated(open)
      const options = ["--database-url", url, "--prefix", freshPrefix()]
      const sentence = failure(
        1,
        `The tables are missing or out of date: run "effect-session migrate" with the same --prefix.`
      )
      const session = ["--namespace", "shop", freshId()]
      for (const args of [["stats"], ["clear-expired"], ["show", ...session], ["revoke", ...session]]) {
        const [command = "", ...rest] = args
        assert.deepStrictEqual(yield* run(command, ...options, ...rest), sentence, command)
      }
    }))
})

for (const name of ofMariadb("mariadb")) {
  it.scopedLive(`${name}: goes by its own name, too`, () =>
    Effect.gen(function*() {
      const { options } = yield* migrated(() => ({
        url: mariadbUrl().replace("mysql:", "mariadb:"),
        client: mysqlClient()
      }))
      assert.deepStrictEqual(yield* run("stats", ...options), done("current  0\nexpired  0\n"))
    }))
}

describe("failures are one sentence, and never the password", () => {
  const refused = (url: string, sentence: string) =>
    it.live(`${url}`, () =>
      Effect.gen(function*() {
        assert.notInclude(sentence, secret)
        assert.deepStrictEqual(yield* run("stats", "--database-url", url), failure(1, sentence))
      }))

  const unreadable =
    "The database URL cannot be read; special characters in its user, password and name must be percent-encoded."
  refused(
    `postgres://ann:${secret}@127.0.0.1:1/shop`,
    "The database at 127.0.0.1:1 cannot be reached (ECONNREFUSED)."
  )
  refused(`postgres://ann:1/${secret}@127.0.0.1:1/shop`, unreadable)
  refused(`postgres://ann:1#${secret}@127.0.0.1:1/shop`, unreadable)
  refused(`postgres://ann:${secret}%@127.0.0.1:1/shop`, unreadable)
  refused(`postgres://ann:${secret}@127.0.0.1:port/shop`, unreadable)
  refused(
    `mysql://ann:${secret}@127.0.0.1:1/shop`,
    "The database at 127.0.0.1:1 cannot be reached (ECONNREFUSED)."
  )
  refused(
    `mariadb://ann:${secret}@127.0.0.1:1/shop`,
    "The database at 127.0.0.1:1 cannot be reached (ECONNREFUSED)."
  )
  refused(`mysql://ann:1/${secret}@127.0.0.1:1/shop`, unreadable)
  refused(
    `mysql://ann:${secret}@127.0.0.1:1`,
    "The database URL names no database: mysql://user:password@host/database."
  )
  refused(
    `ann:${secret}@127.0.0.1/shop`,
    "The database URL must begin with postgres://, mysql:// or sqlite:; for all but migrate also with redis:// or file:."
  )
  refused("sqlite:", "The database URL names no file: sqlite:path/to/file.")
  refused(
    `sqlite:${directory}/none.sqlite`,
    `There is no file ${directory}/none.sqlite: "effect-session migrate" makes one.`
  )
  refused("sqlite:package.json", "The file is not a SQLite database.")

  for (
    const [name, urlOf] of [
      ["postgres", () => inject("postgresUrl")],
      ...ofMariadb(["mariadb", () => mariadbUrl()] as const)
    ] as const
  ) {
    it.live(`${name}: a wrong password, a wrong user and a wrong database`, () =>
      Effect.gen(function*() {
        const to = (change: (url: URL) => void) => {
          const url = new URL(urlOf())
          change(url)
          return run("stats", "--database-url", url.href)
        }
        const wrong = failure(1, "The database refuses the user or the password.")
        assert.deepStrictEqual(yield* to((url) => url.password = secret), wrong)
        assert.deepStrictEqual(
          yield* to((url) => {
            url.username = "nobody"
            url.password = secret
          }),
          wrong
        )
        assert.deepStrictEqual(
          yield* to((url) => url.pathname = "nothing"),
          failure(1, "The server has no database of that name.")
        )
      }))
  }

  for (const name of ofMariadb("mariadb")) {
    it.scopedLive(`${name}: a user who may not use the database, and one who may not change the tables`, () =>
      Effect.gen(function*() {
        const { prefix, url } = yield* migrated(() => ({ url: mariadbUrl(), client: mysqlClient() }))
        const sql = yield* Layer.build(mysqlClient())
        const admin = Context.get(sql, SqlClient)
        const user = prefix.slice(0, -1)
        yield* Effect.acquireRelease(
          admin.unsafe(`CREATE USER ${user} IDENTIFIED BY '${secret}'`),
          () => Effect.orDie(admin.unsafe(`DROP USER ${user}`))
        )
        const theirs = new URL(url)
        theirs.username = user
        theirs.password = secret
        const options = ["--database-url", theirs.href, "--prefix", prefix]
        assert.deepStrictEqual(
          yield* run("stats", ...options),
          failure(1, "The user may not use that database, or there is none of that name.")
        )
        yield* admin.unsafe(`GRANT SELECT ON ${prefix}sessions TO ${user}`)
        assert.strictEqual((yield* run("stats", ...options)).exitCode, 0)
        assert.deepStrictEqual(
          yield* run("revoke", ...options, "--namespace", "shop", freshId()),
          failure(1, "The user may not do that with these tables.")
        )
      }))
  }

  it.live("a driver that is not installed is named", () =>
    Effect.gen(function*() {
      const hooks = `export const resolve = (name, context, next) => {
        if (!name.startsWith("@effect/sql-")) return next(name, context)
        throw Object.assign(new Error("Cannot find package"), { code: "ERR_MODULE_NOT_FOUND" })
      }`
      const register = `import { register } from "node:module"; register(${
        JSON.stringify(`data:text/javascript,${encodeURIComponent(hooks)}`)
      })`
      const without = ["--import", `data:text/javascript,${encodeURIComponent(register)}`]
      assert.deepStrictEqual(
        yield* runWith({}, ["stats", "--database-url", `postgres://ann:${secret}@127.0.0.1:1/shop`], without),
        failure(1, "The database driver is not installed: npm install @effect/sql-pg")
      )
      assert.deepStrictEqual(
        yield* runWith({}, ["stats", "--database-url", `mysql://ann:${secret}@127.0.0.1:1/shop`], without),
        failure(1, "The database driver is not installed: npm install @effect/sql-mysql2")
      )
      assert.deepStrictEqual(
        yield* runWith({}, ["migrate", "--database-url", `sqlite:${directory}/new.sqlite`], without),
        failure(1, "The database driver is not installed: npm install @effect/sql-sqlite-node")
      )
    }))
})

describe("a database that accepts and never answers", () => {
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

  for (const scheme of ["postgres", "mysql"]) {
    it.scopedLive(`is a failure: ${scheme}`, () =>
      Effect.gen(function*() {
        const { host } = yield* silent(() => {})
        assert.deepStrictEqual(
          yield* run("stats", "--database-url", `${scheme}://ann:${secret}@${host}/shop`),
          failure(1, `The database at ${host} cannot be reached (no answer).`)
        )
      }))

    it.scopedLive(`can be left by Ctrl-C at once, which is not success: ${scheme}`, () =>
      Effect.gen(function*() {
        const connected = yield* Deferred.make<void>()
        const { host } = yield* silent(() => Deferred.unsafeDone(connected, Exit.void))
        const child = spawn(
          process.execPath,
          [program, "stats", "--database-url", `${scheme}://ann@${host}/shop`],
          { stdio: "ignore" }
        )
        yield* Effect.addFinalizer(() => Effect.sync(() => child.kill("SIGKILL")))
        yield* Deferred.await(connected)
        const started = Date.now()
        const exitCode = yield* Effect.async<number | null>((resume) => {
          child.once("exit", (code) => resume(Effect.succeed(code)))
          child.kill("SIGINT")
        })
        assert.strictEqual(exitCode, 130)
        assert.isBelow(Date.now() - started, 3000)
      }))
  }
})

describe("usage", () => {
  const database = ["--database-url", "sqlite:none.sqlite"]
  const repeated = "An argument is wrong or too many; --help lists what there is."
  const wrong: ReadonlyArray<readonly [args: ReadonlyArray<string>, sentence: string]> = [
    [[], "A command is missing; --help lists them."],
    [
      ["destroy"],
      "Invalid subcommand for effect-session - use one of 'migrate', 'clear-expired', 'stats', 'show', 'revoke', 'generate-key'"
    ],
    [["stats"], "Neither --database-url nor DATABASE_URL is given."],
    [["show", ...database, freshId()], "Neither --namespace nor SESSION_NAMESPACE is given."],
    [
      ["show", ...database, "--namespace", "shop", `a${freshKey()}${secret}`],
      `A session id has 22 characters: letters, digits, "-" and "_".`
    ],
    [["show", ...database, "--namespace", "shop", `-${secret}`], repeated],
    [["stats", ...database, `-a${secret}`], repeated],
    [["stats", ...database, secret], repeated],
    [["stats", ...database, "--dry-run"], "Received unknown argument: '--dry-run'"],
    [
      ["stats", `--database-ulr=postgres://ann:${secret}@host`],
      "The flag '--database-ulr' is not recognized. Did you mean '--database-url'?"
    ],
    [["stats", `--url=postgres://ann:${secret}@host`, ...database], repeated],
    [["stats", `postgres://ann:${secret}@host`, ...database], repeated],
    [
      ["migrate", "--print", ...database, "--prefix", "1; DROP"],
      "A table prefix may hold at most 31 small letters, digits and underscores, and must not begin with a digit."
    ]
  ]

  it.live("what is wrong ends with 2 and one sentence, which repeats no value", () =>
    Effect.forEach(wrong, ([args, sentence]) =>
      Effect.map(run(...args), (answer) => {
        assert.deepStrictEqual(answer, failure(2, sentence))
        assert.notInclude(answer.stderr, secret)
      }), { concurrency: 4 }))

  it.live("--help lists the commands, without colours in a pipe", () =>
    Effect.gen(function*() {
      const { exitCode, stderr, stdout } = yield* run("--help")
      assert.deepStrictEqual([exitCode, stderr], [0, ""])
      for (const command of ["migrate", "clear-expired", "stats", "show", "revoke", "generate-key"]) {
        assert.match(stdout, new RegExp(`^ +- ${command} `, "m"))
      }
      assert.notInclude(stdout, "\u001b")
    }))

  it.live("--version is the package's", () =>
    Effect.gen(function*() {
      const { version } = JSON.parse(readFileSync("package.json", "utf8"))
      assert.strictEqual((yield* run("--version")).stdout.trim(), version)
    }))
})

describe("on a terminal", () => {
  it.scopedLive("clear-expired says how far it is, and takes it back", () =>
    Effect.gen(function*() {
      const written: Array<string> = []
      const logged: Array<unknown> = []
      const terminal = yield* Terminal
      const console = yield* Console.consoleWith(Effect.succeed)
      const cli = (...args: ReadonlyArray<string>) =>
        Cli.run(["node", "effect-session", ...args, "--database-url", `sqlite:${directory}/terminal.sqlite`]).pipe(
          Effect.provideService(Terminal, {
            ...terminal,
            isTTY: Effect.succeed(true),
            display: (text) => Effect.sync(() => written.push(text))
          }),
          Effect.withConsole({ ...console, log: (...args) => Effect.sync(() => logged.push(...args)) })
        )
      assert.strictEqual(yield* cli("migrate"), 0)
      const sql = yield* Layer.build(SqliteClient.layer({ filename: `${directory}/terminal.sqlite` }))
      const store = yield* Effect.provide(SqlStore.make(), sql)
      yield* Effect.forEach(range(1001), () => store.create(freshKey(), aRecord(), 0))
      assert.strictEqual(yield* cli("clear-expired"), 0)
      assert.deepStrictEqual(written, ["\r1000 deleted …", "\r1001 deleted …", "\r\u001b[K"])
      assert.deepStrictEqual(logged, ["Applied 0001_sessions.", "1001 expired deleted, 0 current kept."])
    }).pipe(Effect.provide(NodeContext.layer)))
})
