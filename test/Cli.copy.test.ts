/**
 * `effect-session copy`: between all kinds of stores, interrupted, rejected, and with its output.
 */
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { freshId, hour, idOf, isAlive, type Stored, stored } from "effect-session/Fixtures"
import type { Store } from "effect-session/SessionStore"
import { relative } from "node:path"
import { assert, describe } from "vitest"
import {
  begun,
  builtProgram,
  failure,
  files,
  mariadb,
  migrated,
  type Opened,
  postgres,
  redis,
  redisCluster,
  run,
  runWith,
  sqlite
} from "./support/cli.js"
import { range } from "./support/concurrency.js"
import { untilWaiting } from "./support/databases.js"
import { freshPrefix } from "./support/localStores.js"
import { ioredisOn } from "./support/redisClients.js"
import { ofMariadb, ofRedis, postgresClient } from "./support/serverClients.js"

const program = builtProgram()

/** The command-line options of the two stores. */
const between = (from: Opened, to: Opened, namespace = "laws") =>
  ["from", "to"].flatMap((side, i) => {
    const { prefix: [, prefix], url } = i === 0 ? from : to
    return [`--${side}`, url, ...(prefix === undefined ? [] : [`--${side}-prefix`, prefix])]
  }).concat("--namespace", namespace)

const expiry = () => ({ at: Date.now() + hour, deadline: undefined, lifetime: undefined })

/** Creates live sessions in a store, and returns them in the order of their ids. */
const fill = (store: Store, count: number) =>
  Effect.map(
    Effect.forEach(range(count), (i) =>
      stored(store, {
        expiry: expiry(),
        subject: `subject${i}`,
        data: `{"text":"\\u0000\\ud800 é${i}"}`,
        version: 7 + i
      })),
    (all) => all.sort((a, b) => a.record.id < b.record.id ? -1 : 1)
  )

/** Checks that each session is unchanged in the new store, and that the old one is empty. */
const hasMoved = (from: Opened, to: Opened, all: ReadonlyArray<Stored>) =>
  Effect.gen(function*() {
    yield* Effect.forEach(all, (one) => isAlive(to.store, one, Date.now()), { concurrency: 8 })
    assert.deepStrictEqual(yield* from.store.count(Date.now()), { current: 0, expired: 0 })
    assert.strictEqual((yield* to.store.count(Date.now())).current, all.length)
  })

const assertNoContent = (text: string, all: ReadonlyArray<Stored>) => {
  for (const { key, record: { data, id, subject, writeId } } of all) {
    for (const secret of [key, data, id, subject ?? "", writeId]) assert.notInclude(text, secret)
  }
}

const verdict = (moved: number) =>
  `${moved} moved.\nOld store: 0 current, 0 expired. New store: 25 current, 0 expired.\n` +
  "The old store holds no live session: it can be removed.\n"

const resumes = "Nothing is lost: run this command again to continue."

describe("copy moves every session unchanged, and reports that the old store can be removed", () => {
  const pairs = [
    ...ofRedis(
      ["SQLite", migrated(sqlite), "Redis", redis] as const,
      ["Redis", redis, "Postgres", migrated(postgres)] as const,
      ["Redis", redis, "Redis", redisCluster] as const
    ),
    ...ofMariadb(["MySQL", migrated(mariadb), "the files", files] as const),
    ["the files", files, "SQLite", migrated(sqlite)] as const
  ]
  for (const [here, openFrom, there, openTo] of pairs) {
    it.scopedLive(`${here} → ${there}`, () =>
      Effect.gen(function*() {
        const [from, to] = [yield* openFrom, yield* openTo]
        const all = yield* fill(from.store, 25)
        const { exitCode, stderr, stdout } = yield* run("copy", ...between(from, to), "--batch", "10")
        const [first = "", ...lines] = stdout.split("\n")
        const places = `from ${here} (?:at|in) \\S+ to ${there} (?:at|in) \\S+\\.`
        assert.match(first, new RegExp(`^Moves the sessions of "laws" ${places}$`))
        assert.strictEqual(
          lines.join("\n"),
          "All namespaces: 25 current in the old store, 0 in the new store.\n" +
            `Every process must be in the phase "move", in this direction: see docs/migrating.md.\n${verdict(25)}`
        )
        assert.match(stderr, /^10 \/ 25 \(40%\), \d+ per second\n(?:2[05] \/ 25 \((?:80|100)%\), \d+ per second\n)*$/)
        assert.strictEqual(exitCode, 0)
        assertNoContent(stdout + stderr, all)
        yield* hasMoved(from, to, all)
        const again = yield* run("copy", ...between(from, to))
        assert.deepStrictEqual([again.exitCode, again.stdout.includes("\n0 moved.\n")], [0, true])
      }))
  }
})

it.scopedLive("reads its options from the environment", () =>
  Effect.gen(function*() {
    const [from, to] = [yield* files, yield* migrated(sqlite)]
    const all = yield* fill(from.store, 3)
    const env = { FROM_DATABASE_URL: from.url, TO_DATABASE_URL: to.url, SESSION_NAMESPACE: "laws" }
    assert.strictEqual((yield* runWith(env, ["copy", "--to-prefix", to.prefix[1] ?? ""])).exitCode, 0)
    yield* hasMoved(from, to, all)
  }))

it.scopedLive("shows a bar in one line on a terminal", () =>
  Effect.gen(function*() {
    const [from, to] = [yield* migrated(sqlite), yield* migrated(sqlite)]
    yield* fill(from.store, 25)
    const written: Array<string> = []
    const screen = { isTTY: true, write: (text: string) => void written.push(text.replace(/\d+ per/, "9 per")) }
    const { exitCode, stderr } = yield* runWith({}, ["copy", ...between(from, to), "--batch", "10"], screen)
    const line = (full: number, text: string) =>
      `\r${"█".repeat(full)}${"░".repeat(20 - full)} ${text}, 9 per second\u001b[K`
    assert.deepStrictEqual([exitCode, stderr], [0, ""])
    assert.deepStrictEqual(written, [
      line(8, "10 / 25 (40%)"),
      line(16, "20 / 25 (80%)"),
      line(20, "25 / 25 (100%)"),
      line(20, "25 / 25 (100%)"),
      "\n"
    ])
  }))

/** Locks a session of a Postgres store until it is released. */
const held = (from: Opened, one: Stored | undefined) =>
  Effect.gen(function*() {
    const sql = yield* Effect.provide(SqlClient, yield* Layer.build(postgresClient({ maxConnections: 2 })))
    const prefix = from.prefix[1] ?? ""
    const [isHeld, isOver] = [yield* Effect.makeLatch(), yield* Effect.makeLatch()]
    const lock = sql.unsafe(`SELECT 1 FROM ${prefix}sessions WHERE id = '${one?.record.id}' FOR UPDATE`)
    const holding = yield* Effect.forkScoped(
      sql.withTransaction(Effect.all([lock, isHeld.open, isOver.await], { discard: true }))
    )
    yield* isHeld.await
    return {
      /** Completes when a statement waits for the lock. */
      reached: untilWaiting(sql, "postgres", prefix, 1),
      release: Effect.zipRight(isOver.open, Fiber.join(holding))
    }
  })

describe("interrupted by Ctrl-C", () => {
  const stopped = Effect.gen(function*() {
    const [from, to] = [yield* migrated(postgres), yield* migrated(sqlite)]
    const all = yield* fill(from.store, 25)
    const lock = yield* held(from, all[17])
    const child = yield* begun(program, ["copy", ...between(from, to), "--batch", "5"])
    yield* child.prints(/^5 \/ 25 \(20%\)/)
    yield* lock.reached
    yield* child.signal("SIGINT")
    yield* child.prints(/^Stopping after the sessions that are being moved …$/m)
    return { all, child, from, lock, to }
  })

  it.scopedLive("waits for the sessions that are being moved and exits with 130; a second run moves the rest", () =>
    Effect.gen(function*() {
      const { all, child, from, lock, to } = yield* stopped
      yield* lock.release
      const { exitCode, stderr } = yield* child.ended
      assert.include(stderr, `\nStopped: 20 of 25 moved. ${resumes}\n`)
      assert.strictEqual(exitCode, 130)
      assert.strictEqual((yield* from.store.count(Date.now())).current, 5)
      const { stdout } = yield* run("copy", ...between(from, to))
      assert.include(stdout, `docs/migrating.md.\n${verdict(5)}`)
      yield* hasMoved(from, to, all)
    }))

  it.scopedLive("does not wait forever for a store that does not answer", () =>
    Effect.gen(function*() {
      const { all, child, from, lock, to } = yield* stopped
      const { exitCode, stderr } = yield* child.ended
      assert.include(stderr, `\nStopped: 15 of 25 moved. ${resumes}\n`)
      assert.strictEqual(exitCode, 130)
      yield* lock.release
      assert.strictEqual((yield* run("copy", ...between(from, to))).exitCode, 0)
      yield* hasMoved(from, to, all)
    }))
})

/** A SQLite store with access to its table. */
const database = Effect.gen(function*() {
  const database = yield* sqlite
  const sql = yield* Effect.provide(SqlClient, yield* Layer.build(database.client))
  const opened = yield* migrated(Effect.succeed(database))
  return { ...opened, sql, table: `${opened.prefix[1]}sessions` }
})

describe("sessions that are left in the old store, or missing in the new one", () => {
  it.scopedLive("keeps sessions of other namespaces, and reports them", () =>
    Effect.gen(function*() {
      const [from, to] = [yield* migrated(sqlite), yield* files]
      yield* fill(from.store, 3)
      const other = yield* stored(from.store, { namespace: "other", expiry: expiry() })
      const { exitCode, stdout } = yield* run("copy", ...between(from, to))
      assert.strictEqual(exitCode, 0)
      assert.include(
        stdout,
        `The old store holds no live session of "laws": it can be removed for this namespace. The 1 current belong to other namespaces, ` +
          "or were revoked and have not expired yet.\n"
      )
      yield* isAlive(from.store, other, Date.now())
      assert.strictEqual((yield* run("copy", ...between(from, to, "other"))).exitCode, 0)
      yield* isAlive(to.store, other, Date.now())
    }))

  it.scopedLive("keeps revoked sessions until they expire, and reports them", () =>
    Effect.gen(function*() {
      const [from, to] = [yield* migrated(sqlite), yield* files]
      const [one] = yield* fill(from.store, 3)
      yield* from.store.revokeSubject("laws", one?.record.subject ?? "")
      const { exitCode, stdout } = yield* run("copy", ...between(from, to))
      assert.deepStrictEqual([exitCode, stdout.includes("\n2 moved.\n")], [0, true])
      assert.include(stdout, `no live session of "laws": it can be removed for this namespace. The 1 current belong to`)
    }))

  it.scopedLive("fails if the new store has lost sessions", () =>
    Effect.gen(function*() {
      const [from, to] = [yield* migrated(sqlite), yield* database]
      yield* fill(from.store, 25)
      yield* to.sql.unsafe(
        `CREATE TRIGGER lost AFTER INSERT ON ${to.table} WHEN (SELECT count(*) FROM ${to.table}) > 16
         BEGIN DELETE FROM ${to.table} WHERE id IN (SELECT id FROM ${to.table} WHERE id <> NEW.id LIMIT 8); END`
      )
      const { exitCode, stderr } = yield* run("copy", ...between(from, to), "--concurrency", "1")
      assert.strictEqual(exitCode, 1)
      assert.include(
        stderr,
        "The new store holds 9 of 25 that were moved: the others have ended since, or the store has lost them. " +
          "Find out which before you remove the old store. (help: copy-incomplete)\n"
      )
    }))

  it.scopedLive("fails if a session was created in the old store meanwhile", () =>
    Effect.gen(function*() {
      const [from, to] = [yield* migrated(postgres), yield* migrated(sqlite)]
      const all = yield* fill(from.store, 5)
      const lock = yield* held(from, all[4])
      const copying = yield* Effect.fork(run("copy", ...between(from, to), "--batch", "1"))
      yield* lock.reached
      const late = yield* stored(from.store, { id: idOf("-".repeat(12) + freshId().slice(12)), expiry: expiry() })
      yield* lock.release
      const { exitCode, stderr } = yield* Fiber.join(copying)
      assert.strictEqual(exitCode, 1)
      assert.include(
        stderr,
        `The old store cannot be removed: it still holds 1 current. Some belong to this namespace: a process that is ` +
          `not in the phase "move" has created them meanwhile. Deploy that phase to every process, and run this command again. (help: copy-incomplete)\n`
      )
      yield* isAlive(from.store, late, Date.now())
    }))
})

describe("a store that fails ends copy with one sentence, and the next run continues", () => {
  it.scopedLive("the new one, which is full", () =>
    Effect.gen(function*() {
      const [from, to] = [yield* database, yield* database]
      const all = yield* fill(from.store, 25)
      yield* to.sql.unsafe(
        `CREATE TRIGGER full BEFORE INSERT ON ${to.table} WHEN (SELECT count(*) FROM ${to.table}) >= 12
         BEGIN SELECT RAISE(ABORT, 'there is no room'); END`
      )
      const { exitCode, stderr } = yield* run("copy", ...between(from, to), "--batch", "10")
      assert.strictEqual(exitCode, 1)
      assert.match(
        stderr,
        new RegExp(`^10 / 25 .*\nThe database failed: there is no room\\. ${resumes} \\(help: store-unavailable\\)\n$`)
      )
      assertNoContent(stderr, all)
      yield* to.sql.unsafe("DROP TRIGGER full")
      assert.strictEqual((yield* run("copy", ...between(from, to))).exitCode, 0)
      yield* hasMoved(from, to, all)
    }))
})

describe("a corrupt record stays, and all other sessions move", () => {
  const setLifetime = ({ sql, table }: Effect.Effect.Success<typeof database>, one: Stored, text: string | null) =>
    sql`UPDATE ${sql(table)} SET lifetime = ${text} WHERE id = ${one.record.id}`

  it.scopedLive("in the old store: it is reported with the problem, and moves once it is repaired", () =>
    Effect.gen(function*() {
      const [from, to] = [yield* database, yield* database]
      const all = yield* fill(from.store, 25)
      // At the beginning, where the stores are compared; and in the middle of a page.
      const bad = all.filter((_, i) => i === 0 || i === 14)
      yield* Effect.forEach(bad, (one) => setLifetime(from, one, "{nonsense"))
      const { exitCode, stderr, stdout } = yield* run("copy", ...between(from, to), "--batch", "10")
      const problem = "the column lifetime does not hold a lifetime"
      assert.include(
        stdout,
        "\n23 moved, 2 corrupt.\nOld store: 2 current, 0 expired. New store: 23 current, 0 expired.\n" +
          `Corrupt:\n${bad.map(({ record: { id } }) => `  ${id}  ${problem}\n`).join("")}`
      )
      assert.include(
        stderr,
        "The old store cannot be removed: it still holds 2 that could not be moved, because a record is corrupt. Repair it, or end " +
          `the session with "effect-session revoke", in both stores; then run this command again. (help: record-corrupt)\n`
      )
      assert.strictEqual(exitCode, 1)
      assertNoContent(stdout + stderr, all.filter((one) => !bad.includes(one)))
      assert.notInclude(stdout + stderr, "nonsense")
      const [first, second] = bad
      if (first === undefined || second === undefined) return assert.fail("none is corrupt")
      yield* setLifetime(from, first, null)
      const options = ["--namespace", "laws", ...from.options]
      assert.strictEqual((yield* run("revoke", ...options, "--", second.record.id)).exitCode, 0)
      assert.strictEqual((yield* run("copy", ...between(from, to))).exitCode, 0)
      yield* hasMoved(from, to, all.filter((one) => one !== second))
    }))

  it.scopedLive("in the new store, with the id of a session in the old store: that session stays too", () =>
    Effect.gen(function*() {
      const [from, to] = [yield* database, yield* database]
      const all = yield* fill(from.store, 5)
      const [one] = all
      if (one === undefined) return assert.fail("there is none")
      const { key } = yield* stored(to.store, { id: one.record.id, expiry: expiry() })
      yield* setLifetime(to, one, "{nonsense")
      const { exitCode, stderr, stdout } = yield* run("copy", ...between(from, to))
      assert.include(stdout, `\n4 moved, 1 corrupt.\n`)
      assert.include(stdout, `\nCorrupt:\n  ${one.record.id}  The database failed: the column lifetime does not hold`)
      assert.include(stderr, "it still holds 1 that could not be moved, because a record is corrupt.")
      assert.strictEqual(exitCode, 1)
      yield* isAlive(from.store, one, Date.now())
      yield* to.store.destroy(key)
      assert.strictEqual((yield* run("copy", ...between(from, to))).exitCode, 0)
      yield* hasMoved(from, to, all)
    }))

  it.scopedLive("the first twenty corrupt records are listed", () =>
    Effect.gen(function*() {
      const [from, to] = [yield* database, yield* files]
      yield* fill(from.store, 25)
      yield* from.sql`UPDATE ${from.sql(from.table)} SET lifetime = 'nonsense'`
      const { exitCode, stdout } = yield* run("copy", ...between(from, to))
      assert.strictEqual(exitCode, 1)
      assert.match(stdout, /\n0 moved, 25 corrupt\.\n[^]*\nCorrupt:\n(?:  \S{22}  .*\n){20}  and 5 more\n/)
      assert.deepStrictEqual(yield* to.store.count(Date.now()), { current: 0, expired: 0 })
    }))

  for (const name of ofRedis("Redis → the files")) {
    it.scopedLive(name, () =>
      Effect.gen(function*() {
        const [from, to] = [yield* redis, yield* files]
        const all = yield* fill(from.store, 3)
        const client = yield* ioredisOn(from.url)
        yield* Effect.promise(() => client.hset(`${from.prefix[1]}{all}:${all[1]?.key}`, "m", "[nonsense"))
        const { exitCode, stdout } = yield* run("copy", ...between(from, to))
        assert.strictEqual(exitCode, 1)
        assert.include(stdout, "\n2 moved, 1 corrupt.\n")
        assert.include(stdout, `\n  ${all[1]?.record.id}  the key does not hold a record\n`)
        const ending = yield* run("revoke", "--namespace", "laws", ...from.options, "--", `${all[1]?.record.id}`)
        assert.strictEqual(ending.exitCode, 0)
        assert.strictEqual((yield* run("copy", ...between(from, to))).exitCode, 0)
      }))
  }
})

describe("copy rejects", () => {
  it.scopedLive("the same store twice, also by another URL, and changes nothing", () =>
    Effect.gen(function*() {
      const from = yield* migrated(sqlite)
      const one = yield* stored(from.store, { expiry: expiry() })
      const same = failure(2, "--from and --to are the same store: give two different ones.", "cli-usage")
      const otherUrl = `sqlite:${relative(".", from.url.replace("sqlite:", ""))}`
      for (const url of [from.url, otherUrl]) {
        assert.deepStrictEqual(yield* run("copy", ...between(from, { ...from, url })), same)
      }
      yield* isAlive(from.store, one, Date.now())
    }))

  it.scopedLive("a store without tables, and moves nothing", () =>
    Effect.gen(function*() {
      const [from, empty] = [yield* migrated(sqlite), yield* postgres]
      const one = yield* stored(from.store, { expiry: expiry() })
      const bare = { ...from, url: empty.url, prefix: ["--prefix", freshPrefix()] }
      const missing = (side: string) =>
        failure(
          1,
          `The tables of ${side} are missing or out of date: run "effect-session migrate" with its URL, prefix and schema.`,
          "tables-missing"
        )
      assert.deepStrictEqual(yield* run("copy", ...between(from, bare)), missing("--to"))
      assert.deepStrictEqual(yield* run("copy", ...between(bare, from)), missing("--from"))
      yield* isAlive(from.store, one, Date.now())
    }))
})
