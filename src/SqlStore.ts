/**
 * The store on any `SqlClient`: Postgres, MySQL and MariaDB, SQLite.
 *
 * Each function is one statement (`revokeSubject` with an exception is one transaction), so compare-and-set is
 * atomic without locks held between round trips. Data is kept as text, never as `jsonb`, which refuses U+0000 and
 * reorders keys.
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
  /** Put before the names of all tables and indexes. Default `"effect_"`. */
  readonly prefix?: string
  /**
   * The schema of the tables, in Postgres only. Default: the first schema of `search_path` that has them.
   *
   * @since 0.6.0
   */
  readonly schema?: string
}

/**
 * @since 0.1.0
 * @category models
 */
export interface SqlStoreOptions extends TableNames {
  /**
   * The `SqlClient` is used for sessions only, so its connections are never inside the application's transactions.
   * Writes are then possible while a handler holds a transaction of its own. Default `false`: such a write is refused,
   * because a rollback would undo it.
   */
  readonly ownPool?: boolean
  /**
   * A confirmed logout survives a crash, a loss of power and a fail-over. The database is asked for its settings at start, and
   * the claim is what they say. Nothing is known of standbys: where one that lags behind may take over, say `false`, which
   * forgoes the claim and asks nothing. `true` where the database does not tell; where it says otherwise, the layer fails.
   */
  readonly durableDestroy?: boolean
}

/**
 * Makes a store. Fails with `SessionConfigError` if the database answers that it cannot keep sessions: tables that are missing
 * or out of date, a user that may not read and write them, a database that is read-only, or an encoding that cannot hold every
 * character. A database that does not answer within 10 seconds fails nothing here.
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
 * The store as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<SessionStore, SessionConfigError, SqlClient.SqlClient> = layerWith({})

/**
 * A SQL store with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<SqlStoreOptions>
): Layer.Layer<SessionStore, SessionConfigError | ConfigError, SqlClient.SqlClient> => layerConfigOf(options, layerWith)
