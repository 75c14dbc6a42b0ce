/**
 * A Cloudflare Worker that runs the published laws on D1: the law with the number in the path, on tables of its own.
 */
import * as D1Client from "@effect/sql-d1/D1Client"
import { Cause, Effect, Layer } from "effect"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import { storeLaws } from "effect-session/testing"

export default {
  fetch(request: Request, { DB }: { readonly DB: D1Client.D1ClientConfig["db"] }): Promise<Response> {
    const i = Number(new URL(request.url).pathname.slice(1))
    const prefix = `law${i}_`
    const store = SqlStore.layerWith({ prefix, durableDestroy: true }).pipe(
      Layer.provide(SqlMigrations.layerWith({ prefix })),
      Layer.provide(D1Client.layer({ db: DB }))
    )
    return Effect.provide(storeLaws[i]?.law ?? Effect.die("no such law"), store).pipe(
      Effect.match({ onSuccess: () => "passed", onFailure: String }),
      Effect.catchAllCause((cause) => Effect.succeed(Cause.pretty(cause))),
      Effect.map((text) => new Response(text)),
      Effect.runPromise
    )
  }
}
