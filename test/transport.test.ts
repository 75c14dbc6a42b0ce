/**
 * Sessions that a request presents as a bearer token, alone or beside a cookie.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as Headers from "@effect/platform/Headers"
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiError from "@effect/platform/HttpApiError"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as OpenApi from "@effect/platform/OpenApi"
import { Rpc, RpcClient, RpcGroup, RpcSerialization, RpcServer } from "@effect/rpc"
import { it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Layer, Logger, Option, Queue, Record, Redacted, Schema } from "effect"
import { MemoryEngine, MemoryStore, Session, SessionError } from "effect-session"
import * as CookieEngine from "effect-session/CookieEngine"
import { SessionConfigError } from "effect-session/SessionConfigError"
import type { SessionEngine } from "effect-session/SessionEngine"
import type { SessionHandle } from "effect-session/SessionHandle"
import * as SessionHttpApi from "effect-session/SessionHttpApi"
import * as SessionRpc from "effect-session/SessionRpc"
import type { RequestOptions, Sessions, SessionService } from "effect-session/SessionService"
import { SessionTest } from "effect-session/testing"
import { inspect } from "node:util"
import { assert, describe } from "vitest"
import { socketTo } from "./support/countingServer.js"
import { here, live, served, text } from "./support/frontEnds.js"
import { serve, setCookiesOf } from "./support/httpServer.js"
import { firstKey, keyringOf } from "./support/keyrings.js"
import { headersOf, type RawAnswer, request } from "./support/rawHttp.js"
import { recording } from "./support/recordedSpans.js"

const schema = Schema.Struct({ count: Schema.optionalWith(Schema.Number, { default: () => 0 }) })

/** Accepts cookies and bearer tokens. */
class Both extends Session.Tag<Both>()("test/Both", { schema, transport: "both", carryOver: ["count"] }) {}

/** Accepts bearer tokens alone. */
class Bearer extends Session.Tag<Bearer>()("test/Bearer", {
  schema,
  transport: "bearer",
  bearerHeader: "X-Session"
}) {}

/** Accepts cookies alone. */
class Plain extends Session.Tag<Plain>()("test/Plain", { schema, cookie: { name: "plain" } }) {}

const sessions = Layer.mergeAll(Both.layer, Bearer.layer, Plain.layer)

// ---- the front ends

type Handler = Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, Both>

/** The pages that every front end serves. */
const pages = {
  "/free": Effect.succeed(text("free")),
  "/count": Effect.map(Both.get("count"), text),
  "/add": Effect.zipRight(Both.update("count", (n) => n + 1), Effect.map(Both.get("count"), text)),
  "/login": Effect.as(Both.authenticate("ann"), text("in")),
  "/rotate": Effect.as(Both.rotate, text("rotated")),
  "/logout": Effect.as(Both.destroy, text("out")),
  "/subject": Effect.map(Both.subject, (subject) => text(Option.getOrElse(subject, () => "nobody"))),
  /** A hook of the application that replaces headers of the response. */
  "/hook": Effect.zipRight(
    HttpApp.appendPreResponseHandler((_, response) =>
      Effect.succeed(HttpServerResponse.setHeaders(response, { vary: "Origin", "cache-control": "public" }))
    ),
    Effect.as(Both.authenticate("ann"), text("in"))
  )
} satisfies Readonly<Record<string, Handler>>

const paths = Record.toEntries(pages)

const router = paths.reduce<HttpRouter.HttpRouter<unknown, Both>>(
  (router, [path, handler]) => HttpRouter.all(router, path, handler),
  HttpRouter.empty
)

class Group extends HttpApiGroup.make("group")
  .add(HttpApiEndpoint.get("free", "/free"))
  .add(HttpApiEndpoint.get("count", "/count"))
  .add(HttpApiEndpoint.get("add", "/add"))
  .add(HttpApiEndpoint.get("login", "/login"))
  .add(HttpApiEndpoint.get("rotate", "/rotate"))
  .add(HttpApiEndpoint.get("logout", "/logout"))
  .add(HttpApiEndpoint.get("subject", "/subject"))
  .add(HttpApiEndpoint.get("hook", "/hook"))
  .middleware(Both.HttpApi)
{}
class Api extends HttpApi.make("api").add(Group) {}

const group = HttpApiBuilder.group(Api, "group", (handlers) =>
  handlers
    .handle("free", () => Effect.orDie(pages["/free"]))
    .handle("count", () => Effect.orDie(pages["/count"]))
    .handle("add", () => Effect.orDie(pages["/add"]))
    .handle("login", () => Effect.orDie(pages["/login"]))
    .handle("rotate", () => Effect.orDie(pages["/rotate"]))
    .handle("logout", () => Effect.orDie(pages["/logout"]))
    .handle("subject", () => Effect.orDie(pages["/subject"]))
    .handle("hook", () => Effect.orDie(pages["/hook"])))

type Needs = Layer.Layer.Success<typeof sessions> | HttpServer.HttpServer | HttpRouter.HttpRouter.DefaultServices

const frontEnds: ReadonlyArray<readonly [name: string, app: Layer.Layer<never, never, Needs>]> = [
  ["HttpRouter", HttpServer.serve(HttpRouter.use(router, Both.middleware))],
  ["HttpServer.serve", HttpServer.serve(router, Both.middleware)],
  [
    "HttpLayerRouter",
    HttpLayerRouter.serve(
      Layer.mergeAll(
        Layer.empty,
        ...paths.map(([path, handler]) => HttpLayerRouter.add("*", path, handler))
      ).pipe(Layer.provide(Both.routes.layer))
    )
  ],
  [
    "HttpApi",
    HttpApiBuilder.serve().pipe(Layer.provide(Layer.provide(HttpApiBuilder.api(Api), group)))
  ],
  [
    "a web handler",
    Layer.unwrapScoped(
      Effect.map(
        Effect.context<Layer.Layer.Success<typeof Both.layer>>(),
        (context) => served(HttpApp.toWebHandlerLayer(Both.middleware(router), here(context)))
      )
    )
  ]
]

type Line = readonly [name: string, value: string]

/** Opens a server, and returns a function that sends requests to it. */
const open = (
  app: Layer.Layer<never, never, Needs>,
  engine: Layer.Layer<SessionEngine, unknown> = MemoryEngine.layer
) =>
  Effect.map(
    serve(app.pipe(Layer.provide([sessions, NodeHttpServer.layerContext]), Layer.provide(engine))),
    (port) => ({
      port,
      visit: (path: string, headers: ReadonlyArray<Line> = [], method?: string) => request(port, path, headers, method)
    })
  )

const asking: Line = ["Session-Token", "request"]
const bearer = (token: string): Line => ["Authorization", `Bearer ${token}`]
const cookie = (value: string): Line => ["Cookie", `__Host-Http-session=${value}`]

/** The header that carries the token. */
const tokenOf = (answer: RawAnswer) => headersOf(answer, "session-token").join()
const cookiesOf = (answer: RawAnswer) => setCookiesOf(answer).map(({ value }) => value)
const tokenPattern = /^r1\.[A-Za-z0-9_-]{43}$/

/** A value with the form of a token, of no session. */
const unknownToken = `r1.${"A".repeat(43)}`

/** A JWT of the application. */
const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl"

for (const [name, app] of frontEnds) {
  describe(`a tag that accepts both transports, on ${name}`, () => {
    live(
      "a client that asks for a token gets it in the header of the tag, and no cookie, from login to logout",
      Effect.gen(function*() {
        const { visit } = yield* open(app)
        const login = yield* visit("/login", [asking])
        const token = tokenOf(login)
        assert.match(token, tokenPattern)
        assert.deepStrictEqual([login.status, cookiesOf(login)], [200, []])
        assert.deepStrictEqual(headersOf(login, "cache-control"), ["no-store"])
        assert.deepStrictEqual(headersOf(login, "vary"), ["Cookie, Authorization"])

        const read = yield* visit("/subject", [bearer(token)])
        assert.deepStrictEqual([read.body, tokenOf(read), cookiesOf(read)], ["ann", "", []])
        assert.deepStrictEqual(headersOf(read, "vary"), ["Cookie, Authorization"])
        assert.deepStrictEqual(headersOf(read, "cache-control"), ["private"])
        // A change of the data keeps the token.
        const added = yield* visit("/add", [bearer(token)])
        assert.deepStrictEqual([added.body, tokenOf(added), cookiesOf(added)], ["1", "", []])

        const rotated = yield* visit("/rotate", [bearer(token)])
        const next = tokenOf(rotated)
        assert.match(next, tokenPattern)
        assert.notStrictEqual(next, token)
        assert.deepStrictEqual(cookiesOf(rotated), [])
        assert.strictEqual((yield* visit("/subject", [bearer(token)])).body, "nobody")
        assert.strictEqual((yield* visit("/count", [bearer(next)])).body, "1")

        const out = yield* visit("/logout", [bearer(next)])
        assert.deepStrictEqual([tokenOf(out), cookiesOf(out)], ["ended", []])
        assert.strictEqual((yield* visit("/subject", [bearer(next)])).body, "nobody")
      })
    )

    live(
      "a visitor who presents and asks nothing gets a cookie for a change, and nothing for a read",
      Effect.gen(function*() {
        const { visit } = yield* open(app)
        const added = yield* visit("/add")
        assert.deepStrictEqual([tokenOf(added), cookiesOf(added).length], ["", 1])
        for (const path of ["/count", "/free"]) {
          for (const headers of [[], [asking]]) {
            const read = yield* visit(path, headers)
            assert.deepStrictEqual([tokenOf(read), cookiesOf(read)], ["", []])
          }
        }
        assert.deepStrictEqual(headersOf(yield* visit("/free"), "vary"), [])
      })
    )

    live(
      "a hook that replaces headers removes neither the token nor no-store",
      Effect.gen(function*() {
        const { visit } = yield* open(app)
        const login = yield* visit("/hook", [asking])
        assert.match(tokenOf(login), tokenPattern)
        const names = headersOf(login, "vary").join().split(/, */)
        assert.includeMembers(names, ["Origin", "Cookie", "Authorization"])
        assert.include(headersOf(login, "cache-control").join(), "no-store")
      })
    )
  })
}

const httpRouter = frontEnds[0]?.[1] ?? Layer.empty

describe("a request with a cookie and a bearer token", () => {
  /** A server with two sessions: of `ann`, with a count, and of a visitor. */
  const withTwo = Effect.gen(function*() {
    const { visit } = yield* open(httpRouter)
    const first = tokenOf(yield* visit("/login", [asking]))
    yield* visit("/add", [bearer(first)])
    const second = tokenOf(yield* visit("/add", [asking]))
    return { visit, first, second }
  })

  live(
    "the same value in both is one session, and the answer sets the cookie",
    Effect.gen(function*() {
      const { first, visit } = yield* withTwo
      assert.strictEqual((yield* visit("/subject", [cookie(first), bearer(first)])).body, "ann")
      const rotated = yield* visit("/rotate", [cookie(first), bearer(first)])
      assert.deepStrictEqual([tokenOf(rotated), cookiesOf(rotated).length], ["", 1])
      const [next = ""] = cookiesOf(rotated)
      assert.strictEqual((yield* visit("/subject", [cookie(next), bearer(first)])).body, "ann")
    })
  )

  live(
    "two live sessions: neither is trusted, until a login ends both",
    Effect.gen(function*() {
      const { first, second, visit } = yield* withTwo
      for (const both of [[cookie(first), bearer(second)], [cookie(second), bearer(first)]]) {
        assert.strictEqual((yield* visit("/subject", both)).body, "nobody")
        assert.strictEqual((yield* visit("/count", both)).body, "0")
      }
      const login = yield* visit("/login", [cookie(second), bearer(first)])
      assert.deepStrictEqual([tokenOf(login), cookiesOf(login).length], ["", 1])
      for (const old of [first, second]) {
        assert.strictEqual((yield* visit("/count", [bearer(old)])).body, "0")
        assert.strictEqual((yield* visit("/count", [cookie(old)])).body, "0")
      }
    })
  )

  live(
    "a logout ends both",
    Effect.gen(function*() {
      const { first, second, visit } = yield* withTwo
      const out = yield* visit("/logout", [cookie(second), bearer(first)])
      assert.deepStrictEqual([tokenOf(out), cookiesOf(out)], ["", [""]])
      assert.strictEqual((yield* visit("/subject", [bearer(first)])).body, "nobody")
      assert.strictEqual((yield* visit("/count", [bearer(second)])).body, "0")
    })
  )

  live(
    "one of them has ended: the other one counts, and the answer sets the cookie",
    Effect.gen(function*() {
      const { first, second, visit } = yield* withTwo
      yield* visit("/logout", [bearer(second)])
      for (const both of [[cookie(first), bearer(second)], [cookie(second), bearer(first)]]) {
        assert.strictEqual((yield* visit("/subject", both)).body, "ann")
      }
      const rotated = yield* visit("/rotate", [cookie(second), bearer(first)])
      assert.deepStrictEqual([tokenOf(rotated), cookiesOf(rotated).length], ["", 1])
    })
  )

  live(
    "a script that asks for a token beside the visitor's cookie does not get it",
    Effect.gen(function*() {
      const { first, visit } = yield* withTwo
      let current = first
      for (const more of [[], [bearer("invented")], [bearer(unknownToken)]]) {
        const rotated = yield* visit("/rotate", [cookie(current), asking, ...more])
        assert.deepStrictEqual([tokenOf(rotated), cookiesOf(rotated).length], ["", 1])
        current = cookiesOf(rotated)[0] ?? ""
        assert.strictEqual((yield* visit("/subject", [cookie(current)])).body, "ann")
      }
    })
  )

  live(
    "a cookie of the tag with an invalid value makes it a cookie request, too",
    Effect.gen(function*() {
      const { first, visit } = yield* withTwo
      const rotated = yield* visit("/rotate", [cookie("!"), asking, bearer(first)])
      assert.deepStrictEqual([tokenOf(rotated), cookiesOf(rotated).length], ["", 1])
    })
  )
})

/** A web handler of one page, and a function that sends requests to it. */
const webHandler = (page: Handler) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() =>
        HttpApp.toWebHandlerLayer(Both.middleware(page), Layer.provide(Both.layer, MemoryEngine.layer))
      ),
      ({ dispose }) => Effect.promise(dispose)
    ),
    ({ handler }) => (lines: ReadonlyArray<Line>) => {
      const headers = new globalThis.Headers()
      for (const [name, value] of lines) headers.append(name, value)
      return handler(new Request("https://localhost/", { headers }))
    }
  )

live(
  "a Response of the application keeps its own headers beside the token",
  Effect.gen(function*() {
    const web = yield* webHandler(Effect.zipRight(
      Both.authenticate("ann"),
      Effect.sync(() =>
        HttpServerResponse.raw(new Response("web", { headers: { vary: "Origin", "set-cookie": "own=1" } }))
      )
    ))
    const login = yield* Effect.promise(() => web([asking]))
    assert.match(login.headers.get("session-token") ?? "", tokenPattern)
    assert.strictEqual(yield* Effect.promise(() => login.text()), "web")
    assert.deepStrictEqual(login.headers.getSetCookie(), ["own=1"])
    assert.strictEqual(login.headers.get("vary"), "Origin, Cookie, Authorization")
    assert.strictEqual(login.headers.get("cache-control"), "no-store")
  })
)

describe("credentials that are not ours", () => {
  live(
    "another scheme, a JWT of the application, and malformed values are no credential: the answer sets a cookie",
    Effect.gen(function*() {
      const { visit } = yield* open(httpRouter)
      const token = tokenOf(yield* visit("/login", [asking]))
      for (
        const value of [
          `Bearer ${jwt}`,
          `Basic ${token}`,
          "Basic YW5uOnNlY3JldA==",
          token,
          `Bearer${token}`,
          `Bearer\t${token}`,
          `Bearer "${token}"`,
          `Bearer ${token} x`,
          `Bearer ${token}=`,
          `Bearer token=${token}`,
          `Bearer ${token}, Bearer ${token}`,
          `Bearer ${token},`,
          `Basic x, Bearer ${token}`,
          `Bearer ${token}..AAAAAAAA`,
          `Bearer ${token}é`
        ]
      ) {
        const answer = yield* visit("/add", [["Authorization", value]])
        assert.deepStrictEqual([answer.body, tokenOf(answer), cookiesOf(answer).length], ["1", "", 1], value)
        const subject = yield* visit("/subject", [["Authorization", value], cookie(token)])
        assert.strictEqual(subject.body, "ann", value)
      }
    })
  )

  live(
    "the name of the scheme is case-insensitive",
    Effect.gen(function*() {
      const { visit } = yield* open(httpRouter)
      const token = tokenOf(yield* visit("/login", [asking]))
      for (const scheme of ["Bearer", "bearer", "BEARER"]) {
        assert.strictEqual((yield* visit("/subject", [["Authorization", `${scheme} ${token}`]])).body, "ann")
      }
    })
  )

  live(
    "several Authorization headers: none is trusted, whichever the server shows",
    Effect.gen(function*() {
      const { visit } = yield* open(httpRouter)
      const token = tokenOf(yield* visit("/login", [asking]))
      const web = yield* webHandler(Effect.flatMap(Both.subject, (subject) => Effect.succeed(text(subject._tag))))
      for (const other of [jwt, unknownToken, token]) {
        for (const several of [[bearer(token), bearer(other)], [bearer(other), bearer(token)]]) {
          assert.strictEqual((yield* visit("/subject", several)).body, "nobody")
          assert.strictEqual(yield* Effect.promise(async () => (await web(several)).text()), "None")
        }
      }
    })
  )

  live(
    "a token in the query, a form or another header is not read",
    Effect.gen(function*() {
      const { port, visit } = yield* open(httpRouter)
      const token = tokenOf(yield* visit("/login", [asking]))
      const names = ["token", "access_token", "session-token", "Session-Token", "authorization"]
      for (const name of names) {
        assert.strictEqual((yield* visit(`/subject?${name}=${token}`)).body, "nobody")
        assert.strictEqual((yield* visit(`/subject?${name}=Bearer%20${token}`)).body, "nobody")
      }
      for (
        const name of [
          "Session-Token",
          "X-Authorization",
          "Proxy-Authorization",
          "X-Session",
          "Token",
          "X-Access-Token"
        ]
      ) {
        for (const value of [token, `Bearer ${token}`]) {
          assert.strictEqual((yield* visit("/subject", [[name, value]])).body, "nobody", name)
        }
      }
      const form = yield* Effect.promise(async () => {
        const body = new URLSearchParams(names.map((name) => [name, token]))
        return (await fetch(`http://127.0.0.1:${port}/subject`, { method: "POST", body })).text()
      })
      assert.strictEqual(form, "nobody")
    })
  )

  live(
    "an unknown token is anonymous: nothing is written, and the response reports no end",
    Effect.gen(function*() {
      const { visit } = yield* open(httpRouter)
      const read = yield* visit("/subject", [bearer(unknownToken)])
      assert.deepStrictEqual([read.body, tokenOf(read), cookiesOf(read)], ["nobody", "", []])
      // A new session goes to the header, because the client presents tokens.
      const added = yield* visit("/add", [bearer(unknownToken)])
      assert.match(tokenOf(added), tokenPattern)
      assert.notStrictEqual(tokenOf(added), unknownToken)
      assert.deepStrictEqual(cookiesOf(added), [])
    })
  )
})

/** The session of a request that is made without HTTP. */
const sessionOf = (
  tag: Context.Tag<Both, SessionHandle<{ readonly count: number }>> & Pick<typeof Both, "service">,
  cookieHeader: string | undefined,
  options: RequestOptions = {}
) => Effect.map(tag.service, (service) => service.request(cookieHeader, options))

describe("the transport of a request", () => {
  const transportOf = (cookieHeader?: string, options?: RequestOptions) =>
    Effect.map(sessionOf(Both, cookieHeader, options), ({ transport, used }) => {
      assert.isUndefined(used)
      return transport
    })
  const authorization = `Bearer ${unknownToken}`
  const ours = `__Host-Http-session=${unknownToken}`

  it.effect("a tag that accepts both: the cookie decides, then the token; neither counts as a use", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* transportOf(ours), "cookie")
      assert.strictEqual(yield* transportOf(ours, { authorization }), "cookie")
      assert.strictEqual(yield* transportOf(ours, { asksForToken: true }), "cookie")
      assert.strictEqual(yield* transportOf("__Host-Http-session=!", { authorization }), "cookie")
      assert.strictEqual(yield* transportOf("other=1", { authorization }), "bearer")
      assert.strictEqual(yield* transportOf(undefined, { authorization }), "bearer")
      assert.strictEqual(yield* transportOf(undefined, { asksForToken: true }), "bearer")
      assert.isUndefined(yield* transportOf())
      assert.isUndefined(yield* transportOf(undefined, { authorization: `Bearer ${jwt}` }))
    }).pipe(Effect.provide(Both.layer), Effect.provide(MemoryEngine.layer)))

  it.effect("a tag that accepts bearer tokens alone: always bearer", () =>
    Effect.gen(function*() {
      const { request } = yield* Bearer.service
      for (const session of [request(undefined), request(ours), request(ours, { authorization })]) {
        assert.strictEqual(session.transport, "bearer")
      }
    }).pipe(Effect.provide(Bearer.layer), Effect.provide(MemoryEngine.layer)))

  it.effect("a tag that accepts cookies alone: never bearer", () =>
    Effect.gen(function*() {
      const { request } = yield* Plain.service
      assert.isUndefined(request(undefined, { authorization, asksForToken: true }).transport)
      assert.strictEqual(request(`__Host-Http-plain=${unknownToken}`, { authorization }).transport, "cookie")
    }).pipe(Effect.provide(Plain.layer), Effect.provide(MemoryEngine.layer)))
})

describe("tags that accept one transport", () => {
  const app = HttpServer.serve(HttpRouter.empty.pipe(
    HttpRouter.all(
      "/bearer",
      Effect.zipRight(Bearer.update("count", (n) => n + 1), Effect.map(Bearer.get("count"), text))
    ),
    HttpRouter.all(
      "/plain",
      Effect.zipRight(Plain.update("count", (n) => n + 1), Effect.map(Plain.get("count"), text))
    ),
    HttpRouter.all(
      "/all",
      Effect.as(
        Effect.all([Bearer, Plain, Both].map((tag) => tag.update("count", (n) => n + 1))),
        text("all")
      )
    ),
    HttpRouter.use(Bearer.middleware),
    HttpRouter.use(Plain.middleware),
    HttpRouter.use(Both.middleware)
  ))

  live(
    "bearer: no cookie is read or set, and the token is sent without being asked for",
    Effect.gen(function*() {
      const { visit } = yield* open(app)
      const first = yield* visit("/bearer")
      const token = headersOf(first, "x-session").join()
      assert.match(token, tokenPattern)
      assert.deepStrictEqual([cookiesOf(first), headersOf(first, "vary")], [[], ["Authorization"]])
      assert.strictEqual((yield* visit("/bearer", [bearer(token)])).body, "2")
      const stray = yield* visit("/bearer", [cookie(token)])
      assert.deepStrictEqual([stray.body, cookiesOf(stray)], ["1", []])
      assert.strictEqual((yield* visit("/bearer", [bearer(token), cookie(unknownToken)])).body, "3")
    })
  )

  live(
    "cookie: no token is read or sent",
    Effect.gen(function*() {
      const { visit } = yield* open(app)
      const first = yield* visit("/plain", [asking, bearer(unknownToken)])
      const [value = ""] = cookiesOf(first)
      assert.match(value, tokenPattern)
      assert.deepStrictEqual([headersOf(first, "vary"), tokenOf(first)], [["Cookie"], ""])
      assert.strictEqual((yield* visit("/plain", [bearer(value)])).body, "1")
      assert.strictEqual(
        (yield* visit("/plain", [bearer(unknownToken), ["Cookie", `__Host-Http-plain=${value}`]])).body,
        "2"
      )
    })
  )

  live(
    "three tags on one request: each answers by its own transport",
    Effect.gen(function*() {
      const { visit } = yield* open(app)
      const answer = yield* visit("/all", [asking])
      const values = [headersOf(answer, "x-session").join(), tokenOf(answer), cookiesOf(answer).join()]
      for (const value of values) assert.match(value, tokenPattern)
      assert.strictEqual(new Set(values).size, 3)
      assert.deepStrictEqual(setCookiesOf(answer).map(({ name }) => name), ["__Host-Http-plain"])
      assert.deepStrictEqual(headersOf(answer, "vary"), ["Cookie, Authorization"])
    })
  )
})

describe("rules for cookies that do not apply to bearer tokens", () => {
  live(
    "a cross-site request may begin a session by a token, and none by a cookie",
    Effect.gen(function*() {
      const { visit } = yield* open(httpRouter)
      const crossSite: Line = ["Sec-Fetch-Site", "cross-site"]
      assert.strictEqual((yield* visit("/add", [crossSite], "POST")).status, 403)
      const added = yield* visit("/add", [crossSite, asking], "POST")
      assert.deepStrictEqual([added.status, cookiesOf(added)], [200, []])
      assert.match(tokenOf(added), tokenPattern)
    })
  )

  live(
    "the warning about a Secure cookie over plain http is not logged for a token",
    Effect.gen(function*() {
      const lines: Array<string> = []
      const log = Logger.replace(
        Logger.defaultLogger,
        Logger.make(({ message }) => void lines.push(String(message)))
      )
      const { visit } = yield* open(Layer.provide(httpRouter, log))
      const from: Line = ["Host", "192.168.1.7:3000"]
      yield* visit("/add", [from, asking])
      assert.deepStrictEqual(lines.filter((line) => line.includes("plain http")), [])
      yield* visit("/add", [from])
      assert.strictEqual(lines.filter((line) => line.includes("plain http")).length, 1)
    })
  )
})

describe("HttpApi", () => {
  class Signed extends Context.Tag("test/Signed")<Signed, string>() {}
  class Guard extends SessionHttpApi.Guard<Guard>()("test/Guard", {
    session: Both,
    provides: Signed,
    failure: HttpApiError.Unauthorized
  }) {}
  const Guarded = HttpApi.make("guarded").add(
    HttpApiGroup.make("all")
      .add(HttpApiEndpoint.get("guarded", "/guarded").addSuccess(Schema.String).middleware(Guard))
      .add(HttpApiEndpoint.get("both", "/both").addSuccess(Schema.String).middleware(Both.HttpApi))
      .add(HttpApiEndpoint.get("bearer", "/bearer").addSuccess(Schema.String).middleware(Bearer.HttpApi))
      .add(HttpApiEndpoint.get("plain", "/plain").addSuccess(Schema.String).middleware(Plain.HttpApi))
  )

  it("describes the schemes of each tag, and an endpoint lists them as alternatives", () => {
    const spec = OpenApi.fromApi(Guarded)
    assert.deepStrictEqual<unknown>(spec.components.securitySchemes, {
      "test.Both": { type: "apiKey", in: "cookie", name: "__Host-Http-session" },
      "test.Both.bearer": {
        type: "http",
        scheme: "bearer",
        description: "The token of the session. A response with a new token has it in the header session-token; " +
          "\"ended\" there means that the session has ended. A request without a cookie asks for a token with " +
          "\"session-token: request\"."
      },
      "test.Bearer.bearer": {
        type: "http",
        scheme: "bearer",
        description: "The token of the session. A response with a new token has it in the header x-session; " +
          "\"ended\" there means that the session has ended."
      },
      "test.Plain": { type: "apiKey", in: "cookie", name: "__Host-Http-plain" }
    })
    assert.deepStrictEqual(
      (["/guarded", "/both", "/bearer", "/plain"] as const).map((path) => spec.paths[path]?.get?.security),
      [
        [{ "test.Both": [] }, { "test.Both.bearer": [] }],
        [{ "test.Both": [] }, { "test.Both.bearer": [] }],
        [{ "test.Bearer.bearer": [] }],
        [{ "test.Plain": [] }]
      ]
    )
  })

  live(
    "a guard of a tag with two schemes runs once, also if it fails, and reads either credential",
    Effect.gen(function*() {
      let runs = 0
      const guard = Guard.layer((session) =>
        Effect.flatMap(session.subject, (subject) => {
          runs++
          return Option.match(subject, { onNone: () => new HttpApiError.Unauthorized(), onSome: Effect.succeed })
        })
      )
      const handlers = HttpApiBuilder.group(Guarded, "all", (handlers) =>
        handlers
          .handle("guarded", () => Signed)
          .handle("both", () => Effect.orDie(Effect.as(Both.authenticate("ann"), "in")))
          .handle("bearer", () => Effect.orDie(Effect.as(Bearer.authenticate("ann"), "in")))
          .handle("plain", () => Effect.orDie(Effect.as(Plain.authenticate("ann"), "in"))))
      const { visit } = yield* open(
        HttpApiBuilder.serve().pipe(
          Layer.provide(HttpApiBuilder.api(Guarded)),
          Layer.provide(handlers),
          Layer.provide(guard)
        )
      )
      const rejected = yield* visit("/guarded")
      assert.deepStrictEqual([rejected.status, runs], [401, 1])
      const token = tokenOf(yield* visit("/both", [asking]))
      const accepted = yield* visit("/guarded", [bearer(token)])
      assert.deepStrictEqual([accepted.status, accepted.body, runs], [200, "\"ann\"", 2])
      assert.strictEqual((yield* visit("/guarded", [cookie(token)])).status, 200)
      assert.strictEqual((yield* visit("/guarded", [bearer(unknownToken)])).status, 401)
      assert.strictEqual(runs, 4)
      // The tag that accepts bearer tokens alone sends its token without being asked.
      assert.match(headersOf(yield* visit("/bearer"), "x-session").join(), tokenPattern)
    })
  )
})

describe("connections", () => {
  live(
    "a socket uses the session of the bearer token of its upgrade",
    Effect.gen(function*() {
      const chat = Effect.gen(function*() {
        const session = yield* Both
        const subject = yield* session.subject
        const socket = yield* HttpServerRequest.upgrade
        const write = yield* socket.writer
        yield* Effect.raceFirst(
          socket.runRaw((line) =>
            Effect.orDie(Effect.flatMap(
              line === "+"
                ? Effect.zipRight(session.update("count", (n) => n + 1), session.save)
                : Effect.void,
              () =>
                Effect.flatMap(session.get("count"), (n) => write(`${Option.getOrElse(subject, () => "nobody")} ${n}`))
            ))
          ),
          session.awaitEnd()
        )
        return HttpServerResponse.empty()
      })
      const { port, visit } = yield* open(HttpServer.serve(
        HttpRouter.use(HttpRouter.get(router, "/chat", chat), Both.middleware)
      ))
      const token = tokenOf(yield* visit("/login", [asking]))
      const socket = yield* socketTo(port, "/chat", { authorization: `Bearer ${token}` })
      yield* socket.send("+")
      assert.strictEqual(yield* socket.received, "ann 1")
      assert.strictEqual((yield* visit("/count", [bearer(token)])).body, "1")
      yield* visit("/logout", [bearer(token)])
      yield* socket.closed
    })
  )

  live(
    "a pending token prevents the upgrade and is sent with the 400 response",
    Effect.gen(function*() {
      const { visit } = yield* open(HttpServer.serve(
        HttpRouter.use(
          HttpRouter.get(
            router,
            "/chat",
            Effect.zipRight(
              Effect.zipRight(Both.update("count", (n) => n + 1), Both.save),
              Effect.as(HttpServerRequest.upgrade, text("upgraded"))
            )
          ),
          Both.middleware
        )
      ))
      const answer = yield* visit("/chat", [
        asking,
        ["Upgrade", "websocket"],
        ["Sec-WebSocket-Version", "13"],
        ["Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="]
      ])
      assert.strictEqual(answer.status, 400)
      assert.match(tokenOf(answer), tokenPattern)
      assert.strictEqual((yield* visit("/count", [bearer(tokenOf(answer))])).body, "1")
    })
  )

  const WithSession = SessionRpc.make(Both)
  class Calls extends RpcGroup.make(
    Rpc.make("Add", { success: Schema.Number, error: SessionError.SessionError }),
    Rpc.make("Login", { error: SessionError.SessionError })
  ).middleware(WithSession) {}

  live(
    "an RPC client sends its token with the HTTP request, and finds a new one in the response",
    Effect.gen(function*() {
      const handlers = Calls.toLayer({
        Add: () => Both.modify("count", (n) => [n + 1, n + 1] as const),
        Login: () => Both.authenticate("ann")
      }).pipe(Layer.provideMerge(WithSession.layer))
      const { port } = yield* open(
        HttpLayerRouter.serve(
          RpcServer.layerHttpRouter({ group: Calls, path: "/rpc", protocol: "http" }).pipe(
            Layer.provide([handlers, Both.routes.layer, RpcSerialization.layerJson])
          )
        )
      )
      let token: string | undefined
      const http = Layer.effect(
        HttpClient.HttpClient,
        Effect.map(HttpClient.HttpClient, (client) =>
          client.pipe(
            HttpClient.mapRequest((request) =>
              token === undefined
                ? HttpClientRequest.setHeader(request, ...asking)
                : HttpClientRequest.bearerToken(request, token)
            ),
            HttpClient.tap(({ headers }) => Effect.sync(() => void (token = headers["session-token"] ?? token)))
          ))
      )
      const protocol = RpcClient.layerProtocolHttp({ url: `http://127.0.0.1:${port}/rpc` }).pipe(
        Layer.provide([Layer.provide(http, FetchHttpClient.layer), RpcSerialization.layerJson])
      )
      const context = yield* Layer.build(protocol)
      const call = yield* Effect.provide(RpcClient.make(Calls), context)
      assert.strictEqual(yield* call.Add(), 1)
      const first = token
      assert.match(first ?? "", tokenPattern)
      yield* call.Login()
      assert.match(token ?? "", tokenPattern)
      assert.notStrictEqual(token, first)
      assert.strictEqual(yield* call.Add(), 2)
      // The headers of a call are set by its client, and no credential of the HTTP request.
      token = undefined
      const inCall = { authorization: `Bearer ${first}` }
      assert.strictEqual(yield* RpcClient.withHeaders(call.Add(), inCall), 1)
    })
  )
})

describe("engines", () => {
  const keyring = keyringOf(firstKey)
  const engines: ReadonlyArray<readonly [string, Layer.Layer<SessionEngine, unknown>, isSelfContained: boolean]> = [
    ["a store", MemoryEngine.layer, false],
    ["cookies", Layer.provide(CookieEngine.layer, keyring), true],
    ["cookies, f1", Layer.provide(CookieEngine.layerWith({ suite: "f1" }), keyring), true],
    ["cookies with a ledger", Layer.provide(CookieEngine.layerLedger, [keyring, MemoryStore.layer]), true]
  ]
  for (const [name, engine, isSelfContained] of engines) {
    live(
      `${name}: login, change, rotation and logout by bearer tokens`,
      Effect.gen(function*() {
        const { visit } = yield* open(httpRouter, engine)
        let token = tokenOf(yield* visit("/login", [asking]))
        const first = token
        for (const count of ["1", "2"]) {
          const added = yield* visit("/add", [bearer(token)])
          assert.deepStrictEqual([added.body, cookiesOf(added)], [count, []])
          assert.strictEqual(tokenOf(added) !== "", isSelfContained)
          token = tokenOf(added) || token
        }
        const login = tokenOf(yield* visit("/login", [bearer(token)]))
        assert.match(login, /^[a-z]1\.[A-Za-z0-9._-]+$/)
        assert.notInclude(login, "..")
        const next = tokenOf(yield* visit("/rotate", [bearer(login)]))
        assert.strictEqual((yield* visit("/count", [bearer(next)])).body, "2")
        const jwtAnswer = yield* visit("/count", [["Authorization", `Bearer ${jwt}`], cookie(next)])
        assert.strictEqual(jwtAnswer.body, "2")
        const out = yield* visit("/logout", [bearer(next)])
        assert.deepStrictEqual([tokenOf(out), cookiesOf(out)], ["ended", []])
        assert.notStrictEqual(first, next)
      })
    )
  }
})

describe("secrecy", () => {
  it("the names that the platform redacts include the headers of the tags, once", async () => {
    const names = () => Effect.runSync(Effect.map(Headers.currentRedactedNames, (names) => names))
    const build = () => Effect.runPromise(Effect.scoped(Layer.build(Layer.provide(sessions, MemoryEngine.layer))))
    await build()
    await build()
    for (const name of ["authorization", "session-token", "x-session"]) {
      assert.deepStrictEqual(names().filter((other) => other === name), [name])
    }
  })

  live(
    "no span and no log line holds a token",
    Effect.gen(function*() {
      const ends = yield* Queue.unbounded<void>()
      const { spans, traced } = recording({ span: () => {}, end: () => void ends.unsafeOffer(undefined) })
      const lines: Array<string> = []
      const log = Logger.replace(
        Logger.defaultLogger,
        Logger.make(({ annotations, cause, message }) =>
          void lines.push(inspect([annotations, cause, message], { depth: 8 }))
        )
      )
      const tokens = yield* Effect.gen(function*() {
        const { visit } = yield* open(Layer.provide(httpRouter, log))
        const first = tokenOf(yield* visit("/login", [asking]))
        const second = tokenOf(yield* visit("/rotate", [bearer(first)]))
        yield* visit("/logout", [bearer(second)])
        return [first, second]
      }).pipe(traced)
      // The span of a request ends after its response was sent.
      const requests = spans.filter(({ name }) => name.startsWith("http.server"))
      yield* Effect.repeat(Queue.take(ends), { until: () => requests.every(({ ended }) => ended !== undefined) })
      assert.strictEqual(requests.length, 3)
      assert.strictEqual(requests[1]?.attributes.get("http.request.header.authorization"), "<redacted>")
      assert.strictEqual(requests[1]?.attributes.get("http.response.header.session-token"), "<redacted>")
      const printed = inspect([spans.map(({ attributes, more, name }) => [name, attributes, more]), lines], {
        depth: 12,
        maxStringLength: null
      })
      for (const token of tokens) {
        assert.match(token, tokenPattern)
        assert.notInclude(printed, token)
      }
    })
  )
})

describe("settings of the transport", () => {
  const problemOf = (layer: Layer.Layer<never, unknown, SessionEngine>) =>
    Effect.map(
      Effect.exit(Effect.scoped(Layer.build(Layer.provide(layer, MemoryEngine.layer)))),
      (exit) => {
        const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
        return error instanceof SessionConfigError ? error.message : undefined
      }
    )
  const tagWith = (id: string, bearerHeader: string | undefined) => {
    class Made extends Session.Tag<Made>()(id, {
      schema,
      transport: "bearer",
      ...(bearerHeader === undefined ? {} : { bearerHeader })
    }) {}
    return Layer.discard(Made.layer)
  }

  for (const name of ["", "a b", "a:b", "a\r\nb", "é", "x".repeat(101)]) {
    it.effect(`the header ${JSON.stringify(name.slice(0, 9))} is rejected: it is no name of a header`, () =>
      Effect.map(problemOf(tagWith("test/Made", name)), (problem) => assert.include(problem, "bearerHeader")))
  }
  for (
    const name of ["Set-Cookie", "authorization", "Vary", "Cache-Control", "Content-Type", "Sec-Token", "Location"]
  ) {
    it.effect(`the header ${name} is rejected: it has a meaning of its own`, () =>
      Effect.map(
        problemOf(tagWith("test/Made", name)),
        (problem) => assert.include(problem, "has a meaning of its own")
      ))
  }

  it.effect("two tags with one header are rejected; their names differ only in case", () =>
    Effect.gen(function*() {
      const both = Layer.mergeAll(tagWith("test/One", "X-Token"), tagWith("test/Two", "x-token"))
      assert.include(yield* problemOf(both), "The header for bearer tokens \"x-token\" is taken by the session")
      assert.isUndefined(
        yield* problemOf(Layer.mergeAll(tagWith("test/One", "X-Token"), tagWith("test/Two", undefined)))
      )
    }))
})

describe("SessionTest.presenting", () => {
  const opens = <Self>(
    tag: Context.Tag<Self, SessionHandle<{ readonly count: number }>> & {
      readonly service: Context.Tag<SessionService<Self>, Sessions<{ readonly count: number }>>
    },
    layer: Layer.Layer<SessionService<Self>, unknown, SessionEngine>
  ) =>
    it.effect(`provides the session that a token of ${tag.key} opens`, () =>
      Effect.gen(function*() {
        const service = yield* tag.service
        const made = yield* service.create({ count: 7 })
        const token = Option.getOrThrow(yield* made.token)
        const count = (token: Redacted.Redacted<string>) =>
          Effect.provide(Effect.flatMap(tag, (session) => session.get("count")), SessionTest.presenting(tag, token))
        assert.strictEqual(yield* count(token), 7)
        assert.strictEqual(yield* count(Redacted.make(unknownToken)), 0)
      }).pipe(Effect.provide(Layer.provide(layer, MemoryEngine.layer))))

  opens(Both, Both.layer)
  opens(Bearer, Bearer.layer)
  opens(Plain, Plain.layer)
})
