/**
 * The stores that the laws are run on, each real and empty.
 */
import { PgClient } from "@effect/sql-pg"
import { SqliteClient } from "@effect/sql-sqlite-node"
import type * as SqlClient from "@effect/sql/SqlClient"
import { Effect, Layer, Redacted } from "effect"
import { MemoryStore, type SessionStore } from "effect-session"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { inject } from "vitest"

/** Postgres, with a pool of its own. */
export const postgresClient = (options: { readonly maxConnections?: number } = {}) =>
  PgClient.layer({ url: Redacted.make(inject("postgresUrl")), maxConnections: 10, ...options })

/** SQLite, in a file of its own. */
export const sqliteClient = Layer.unwrapScoped(Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(Path.join(tmpdir(), "effect-session-sqlite-"))),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
  ),
  (directory) => SqliteClient.layer({ filename: Path.join(directory, "sessions.sqlite") })
))

/** A prefix that no other test has. */
export const freshPrefix = (): string => `t${randomBytes(6).toString("hex")}_`

/** A SQL store on tables of its own; the client stays visible, for looking at the tables. */
export const sqlStore = <E>(client: Layer.Layer<SqlClient.SqlClient, E>, prefix = freshPrefix()) =>
  SqlStore.layer({ prefix }).pipe(
    Layer.provide(SqlMigrations.layer({ prefix })),
    Layer.provideMerge(client)
  )

/** Every store, by name. Each call of the layer makes an empty one. */
export const stores: ReadonlyArray<
  readonly [name: string, layer: () => Layer.Layer<SessionStore, unknown>]
> = [
  ["memory", () => MemoryStore.layer()],
  ["sqlite", () => sqlStore(sqliteClient)],
  ["postgres", () => sqlStore(postgresClient())]
]
