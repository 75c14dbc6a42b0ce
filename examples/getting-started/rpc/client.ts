/**
 * A client that counts, logs in, counts again and logs out. It keeps the cookie, as a browser does.
 */
import { Cookies, FetchHttpClient, HttpClient } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { RpcClient, RpcSerialization } from "@effect/rpc"
import { Config, Console, Effect, Layer, Ref } from "effect"
import { Calls } from "./group.js"

const http = Layer.effect(
  HttpClient.HttpClient,
  Effect.gen(function*() {
    const cookies = yield* Ref.make(Cookies.empty)
    const client = yield* HttpClient.HttpClient
    // An error of the commit is the status of the response.
    return HttpClient.filterStatusOk(HttpClient.withCookiesRef(client, cookies))
  })
).pipe(Layer.provide(FetchHttpClient.layer))

const protocol = Layer.unwrapEffect(
  Effect.map(
    Config.integer("PORT").pipe(Config.withDefault(3000)),
    (port) => RpcClient.layerProtocolHttp({ url: `http://127.0.0.1:${port}/rpc` })
  )
).pipe(Layer.provide([http, RpcSerialization.layerJson]))

const program = Effect.gen(function*() {
  const client = yield* RpcClient.make(Calls)
  yield* Console.log(yield* client.Visit())
  yield* Console.log(yield* client.Login({ name: "ann" }))
  yield* Console.log(yield* client.Visit())
  yield* client.Logout()
  yield* Console.log(yield* client.Show())
})

program.pipe(Effect.provide(protocol), Effect.scoped, NodeRuntime.runMain)
