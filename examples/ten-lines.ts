/**
 * A complete server with sessions in Postgres: `DATABASE_URL=postgres://… npx tsx examples/ten-lines.ts`
 */
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Array, Config, Effect, Layer, Schema } from "effect"
import { Session } from "effect-session"
import * as SqlEngine from "effect-session/SqlEngine"
import * as SqlMigrations from "effect-session/SqlMigrations"
import { createServer } from "node:http"

const CartItem = Schema.Struct({ sku: Schema.String, quantity: Schema.Int })
const User = Schema.Struct({ id: Schema.NonEmptyString })

class AppSession extends Session.Tag<AppSession>()("app/Session", {
  schema: Schema.Struct({
    user: Schema.optional(User.fields.id),
    locale: Schema.optionalWith(Schema.Literal("en", "ja", "ko"), { default: () => "en" }),
    cart: Schema.optionalWith(Schema.Array(CartItem), { default: () => [] })
  }),
  carryOver: ["cart"] // a login keeps the cart of the anonymous visitor, and nothing else
}) {}

const addToCart = Effect.gen(function*() {
  const item = yield* HttpServerRequest.schemaBodyJson(CartItem)
  yield* AppSession.update("cart", Array.append(item)) // typed; pure; nothing written yet
  const cart = yield* AppSession.get("cart")
  return yield* HttpServerResponse.json({ items: cart.length })
})

const login = Effect.gen(function*() {
  const user = yield* HttpServerRequest.schemaBodyJson(User) // check the password here
  yield* AppSession.authenticate(user.id) // assigns the session to the user and rotates its token
  yield* AppSession.set("user", user.id)
  return HttpServerResponse.empty()
})

const server = HttpRouter.empty.pipe(
  HttpRouter.post("/cart", addToCart),
  HttpRouter.post("/login", login),
  HttpRouter.use(AppSession.middleware),
  HttpServer.serve()
).pipe(
  Layer.provide(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 3000 })),
  Layer.provide(AppSession.layer),
  Layer.provide(SqlEngine.layer), // ← the line to swap
  Layer.provide(SqlMigrations.layer),
  Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
)

NodeRuntime.runMain(Layer.launch(server))
