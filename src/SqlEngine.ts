/**
 * Sessions in a SQL database.
 *
 * @since 0.1.0
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Layer from "effect/Layer"
import type { SessionConfigError } from "./SessionConfigError.js"
import * as SqlStore from "./SqlStore.js"
import * as StoredEngine from "./StoredEngine.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface SqlEngineOptions extends SqlStore.SqlStoreOptions, StoredEngine.StoredEngineOptions {}

/**
 * Sessions in the database of a `SqlClient`. The tables must exist: see `SqlMigrations`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: SqlEngineOptions = {}
): Layer.Layer<StoredEngine.Provided, SessionConfigError, SqlClient.SqlClient> =>
  Layer.provide(StoredEngine.layer(options), SqlStore.layer(options))
