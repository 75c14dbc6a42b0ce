/**
 * The program of child processes that log in one subject many times at once, within a limit. Its argument is one job as JSON. It prints
 * "ready", logs in when the file `startWhen` exists, and prints the outcomes.
 */
import * as MysqlClient from "@effect/sql-mysql2/MysqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { Effect, Layer, Redacted } from "effect"
import { aRecord, freshKey, start } from "effect-session/Fixtures"
import type { SubjectLimit } from "effect-session/SessionStore"
import { SessionStore } from "effect-session/SessionStore"
import * as SqlStore from "effect-session/SqlStore"
import { existsSync, writeSync } from "node:fs"

/** The task of one process. */
export interface Job {
  readonly database: "mariadb" | "postgres" | "sqlite"
  /** The URL of the server, or the name of the file. */
  readonly url: string
  readonly prefix: string
  readonly limit: SubjectLimit
  readonly logins: number
  /** The name of a file. */
  readonly startWhen: string
}

const job: Job = JSON.parse(process.argv[2] ?? "")
const url = Redacted.make(job.url)
const client = {
  mariadb: () => MysqlClient.layer({ url, maxConnections: 10 }),
  postgres: () => PgClient.layer({ url, maxConnections: 10 }),
  sqlite: () => SqliteClient.layer({ filename: job.url })
}[job.database]()

const print = (what: unknown) => Effect.sync(() => writeSync(1, `${JSON.stringify(what)}\n`))

Effect.gen(function*() {
  const store = yield* SessionStore
  yield* print("ready")
  yield* Effect.repeat(Effect.delay(Effect.sync(() => existsSync(job.startWhen)), "5 millis"), {
    until: (isThere) => isThere
  })
  const outcomes = yield* Effect.all(
    Array.from(
      { length: job.logins },
      (_, i) => store.create(freshKey(), aRecord({ createdAt: start + i }), start, job.limit)
    ),
    { concurrency: "unbounded" }
  )
  for (const outcome of outcomes) yield* print(outcome)
}).pipe(
  Effect.provide(Layer.provide(SqlStore.layerWith({ prefix: job.prefix }), client)),
  Effect.runPromise
)
