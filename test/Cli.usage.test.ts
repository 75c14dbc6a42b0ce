/**
 * Usage, URLs, and the sentence that reports each failure. Run in this
 * process: its output as it would be in pipes.
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import { Terminal } from "@effect/platform/Terminal"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Console, Context, Effect, Layer } from "effect"
import { FileStore } from "effect-session"
import * as Cli from "effect-session/Cli"
import { aRecord, freshId, freshKey, hour } from "effect-session/Fixtures"
import * as SqlStore from "effect-session/SqlStore"
import { readdirSync, readFileSync } from "node:fs"
import * as Path from "node:path"
import { assert, describe } from "vitest"
import { Screen } from "../src/internal/cli/output.js"
import type { HelpId } from "../src/internal/help.js"
import { done, failure, run } from "./support/cli.js"
import { range } from "./support/concurrency.js"
import { freshPrefix } from "./support/localStores.js"
import { ioredisOn } from "./support/redisClients.js"
import { mariadbUrl, mysqlClient, ofMariadb, ofRedis } from "./support/serverClients.js"
import * as servers from "./support/sharedServers.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

const secret = "hunter2"

describe("usage", () => {
  const database = ["--database-url", "sqlite:none.sqlite"]
  const both = ["--from", "sqlite:a", "--to", "sqlite:b"]
  const repeated = "An argument is wrong or too many; --help lists what there is."
  const wrong: ReadonlyArray<readonly [args: ReadonlyArray<string>, sentence: string, help?: HelpId]> = [
    [[], "A command is missing; --help lists them."],
    [
      ["destroy"],
      "Invalid subcommand for effect-session - use one of 'migrate', 'clear-expired', 'stats', 'list', 'find', 'show', 'revoke', 'explain', 'copy', 'generate-key', 'django'"
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
    [
      ["copy", ...both.slice(2), "--from-prefix", "a", "--namespace", "shop"],
      "Neither --from nor FROM_DATABASE_URL is given."
    ],
    [
      ["copy", ...both.slice(0, 2)],
      "Neither --to nor TO_DATABASE_URL is given. Neither --namespace nor SESSION_NAMESPACE is given."
    ],
    [["copy", ...both, "--namespace", "shop", "--batch", "0"], "--batch takes a whole number from 1 to 10000."],
    [["copy", ...both, "--namespace", "shop", "--concurrency=65"], "--concurrency takes a whole number from 1 to 64."],
    [["copy", ...both, "--namespace", "shop", "--batch", secret], repeated],
    [["stats", ...database, "--dry-run"], "Received unknown argument: '--dry-run'"],
    [
      ["stats", `--database-ulr=postgres://ann:${secret}@host`],
      "The flag '--database-ulr' is not recognized. Did you mean '--database-url'?"
    ],
    [["stats", `--url=postgres://ann:${secret}@host`, ...database], repeated],
    [["stats", `postgres://ann:${secret}@host`, ...database], repeated],
    [
      ["migrate", "--print", ...database, "--prefix", "1; DROP"],
      "A table prefix may hold at most 31 small letters, digits and underscores, and must not begin with a digit.",
      "table-names-invalid"
    ]
  ]

  it.live("wrong usage exits with 2 and one sentence that repeats no value", () =>
    Effect.forEach(wrong, ([args, sentence, help = "cli-usage"]) =>
      Effect.map(run(...args), (answer) => {
        assert.deepStrictEqual(answer, failure(2, sentence, help))
        assert.notInclude(answer.stderr, secret)
      }), { concurrency: 4 }))

  it.live("--help lists the commands, without colours in a pipe", () =>
    Effect.gen(function*() {
      const { exitCode, stderr, stdout } = yield* run("--help")
      assert.deepStrictEqual([exitCode, stderr], [0, ""])
      for (
        const command of [
          "migrate",
          "clear-expired",
          "stats",
          "list",
          "find",
          "show",
          "revoke",
          "explain",
          "copy",
          "generate-key",
          "django check",
          "django decode"
        ]
      ) {
        assert.match(stdout, new RegExp(`^ +- ${command} `, "m"))
      }
      assert.notInclude(stdout, "\u001b")
    }))

  it.live("--version prints the version of the package", () =>
    Effect.gen(function*() {
      const { version } = JSON.parse(readFileSync("package.json", "utf8"))
      assert.strictEqual((yield* run("--version")).stdout.trim(), version)
    }))
})

describe("failures are reported as one sentence without the password", () => {
  const refused = (url: string, sentence: string, help: HelpId = "database-url-invalid") =>
    it.live(`${url}`, () =>
      Effect.gen(function*() {
        assert.notInclude(sentence, secret)
        assert.deepStrictEqual(yield* run("stats", "--database-url", url), failure(1, sentence, help))
      }))

  const unreadable =
    "The database URL cannot be read; special characters in its user, password and name must be percent-encoded."
  refused(
    `postgres://ann:${secret}@127.0.0.1:1/shop`,
    "The database at 127.0.0.1:1 cannot be reached (ECONNREFUSED).",
    "database-unreachable"
  )
  refused(`postgres://ann:1/${secret}@127.0.0.1:1/shop`, unreadable)
  refused(`postgres://ann:1#${secret}@127.0.0.1:1/shop`, unreadable)
  refused(`postgres://ann:${secret}%@127.0.0.1:1/shop`, unreadable)
  refused(`postgres://ann:${secret}@127.0.0.1:port/shop`, unreadable)
  refused(
    `mysql://ann:${secret}@127.0.0.1:1/shop`,
    "The database at 127.0.0.1:1 cannot be reached (ECONNREFUSED).",
    "database-unreachable"
  )
  refused(
    `mariadb://ann:${secret}@127.0.0.1:1/shop`,
    "The database at 127.0.0.1:1 cannot be reached (ECONNREFUSED).",
    "database-unreachable"
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
  refused("sqlite:none.sqlite", `There is no file none.sqlite: "effect-session migrate" creates one.`, "store-missing")
  refused("sqlite:package.json", "The file is not a SQLite database.", "store-unavailable")
  refused(
    `redis://ann:${secret}@127.0.0.1:1`,
    "The database at 127.0.0.1:1 cannot be reached (ECONNREFUSED).",
    "database-unreachable"
  )
  refused(`redis://ann:1/${secret}@127.0.0.1:1`, unreadable)
  refused(`redis:ann:${secret}`, "The database URL names no host: redis://user:password@host.")
  refused(`redis://127.0.0.1:1/${secret}`, "A database of Redis is a number: redis://host/0.")
  refused("file:", "The database URL names no directory: file:path/to/directory.")
  refused("file:none", "There is no file store in none: the server creates it when it starts.", "store-missing")
  refused("file:package.json", "There is a file where the directory of sessions should be.", "store-unavailable")

  for (
    const [name, urlOf] of [
      ["postgres", () => servers.postgres()],
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
        const wrong = failure(1, "The database rejects the user or the password.", "store-unavailable")
        assert.deepStrictEqual(yield* to((url) => url.password = secret), wrong)
        assert.deepStrictEqual(
          yield* to((url) => {
            url.username = "unknown"
            url.password = secret
          }),
          wrong
        )
        assert.deepStrictEqual(
          yield* to((url) => url.pathname = "nothing"),
          failure(1, "The server has no database of that name.", "store-unavailable")
        )
      }))
  }

  for (const name of ofRedis("redis")) {
    it.scopedLive(`${name}: a wrong password, a wrong database, and a user without permissions`, () =>
      Effect.gen(function*() {
        const url = new URL(servers.redis())
        const stats = () => run("stats", "--database-url", url.href)
        url.pathname = "99"
        assert.deepStrictEqual(
          yield* stats(),
          failure(1, `The database at ${url.host} failed: ERR DB index is out of range.`, "store-unavailable")
        )
        url.pathname = ""
        const admin = yield* ioredisOn(servers.redis())
        const user = freshPrefix()
        yield* Effect.acquireRelease(
          Effect.promise(() => admin.acl("SETUSER", user, "on", `>${secret}`, "~*", "+info")),
          () => Effect.promise(() => admin.acl("DELUSER", user))
        )
        url.username = user
        url.password = "wrong"
        assert.deepStrictEqual(
          yield* stats(),
          failure(1, "The database rejects the user or the password.", "store-unavailable")
        )
        url.password = secret
        assert.deepStrictEqual(
          yield* stats(),
          failure(1, "The user lacks a permission for these keys.", "store-unavailable")
        )
      }))
  }

  for (const name of ofMariadb("mariadb")) {
    it.scopedLive(`${name}: a user without access to the database, and a user who may not change the tables`, () =>
      Effect.gen(function*() {
        const prefix = freshPrefix()
        assert.strictEqual((yield* run("migrate", "--database-url", mariadbUrl(), "--prefix", prefix)).exitCode, 0)
        const admin = Context.get(yield* Layer.build(mysqlClient()), SqlClient)
        const user = prefix.slice(0, -1)
        yield* Effect.acquireRelease(
          admin.unsafe(`CREATE USER ${user} IDENTIFIED BY '${secret}'`),
          () => Effect.orDie(admin.unsafe(`DROP USER ${user}`))
        )
        const theirs = new URL(mariadbUrl())
        theirs.username = user
        theirs.password = secret
        const options = ["--database-url", theirs.href, "--prefix", prefix]
        assert.deepStrictEqual(
          yield* run("stats", ...options),
          failure(1, "The user may not use that database, or it does not exist.", "store-unavailable")
        )
        yield* admin.unsafe(`GRANT SELECT ON ${prefix}sessions TO ${user}`)
        assert.strictEqual((yield* run("stats", ...options)).exitCode, 0)
        assert.deepStrictEqual(
          yield* run("revoke", ...options, "--namespace", "shop", freshId()),
          failure(1, "The user lacks a privilege on these tables.", "store-unavailable")
        )
      }))
  }
})

describe("a directory of files", () => {
  it.scopedLive("is accepted as file:, as file:// and as a relative path", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryDirectory("cli")
      const store = yield* Effect.provide(FileStore.make({ directory }), NodeContext.layer)
      const expiry = { at: Date.now() + hour, deadline: undefined, lifetime: undefined }
      yield* store.create(freshKey(), aRecord({ expiry }), Date.now())
      for (const path of [directory, `//${directory}`, Path.relative(".", directory)]) {
        assert.deepStrictEqual(
          yield* run("stats", "--database-url", `file:${path}`),
          done("current  1\nexpired  0\n")
        )
      }
    }))

  it.scopedLive("without a store is reported, and is not changed", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryDirectory("cli")
      const session = ["--namespace", "shop", freshId()]
      for (const there of [directory, Path.join(directory, "none")]) {
        for (const [command, ...rest] of [["stats"], ["clear-expired"], ["show", ...session], ["revoke", ...session]]) {
          assert.deepStrictEqual(
            yield* run(command ?? "", "--database-url", `file:${there}`, ...rest),
            failure(1, `There is no file store in ${there}: the server creates it when it starts.`, "store-missing")
          )
        }
      }
      assert.deepStrictEqual(readdirSync(directory), [])
    }))
})

describe("on a terminal", () => {
  it.scopedLive("clear-expired shows its progress, and erases it at the end", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryDirectory("cli")
      const written: Array<string> = []
      const logged: Array<unknown> = []
      const terminal = yield* Terminal
      const console = yield* Console.consoleWith(Effect.succeed)
      const cli = (...args: ReadonlyArray<string>) =>
        Cli.run(["node", "effect-session", ...args, "--database-url", `sqlite:${directory}/terminal.sqlite`]).pipe(
          Effect.provideService(Terminal, { ...terminal, isTTY: Effect.succeed(true) }),
          Effect.provideService(Screen, { isTTY: true, write: (text) => void written.push(text) }),
          Effect.withConsole({ ...console, log: (...args) => Effect.sync(() => logged.push(...args)) })
        )
      assert.strictEqual(yield* cli("migrate"), 0)
      const sql = yield* Layer.build(SqliteClient.layer({ filename: `${directory}/terminal.sqlite` }))
      const store = yield* Effect.provide(SqlStore.make(), sql)
      yield* Effect.forEach(range(1001), () => store.create(freshKey(), aRecord(), 0))
      assert.strictEqual(yield* cli("clear-expired"), 0)
      assert.deepStrictEqual(written, ["\r1000 deleted …", "\r1001 deleted …", "\r\u001b[K"])
      assert.deepStrictEqual(logged, [
        "Applied 0001_sessions.",
        "1001 expired deleted, 0 current kept."
      ])
    }).pipe(Effect.provide(NodeContext.layer)))
})
