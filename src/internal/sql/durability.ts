/**
 * Reads the settings of a database to find whether a power failure can undo a commit that it has confirmed. The check does not see a
 * setting that the application changes later on one of its connections.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import type { SessionConfigError } from "../../SessionConfigError.js"
import { configError } from "../configError.js"
import { withHelp } from "../help.js"
import { isLibsql, isRemote } from "./driver.js"
import type { Row } from "./rows.js"
import type { Dialect } from "./tables.js"

interface Setting {
  readonly name: string
  /** Whether a commit waits for the disk with this value. */
  readonly isDurable: (value: string, others: Row) => boolean
}

interface Query {
  readonly text: string
  /** The driver's default is not durable, so it is no reason for a warning. */
  readonly defaultIsNotDurable?: true
  readonly settings: ReadonlyArray<Setting>
}

/** The least durable value of `synchronous`, by `journal_mode`. No value makes the other journal modes durable. */
const synchronous: Readonly<Record<string, number>> = { wal: 2, truncate: 2, persist: 2, delete: 3 }

const queries: Record<Dialect, Query> = {
  pg: {
    text: "SELECT current_setting('synchronous_commit') AS synchronous_commit, current_setting('fsync') AS fsync",
    settings: [
      { name: "synchronous_commit", isDurable: (value) => value !== "off" },
      { name: "fsync", isDurable: (value) => value === "on" }
    ]
  },
  mysql: {
    text: "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit AS innodb_flush_log_at_trx_commit, " +
      "@@GLOBAL.sync_binlog AS sync_binlog, @@GLOBAL.log_bin AS log_bin",
    settings: [
      { name: "innodb_flush_log_at_trx_commit", isDurable: (value) => value === "1" },
      // Recovery rolls back a transaction that is missing from the binary log.
      { name: "sync_binlog", isDurable: (value, { log_bin }) => value === "1" || String(log_bin) === "0" }
    ]
  },
  sqlite: {
    // `journal_mode` first: the default of `synchronous` can depend on it.
    text: "SELECT (SELECT journal_mode FROM pragma_journal_mode) AS journal_mode, " +
      "(SELECT synchronous FROM pragma_synchronous) AS synchronous",
    defaultIsNotDurable: true,
    settings: [
      { name: "journal_mode", isDurable: (value) => value in synchronous },
      {
        name: "synchronous",
        isDurable: (value, { journal_mode }) => Number(value) >= (synchronous[String(journal_mode)] ?? 0)
      }
    ]
  }
}

/** The settings with which a power failure may undo a confirmed commit, as `name=value`. */
export const notDurable = (dialect: Dialect, row: Row): ReadonlyArray<string> =>
  queries[dialect].settings
    .filter(({ isDurable, name }) => !isDurable(String(row[name]), row))
    .map(({ name }) => `${name}=${String(row[name])}`)

/**
 * Whether a confirmed `destroy` survives a power failure, by the settings of the database. `stated` is the option `durableDestroy`: with
 * `false` the database is not asked, and with `true` settings that are not durable fail.
 */
export const check = (
  sql: SqlClient.SqlClient,
  dialect: Dialect,
  stated: boolean | undefined
): Effect.Effect<boolean, SessionConfigError> => {
  if (stated === false) return Effect.succeed(false)
  // The pragmas of a libSQL server are not those of the disk on which it writes.
  const isKnown = !isLibsql(sql) || !isRemote(sql, dialect)
  const queried = Effect.if(isKnown, {
    onTrue: () => sql.unsafe<Row>(queries[dialect].text),
    onFalse: () => Effect.succeed([])
  }).pipe(
    Effect.timeout("10 seconds"),
    Effect.map(([row]) => row === undefined ? undefined : notDurable(dialect, isLibsql(sql) ? reopened(row) : row))
  )
  return Effect.flatMap(Effect.orElseSucceed(queried, () => undefined), (settings) => {
    if (settings?.length === 0) return Effect.succeed(true)
    if (settings === undefined) {
      return stated === true
        ? Effect.succeed(true)
        : Effect.as(Effect.logWarning(withHelp(unknown, "database-not-durable")), false)
    }
    const problem = `the database is configured with ${
      settings.join(" and ")
    }: a power failure can undo a logout that it has confirmed`
    return stated === true
      ? configError("SqlStore", `The option durableDestroy is true, but ${problem}.`, "database-not-durable")
      : Effect.as(
        queries[dialect].defaultIsNotDurable === true
          ? Effect.void
          : Effect.logWarning(withHelp(warning(problem), "database-not-durable")),
        false
      )
  })
}

/**
 * The settings of the next connection of a libSQL client, which opens one after each transaction: the journal mode is that of the file, but
 * `synchronous` is at most the default.
 */
const reopened = (row: Row): Row => ({ ...row, synchronous: Math.min(Number(row.synchronous), 2) })

const warning = (problem: string) =>
  `SqlStore: ${problem}. Change the settings, or set the option durableDestroy to false to accept that.`

const unknown =
  "SqlStore: the settings of the database could not be read, so it is not known whether a commit waits for the disk. " +
  "Set the option durableDestroy."
