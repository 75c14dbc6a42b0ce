/**
 * The commands on every kind of store, run in this process: their output as it would be in pipes.
 */
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { aRecord, freshId, freshKey, hour, idOf } from "effect-session/Fixtures"
import * as SqlStore from "effect-session/SqlStore"
import { existsSync } from "node:fs"
import { assert, describe } from "vitest"
import { databases, done, failure, migrated, redisCluster, run, runWith, stores } from "./support/cli.js"
import { range } from "./support/concurrency.js"
import { freshPrefix } from "./support/localStores.js"
import { storeAt } from "./support/redisClients.js"
import { mariadbUrl, mysqlClient, ofMariadb, ofRedis } from "./support/serverClients.js"
import * as servers from "./support/sharedServers.js"
import { works } from "./support/storeCalls.js"

const all: typeof stores = [
  ...stores,
  ...ofRedis(["redis-cluster, by one of its nodes", redisCluster] as const)
]

const soon = () => Date.now() + hour
const endsAt = (at: number) => ({ expiry: { at, deadline: at + hour, lifetime: undefined } })

describe.each(all)("%s", (_, open) => {
  it.scopedLive("clear-expired deletes expired sessions, and nothing with --dry-run", () =>
    Effect.gen(function*() {
      const { options, store, url } = yield* open
      // One more than are deleted at a time; of files, which take their time, fewer.
      const many = url.startsWith("file:") ? 101 : 1001
      const fill = (count: number, at: number) =>
        Effect.forEach(range(count), () => store.create(freshKey(), aRecord(endsAt(at)), at - hour), { concurrency: 8 })
      yield* fill(3, soon())
      yield* fill(many, Date.now() - 1)
      const before = done(`current  3\nexpired  ${many}\n`)
      assert.deepStrictEqual(yield* run("stats", ...options), before)
      assert.deepStrictEqual(
        yield* run("clear-expired", "--dry-run", ...options),
        done(`${many} expired would be deleted, 3 current kept.\n`)
      )
      assert.deepStrictEqual(yield* run("stats", ...options), before)
      // The whole output: in a pipe there is no progress, and no code that moves a cursor.
      assert.deepStrictEqual(
        yield* run("clear-expired", ...options),
        done(`${many} expired deleted, 3 current kept.\n`)
      )
      assert.deepStrictEqual(yield* run("stats", ...options), done("current  3\nexpired  0\n"))
      assert.deepStrictEqual(yield* run("clear-expired", ...options), done("0 expired deleted, 3 current kept.\n"))
    }))

  it.scopedLive("show prints metadata, data only with --data, and never a key or a write id", () =>
    Effect.gen(function*() {
      const { options, store } = yield* open
      const key = freshKey()
      const record = aRecord({
        ...endsAt(Date.UTC(2100, 0, 1)),
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

  it.scopedLive("show and revoke of an unknown session exit with 3", () =>
    Effect.gen(function*() {
      const { options, store } = yield* open
      const missing = failure(3, "There is no such session in this namespace.", "session-not-found")
      // An id that looks like an option.
      const record = aRecord({ ...endsAt(soon()), id: idOf(`-${freshId().slice(1)}`) })
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

  it.scopedLive("the URL and the namespace can be set in the environment", () =>
    Effect.gen(function*() {
      const { prefix, store, url } = yield* open
      const record = aRecord(endsAt(soon()))
      yield* store.create(freshKey(), record, record.createdAt)
      const env = { DATABASE_URL: url, SESSION_NAMESPACE: record.namespace }
      assert.deepStrictEqual(
        yield* runWith(env, ["revoke", ...prefix, record.id]),
        done("The session is revoked.\n")
      )
    }))
})

describe.each(databases)("%s", (_, open) => {
  it.scopedLive("migrate creates the tables once", () =>
    Effect.gen(function*() {
      const { options } = yield* migrated(open)
      assert.deepStrictEqual(yield* run("migrate", ...options), done("The tables are up to date.\n"))
      assert.deepStrictEqual(yield* run("stats", ...options), done("current  0\nexpired  0\n"))
    }))

  it.scopedLive("migrate --print does not connect, and a store works on the tables of its SQL", () =>
    Effect.gen(function*() {
      const { client, url } = yield* open
      const prefix = freshPrefix()
      const nowhere = url.startsWith("sqlite:") ? "sqlite:" : `${url.split(":")[0]}://nobody@127.0.0.1:1/nothing`
      const answer = yield* run("migrate", "--print", "--database-url", nowhere, "--prefix", prefix)
      assert.deepStrictEqual([answer.exitCode, answer.stderr], [0, ""])
      const statements = answer.stdout.split(";\n").filter((statement) => statement.trim() !== "")
      yield* Effect.gen(function*() {
        const sql = yield* SqlClient
        yield* Effect.forEach(statements, (statement) => sql.unsafe(statement))
        yield* works(yield* SqlStore.make({ prefix }))
      }).pipe(Effect.provide(yield* Layer.build(client)))
    }))

  it.scopedLive("missing tables are reported differently from other failures", () =>
    Effect.gen(function*() {
      const { url } = yield* migrated(open)
      const options = ["--database-url", url, "--prefix", freshPrefix()]
      const problem =
        `The tables are missing or out of date: run "effect-session migrate" with the same --prefix and --schema.`
      const session = ["--namespace", "shop", freshId()]
      for (const [command, ...rest] of [["stats"], ["clear-expired"], ["show", ...session], ["revoke", ...session]]) {
        assert.deepStrictEqual(
          yield* run(command ?? "", ...options, ...rest),
          failure(1, problem, "tables-missing"),
          command
        )
      }
    }))
})

for (const name of ofMariadb("mariadb")) {
  it.scopedLive(`${name}: its own scheme is accepted too`, () =>
    Effect.gen(function*() {
      const url = mariadbUrl().replace("mysql:", "mariadb:")
      const { options } = yield* migrated(Effect.succeed({ url, client: mysqlClient() }))
      assert.deepStrictEqual(yield* run("stats", ...options), done("current  0\nexpired  0\n"))
    }))
}

for (const name of ofRedis("redis")) {
  it.scopedLive(`${name}: a number in the URL selects the database`, () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const store = yield* storeAt(`${servers.redis()}/3`, { prefix })
      yield* store.create(freshKey(), aRecord(endsAt(soon())), Date.now())
      const count = (path: string) => run("stats", "--database-url", servers.redis() + path, "--prefix", prefix)
      for (const path of ["/3", "?db=3"]) {
        assert.deepStrictEqual(yield* count(path), done("current  1\nexpired  0\n"))
      }
      for (const path of ["", "/", "/0"]) {
        assert.deepStrictEqual(yield* count(path), done("current  0\nexpired  0\n"))
      }
    }))
}

it.live("migrate has nothing to do for Redis and files, and does not connect", () =>
  Effect.forEach(["redis://127.0.0.1:1", "rediss://127.0.0.1:1", "file:none"], (url) =>
    Effect.gen(function*() {
      const answer = done("There is nothing to migrate: Redis and files have no tables.\n")
      assert.deepStrictEqual(yield* run("migrate", "--database-url", url), answer)
      assert.deepStrictEqual(yield* run("migrate", "--print", "--database-url", url), answer)
      assert.isFalse(existsSync("none"))
    })))
