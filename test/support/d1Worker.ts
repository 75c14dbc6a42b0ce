/**
 * A Cloudflare Worker with sessions in D1, whose layers are built once for all requests of its isolate.
 */
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as D1Client from "@effect/sql-d1/D1Client"
import { DateTime, Effect, Layer, Schema } from "effect"
import * as CachedSqlEngine from "effect-session/CachedSqlEngine"
import { freshId } from "effect-session/Fixtures"
import * as Session from "effect-session/Session"
import * as SqlAudit from "effect-session/SqlAudit"
import * as SqlEngine from "effect-session/SqlEngine"
import * as SqlMigrations from "effect-session/SqlMigrations"

class AppSession extends Session.Tag<AppSession>()("app/Session", {
  schema: Schema.Struct({ visits: Schema.optionalWith(Schema.Number, { default: () => 0 }) }),
  watchEvery: "200 millis",
  // A busy machine needs more than the default.
  commitTimeout: "1 minute"
}) {}

/** The number of requests that have begun to wait for the end of their session. */
let waiting = 0

const app = AppSession.middleware(
  Effect.gen(function*() {
    const { url } = yield* HttpServerRequest.HttpServerRequest
    switch (url) {
      case "/visit":
        yield* AppSession.update("visits", (n) => n + 1)
        break
      case "/login":
        yield* AppSession.authenticate("ada")
        break
      case "/logout":
        yield* AppSession.destroy
        break
      case "/ended":
        yield* AppSession.get("visits")
        waiting++
        yield* AppSession.awaitEnd()
    }
    return HttpServerResponse.text(url === "/ended" ? "ended" : String(yield* AppSession.get("visits")))
  })
)

interface Env {
  readonly DB: D1Client.D1ClientConfig["db"]
}

let cached: ReturnType<typeof HttpApp.toWebHandlerLayer> | undefined

const handlerOf = ({ DB }: Env) =>
  HttpApp.toWebHandlerLayer(
    app,
    AppSession.layer.pipe(
      Layer.provide(SqlEngine.layerWith({ durableDestroy: true, timeout: "10 seconds" })),
      // Many statements, so that other requests come while the layers are being built.
      Layer.provide(SqlMigrations.layer),
      Layer.provide(D1Client.layer({ db: DB }))
    )
  )

/** The message of the error for a cache in the isolate. */
const problemOfCache = ({ DB }: Env): Promise<string> =>
  AppSession.layer.pipe(
    Layer.provide(CachedSqlEngine.layer({ lease: "1 second", durableDestroy: true })),
    Layer.provide(D1Client.layer({ db: DB })),
    Layer.build,
    Effect.scoped,
    Effect.match({ onSuccess: () => "", onFailure: (error) => error.message }),
    Effect.runPromise
  )

/** Writes 100 events to an audit table, and returns the number of those that it then has. */
const auditedEvents = ({ DB }: Env): Promise<string> =>
  Effect.gen(function*() {
    yield* SqlMigrations.run({ prefix: "audited_", audit: true })
    const audit = yield* SqlAudit.make({ prefix: "audited_" })
    const id = freshId()
    const common = { session: "shop/Session", namespace: "shop", id, subject: "ann", at: yield* DateTime.now }
    yield* audit.write(Array.from({ length: 100 }, () => ({ _tag: "Conflict", ...common })))
    return (yield* audit.explain("shop", id, { limit: 1000 })).length
  }).pipe(
    Effect.provide(D1Client.layer({ db: DB })),
    Effect.match({ onSuccess: String, onFailure: String }),
    Effect.runPromise
  )

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    if (new URL(request.url).pathname === "/waiting") return new Response(String(waiting))
    if (new URL(request.url).pathname === "/cached") return new Response(await problemOfCache(env))
    if (new URL(request.url).pathname === "/audited") return new Response(await auditedEvents(env))
    cached ??= handlerOf(env)
    return cached.handler(request)
  }
}
