import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Cause, Effect, Either, Layer } from "effect"
import { SessionStore } from "effect-session"
import type { Prepared } from "effect-session/internal/sqlStatements"
import { statements } from "effect-session/internal/sqlStatements"
import { inspect } from "node:util"
import { assert, describe } from "vitest"
import { isAlive, isDead, namespace, start, stored } from "./laws/records.js"
import { reads } from "./support/databases.js"
import { freshPrefix, postgresClient, sqliteClient, sqlStore } from "./support/stores.js"

describe("rows that are no records", () => {
  const secret = "hunter2"
  const unsafe = "9007199254740993"
  const integers = [
    "schema_version",
    "version",
    "created_at",
    "authenticated_at",
    "modified_at",
    "last_seen_at",
    "expires_at",
    "deadline"
  ]
  const lifetimes = [
    `'${secret}'`,
    `''`,
    `'null'`,
    `'[]'`,
    `'"${secret}"'`,
    `'{"_tag":"${secret}"}'`,
    `'{"_tag":"Inactivity","millis":"${secret}"}'`,
    `'{"_tag":"Until"}'`
  ]
  const blob = `CAST('${secret}' AS BLOB)`
  const junk: ReadonlyArray<{
    readonly name: string
    readonly client: () => Layer.Layer<SqlClient, unknown>
    readonly columns: Readonly<Record<string, ReadonlyArray<string>>>
  }> = [
    {
      name: "sqlite",
      client: () => sqliteClient,
      // SQLite keeps what it is given, whatever the type of the column says.
      columns: {
        ...Object.fromEntries(
          integers.map((column) => [column, [`'${secret}'`, `''`, `' '`, `'0x10'`, "1800000000000.5", blob, unsafe]])
        ),
        ...Object.fromEntries(["data", "write_id", "subject", "id", "namespace"].map((column) => [column, [blob]])),
        lifetime: [...lifetimes, blob]
      }
    },
    {
      name: "postgres",
      client: () => postgresClient(),
      columns: {
        ...Object.fromEntries(
          integers.filter((column) => column !== "schema_version").map((column) => [column, [unsafe]])
        ),
        lifetime: lifetimes
      }
    }
  ]

  for (const { client, columns, name } of junk) {
    for (const [column, values] of Object.entries(columns)) {
      it.live(`${name}: junk for ${column} is an error that does not tell it, and harms no other row`, () => {
        const prefix = freshPrefix()
        const isHandled = (value: string) =>
          Effect.gen(function*() {
            const store = yield* SessionStore
            const sql = yield* SqlClient
            const bad = yield* stored(store, { namespace: "bad" })
            const good = yield* stored(store)
            const expired = yield* stored(store, { expiry: { at: start, deadline: undefined, lifetime: undefined } })
            yield* sql.unsafe(`UPDATE ${prefix}sessions SET ${column} = ${value} WHERE key = '${bad.key}'`)

            const answer = yield* Effect.either(store.load(bad.key, start))
            if (Either.isRight(answer)) return assert.fail(`${value} was read as if it were none`)

            assert.strictEqual(answer.left.reason, "corrupt", value)
            for (
              const text of [
                answer.left.message,
                Cause.pretty(Cause.fail(answer.left)),
                inspect(answer.left, { depth: 9 })
              ]
            ) {
              assert.notInclude(text, secret)
              assert.notInclude(text, unsafe)
            }

            yield* isAlive(store, good, start)
            assert.strictEqual(yield* store.removeExpired(start, 10), 1)
            yield* isDead(store, expired, start)
            yield* store.destroy(bad.key)
            yield* isDead(store, bad, start)
            yield* store.destroy(good.key)
          })
        return Effect.forEach(values, isHandled).pipe(Effect.provide(sqlStore(client(), prefix)))
      })
    }

    for (const [read, run] of reads) {
      it.live(`${name}: ${read} of such a row says so, instead of leaving it out`, () => {
        const prefix = freshPrefix()
        return Effect.gen(function*() {
          const store = yield* SessionStore
          const one = yield* stored(store)
          const sql = yield* SqlClient
          yield* sql.unsafe(`UPDATE ${prefix}sessions SET version = ${unsafe}`)
          const error = yield* Effect.flip(run(store, one))
          assert.deepStrictEqual([error.operation, error.reason], [read, "corrupt"])
        }).pipe(Effect.provide(sqlStore(client(), prefix)))
      })
    }
  }
})

describe("plans", () => {
  const parameters = {
    key: "k5000",
    newKey: "another",
    namespace,
    id: "i5000",
    subject: "s50",
    after: "i5000",
    limit: 10,
    expected: 1,
    now: start,
    lastSeenAt: start,
    expiresAt: start,
    data: "{}",
    schemaVersion: 1,
    writeId: "w",
    createdAt: start,
    authenticatedAt: start,
    modifiedAt: start,
    deadline: start,
    lifetime: null
  }
  type Parameter = keyof typeof parameters
  const isParameter = (name: string): name is Parameter => name in parameters

  /** The index that each statement must come by to its rows. */
  const indexes = {
    create: "key",
    load: "key",
    save: "key",
    touch: "key",
    rotate: "key",
    destroy: "key",
    exists: "key",
    find: "by_id",
    scan: "by_id",
    revoke: "by_id",
    spare: "by_id",
    list: "by_subject",
    removeExpired: "by_expiry"
  } as const

  const columns = "key, namespace, id, data, schema_version, subject, version, write_id, created_at, modified_at, " +
    "last_seen_at, expires_at, namespace_epoch, subject_epoch"
  const row = (i: string) =>
    `'k' || ${i}, '${namespace}', 'i' || ${i}, '{}', 1, 's' || (${i} % 100), 1, 'w', ${i}, ${i}, ${i}, ` +
    `${start} - 100 + ${i}, 0, 0`

  const dialects = [
    {
      dialect: "sqlite",
      client: () => sqliteClient,
      rows: `WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 10000)`,
      from: "r",
      explain: "EXPLAIN QUERY PLAN",
      analyze: "ANALYZE",
      scan: "SCAN",
      key: "autoindex"
    },
    {
      dialect: "pg",
      client: () => postgresClient(),
      rows: "",
      from: "generate_series(1, 10000) r(i)",
      explain: "EXPLAIN",
      analyze: "VACUUM ANALYZE",
      scan: "Seq Scan",
      key: "pkey"
    }
  ] as const

  for (const { analyze, client, dialect, explain, from, key, rows, scan } of dialects) {
    it.live(`${dialect}: every statement comes to its rows by an index, among 10,000 sessions`, () => {
      const prefix = freshPrefix()
      return Effect.gen(function*() {
        const sql = yield* SqlClient
        const sessions = `${prefix}sessions`
        const epochs = `${prefix}session_epochs`
        yield* sql.unsafe(`INSERT INTO ${sessions} (${columns}) ${rows} SELECT ${row("i")} FROM ${from}`)
        yield* sql.unsafe(`INSERT INTO ${epochs} ${rows} SELECT 'other', 'subject', 's' || i, 1 FROM ${from}`)
        yield* Effect.forEach([sessions, epochs], (table) => sql.unsafe(`${analyze} ${table}`))
        const planOf = ({ names, text }: Prepared) =>
          Effect.map(
            sql.unsafe<Readonly<Record<string, unknown>>>(
              `${explain} ${text}`,
              names.map((name) => isParameter(name) ? parameters[name] : undefined)
            ),
            (lines) => lines.map((line) => String(line.detail ?? line["QUERY PLAN"])).join("\n")
          )
        const all = statements(dialect, prefix)
        for (const [name, index] of Object.entries(indexes)) {
          const plan = yield* planOf(all[name as keyof typeof indexes])
          assert.include(plan, index === "key" ? key : `${sessions}_${index}`, `${name}:\n${plan}`)
          assert.notInclude(plan, scan, name)
        }
      }).pipe(Effect.provide(sqlStore<unknown>(client(), prefix)))
    })
  }
})
