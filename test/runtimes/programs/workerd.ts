/**
 * Serves the application on workerd, Cloudflare's runtime, with D1.
 */
import * as D1Client from "@effect/sql-d1/D1Client"
import { portable, sql, webHandler } from "./app.js"

interface Env {
  readonly DB: D1Client.D1ClientConfig["db"]
}

let handler: ((request: Request) => Promise<Response>) | undefined

export default {
  fetch(request: Request, { DB }: Env): Promise<Response> {
    handler ??= webHandler({ ...portable, d1: sql(D1Client.layer({ db: DB }), { durableDestroy: true }) })
    return handler(request)
  }
}
