/**
 * What a session costs a request, in process: the whole way of a request through the middleware, without sockets.
 */
import { HttpApp, HttpServerResponse } from "@effect/platform"
import { Effect, Layer, ManagedRuntime, Schema } from "effect"
import { MemoryEngine, Session } from "effect-session"
import { compare, print } from "./measure.js"

const Item = Schema.Struct({ sku: Schema.String, name: Schema.String, quantity: Schema.Number, price: Schema.Number })

class App extends Session.Tag<App>()("bench/App", {
  schema: Schema.Struct({
    user: Schema.optional(Schema.String),
    locale: Schema.optionalWith(Schema.Literal("en", "ja", "ko"), { default: () => "en" }),
    count: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    cart: Schema.optionalWith(Schema.Array(Item), { default: () => [] })
  })
}) {}

const cart = Array.from(
  { length: 8 },
  (_, i) => ({ sku: `sku-${i}`, name: `Article number ${i}`, quantity: i + 1, price: 1999 })
)
const json = JSON.stringify({ user: "u-1", locale: "en", count: 0, cart })
const ok = HttpServerResponse.empty({ status: 200 })

const runtime = ManagedRuntime.make(Layer.provide(App.layer, MemoryEngine.layer()))
const toWeb = HttpApp.toWebHandlerRuntime(await runtime.runtime())
const handlers = {
  hello: toWeb(Effect.succeed(ok)),
  untouched: toWeb(App.middleware(Effect.succeed(ok))),
  read: toWeb(App.middleware(Effect.as(App.get("user"), ok))),
  written: toWeb(App.middleware(Effect.as(App.update("count", (n) => n + 1), ok)))
}
const begun = await toWeb(App.middleware(Effect.as(App.patch({ user: "u-1", cart }), ok)))(
  new Request("http://localhost/")
)
const cookie = begun.headers.getSetCookie()[0]?.split(";")[0] ?? ""
const request = () => new Request("http://localhost/", { headers: { cookie } })

console.log(`a session of ${json.length} bytes of JSON; JSON.parse and stringify of it:`)
print("JSON", await compare({ "parse + stringify": async () => JSON.stringify(JSON.parse(json)) }, { batch: 2000 }))
print(
  "one request in process, against the same application without a session",
  await compare({
    "hello, no session": () => handlers.hello(request()),
    "session untouched": () => handlers.untouched(request()),
    "session read": () => handlers.read(request()),
    "session read, changed, saved": () => handlers.written(request())
  })
)
await runtime.dispose()
