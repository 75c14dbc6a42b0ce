/**
 * The store on any `SqlClient`: Postgres, MySQL and MariaDB, SQLite.
 *
 * Each function is one statement (`revokeSubject` with an exception, and a write within a limit, are one transaction), so compare-and-set is atomic without locks held
 * between round trips. Data is stored as text, not as `jsonb`, which rejects U+0000 and reorders keys.
 *
 * @since 0.1.0
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import { clientOf, tablesFrom } from "./internal/sql/client.js"
import * as Start from "./internal/sql/start.js"
import { statements } from "./internal/sql/statements.js"
import { unchecked } from "./internal/sql/store.js"
import type { SessionConfigError } from "./SessionConfigError.js"
import type { Store } from "./SessionStore.js"
import { SessionStore } from "./SessionStore.js"

/**
 * The prefix and the schema of a store's tables.
 *
 * @since 0.6.0
 * @category models
 */
export interface TableNames {
  /** The prefix of the names of all tables and indexes. Default `"effect_"`. */
  readonly prefix?: string
  /**
   * The schema of the tables, in Postgres only. Default: the first schema of `search_path` that has them.
   *
   * @since 0.6.0
   */
  readonly schema?: string
}

/**
 * The options of {@link make} and {@link layerWith}.
 *
 * @since 0.1.0
 * @category models
 */
export interface SqlStoreOptions extends TableNames {
  /**
   * The `SqlClient` is used for sessions only, so its connections are never inside the application's transactions.
   * Writes are then possible while a handler has a transaction open. Default `false`: such a write fails with the reason `transaction`,
   * because a rollback would undo it.
   */
  readonly ownPool?: boolean
  /**
   * Whether a confirmed logout survives a crash, a power loss and a fail-over. Default: derived from the settings of the database, which are
   * read at the start. They do not show standbys: set `false` if a standby that lags behind may take over. `false` makes no promise and
   * reads no settings. Set `true` if the database does not reveal its settings; the layer fails if they contradict.
   */
  readonly durableDestroy?: boolean
}

/**
 * Makes a store. Fails with `SessionConfigError` if tables are missing or out of date, if the database user may not read and write them, if
 * the database is read-only, or if its encoding cannot hold every character. A database that does not answer within 10 seconds is not an
 * error here.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: SqlStoreOptions = {}
): Effect.Effect<Store, SessionConfigError, SqlClient.SqlClient> =>
  Effect.gen(function*() {
    const [sql, dialect] = yield* clientOf
    const tables = yield* tablesFrom(options, dialect)
    yield* Start.check(sql, dialect, tables, statements(dialect, tables))
    return yield* unchecked(options)
  })

/**
 * A SQL store with options.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWith = (
  options: SqlStoreOptions
): Layer.Layer<SessionStore, SessionConfigError, SqlClient.SqlClient> => Layer.effect(SessionStore, make(options))

/**
 * A SQL store with default options. The tables must exist: see `SqlMigrations`.
 *
 * @example
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { Config, Layer } from "effect"
 * import * as SqlStore from "effect-session/SqlStore"
 *
 * export const store = SqlStore.layer.pipe(
 *   Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<SessionStore, SessionConfigError, SqlClient.SqlClient> = Layer.fresh(layerWith({}))

/**
 * A SQL store with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<SqlStoreOptions>
): Layer.Layer<SessionStore, SessionConfigError | ConfigError, SqlClient.SqlClient> => layerConfigOf(options, layerWith)
