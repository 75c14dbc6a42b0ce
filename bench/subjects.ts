/**
 * Time to list, to revoke and to limit the sessions of one subject, by the number of sessions of others in a SQL database. The
 * measurements of all sizes are interleaved.
 */
import * as MysqlClient from "@effect/sql-mysql2/MysqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { SqlClient } from "@effect/sql/SqlClient"
import { Context, Effect, Layer, Redacted, type Scope } from "effect"
import { aRecord, freshKey, namespace, start, stored } from "effect-session/Fixtures"
import { SessionStore } from "effect-session/SessionStore"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import * as Path from "node:path"
import * as MariadbServer from "../test/support/servers/mariadb.js"
import { data } from "./app.js"
import { interleaved, measured, options } from "./harness.js"
import { publish, ratio, withSpread } from "./report.js"
import { directory } from "./servers.js"
import { postgresServer } from "./storeContenders.js"

type Store = SessionStore["Type"]

const rounds = options.rounds(9)
const callsPerRound = 20
/** Sessions of each subject. */
const sessionsEach = 5
const largest = Number(options.positionals[0] ?? 1_000_000)
const sizes = [10_000, 100_000, 1_000_000].filter((size) => size <= largest)
const json = JSON.stringify(data)

/** Stores what a call needs, and returns the call to measure. */
type Prepare = (store: Store) => Effect.Effect<Effect.Effect<unknown, unknown>, unknown>

const operations: Readonly<Record<string, Prepare>> = {
  list: (store) => Effect.succeed(store.list(namespace, "listed", start)),
  "revoke one": (store) =>
    Effect.map(stored(store, { subject: "revoked", data: json }), ({ record }) =>
      Effect.filterOrDieMessage(
        store.revoke(namespace, record.id, "revoked"),
        (done) => done,
        "a session was not revoked"
      )),
  "revoke all": (store) => Effect.succeed(store.revokeSubject(namespace, "revoked at once")),
  "login at the limit": (store) =>
    Effect.succeed(Effect.suspend(() =>
      Effect.filterOrDieMessage(
        store.create(freshKey(), aRecord({ subject: "limited", data: json }), start, {
          max: sessionsEach,
          onFull: "oldest"
        }),
        (outcome) => typeof outcome === "object",
        "a login ended no session"
      )
    ))
}

const subjects = ["listed", "revoked", "revoked at once", "limited"]

interface Database {
  /** The layer of a client of an empty database or of an empty file. */
  readonly client: (size: number) => Layer.Layer<SqlClient, unknown>
  readonly key: string
  readonly randomKey: string
  readonly randomId: string
  readonly subject: string
  readonly numbers: (size: number) => string
  readonly analyze: string
}

const columns = "data, schema_version, version, write_id, created_at, authenticated_at, modified_at, last_seen_at, " +
  "deadline, lifetime, namespace_epoch, subject_epoch"

const databases: Readonly<Record<string, Effect.Effect<Database, unknown, Scope.Scope>>> = {
  postgres: Effect.map(postgresServer, (url) => ({
    client: () => PgClient.layer({ url: Redacted.make(url), maxConnections: 2 }),
    key: "key",
    randomKey: "substr(md5(i::text) || md5('key' || i), 1, 43)",
    randomId: "substr(md5('id' || i), 1, 22)",
    subject: `'user-' || i / ${sessionsEach}`,
    numbers: (size) => `generate_series(1, ${size}) AS numbers(i)`,
    analyze: "VACUUM ANALYZE"
  })),
  sqlite: Effect.map(directory, (folder) => ({
    client: (size) => SqliteClient.layer({ filename: Path.join(folder, `${size}.sqlite`) }),
    key: "key",
    randomKey: "substr(lower(hex(randomblob(22))), 1, 43)",
    randomId: "lower(hex(randomblob(11)))",
    subject: `'user-' || i / ${sessionsEach}`,
    numbers: (size) =>
      `(WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < ${size}) SELECT i FROM numbers)`,
    analyze: "ANALYZE"
  })),
  mariadb: Effect.gen(function*() {
    const { url } = yield* MariadbServer.make({ directory: Path.join(yield* directory, "data") })
    return {
      client: () => MysqlClient.layer({ url: Redacted.make(url), maxConnections: 2 }),
      key: "`key`",
      randomKey: "SUBSTR(CONCAT(MD5(seq), MD5(CONCAT('key', seq))), 1, 43)",
      randomId: "SUBSTR(MD5(CONCAT('id', seq)), 1, 22)",
      subject: `CONCAT('user-', seq DIV ${sessionsEach})`,
      numbers: (size: number) => `seq_1_to_${size}`,
      analyze: "ANALYZE TABLE"
    }
  })
}

/** A store with five sessions of each measured subject, and `size` sessions of others. */
const filled = (database: Database, size: number) =>
  Effect.gen(function*() {
    const prefix = `among${size}_`
    const context = yield* Layer.build(
      SqlStore.layerWith({ prefix }).pipe(
        Layer.provide(SqlMigrations.layerWith({ prefix })),
        Layer.provideMerge(database.client(size))
      )
    )
    const sql = Context.get(context, SqlClient)
    const store = Context.get(context, SessionStore)
    const { key: template } = yield* stored(store, { subject: "template", data: json })
    const { key, numbers, randomId, randomKey, subject } = database
    yield* sql.unsafe(
      `INSERT INTO ${prefix}sessions (${key}, namespace, id, subject, expires_at, ${columns})
SELECT ${randomKey}, namespace, ${randomId}, ${subject}, expires_at, ${columns}
FROM ${prefix}sessions, ${numbers(size)} WHERE ${key} = '${template}'`
    )
    yield* store.destroy(template)
    for (const subject of subjects) {
      for (let i = 0; i < sessionsEach; i++) yield* stored(store, { subject, data: json })
    }
    yield* sql.unsafe(`${database.analyze} ${prefix}sessions`)
    return store
  })

/** The median time of a call in microseconds, one call at a time. On a busy machine a mean would be that of the interruptions. */
const time = (prepare: () => ReturnType<Prepare>): Promise<number> =>
  Effect.gen(function*() {
    const calls = yield* Effect.all(Array.from({ length: callsPerRound }, prepare))
    const times = yield* Effect.forEach(calls, (call) =>
      Effect.suspend(() => {
        const began = performance.now()
        return Effect.map(call, () => (performance.now() - began) * 1000)
      }))
    return measured(times).median
  }).pipe(Effect.runPromise)

const measure = (name: string, make: Effect.Effect<Database, unknown, Scope.Scope>) =>
  Effect.gen(function*() {
    const database = yield* make
    const tasks = new Map<string, () => Promise<number>>()
    for (const size of sizes) {
      const store = yield* filled(database, size)
      for (const [operation, prepare] of Object.entries(operations)) {
        tasks.set(`${operation} ${size}`, () => time(() => prepare(store)))
      }
    }
    const { noise, results } = yield* Effect.promise(() => interleaved(tasks, { rounds }))
    const of = (operation: string, size: number) => results.get(`${operation} ${size}`) ?? measured([])
    return {
      noise,
      table: {
        title: name,
        columns: ["sessions of others", ...Object.keys(operations).flatMap((name) => [`${name}, µs`, "to the fewest"])],
        rows: sizes.map((size) => [
          size.toLocaleString("en"),
          ...Object.keys(operations).flatMap((operation) => [
            withSpread(of(operation, size)),
            ratio(of(operation, size).median, of(operation, sizes[0] ?? size).median)
          ])
        ])
      }
    }
  }).pipe(Effect.scoped, Effect.runPromise)

for (const [name, make] of Object.entries(databases)) {
  if (!(options.only?.includes(name) ?? true)) continue
  const { noise, table } = await measure(name, make)
  publish({
    name: `subjects-${name}`,
    title: `One subject among many sessions: ${name}`,
    about:
      `Calls for a subject with ${sessionsEach} sessions, one at a time: its list, the revocation of one and of all of its ` +
      "sessions, and a login that ends the oldest of them.",
    rounds,
    noise,
    tables: [table],
    plots: [],
    budgets: []
  })
}
