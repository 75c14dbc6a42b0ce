/**
 * Where sessions are kept: in a SQLite file.
 */
import { SqliteClient } from "@effect/sql-sqlite-node"
import { Config, Layer } from "effect"
import { SessionReaper } from "effect-session"
import * as SqlEngine from "effect-session/SqlEngine"
import * as SqlMigrations from "effect-session/SqlMigrations"

export const layer = SessionReaper.layer.pipe( // deletes expired sessions
  Layer.provideMerge(SqlEngine.layer),
  Layer.provide(SqlMigrations.layer), // creates missing tables when the server starts
  Layer.provide(SqliteClient.layerConfig({ filename: Config.string("DATABASE_FILE") }))
)
