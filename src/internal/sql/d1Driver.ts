/**
 * How statements are sent to Cloudflare D1: it speaks as SQLite does, is reached over a network, and has batches in place of
 * transactions.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type { Driver } from "./driver.js"
import { returning } from "./driver.js"

/** What is asked of the client of `@effect/sql-d1`. */
interface D1Client extends SqlClient.SqlClient {
  readonly config: { readonly db: Database }
}

/** A binding to a database. */
interface Database {
  readonly prepare: (text: string) => { readonly bind: (...values: ReadonlyArray<unknown>) => unknown }
  readonly batch: (statements: ReadonlyArray<unknown>) => Promise<unknown>
}

/** Whether this is a client of D1. */
export const isD1 = (sql: SqlClient.SqlClient): sql is D1Client =>
  Predicate.hasProperty(sql, Symbol.for("@effect/sql-d1/D1Client"))

export const d1 = (sql: D1Client): Driver => ({
  ...returning(sql),
  together: (prepared, parameters) =>
    Effect.tryPromise({
      try: () => {
        const { db } = sql.config
        return db.batch(
          prepared.map(({ names, text }) => db.prepare(text).bind(...names.map((name) => parameters[name])))
        )
      },
      catch: (cause) => new SqlError({ cause, message: "Failed to execute a batch" })
    })
})
