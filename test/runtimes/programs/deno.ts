/**
 * Serves the application on Deno. Argument: the URL of a Postgres.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { Redacted } from "effect"
import { portable, sql, webHandler } from "./app.js"

declare const Deno: {
  readonly args: ReadonlyArray<string>
  readonly serve: (
    options: {
      readonly hostname: string
      readonly port: number
      readonly onListen: (address: { port: number }) => void
    },
    handler: (request: Request) => Promise<Response>
  ) => unknown
}

Deno.serve(
  { hostname: "127.0.0.1", port: 0, onListen: ({ port }) => console.log(`listening on ${port}`) },
  webHandler({ ...portable, postgres: sql(PgClient.layer({ url: Redacted.make(Deno.args[0] ?? "") })) })
)
