import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Cause, Effect, Either, Layer } from "effect"
import { isAlive, isDead, namespace, start, stored } from "effect-session/Fixtures"
import { SessionStore } from "effect-session/SessionStore"
import { inspect } from "node:util"
import { assert, describe } from "vitest"
import { freshPrefix, sqliteClient, sqlStore } from "./support/localStores.js"
import { mysqlClient, ofMariadb, postgresClient } from "./support/serverClients.js"
import { reads } from "./support/storeCalls.js"

describe("corrupt rows", () => {
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
      // SQLite stores any value in any column, regardless of the type of the column.
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
    },
    ...ofMariadb({
      name: "mariadb",
      client: () => mysqlClient(),
      // Names are stored as bytes, which may be invalid text.
      columns: {
        ...Object.fromEntries(
          integers.filter((column) => column !== "schema_version").map((column) => [column, [unsafe]])
        ),
        ...Object.fromEntries(["subject", "id", "namespace"].map((column) => [column, [`CONCAT('${secret}', X'ff')`]])),
        lifetime: lifetimes
      }
    })
  ]

  for (const { client, columns, name } of junk) {
    for (const [column, values] of Object.entries(columns)) {
      it.live(`${name}: junk for ${column} is an error without the value, and does not affect other rows`, () => {
        const prefix = freshPrefix()
        const isHandled = (value: string) =>
          Effect.gen(function*() {
            const store = yield* SessionStore
            const sql = yield* SqlClient
            const bad = yield* stored(store, { namespace: "bad", data: `"bad"` })
            const good = yield* stored(store)
            const expired = yield* stored(store, { expiry: { at: start, deadline: undefined, lifetime: undefined } })
            yield* sql.unsafe(`UPDATE ${prefix}sessions SET ${column} = ${value} WHERE data = '"bad"'`)

            const answer = yield* Effect.either(store.load(bad.key, start))
            if (Either.isRight(answer)) return assert.fail(`${value} was decoded without an error`)

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
            yield* store.list("bad", "ann", start)
            const page = yield* store.scan("bad", { limit: 10, now: start })
            assert.deepStrictEqual(
              page.flatMap((one) => "key" in one ? one.key : one.id === bad.record.id ? [] : one.id),
              []
            )
            assert.strictEqual(yield* store.removeExpired({ now: start, limit: 10 }), 1)
            yield* isDead(store, expired, start)
            yield* store.destroy(bad.key)
            yield* isDead(store, bad, start)
            yield* store.destroy(good.key)
          })
        return Effect.forEach(values, isHandled).pipe(Effect.provide(sqlStore(client(), prefix)))
      })
    }

    for (const [read, run] of reads.filter(([read]) => read === "load" || read === "find")) {
      it.live(`${name}: ${read} of such a row fails with reason corrupt`, () => {
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

    for (const nameless of columns.id ?? []) {
      it.live(`${name}: rows whose ids are ${nameless} are omitted from pages, and later pages are complete`, () => {
        const prefix = freshPrefix()
        return Effect.gen(function*() {
          const store = yield* SessionStore
          const all = yield* Effect.forEach(Array.from({ length: 7 }), () => stored(store))
          const sql = yield* SqlClient
          const bad = all.slice(0, 3)
          // Ids are unique.
          for (const [i, { key }] of bad.entries()) {
            const id = nameless.replace(secret, `${i}`)
            yield* sql`UPDATE ${sql(`${prefix}sessions`)} SET id = ${sql.literal(id)} WHERE ${sql("key")} = ${key}`
          }
          const good = all.slice(3).map(({ record }) => record.id).sort()
          for (const limit of [1, 2, 3, 4, 10]) {
            const found: Array<string> = []
            let after: (typeof good)[number] | undefined
            do {
              const page = yield* store.scan(namespace, { after, limit, now: start })
              assert.isAtMost(page.length, limit)
              found.push(...page.map(({ id }) => id))
              after = page.at(-1)?.id
            } while (after !== undefined)
            assert.deepStrictEqual(found, good)
          }
          yield* Effect.forEach(bad, ({ key }) => store.destroy(key))
          assert.strictEqual((yield* store.count(start)).current, 4)
        }).pipe(Effect.provide(sqlStore(client(), prefix)))
      })
    }
  }
})
