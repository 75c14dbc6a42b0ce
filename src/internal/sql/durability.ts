/**
 * What a database says of a commit that it has confirmed: whether a loss of power can undo it. A setting that a session of the
 * application changes later is not seen.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import { SessionConfigError } from "../../SessionConfigError.js"
import type { Row } from "./rows.js"
import type { Dialect } from "./tables.js"

/** One setting as a database tells it, and the values with which a commit waits for the disk. */
interface Setting {
  readonly name: string
  readonly waits: (value: string, others: Row) => boolean
}

interface Question {
  readonly text: string
  /** Less than that is how its drivers open it: no news, and nobody's mistake. */
  readonly isLazyAsItComes?: true
  readonly settings: ReadonlyArray<Setting>
}

/** How much `synchronous` it takes, by the kind of journal. One in memory, or none, is never enough. */
const synchronous: Readonly<Record<string, number>> = { wal: 2, truncate: 2, persist: 2, delete: 3 }

const questions: Record<Dialect, Question> = {
  pg: {
    text: "SELECT current_setting('synchronous_commit') AS synchronous_commit, current_setting('fsync') AS fsync",
    settings: [
      { name: "synchronous_commit", waits: (value) => value !== "off" },
      { name: "fsync", waits: (value) => value === "on" }
    ]
  },
  mysql: {
    text: "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit AS innodb_flush_log_at_trx_commit, " +
      "@@GLOBAL.sync_binlog AS sync_binlog, @@GLOBAL.log_bin AS log_bin",
    settings: [
      { name: "innodb_flush_log_at_trx_commit", waits: (value) => value === "1" },
      // What the binary log has lost is rolled back in the tables, too.
      { name: "sync_binlog", waits: (value, { log_bin }) => value === "1" || String(log_bin) === "0" }
    ]
  },
  sqlite: {
    // The journal first: with a write-ahead log, the default of the other may be another one.
    text: "SELECT (SELECT journal_mode FROM pragma_journal_mode) AS journal_mode, " +
      "(SELECT synchronous FROM pragma_synchronous) AS synchronous",
    isLazyAsItComes: true,
    settings: [
      { name: "journal_mode", waits: (value) => value in synchronous },
      {
        name: "synchronous",
        waits: (value, { journal_mode }) => Number(value) >= (synchronous[String(journal_mode)] ?? 0)
      }
    ]
  }
}

/** The settings, as they are, with which a confirmed commit may be undone. */
export const lazyIn = (dialect: Dialect, row: Row): ReadonlyArray<string> =>
  questions[dialect].settings
    .filter(({ name, waits }) => !waits(String(row[name]), row))
    .map(({ name }) => `${name}=${String(row[name])}`)

/** Whether a confirmed `destroy` survives: what the database says, unless the application forgoes the claim. */
export const check = (
  sql: SqlClient.SqlClient,
  dialect: Dialect,
  stated: boolean | undefined
): Effect.Effect<boolean, SessionConfigError> => {
  if (stated === false) return Effect.succeed(false)
  const asked = sql.unsafe<Row>(questions[dialect].text).pipe(
    Effect.timeout("10 seconds"),
    Effect.map(([row]) => row === undefined ? undefined : lazyIn(dialect, row))
  )
  return Effect.flatMap(Effect.orElseSucceed(asked, () => undefined), (lazy) => {
    if (lazy?.length === 0) return Effect.succeed(true)
    if (lazy === undefined) return stated === true ? Effect.succeed(true) : Effect.as(Effect.logWarning(unknown), false)
    const said = `the database is set to ${
      lazy.join(" and ")
    }: a logout that it has confirmed can be undone by a loss of power`
    return stated === true
      ? new SessionConfigError({
        subject: "SqlStore",
        problem: `The option durableDestroy is true, but ${said}.`
      })
      : Effect.as(questions[dialect].isLazyAsItComes === true ? Effect.void : Effect.logWarning(advised(said)), false)
  })
}

const advised = (said: string) =>
  `SqlStore: ${said}. Set it otherwise, or the option durableDestroy to false if that may be.`

const unknown = "SqlStore: the database does not tell whether a commit waits for the disk. State it in the option " +
  "durableDestroy."
