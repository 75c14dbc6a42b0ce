/**
 * An audit table: writes the events of {@link SessionEvents} to a SQL database, and reads them.
 *
 * The table is created by `SqlMigrations.run({ audit: true })`, or by `effect-session migrate --audit`. It has the columns `at`
 * (milliseconds since the epoch), `session`, `namespace`, `id`, `subject`, `event` and `details` (JSON), and no token and no data of a
 * session. It contains subjects and ids: delete old rows by {@link removeBefore}.
 *
 * @since 0.6.0
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { withHelp } from "./internal/help.js"
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import * as Table from "./internal/sql/audit.js"
import { clientOf, tablesFrom } from "./internal/sql/client.js"
import type { SessionConfigError } from "./SessionConfigError.js"
import type { HandleOptions, SessionEvent } from "./SessionEvents.js"
import * as SessionEvents from "./SessionEvents.js"
import type { SessionId } from "./SessionId.js"
import type { TableNames } from "./SqlStore.js"

/**
 * An event in the audit table.
 *
 * @since 0.6.0
 * @category models
 */
export interface AuditEntry {
  /** The key of the row. Rows in the order of their keys are in the order of their times. */
  readonly key: string
  readonly event: SessionEvent
}

/**
 * One page of {@link explain}.
 *
 * @since 0.6.0
 * @category models
 */
export interface AuditPage {
  /** The key of the last entry of the previous page. */
  readonly after?: string | undefined
  /** The maximum number of entries of the page. Default 100. */
  readonly limit?: number | undefined
}

/**
 * Reads, writes and cleans up the audit table.
 *
 * @since 0.6.0
 * @category models
 */
export interface Audit {
  /**
   * Returns the events of a session, and the ends of all sessions of its subject and of its namespace since its first event, oldest first:
   * at most `limit` after `after`. A page that is shorter than `limit` is the last one. Rows that this version cannot read are omitted and
   * logged as a warning.
   */
  readonly explain: (
    namespace: string,
    id: SessionId,
    page?: AuditPage
  ) => Effect.Effect<ReadonlyArray<AuditEntry>, SqlError>
  /** Writes events at once, for a job that runs outside of the server. */
  readonly write: (events: ReadonlyArray<SessionEvent>) => Effect.Effect<void, SqlError>
  /** Deletes the events before a time, in batches, and returns their number. */
  readonly removeBefore: (before: DateTime.Utc) => Effect.Effect<number, SqlError>
}

/**
 * The service tag of the audit table.
 *
 * @since 0.6.0
 * @category tags
 */
export class SqlAudit extends Context.Tag("effect-session/SqlAudit")<SqlAudit, Audit>() {}

/**
 * The options of {@link layerWith}.
 *
 * @since 0.6.0
 * @category models
 */
export interface SqlAuditOptions extends TableNames, HandleOptions {}

const opened = (names: TableNames) =>
  Effect.gen(function*() {
    const [sql, dialect] = yield* clientOf
    const table = Table.make(sql, dialect, yield* tablesFrom(names, dialect))
    yield* table.check
    return table
  })

/**
 * Opens the audit table without subscribing to events. Fails with `SessionConfigError` if the table is missing.
 *
 * @since 0.6.0
 * @category constructors
 */
export const make = (names: TableNames = {}): Effect.Effect<Audit, SessionConfigError, SqlClient.SqlClient> =>
  Effect.map(opened(names), auditOf)

type Opened = Effect.Effect.Success<ReturnType<typeof opened>>

const auditOf = ({ explain, insert, keyed, removeBefore }: Opened): Audit => ({
  explain,
  write: (events) => Effect.suspend(() => events.length === 0 ? Effect.void : insert(keyed(events))),
  removeBefore
})

/** The maximum time of one attempt to write. */
const attemptTimeout = "10 seconds"

/** From 200 milliseconds to 30 seconds. */
const pauses = Schedule.exponential("200 millis").pipe(Schedule.union(Schedule.spaced("30 seconds")), Schedule.jittered)

/**
 * Writes the events of this process to the audit table in the background, with options.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWith = (
  options: SqlAuditOptions
): Layer.Layer<SqlAudit, SessionConfigError, SqlClient.SqlClient | SessionEvents.SessionEvents> =>
  Layer.unwrapEffect(Effect.map(opened(options), (table) => {
    const write = (events: ReadonlyArray<SessionEvent>) => {
      const entries = table.keyed(events)
      return table.insert(entries).pipe(
        Effect.disconnect,
        Effect.timeout(attemptTimeout),
        Effect.tapErrorCause((cause) =>
          Effect.logWarning(
            withHelp(
              `SqlAudit could not write ${entries.length} session events. It tries again.`,
              "audit-write-failed"
            ),
            cause
          )
        ),
        Effect.retry(pauses)
      )
    }
    return Layer.merge(
      Layer.succeed(SqlAudit, auditOf(table)),
      SessionEvents.handleBatches(write, options)
    )
  }))

/**
 * Writes the events of this process to the audit table in the background, in batches. A request does not wait for it. If the database
 * fails, the batch is written again after a pause, and a warning is logged; meanwhile the events wait in the queue of
 * {@link SessionEvents}, whose oldest events are lost when it is full. Fails with `SessionConfigError` if the table is missing.
 *
 * @example
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { Config, Layer } from "effect"
 * import { SessionEvents } from "effect-session"
 * import * as SqlAudit from "effect-session/SqlAudit"
 *
 * export const audited = SqlAudit.layer.pipe(
 *   Layer.provideMerge(SessionEvents.layer),
 *   Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
 * )
 * ```
 *
 * @since 0.6.0
 * @category layers
 */
export const layer: Layer.Layer<
  SqlAudit,
  SessionConfigError,
  SqlClient.SqlClient | SessionEvents.SessionEvents
> = Layer.fresh(layerWith({}))

/**
 * Writes the events to the audit table, with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<SqlAuditOptions>
): Layer.Layer<
  SqlAudit,
  SessionConfigError | ConfigError,
  SqlClient.SqlClient | SessionEvents.SessionEvents
> => layerConfigOf(options, layerWith)

/**
 * Returns why a session ended, as far as the audit table shows it: see {@link Audit}.
 *
 * @since 0.6.0
 * @category accessors
 */
export const explain = (
  namespace: string,
  id: SessionId,
  page?: AuditPage
): Effect.Effect<ReadonlyArray<AuditEntry>, SqlError, SqlAudit> =>
  Effect.flatMap(SqlAudit, (audit) => audit.explain(namespace, id, page))

/**
 * Deletes the events before a time, in batches, and returns their number.
 *
 * @example
 * ```ts
 * import { DateTime, Effect } from "effect"
 * import * as SqlAudit from "effect-session/SqlAudit"
 *
 * export const keepOneYear = Effect.flatMap(
 *   DateTime.now,
 *   (now) => SqlAudit.removeBefore(DateTime.subtract(now, { years: 1 }))
 * )
 * ```
 *
 * @since 0.6.0
 * @category accessors
 */
export const removeBefore = (before: DateTime.Utc): Effect.Effect<number, SqlError, SqlAudit> =>
  Effect.flatMap(SqlAudit, (audit) => audit.removeBefore(before))
