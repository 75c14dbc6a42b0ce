/** Protection against forged requests, with every front end. */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiClient from "@effect/platform/HttpApiClient"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as OpenApi from "@effect/platform/OpenApi"
import { Effect, Either, Layer, Metric, Option, Schema } from "effect"
import { Csrf, MemoryEngine, SessionMetrics } from "effect-session"
import { assert, describe, it } from "vitest"
import {
  browse,
  counted,
  header,
  here,
  live,
  open,
  type Served,
  served,
  servers,
  text,
  Visitor
} from "./support/frontEnds.js"
import { pairOf, setCookiesOf } from "./support/httpServer.js"
import { request } from "./support/rawHttp.js"

const rules: Csrf.CsrfOptions = { trustedOrigins: ["https://admin.example.com"] }

const shown = Effect.map(Csrf.token(Visitor), Option.getOrElse(() => "none"))

const pages = HttpRouter.empty.pipe(
  HttpRouter.get("/token", Effect.map(shown, text)),
  HttpRouter.post("/login", Effect.map(Effect.zipRight(Visitor.authenticate("ann"), shown), text)),
  HttpRouter.post("/rotate", Effect.as(Visitor.rotate, text("rotated"))),
  HttpRouter.all("/act", Effect.map(counted, text))
)

class Protected extends Csrf.HttpApi<Protected>()("test/Protected", Visitor) {}

class Group extends HttpApiGroup.make("group")
  .add(HttpApiEndpoint.get("token", "/token").addSuccess(Schema.String))
  .add(HttpApiEndpoint.post("login", "/login").addSuccess(Schema.String))
  .add(HttpApiEndpoint.post("rotate", "/rotate"))
  .add(HttpApiEndpoint.get("peek", "/act").addSuccess(Schema.Number))
  .add(HttpApiEndpoint.post("act", "/act").addSuccess(Schema.Number))
  .middleware(Visitor.HttpApi)
  .middleware(Protected)
{}
class Api extends HttpApi.make("csrf").add(Group) {}

const group = HttpApiBuilder.group(Api, "group", (handlers) =>
  handlers
    .handle("token", () => shown)
    .handle("login", () => Effect.zipRight(Visitor.authenticate("ann"), shown))
    .handle("rotate", () => Visitor.rotate)
    .handle("peek", () => counted)
    .handle("act", () => counted)).pipe(Layer.provide(Protected.layer(rules)))
const apiLayer = Layer.provide(HttpApiBuilder.api(Api), group)

interface FrontEnd {
  readonly name: string
  readonly prefix: string
  readonly app: Layer.Layer<never, never, Served>
}

const protect = Csrf.middleware(Visitor, rules)

const frontEnds: ReadonlyArray<FrontEnd> = [
  ...servers.map(({ name, prefix, serve }) => ({
    name: `Csrf.middleware inside ${name}`,
    prefix,
    app: serve(protect(pages))
  })),
  { name: "Csrf.middleware alone", prefix: "", app: HttpServer.serve(protect(pages)) },
  {
    name: "Csrf.middleware with HttpRouter.use",
    prefix: "",
    app: HttpServer.serve(HttpRouter.use(pages, protect))
  },
  {
    name: "Csrf.routes",
    prefix: "",
    app: HttpLayerRouter.serve(
      HttpLayerRouter.add("*", "/*", pages).pipe(Layer.provide(Csrf.routes(Visitor, rules).layer))
    )
  },
  {
    name: "Csrf.allRoutes",
    prefix: "",
    app: HttpLayerRouter.serve(
      HttpLayerRouter.add("*", "/*", pages).pipe(Layer.provide(Csrf.allRoutes(Visitor, rules)))
    )
  },
  { name: "Csrf.HttpApi on a server", prefix: "", app: HttpApiBuilder.serve().pipe(Layer.provide(apiLayer)) },
  {
    name: "Csrf.HttpApi in a web handler",
    prefix: "",
    app: Layer.unwrapScoped(
      Effect.map(
        Effect.context<HttpRouter.HttpRouter.DefaultServices | Layer.Layer.Context<typeof apiLayer>>(),
        (context) => served(HttpApiBuilder.toWebHandler(Layer.provideMerge(apiLayer, here(context))))
      )
    )
  }
]

type Headers = Readonly<Record<string, string>>

const own: Headers = { "sec-fetch-site": "same-origin" }
const post = (headers: Headers, init: RequestInit = {}): RequestInit => ({ method: "POST", ...init, headers })

const reasonIn = (body: string) => Either.getOrUndefined(Either.try(() => JSON.parse(body).reason))
const plain = (body: string) => body.replaceAll("\"", "")

for (const { app, name, prefix } of frontEnds) {
  describe(name, () => {
    live(
      "a request with a session needs a token of that session; a refused one neither runs nor writes",
      Effect.gen(function*() {
        const site = yield* open(app)
        const login = yield* site.visit(`${prefix}/login`, undefined, post(own))
        const cookie = yield* pairOf(login)
        const other = yield* site.visit(`${prefix}/login`, undefined, post(own))
        const page = yield* site.visit(`${prefix}/token`, cookie)
        assert.deepStrictEqual([header(page, "vary"), setCookiesOf(page)], ["Cookie", []])
        site.calls()

        const refused: ReadonlyArray<readonly [reason: string, headers: Headers]> = [
          ["missingToken", own],
          ["token", { ...own, "x-csrf-token": "" }],
          ["token", { ...own, "x-csrf-token": "x".repeat(86) }],
          ["token", { ...own, "x-csrf-token": plain(other.body) }]
        ]
        for (const [reason, headers] of refused) {
          const answer = yield* site.visit(`${prefix}/act`, cookie, post(headers))
          assert.deepStrictEqual([answer.status, reasonIn(answer.body), setCookiesOf(answer)], [403, reason, []])
          assert.deepStrictEqual(site.calls(), ["load"])
        }
        for (const [n, token] of [login.body, page.body].entries()) {
          const done = yield* site.visit(`${prefix}/act`, cookie, post({ ...own, "x-csrf-token": plain(token) }))
          assert.deepStrictEqual([done.status, done.body, site.calls()], [200, String(n + 1), ["load", "save"]])
        }

        const rotated = yield* site.visit(
          `${prefix}/rotate`,
          cookie,
          post({ ...own, "x-csrf-token": plain(page.body) })
        )
        const after = yield* site.visit(
          `${prefix}/act`,
          yield* pairOf(rotated),
          post({ ...own, "x-csrf-token": plain(page.body) })
        )
        assert.deepStrictEqual([after.status, reasonIn(after.body)], [403, "token"])
      })
    )

    live(
      "a foreign request is refused before the store is asked, also with a valid token",
      Effect.gen(function*() {
        const site = yield* open(app)
        const login = yield* site.visit(`${prefix}/login`, undefined, post(own))
        const cookie = yield* pairOf(login)
        site.calls()
        const foreign: ReadonlyArray<readonly [reason: string, headers: Headers]> = [
          ["crossSite", { "sec-fetch-site": "cross-site", origin: "https://evil.example" }],
          ["crossSite", { "sec-fetch-site": "same-site", origin: "https://sibling.example.com" }],
          ["missingOrigin", {}],
          ["origin", { origin: "null" }]
        ]
        for (const [reason, headers] of foreign) {
          const answer = yield* site.visit(
            `${prefix}/act`,
            cookie,
            post({ ...headers, "x-csrf-token": plain(login.body) })
          )
          assert.deepStrictEqual([answer.status, reasonIn(answer.body), setCookiesOf(answer)], [403, reason, []])
          assert.deepStrictEqual([header(answer, "vary"), site.calls()], ["", []])
        }
        const trusted = { "sec-fetch-site": "same-site", origin: "https://admin.example.com" }
        const bare = yield* site.visit(`${prefix}/act`, cookie, post(trusted))
        assert.deepStrictEqual([bare.status, reasonIn(bare.body)], [403, "missingToken"])
        const done = yield* site.visit(
          `${prefix}/act`,
          cookie,
          post({ ...trusted, "x-csrf-token": plain(login.body) })
        )
        assert.deepStrictEqual([done.status, done.body], [200, "1"])
      })
    )

    live(
      "safe methods pass, and without a session the origin is enough and a token creates nothing",
      Effect.gen(function*() {
        const site = yield* open(app)
        const page = yield* site.visit(`${prefix}/token`)
        assert.deepStrictEqual([plain(page.body), setCookiesOf(page), site.calls()], ["none", [], []])
        assert.strictEqual(header(page, "vary"), "Cookie")
        const read = yield* site.visit(`${prefix}/act`, undefined, { headers: { "sec-fetch-site": "cross-site" } })
        assert.strictEqual(read.status, 200)
        const unknown = yield* site.visit(
          `${prefix}/act`,
          `__Host-Http-session=r1.${"A".repeat(43)}`,
          post(own)
        )
        assert.deepStrictEqual([unknown.status, unknown.body], [200, "1"])
      })
    )

    live(
      "a store that is down answers 503 to a request with a cookie, and the handler does not run",
      Effect.gen(function*() {
        const site = yield* open(app)
        const login = yield* site.visit(`${prefix}/login`, undefined, post(own))
        const cookie = yield* pairOf(login)
        yield* site.breaks("load")
        const answer = yield* site.visit(
          `${prefix}/act`,
          cookie,
          post({ ...own, "x-csrf-token": plain(login.body) })
        )
        assert.deepStrictEqual([answer.status, setCookiesOf(answer)], [503, []])
        yield* site.breaks(undefined)
        site.calls()
        yield* site.visit(`${prefix}/act`, cookie, post({ "sec-fetch-site": "cross-site" }))
        assert.deepStrictEqual(site.calls(), [])
      })
    )
  })
}

describe("the origin of a request without Sec-Fetch-Site", () => {
  /** Sends a POST with these headers to a web handler, as a proxy does that hides the public URL. */
  const outcomeOf = (headers: Headers, options: Csrf.CsrfOptions = rules, url = "http://internal/act") =>
    Effect.gen(function*() {
      const { dispose, handler } = HttpApp.toWebHandlerLayer(
        Csrf.middleware(Visitor, options)(pages),
        Layer.provide(Visitor.layer, MemoryEngine.layer)
      )
      yield* Effect.addFinalizer(() => Effect.promise(dispose))
      const answer = yield* Effect.promise(() => handler(new Request(url, post(headers))))
      return answer.status === 200 ? "passes" : reasonIn(yield* Effect.promise(() => answer.text()))
    })

  const cases: ReadonlyArray<readonly [title: string, outcome: string, headers: Headers]> = [
    ["the own host over https", "passes", { host: "shop.example", origin: "https://shop.example" }],
    ["the own host with a port", "passes", { host: "shop.example:8443", origin: "https://shop.example:8443" }],
    ["the own host if its default port is written", "passes", {
      host: "Shop.example:443",
      origin: "https://shop.example"
    }],
    ["this machine over http", "passes", { host: "localhost:3000", origin: "http://localhost:3000" }],
    ["a trusted origin", "passes", { host: "shop.example", origin: "https://admin.example.com" }],
    ["the own host over plain http", "origin", { host: "shop.example", origin: "http://shop.example" }],
    ["another port", "origin", { host: "shop.example", origin: "https://shop.example:8443" }],
    ["a sibling", "origin", { host: "shop.example", origin: "https://blog.shop.example" }],
    ["a longer name", "origin", { host: "shop.example", origin: "https://shop.example.evil.example" }],
    ["a trusted origin with a path", "origin", { host: "shop.example", origin: "https://admin.example.com/" }],
    ["a trusted origin in upper case", "origin", { host: "shop.example", origin: "https://ADMIN.example.com" }],
    ["two origins", "origin", { host: "shop.example", origin: "https://shop.example, https://shop.example" }],
    ["user information", "origin", { host: "shop.example", origin: "https://shop.example@evil.example" }],
    ["an opaque origin", "origin", { host: "shop.example", origin: "null" }],
    ["an extension", "origin", { host: "shop.example", origin: "chrome-extension://shop.example" }],
    ["an empty one", "origin", { host: "shop.example", origin: "" }],
    ["none", "missingOrigin", { host: "shop.example" }]
  ]
  for (const [title, outcome, headers] of cases) {
    live(
      `${title}: ${outcome}`,
      Effect.map(outcomeOf(headers), (actual) => assert.strictEqual(actual, outcome))
    )
  }

  live(
    "is that of the URL, too, where the server knows it",
    Effect.gen(function*() {
      const origin = "https://shop.example"
      assert.strictEqual(yield* outcomeOf({ origin }, rules, "https://shop.example/act"), "passes")
      assert.strictEqual(yield* outcomeOf({ origin }, rules, "https://other.example/act"), "origin")
    })
  )

  live(
    "may be missing if the options allow it, and must be ours if it is there",
    Effect.gen(function*() {
      const options = { allowMissingOrigin: true }
      assert.strictEqual(yield* outcomeOf({ host: "shop.example" }, options), "passes")
      assert.strictEqual(yield* outcomeOf({ host: "shop.example", origin: "https://evil.example" }, options), "origin")
      assert.strictEqual(yield* outcomeOf({ "sec-fetch-site": "same-site" }, options), "crossSite")
    })
  )

  live(
    "does not count if there is Sec-Fetch-Site, which knows the site behind a proxy that changes the host",
    Effect.gen(function*() {
      const origin = "https://shop.example"
      const outcomes = yield* Effect.forEach([
        "same-origin",
        "none",
        "same-site",
        "cross-site",
        "same-origin, none",
        ""
      ], (site) => outcomeOf({ host: "shop.example", origin, "sec-fetch-site": site }))
      assert.deepStrictEqual(outcomes, ["passes", "passes", "crossSite", "crossSite", "crossSite", "crossSite"])
    })
  )
})

describe("the options", () => {
  for (
    const origin of [
      "admin.example.com",
      "https://admin.example.com/",
      "HTTPS://admin.example.com",
      "null",
      "*",
      "file:///a"
    ]
  ) {
    it(`a trusted origin written as "${origin}" is refused when the middleware is made`, () => {
      const make = [
        () => Csrf.middleware(Visitor, { trustedOrigins: [origin] }),
        () => Csrf.routes(Visitor, { trustedOrigins: [origin] }),
        () => Csrf.allRoutes(Visitor, { trustedOrigins: [origin] }),
        () => Protected.layer({ trustedOrigins: [origin] })
      ]
      for (const one of make) assert.throws(one, `"${origin}" is not an origin`)
    })
  }

  live(
    "the header has another name, in any case",
    Effect.gen(function*() {
      const site = yield* open(HttpServer.serve(Csrf.middleware(Visitor, { header: "X-Form-Token" })(pages)))
      const login = yield* site.visit("/login", undefined, post(own))
      const cookie = yield* pairOf(login)
      const act = (name: string) => site.visit("/act", cookie, post({ ...own, [name]: login.body }))
      assert.strictEqual((yield* act("x-form-token")).status, 200)
      assert.strictEqual((yield* act("x-csrf-token")).status, 403)
    })
  )
})

live(
  "a route outside of the middleware is exempt",
  Effect.gen(function*() {
    const app = HttpRouter.empty.pipe(
      HttpRouter.post("/webhook", Effect.succeed(text("called"))),
      HttpRouter.concat(HttpRouter.use(pages, protect))
    )
    const site = yield* open(HttpServer.serve(app))
    assert.strictEqual((yield* site.visit("/webhook", undefined, post({}))).body, "called")
    assert.strictEqual((yield* site.visit("/act", undefined, post({}))).status, 403)
  })
)

live(
  "the application can answer a refused request itself, and changes of an outer middleware are dropped",
  Effect.gen(function*() {
    const app = pages.pipe(
      protect,
      Effect.catchTag(
        "CsrfRejected",
        ({ message, reason }) => Effect.succeed(HttpServerResponse.setStatus(text(`${reason}: ${message}`), 403))
      ),
      (app) => Visitor.middleware(Effect.zipRight(Visitor.set("name", "planted"), app))
    )
    const site = yield* open(HttpServer.serve(app))
    const answer = yield* site.visit("/act", undefined, post({ "sec-fetch-site": "cross-site" }))
    assert.deepStrictEqual([answer.status, setCookiesOf(answer), site.calls()], [403, [], []])
    assert.match(answer.body, /^crossSite: This request came from a page of another site/)
  })
)

live(
  "a refused request does not prolong its session",
  Effect.gen(function*() {
    const site = yield* open(
      HttpServer.serve(protect(pages)),
      Visitor.layerWith({ touchEvery: 0 })
    )
    const cookie = yield* pairOf(yield* site.visit("/login", undefined, post(own)))
    site.calls()
    yield* site.visit("/act", cookie, post(own))
    assert.deepStrictEqual(site.calls(), ["load"])
    yield* site.visit("/token", cookie)
    assert.deepStrictEqual(site.calls(), ["load", "touch"])
  })
)

live(
  "refused requests are counted by reason",
  Effect.gen(function*() {
    const site = yield* open(HttpServer.serve(protect(pages)))
    const counts = Effect.map(Metric.value(SessionMetrics.csrfRejections), ({ occurrences }) => new Map(occurrences))
    const before = yield* counts
    const cookie = yield* pairOf(yield* site.visit("/login", undefined, post(own)))
    yield* site.visit("/act", cookie, post(own))
    yield* site.visit("/act", cookie, post({ ...own, "x-csrf-token": "x" }))
    yield* site.visit("/act", cookie, post({ "sec-fetch-site": "cross-site" }))
    yield* site.visit("/act", cookie, post({ origin: "https://evil.example" }))
    yield* site.visit("/act", cookie, post({}))
    const after = yield* counts
    for (const reason of ["missingToken", "token", "crossSite", "origin", "missingOrigin"]) {
      assert.strictEqual((after.get(reason) ?? 0) - (before.get(reason) ?? 0), 1, reason)
    }
  })
)

describe("the handshake of a socket", () => {
  const handshake = (headers: Headers): ReadonlyArray<readonly [string, string]> =>
    Object.entries({ Upgrade: "websocket", Connection: "Upgrade", ...headers })
  for (
    const [title, headers, status] of [
      ["from a page of another site is refused", { Origin: "https://evil.example", Host: "shop.example" }, 403],
      ["from a sibling is refused", { Origin: "https://a.example", "Sec-Fetch-Site": "same-site" }, 403],
      ["from a page of the site passes without a token", { Origin: "https://shop.example", Host: "shop.example" }, 200],
      ["from a program that is no browser passes", { Host: "shop.example" }, 200]
    ] as const
  ) {
    live(
      title,
      Effect.gen(function*() {
        const site = yield* open(HttpServer.serve(protect(pages)))
        const answer = yield* request(site.port, "/act", handshake(headers))
        assert.strictEqual(answer.status, status)
      })
    )
  }
})

describe("the description and the client of an HttpApi", () => {
  it("contain the errors of the protection", () => {
    const responses = OpenApi.fromApi(Api).paths["/act"]?.post?.responses ?? {}
    assert.includeMembers(Object.keys(responses), ["200", "403", "503"])
    assert.include(JSON.stringify(responses["403"]), "CsrfRejected")
  })

  live(
    "the client gets a typed error, and the token of one answer serves for the next request",
    Effect.gen(function*() {
      const site = yield* open(HttpApiBuilder.serve().pipe(Layer.provide(apiLayer)))
      const { transformClient } = browse()
      let token: string | undefined
      const client = yield* HttpApiClient.make(Api, {
        baseUrl: `http://127.0.0.1:${site.port}`,
        transformClient: (client) =>
          HttpClient.mapRequest(
            transformClient(client),
            (request) =>
              HttpClientRequest.setHeaders(request, { ...own, ...token === undefined ? {} : { "x-csrf-token": token } })
          )
      }).pipe(Effect.provide(FetchHttpClient.layer))
      const issued = yield* client.group.login()
      const refused = yield* Effect.flip(client.group.act())
      assert.instanceOf(refused, Csrf.CsrfRejected)
      assert.deepInclude(refused, { _tag: "CsrfRejected", reason: "missingToken" })
      token = issued
      assert.strictEqual(yield* client.group.act(), 1)
    })
  )
})
