/** The session in the handlers of an RPC group, and the responses of its clients over HTTP. */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import { Rpc, RpcClient, RpcGroup, RpcSerialization, RpcServer } from "@effect/rpc"
import { Cause, Chunk, Deferred, Effect, Layer, Option, Schema, Stream } from "effect"
import { SessionError } from "effect-session"
import * as SessionRpc from "effect-session/SessionRpc"
import { assert, describe, expect } from "vitest"
import { browse, counted, live, open, Staff, Visitor } from "./support/frontEnds.js"
import { pairOf, setCookiesOf } from "./support/httpServer.js"
import type { RawAnswer } from "./support/rawHttp.js"

const WithSession = SessionRpc.make(Visitor)
const error = SessionError.SessionError

class Calls extends RpcGroup.make(
  Rpc.make("Name", { success: Schema.Option(Schema.String), error }),
  Rpc.make("SetName", { payload: { name: Schema.String }, error }),
  Rpc.make("Logout", { error }),
  Rpc.make("Count", { success: Schema.Number, error }),
  Rpc.make("Spoil", { error }),
  Rpc.make("Headers", { success: Schema.UndefinedOr(Schema.String) }),
  Rpc.make("Die", { error }),
  Rpc.make("Late", { success: Schema.Number, error, stream: true })
).middleware(WithSession) {}

/** The handlers do not catch errors of the session. The stream waits between its two numbers. */
const handlers = (wait: Effect.Effect<void>) =>
  Calls.toLayer({
    Name: () => Visitor.getOption("name"),
    SetName: ({ name }) => Visitor.set("name", name),
    Logout: () => Visitor.destroy,
    Count: () => counted,
    Spoil: () => Visitor.set("count", Number.NaN),
    Headers: (_, { headers }) => Effect.succeed(headers.cookie),
    Die: () => Effect.zipRight(counted, Effect.dieMessage("a defect")),
    Late: () => Stream.concat(Stream.make(0), Stream.fromEffect(Effect.zipRight(wait, counted)))
  }).pipe(Layer.provideMerge(WithSession.layer))

const rpcRoutes = RpcServer.layerHttpRouter({ group: Calls, path: "/rpc", protocol: "http" })

/** The ways to serve RPC with a session around it. */
const servers = [
  [
    "HttpRouter",
    (wait: Effect.Effect<void> = Effect.void) =>
      Layer.unwrapScoped(
        Effect.map(RpcServer.toHttpApp(Calls), (calls) =>
          HttpServer.serve(HttpRouter.empty.pipe(HttpRouter.post("/rpc", calls), HttpRouter.use(Visitor.middleware))))
      )
        .pipe(Layer.provide(handlers(wait)))
  ],
  [
    "HttpRouter.Default",
    (wait: Effect.Effect<void> = Effect.void) =>
      HttpRouter.Default.unwrap((router) => HttpServer.serve(router, Visitor.middleware)).pipe(
        Layer.provide(RpcServer.layer(Calls)),
        Layer.provide(RpcServer.layerProtocolHttp({ path: "/rpc" })),
        Layer.provide(handlers(wait))
      )
  ],
  [
    "HttpLayerRouter routes",
    (wait: Effect.Effect<void> = Effect.void) =>
      HttpLayerRouter.serve(rpcRoutes.pipe(Layer.provide([handlers(wait), Visitor.routes.layer])))
  ],
  [
    "HttpLayerRouter allRoutes",
    (wait: Effect.Effect<void> = Effect.void) =>
      HttpLayerRouter.serve(rpcRoutes.pipe(Layer.provide([handlers(wait), Visitor.allRoutes])))
  ]
] as const

const serializations = [["json", RpcSerialization.layerJson], ["ndjson", RpcSerialization.layerNdjson]] as const

/** A client with its own cookies, which fails for responses with an error status. */
const clientOn = (port: number, serialization: Layer.Layer<RpcSerialization.RpcSerialization>) => {
  const { transformClient, ...browser } = browse()
  const http = Layer.effect(
    HttpClient.HttpClient,
    Effect.map(HttpClient.HttpClient, (client) => HttpClient.filterStatusOk(transformClient(client)))
  )
  const protocol = RpcClient.layerProtocolHttp({ url: `http://127.0.0.1:${port}/rpc` }).pipe(
    Layer.provide([Layer.provide(http, FetchHttpClient.layer), serialization])
  )
  return Effect.map(
    Effect.flatMap(Layer.build(protocol), (context) => Effect.provide(RpcClient.make(Calls), context)),
    (call) => ({ call, ...browser })
  )
}

/** Several calls in one HTTP request. */
const batch = (...methods: ReadonlyArray<string>): RequestInit => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(methods.map((method, at) => ({ jsonrpc: "2.0", id: at + 1, method })))
})
const resultsOf = ({ body }: RawAnswer): ReadonlyArray<unknown> =>
  Schema.decodeUnknownSync(Schema.parseJson(Schema.Array(Schema.Struct({ result: Schema.Unknown }))))(body)
    .map(({ result }) => result)

const unavailable = new SessionError.SessionUnavailable({ session: "test/Visitor", reason: "store", retryAfter: 5 })

for (const [name, serve] of servers) {
  for (const [format, serialization] of serializations) {
    describe(`RPC over ${name}, ${format}`, () => {
      live(
        "a change is saved, and the cookie is sent",
        Effect.gen(function*() {
          const site = yield* open(serve().pipe(Layer.provide(serialization)))
          const { call, cookies } = yield* clientOn(site.port, serialization)
          expect([yield* call.Name(), site.calls(), cookies()]).toStrictEqual([Option.none(), [], []])
          yield* call.SetName({ name: "ann" })
          assert.deepStrictEqual([site.calls(), cookies()], [["create"], ["__Host-Http-session"]])
          expect([yield* call.Name(), site.calls()]).toStrictEqual([Option.some("ann"), ["load"]])
          assert.deepStrictEqual([yield* call.Count(), yield* call.Count()], [1, 2])
          assert.deepStrictEqual(site.calls(), ["load", "save", "load", "save"])
          yield* call.Logout()
          assert.deepStrictEqual([site.calls(), cookies()], [["destroy"], []])
        })
      )

      live(
        "errors of the session are returned as typed errors",
        Effect.gen(function*() {
          const site = yield* open(serve().pipe(Layer.provide(serialization)))
          const { call } = yield* clientOn(site.port, serialization)
          yield* call.SetName({ name: "ann" })
          const invalid = yield* Effect.flip(call.Spoil())
          assert.strictEqual(invalid._tag === "SessionInvalid" && invalid.field, "count")
          yield* site.breaks("load")
          assert.deepStrictEqual(yield* Effect.flip(call.Name()), unavailable)
        })
      )

      live(
        "an error at the commit answers with its status",
        Effect.gen(function*() {
          const site = yield* open(serve().pipe(Layer.provide(serialization)))
          const { answers, call } = yield* clientOn(site.port, serialization)
          yield* call.SetName({ name: "ann" })
          yield* site.breaks("save")
          assert.strictEqual((yield* Effect.flip(call.Count()))._tag, "RpcClientError")
          const answer = answers.at(-1)
          assert.deepStrictEqual([answer?.status, answer?.headers["retry-after"]], [503, "5"])
        })
      )

      live(
        "a call that dies writes nothing",
        Effect.gen(function*() {
          const site = yield* open(serve().pipe(Layer.provide(serialization)))
          const { call, cookies } = yield* clientOn(site.port, serialization)
          const cause = yield* Effect.flip(Effect.sandbox(call.Die()))
          assert.deepStrictEqual([Cause.isDie(cause), cookies(), site.calls()], [true, [], []])
        })
      )

      live(
        "a cookie in the headers of the call itself is ignored",
        Effect.gen(function*() {
          const site = yield* open(serve().pipe(Layer.provide(serialization)))
          const mine = yield* clientOn(site.port, serialization)
          yield* mine.call.SetName({ name: "ann" })
          const other = yield* clientOn(site.port, serialization)
          yield* other.call.SetName({ name: "eve" })
          const cookie = other.answers.map((answer) => answer.headers["set-cookie"]?.split(";")[0]).join()
          assert.match(cookie, /^__Host-Http-session=r1/)
          for (const header of ["cookie", "Cookie"]) {
            const name = RpcClient.withHeaders(mine.call.Name(), { [header]: cookie })
            expect(yield* name).toStrictEqual(Option.some("ann"))
            assert.strictEqual(yield* RpcClient.withHeaders(mine.call.Headers(), { [header]: cookie }), cookie)
          }
          const anonymous = yield* clientOn(site.port, serialization)
          expect(yield* RpcClient.withHeaders(anonymous.call.Name(), { cookie })).toStrictEqual(Option.none())
        })
      )
    })
  }

  describe(`RPC over ${name}`, () => {
    live(
      "ndjson: a stream that changes the session after its first chunk fails with SessionCommitted",
      Effect.gen(function*() {
        const first = yield* Deferred.make<void>()
        const site = yield* open(serve(Deferred.await(first)).pipe(Layer.provide(RpcSerialization.layerNdjson)))
        const { call, cookies } = yield* clientOn(site.port, RpcSerialization.layerNdjson)
        const numbers: Array<number> = []
        const late = yield* call.Late().pipe(
          Stream.runForEach((n) =>
            Effect.zipRight(Effect.sync(() => numbers.push(n)), Deferred.succeed(first, undefined))
          ),
          Effect.flip
        )
        assert.deepStrictEqual([late._tag, numbers, cookies(), site.calls()], ["SessionCommitted", [0], [], []])
      })
    )

    live(
      "json: a stream is sent when it has ended, and its changes are saved",
      Effect.gen(function*() {
        const site = yield* open(serve().pipe(Layer.provide(RpcSerialization.layerJson)))
        const { call } = yield* clientOn(site.port, RpcSerialization.layerJson)
        assert.deepStrictEqual(Chunk.toArray(yield* Stream.runCollect(call.Late())), [0, 1])
        assert.deepStrictEqual([site.calls(), yield* call.Count()], [["create"], 2])
      })
    )

    live(
      "two calls in one request share a session and a commit",
      Effect.gen(function*() {
        const site = yield* open(serve().pipe(Layer.provide(RpcSerialization.layerJsonRpc())))
        const first = yield* site.visit("/rpc", undefined, batch("Count", "Count"))
        assert.deepStrictEqual([resultsOf(first), setCookiesOf(first).length, site.calls()], [[1, 2], 1, ["create"]])
        const cookie = yield* pairOf(first)
        const second = yield* site.visit("/rpc", cookie, batch("Count", "Name", "Count"))
        assert.deepStrictEqual([resultsOf(second)[2], site.calls()], [4, ["load", "save"]])
        yield* site.visit("/rpc", cookie, batch("Count", "Die"))
        assert.deepStrictEqual(site.calls(), ["load"])
      })
    )
  })
}

describe("RPC without a session around its route", () => {
  for (
    const [what, routes] of [
      ["no session", rpcRoutes],
      ["another session", rpcRoutes.pipe(Layer.provide(Staff.routes.layer))]
    ] as const
  ) {
    live(
      `${what}: the defect states what to do`,
      Effect.gen(function*() {
        const site = yield* open(
          HttpLayerRouter.serve(routes.pipe(Layer.provide([handlers(Effect.void), RpcSerialization.layerJson])))
        )
        const { call } = yield* clientOn(site.port, RpcSerialization.layerJson)
        const cause = yield* Effect.flip(Effect.sandbox(call.Name()))
        assert.include(
          Cause.pretty(cause),
          `There is no session of "test/Visitor" around this call: put its middleware around the route that serves the RPC group.`
        )
      })
    )
  }
})
