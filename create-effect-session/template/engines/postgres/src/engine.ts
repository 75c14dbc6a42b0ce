/**
 * Where sessions are kept: in Postgres.
 */
import { PgClient } from "@effect/sql-pg"
import { Config, Layer } from "effect"
import { SessionReaper } from "effect-session"
import * as SqlEngine from "effect-session/SqlEngine"
import * as SqlMigrations from "effect-session/SqlMigrations"

export const layer = SessionReaper.layer.pipe( // deletes expired sessions
  Layer.provideMerge(SqlEngine.layer),
  Layer.provide(SqlMigrations.layer), // creates missing tables when the server starts
  Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
)
