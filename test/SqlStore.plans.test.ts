/**
 * The query plan of each statement, by EXPLAIN.
 */
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Effect } from "effect"
import { namespace, start } from "effect-session/Fixtures"
import type { Prepared } from "effect-session/internal/sql/statements"
import { statements } from "effect-session/internal/sql/statements"
import { assert } from "vitest"
import { tablesOf } from "../src/internal/sql/tables.js"
import { freshPrefix, sqliteClient, sqlStore } from "./support/localStores.js"
import { mysqlClient, ofMariadb, postgresClient } from "./support/serverClients.js"

const parameters = {
  key: "k5050",
  newKey: "another",
  namespace,
  id: "i5050",
  kind: "subject",

  subject: "s50",
  after: "i5000",
  limit: "10",
  keep: "2",
  expected: 1,
  now: start,
  lastSeenAt: start,
  expiresAt: start,
  data: "{}",
  schemaVersion: 1,
  version: 1,
  writeId: "w",
  createdAt: start,
  authenticatedAt: start,
  modifiedAt: start,
  deadline: start,
  lifetime: null,
  attributes: null
}
type Parameter = keyof typeof parameters
const isParameter = (name: string): name is Parameter => name in parameters

/** The table and the index by which each statement must find its rows. */
const accessPaths = {
  create: "epochs key",
  load: "sessions key",
  save: "sessions key",
  touch: "sessions key",
  rotate: "sessions key",
  destroy: "sessions key",
  exists: "sessions key",
  find: "sessions by_id",
  scan: "sessions by_id",
  revoke: "sessions by_id",
  revokeOwn: "sessions by_id",
  endReason: "sessions key",
  surplus: "sessions by_subject",
  spare: "sessions by_id",
  list: "sessions by_subject",
  removeExpired: "sessions by_expiry",
  removeReasons: "ends by_expiry",
  forgetReasons: "ends key"
} as const

const isStatement = (name: string): name is keyof typeof accessPaths => name in accessPaths

/** The scans of the few rows that a part of the same statement has produced. */
const writtenRows = /^.*SCAN \(?subquery.*$/gmi

/** Statements that read their rows in the order of the index, and must not sort them. */
const inOrder = ["scan", "removeExpired", "removeReasons"]

const columns = "namespace, id, data, schema_version, subject, version, write_id, created_at, modified_at, " +
  "last_seen_at, expires_at, namespace_epoch, subject_epoch"
const row = `CONCAT('k', i), '${namespace}', CONCAT('i', i), '{}', 1, CONCAT('s', i % 100), 1, 'w', i, i, i, ` +
  `${start} - 100 + i, 1, 1`

/** The numbers from 1 to 10,000, in MariaDB. */
const sequence = "(SELECT seq AS i FROM seq_1_to_10000) AS r"

const dialects = [
  {
    dialect: "sqlite",
    client: () => sqliteClient,
    rows: `WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 10000)`,
    from: "r",
    explain: "EXPLAIN QUERY PLAN",
    analyze: "ANALYZE",
    key: "key",
    line: (row: Readonly<Record<string, unknown>>) => String(row.detail),
    by: (table: string, index: string) =>
      new RegExp(`USING (?:COVERING )?INDEX ${index === "key" ? `sqlite_autoindex_${table}_1` : `${table}_${index}`}`),
    scan: /SCAN (?!CONSTANT ROW)/,
    sort: /TEMP B-TREE/
  },
  {
    dialect: "pg",
    client: () => postgresClient(),
    rows: "",
    from: "generate_series(1, 10000) r(i)",
    explain: "EXPLAIN",
    analyze: "VACUUM ANALYZE",
    key: "key",
    line: (row: Readonly<Record<string, unknown>>) => String(row["QUERY PLAN"]),
    by: (table: string, index: string) =>
      new RegExp(`Index (?:Only )?Scan (?:using|on) ${table}_${index === "key" ? "pkey" : index}`),
    scan: /Seq Scan/,
    sort: /Sort/
  },
  ...ofMariadb(
    {
      dialect: "mysql",
      client: () => mysqlClient(),
      rows: "",
      from: sequence,
      explain: "EXPLAIN",
      analyze: "ANALYZE TABLE",
      key: "`key`",
      // The target of an INSERT and the derived table of a DELETE are no access paths.
      line: ({ Extra, key, select_type, table, type }: Readonly<Record<string, unknown>>) =>
        select_type === "INSERT" || String(table).startsWith("<") ? "" : `${table} ${type} ${key} ${Extra}`,
      // The epochs table has an alias.
      by: (table: string, index: string) =>
        new RegExp(
          `${table.endsWith("epochs") ? "e" : table} (?:const|eq_ref|ref|range) ${
            index === "key" ? "PRIMARY" : `${table}_${index}`
          }`
        ),
      scan: /^\S+ (?:ALL|index) /m,
      sort: /filesort/
    } as const
  )
] as const

for (const { analyze, by, client, dialect, explain, from, key, line, rows, scan, sort } of dialects) {
  it.live(`${dialect}: every statement finds its rows by an index among 10,000 sessions`, () => {
    const prefix = freshPrefix()
    return Effect.gen(function*() {
      const sql = yield* SqlClient
      const tables = {
        sessions: `${prefix}sessions`,
        epochs: `${prefix}session_epochs`,
        ends: `${prefix}session_ends`
      }
      yield* sql.unsafe(`INSERT INTO ${tables.sessions} (${key}, ${columns}) ${rows} SELECT ${row} FROM ${from}`)
      yield* sql.unsafe(
        `INSERT INTO ${tables.epochs} ${rows} SELECT '${namespace}', 'subject', CONCAT('s', i), 1 FROM ${from}`
      )
      yield* sql.unsafe(
        `INSERT INTO ${tables.ends} (${key}, reason, expires_at) ${rows} ` +
          `SELECT CONCAT('e', i), 'loggedOut', ${start} - 100 + i FROM ${from}`
      )
      yield* Effect.forEach(Object.values(tables), (table) => sql.unsafe(`${analyze} ${table}`))
      const planOf = ({ names, text }: Prepared) =>
        Effect.map(
          sql.unsafe<Readonly<Record<string, unknown>>>(
            `${explain} ${text}`,
            names.map((name) => isParameter(name) ? parameters[name] : undefined)
          ),
          (lines) => lines.map(line).join("\n")
        )
      const all = statements(dialect, tablesOf(prefix))
      for (const name of Object.keys(accessPaths).filter(isStatement)) {
        const [table, index] = accessPaths[name].split(" ")
        const plan = yield* planOf(all[name])
        const searched = table === "epochs" ? tables.epochs : table === "ends" ? tables.ends : tables.sessions
        assert.match(plan, by(searched, index ?? ""), name)
        assert.notMatch(plan, scan, name)
        if (inOrder.includes(name)) assert.notMatch(plan, sort, name)
      }
      // The statements that Postgres uses in place of others, and those of the other dialects.
      const variants = {
        "sessions key": dialect === "pg"
          ? [all.atOnce?.destroy, all.atOnce?.evict, all.atOnce?.rotate]
          : [all.note.destroy, all.note.evict, all.note.rotate],
        "sessions by_id": dialect === "pg"
          ? [all.atOnce?.revoke, all.atOnce?.revokeOwn]
          : [all.note.revoke, all.note.revokeOwn],
        "sessions by_subject": dialect === "sqlite"
          ? [...Object.values(all.unlessFull), ...Object.values(all.noteSurplus), ...Object.values(all.endSurplus)]
          : []
      }
      for (const [path, statements] of Object.entries(variants)) {
        for (const one of statements) {
          if (one === undefined) return assert.fail(path)
          const plan = yield* planOf(one)
          assert.match(plan, by(tables.sessions, path.split(" ")[1] ?? ""), one.text)
          assert.notMatch(plan.replace(writtenRows, ""), scan, one.text)
        }
      }
    }).pipe(Effect.provide(sqlStore<unknown>(client(), prefix)))
  })
}

for (const name of ofMariadb("mariadb")) {
  it.live(`${name}: a page of a scan reads only the sessions of that page`, () => {
    const prefix = freshPrefix()
    return Effect.gen(function*() {
      const sql = yield* SqlClient
      const sessions = `${prefix}sessions`
      yield* sql.unsafe(`INSERT INTO ${sessions} (\`key\`, ${columns}) SELECT ${row} FROM ${sequence}`)
      yield* sql.unsafe(`ANALYZE TABLE ${sessions}`)
      const { names, text } = statements("mysql", tablesOf(prefix)).scan
      yield* sql.unsafe("FLUSH STATUS")
      const page = yield* sql.unsafe(text, names.map((name) => isParameter(name) ? parameters[name] : undefined))
      const read = yield* sql.unsafe<{ readonly Value: string }>(
        "SHOW SESSION STATUS WHERE Variable_name IN " +
          "('Handler_read_next', 'Handler_read_rnd_next', 'Handler_icp_attempts')"
      )
      assert.lengthOf(page, 10)
      assert.isBelow(read.reduce((sum, { Value }) => sum + Number(Value), 0), 100)
    }).pipe(Effect.provide(sqlStore(mysqlClient({ maxConnections: 1 }), prefix)))
  })
}
