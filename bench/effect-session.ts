/**
 * The library under test, on memory, Redis, Postgres, or in the sealed cookie.
 */
import { HttpApp, HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Logger, ManagedRuntime, Redacted, Schema } from "effect"
import { MemoryStore, Session, StoredEngine } from "effect-session"
import * as CookieEngine from "effect-session/CookieEngine"
import * as Keyring from "effect-session/Keyring"
import * as RedisClient from "effect-session/RedisClient"
import * as RedisStore from "effect-session/RedisStore"
import type { SessionEngine } from "effect-session/SessionEngine"
import { SessionStore } from "effect-session/SessionStore"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import { Redis } from "ioredis"
import { randomBytes } from "node:crypto"
import { createServer } from "node:http"
import { data, type Make, type Options, type Store, webApp } from "./app.js"
import { listening } from "./listening.js"

const Item = Schema.Struct({ sku: Schema.String, name: Schema.String, quantity: Schema.Number, price: Schema.Number })

class App extends Session.Tag<App>()("bench/App", {
  schema: Schema.Struct({
    user: Schema.optional(Schema.String),
    locale: Schema.optionalWith(Schema.Literal("en", "ja", "ko"), { default: () => "en" }),
    count: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    cart: Schema.optionalWith(Schema.Array(Item), { default: () => [] })
  })
}) {}

const redis = (url: string) =>
  Layer.scoped(
    RedisClient.RedisClient,
    Effect.map(
      Effect.acquireRelease(
        Effect.promise(async () => {
          const client = new Redis(url, { lazyConnect: true })
          await client.connect()
          return client
        }),
        (client) => Effect.sync(() => client.disconnect())
      ),
      RedisClient.ioredis
    )
  )

const postgres = (url: string) => PgClient.layer({ url: Redacted.make(url), maxConnections: 10 })

const storeLayer = (store: Exclude<Store, { readonly _tag: "cookie" }>): Layer.Layer<SessionStore, unknown> => {
  switch (store._tag) {
    case "memory":
      return MemoryStore.layer
    case "redis":
      return Layer.provide(RedisStore.layer, redis(store.url))
    case "postgres":
      return SqlStore.layer.pipe(Layer.provide(SqlMigrations.layer), Layer.provide(postgres(store.url)))
  }
}

/** Reports the name of each call to the store. */
const observed = (onCall: (operation: string) => void) => (store: SessionStore["Type"]): SessionStore["Type"] => {
  const first = <A, E>(operation: string, effect: Effect.Effect<A, E>) =>
    Effect.zipRight(Effect.sync(() => onCall(operation)), effect)
  return {
    ...store,
    create: (...args) => first("create", store.create(...args)),
    load: (...args) => first("load", store.load(...args)),
    save: (...args) => first("save", store.save(...args)),
    touch: (...args) => first("touch", store.touch(...args)),
    rotate: (...args) => first("rotate", store.rotate(...args)),
    destroy: (...args) => first("destroy", store.destroy(...args))
  }
}

const keyring = () => Keyring.layer([{ id: "k1", secret: Redacted.make(randomBytes(32).toString("base64url")) }])

const engine = ({ onStoreCall, store }: Options): Layer.Layer<SessionEngine, unknown> => {
  if (store._tag === "cookie") return Layer.provide(CookieEngine.layer, keyring())
  const inner = storeLayer(store)
  return Layer.provide(
    StoredEngine.layer,
    onStoreCall === undefined
      ? inner
      : Layer.provide(Layer.effect(SessionStore, Effect.map(SessionStore, observed(onStoreCall))), inner)
  )
}

const ok = HttpServerResponse.text("ok")
const increment = Effect.as(App.update("count", (count) => count + 1), ok)

const router = (pause: Options["pause"]) =>
  HttpRouter.concat(
    HttpRouter.empty.pipe(HttpRouter.get("/hello", Effect.succeed(ok))),
    HttpRouter.empty.pipe(
      HttpRouter.get("/untouched", Effect.succeed(ok)),
      HttpRouter.get("/read", Effect.map(App.get("user"), (user) => HttpServerResponse.text(user ?? "none"))),
      HttpRouter.get("/modify", increment),
      HttpRouter.get("/create", Effect.as(App.patch(data), ok)),
      HttpRouter.get(
        "/held",
        App.get("count").pipe(Effect.zipRight(Effect.promise(pause)), Effect.zipRight(increment))
      ),
      HttpRouter.get(
        "/count",
        Effect.map(App.value, ({ count, user }) => HttpServerResponse.text(user === undefined ? "none" : String(count)))
      ),
      HttpRouter.get("/logout", Effect.as(App.destroy, ok)),
      HttpRouter.use(App.middleware)
    )
  )

export const make: Make = async (options) => {
  // The contention benchmark measures the time of all writers, so none may time out.
  const session = Layer.provide(App.layerWith({ commitTimeout: "30 seconds" }), engine(options))
  // The client counts responses that are not 2xx; logging them would distort the measurement.
  const runtime = ManagedRuntime.make(Layer.provideMerge(session, Logger.remove(Logger.defaultLogger)))
  const routes = router(options.pause)
  return webApp(HttpApp.toWebHandlerRuntime(await runtime.runtime())(routes), () => {
    const server = createServer()
    runtime.runFork(
      Layer.launch(Layer.provide(HttpServer.serve(routes), NodeHttpServer.layer(() => server, { port: 0 })))
    )
    return listening(server)
  })
}
