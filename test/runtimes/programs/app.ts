/**
 * The application that every runtime serves: the same routes below the name of each engine, and the published laws of stores.
 */
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as SqlClient from "@effect/sql/SqlClient"
import { Cause, Effect, Layer, Redacted, Schema } from "effect"
import { CookieEngine, Keyring, MemoryEngine, MemoryStore, Session } from "effect-session"
import type { SessionEngine } from "effect-session/SessionEngine"
import type { SessionStore } from "effect-session/SessionStore"
import * as SqlEngine from "effect-session/SqlEngine"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import { storeLaws } from "effect-session/testing"

class AppSession extends Session.Tag<AppSession>()("app/Session", {
  schema: Schema.Struct({ count: Schema.optionalWith(Schema.Int, { default: () => 0 }) }),
  // A busy machine needs more than the default.
  commitTimeout: "1 minute"
}) {}

/** An engine to test, and the store under it, if it has one, as a new one for each law. */
export interface Tested {
  readonly engine: Layer.Layer<SessionEngine, unknown>
  readonly store?: (law: number) => Layer.Layer<SessionStore, unknown>
}

const keys = Layer.orDie(
  Keyring.layer([{ id: "test", secret: Redacted.make("mJ3w8Yk0QvT5xRz7LcN1bHs9DfGa2EuPoXiVq4WtKyU") }])
)

/** The engines that need nothing from their runtime. */
export const portable: Readonly<Record<string, Tested>> = {
  cookie: { engine: Layer.provide(CookieEngine.layer, keys) },
  memory: { engine: MemoryEngine.layer, store: () => MemoryStore.layer }
}

/** The SQL engine on the database of a client. */
export const sql = (
  client: Layer.Layer<SqlClient.SqlClient, unknown>,
  options: { readonly durableDestroy?: boolean } = {}
): Tested => ({
  engine: SqlEngine.layerWith({ ...options, timeout: "10 seconds" }).pipe(
    Layer.provide(SqlMigrations.layer),
    Layer.provide(client)
  ),
  store: (law) =>
    SqlStore.layerWith({ ...options, prefix: `law${law}_` }).pipe(
      Layer.provide(SqlMigrations.layerWith({ prefix: `law${law}_` })),
      Layer.provide(client)
    )
})

const count = Effect.map(AppSession.get("count"), (count) => HttpServerResponse.text(String(count)))

const sessions = AppSession.middleware(Effect.gen(function*() {
  const { url } = yield* HttpServerRequest.HttpServerRequest
  switch (url.split("/")[2]) {
    case "login":
      yield* AppSession.authenticate("ann")
      return yield* count
    case "add":
      yield* AppSession.update("count", (n) => n + 1)
      return yield* count
    case "logout":
      yield* AppSession.destroy
      return HttpServerResponse.text("ended")
    default:
      return yield* count
  }
}))

/** Runs a law, and returns `passed` or what is wrong. */
const outcomeOf = ({ store }: Tested, law: number): Effect.Effect<string> => {
  const found = storeLaws[law]
  if (found === undefined || store === undefined) return Effect.succeed("There is no such law.")
  return Effect.provide(found.law, store(law)).pipe(
    Effect.as("passed"),
    Effect.catchAllCause((cause) => Effect.succeed(`${found.name}: ${Cause.pretty(cause)}`))
  )
}

/** The routes of one engine, below its name: `/memory/login`, and `/memory/laws/7` for a law by its number. */
const routesOf = (tested: Tested) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ url }) => {
    const [, , route, law] = url.split("/")
    return route === "laws"
      ? Effect.map(outcomeOf(tested, Number(law)), (text) => HttpServerResponse.text(text))
      : sessions
  })

/** Names of the engines that have a store, and of the laws. */
const overview = (engines: Engines) => ({
  engines: Object.keys(engines),
  stores: Object.keys(engines).filter((name) => engines[name]?.store !== undefined),
  laws: storeLaws.map(({ name }) => name),
  // A worker is bundled, and has no function for it.
  library: typeof import.meta.resolve === "function" ? import.meta.resolve("effect-session") : "bundled"
})

export type Engines = Readonly<Record<string, Tested>>

const layerOf = ({ engine }: Tested) => Layer.provide(AppSession.layer, engine)

/** The application for a server of Effect. It prints its port. */
export const served = (engines: Engines) =>
  Layer.unwrapScoped(Effect.gen(function*() {
    const apps = new Map<string, HttpApp.Default>()
    for (const [name, tested] of Object.entries(engines)) {
      apps.set(name, Effect.orDie(Effect.provide(routesOf(tested), yield* Layer.build(layerOf(tested)))))
    }
    const app = Effect.flatMap(
      HttpServerRequest.HttpServerRequest,
      ({ url }) => apps.get(url.split("/")[1] ?? "") ?? Effect.orDie(HttpServerResponse.json(overview(engines)))
    )
    const printed = HttpServer.addressWith((address) =>
      Effect.sync(() => address._tag === "TcpAddress" && console.log(`listening on ${address.port}`))
    )
    return Layer.merge(HttpServer.serve(app), Layer.effectDiscard(printed))
  }))

/** The application as a web handler. Its layers are built when the first request comes. */
export const webHandler = (engines: Engines): (request: Request) => Promise<Response> => {
  const handlers = new Map(
    Object.entries(engines).map(([name, tested]) => [
      name,
      HttpApp.toWebHandlerLayer(routesOf(tested), Layer.orDie(layerOf(tested))).handler
    ])
  )
  return (request) =>
    handlers.get(new URL(request.url).pathname.split("/")[1] ?? "")?.(request) ??
      Promise.resolve(Response.json(overview(engines)))
}
