/**
 * The devtools: what they record on each front end, the reasons that they explain, and what they never show.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Logger, Option, Redacted, Schema } from "effect"
import {
  CookieEngine,
  Keyring,
  MemoryEngine,
  MemoryStore,
  ReadOnce,
  Session,
  SessionCookie,
  SessionDevtools,
  SessionToken,
  StoredEngine
} from "effect-session"
import type { SessionConfigError } from "effect-session/SessionConfigError"
import type { SessionEngine } from "effect-session/SessionEngine"
import { createHash } from "node:crypto"
import { assert, describe } from "vitest"
import { storeKeys } from "../src/internal/crypto/sessionToken.js"
import type { Content } from "../src/internal/devtools/page.js"
import { isFromThisMachine } from "../src/internal/devtools/requestFacts.js"
import { serve } from "./support/httpServer.js"
import { request as rawRequest } from "./support/rawHttp.js"

const cookieName = "session-dev-test.Visitor"

class Visitor extends Session.Tag<Visitor>()("test/Visitor", {
  schema: Schema.Struct({
    name: Schema.optional(Schema.String),
    count: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    since: Schema.optional(Schema.DateTimeUtc),
    secret: Schema.optional(Schema.Redacted(Schema.String)),
    notice: ReadOnce.field(Schema.String)
  }),
  cookie: SessionCookie.development
}) {}

const secret = "the-secret-of-a-redacted-field"
const once = "the-content-of-a-field-that-is-read-once"

const ok = HttpServerResponse.empty({ status: 200 })

type Handler = Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  unknown,
  Visitor | HttpServerRequest.HttpServerRequest
>

/** The handlers, by path. */
const handlers = {
  free: Effect.succeed(ok),
  read: Effect.as(Visitor.get("count"), ok),
  count: Effect.as(Visitor.update("count", (n) => n + 1), ok),
  login: Effect.as(
    Effect.zipRight(Visitor.authenticate("ann", { methods: ["pwd"], level: 2 }), Visitor.set("name", "Ann")),
    ok
  ),
  logout: Effect.as(Visitor.destroy, ok),
  rotate: Effect.as(Visitor.rotate, ok),
  fail: Effect.as(Visitor.set("count", 9), HttpServerResponse.empty({ status: 500 })),
  deny: Effect.as(Visitor.authenticate("ann"), HttpServerResponse.empty({ status: 403 })),
  discard: Effect.as(Effect.zipRight(Visitor.set("count", 9), Visitor.discard), ok),
  secrets: Effect.as(
    Effect.all([Visitor.set("secret", Redacted.make(secret)), Visitor.set("notice", ReadOnce.make(once))]),
    ok
  ),
  hostile: Effect.as(Visitor.set("name", "<script>alert(1)</script>\"'"), ok)
} satisfies Readonly<Record<string, Handler>>

const router = Object.entries<Handler>(handlers).reduce(
  (router, [name, handler]) => HttpRouter.all(router, `/${name}` as const, handler),
  HttpRouter.empty as HttpRouter.HttpRouter<unknown, Visitor>
)

const app = router.pipe(HttpRouter.use(Visitor.middleware))

const memory = MemoryEngine.layer

interface Options {
  readonly engine?: Layer.Layer<SessionEngine, SessionConfigError>
  readonly devtools?: Layer.Layer<SessionDevtools.SessionDevtools, SessionConfigError>
  readonly session?: typeof Visitor.layer
}

const servicesOf = (options: Options = {}) =>
  (options.session ?? Visitor.layer).pipe(
    Layer.provide(options.engine ?? memory),
    Layer.provideMerge(options.devtools ?? SessionDevtools.layer),
    Layer.provide(Logger.remove(Logger.defaultLogger))
  )

/** A browser, or another client, of a web handler. */
interface Client {
  readonly get: (path: string, headers?: Readonly<Record<string, string>>, origin?: string) => Effect.Effect<Response>
  /** The content of the page. */
  readonly content: Effect.Effect<Content>
  /** The value of the cookie. */
  cookie: string | undefined
}

const clientOf = (handler: (request: Request) => Promise<Response>): Client => {
  const client: Client = {
    cookie: undefined,
    get: (path, headers = {}, origin = "http://localhost") =>
      Effect.promise(async () => {
        const response = await handler(
          new Request(`${origin}${path}`, {
            headers: {
              host: new URL(origin).host,
              ...(client.cookie === undefined ? {} : { cookie: `${cookieName}=${client.cookie}` }),
              ...headers
            }
          })
        )
        for (const line of response.headers.getSetCookie()) {
          const [, name, value] = /^([^=]+)=([^;]*)/.exec(line) ?? []
          if (name?.includes("session")) client.cookie = value === "" ? undefined : value
        }
        return response
      }),
    content: Effect.suspend(() =>
      Effect.flatMap(client.get("/_session.json"), (response) => Effect.promise(() => response.json()))
    )
  }
  return client
}

const start = (options: Options = {}, around = app) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => HttpApp.toWebHandlerLayer(SessionDevtools.middleware(around), servicesOf(options))),
      ({ dispose }) => Effect.promise(dispose)
    ),
    ({ handler }) => clientOf((request) => handler(request))
  )

/** The latest request, and its session. */
const latest = (client: Client) =>
  Effect.map(client.content, ({ requests: [request] }) => {
    if (request === undefined) throw new Error("no request was recorded")
    return { request, session: request.sessions[0] }
  })

/** The explanations of the latest request. */
const notes = (client: Client) => Effect.map(latest(client), ({ session }) => session?.notes ?? [])

// ---- front ends

class Group
  extends HttpApiGroup.make("group").add(HttpApiEndpoint.get("count", "/count")).middleware(Visitor.HttpApi)
{}
class Api extends HttpApi.make("api").add(Group) {}
const api = Layer.provide(
  HttpApiBuilder.api(Api),
  HttpApiBuilder.group(Api, "group", (handlers) => handlers.handle("count", () => Effect.orDie(handlers_count)))
)
const handlers_count = Visitor.update("count", (n) => n + 1)
const routes = HttpLayerRouter.add("GET", "/count", Effect.orDie(handlers.count)).pipe(
  Layer.provide(Visitor.routes.layer)
)
const served = (layer: Layer.Layer<never, SessionConfigError, HttpServer.HttpServer>) =>
  Effect.map(serve(layer), (port) =>
    clientOf(async (request) => {
      const { headers, pathname } = { headers: request.headers, pathname: new URL(request.url).pathname }
      headers.delete("host")
      return fetch(`http://localhost:${port}${pathname}`, { headers })
    }))

const web = ({ dispose, handler }: HttpAppWebHandler) =>
  Effect.as(Effect.addFinalizer(() => Effect.promise(dispose)), clientOf((request) => handler(request)))

interface HttpAppWebHandler {
  readonly dispose: () => Promise<void>
  readonly handler: (request: Request) => Promise<Response>
}

const frontEnds = {
  "HttpServer.serve": () => served(HttpServer.serve(app, SessionDevtools.middleware).pipe(Layer.provide(servicesOf()))),
  "HttpRouter, in a pipe": () =>
    served(app.pipe(SessionDevtools.middleware, HttpServer.serve()).pipe(Layer.provide(servicesOf()))),
  "HttpLayerRouter.serve": () =>
    served(
      HttpLayerRouter.serve(routes, { middleware: SessionDevtools.middleware }).pipe(Layer.provide(servicesOf()))
    ),
  "HttpApiBuilder.serve": () =>
    served(
      HttpApiBuilder.serve(SessionDevtools.middleware).pipe(
        Layer.provide(api),
        Layer.provide(servicesOf()),
        Layer.provide(NodeHttpServer.layerContext)
      )
    ),
  "HttpApiBuilder.toWebHandler": () =>
    web(HttpApiBuilder.toWebHandler(
      api.pipe(
        Layer.merge(
          HttpApiBuilder.middleware<SessionDevtools.SessionDevtools>(SessionDevtools.middleware, { withContext: true })
        ),
        Layer.provide(servicesOf()),
        Layer.merge(NodeHttpServer.layerContext)
      )
    )),
  "HttpApp.toWebHandlerLayer": () => web(HttpApp.toWebHandlerLayer(SessionDevtools.middleware(app), servicesOf())),
  "HttpLayerRouter.toWebHandler": () =>
    web(HttpLayerRouter.toWebHandler(
      Layer.provide(Layer.merge(routes, SessionDevtools.allRoutes), servicesOf())
    ))
}

describe("each front end", () => {
  for (const [name, open] of Object.entries(frontEnds)) {
    it.scopedLive(`${name} has the page, and reports what a request loaded, decided and sent`, () =>
      Effect.gen(function*() {
        const client = yield* open()
        assert.strictEqual((yield* client.get("/count")).status, name.startsWith("HttpApiBuilder") ? 204 : 200)
        const page = yield* client.get("/_session")
        assert.strictEqual(page.status, 200)
        assert.match(yield* Effect.promise(() => page.text()), /^<!doctype html>[^]*test\/Visitor[^]*GET \/count/)
        yield* client.get("/count")
        const { requests, sessions } = yield* client.content
        assert.deepStrictEqual(
          requests.map(({ path, sessions: [session], storeCalls }) => [
            path,
            session?.loads,
            session?.commits,
            session?.sent?._tag,
            storeCalls.map(({ operation, outcome }) => `${operation} ${outcome}`)
          ]),
          [
            ["/count", ["loaded"], [{ decision: "Save", fields: ["count"], changed: true }], undefined, [
              "load hit",
              "save saved"
            ]],
            ["/count", ["no_cookie"], [{ decision: "Create", fields: ["count"], changed: true }], "Cookie", [
              "create created"
            ]]
          ]
        )
        const [session] = sessions
        assert.strictEqual(session?.absence, undefined)
        assert.deepInclude(session?.fields ?? [], { name: "count", type: "number", value: "2" })
      }))
  }
})

describe("a request", () => {
  const decisions = {
    count: ["Save", ["count"]],
    login: ["Rotate", ["name"]],
    rotate: ["Rotate", []],
    logout: ["Destroy", []],
    read: ["Keep", []]
  } as const
  for (const [path, [decision, fields]] of Object.entries(decisions)) {
    it.scopedLive(`that decides ${decision} (${path}) is reported with its fields`, () =>
      Effect.gen(function*() {
        const client = yield* start()
        yield* client.get("/count")
        yield* client.get(`/${path}?query=not-shown`)
        const { request, session } = yield* latest(client)
        assert.strictEqual(request.path, `/${path}`)
        assert.deepStrictEqual(session?.commits.map((commit) => [commit.decision, commit.fields]), [[decision, fields]])
        assert.strictEqual(session?.sent !== undefined, decision !== "Save" && decision !== "Keep")
      }))
  }

  it.scopedLive("that does not use its session is reported without one", () =>
    Effect.gen(function*() {
      const client = yield* start()
      yield* client.get("/free")
      const { request } = yield* latest(client)
      assert.deepInclude(request, { path: "/free", status: 200, sessions: [], storeCalls: [] })
    }))

  it.scopedLive("is forgotten when `requests` newer ones have come", () =>
    Effect.gen(function*() {
      const client = yield* start({ devtools: SessionDevtools.layerWith({ requests: 2 }) })
      for (const path of ["/free", "/read", "/count"]) yield* client.get(path)
      assert.deepStrictEqual((yield* client.content).requests.map(({ path }) => path), ["/count", "/read"])
    }))

  it.scopedLive("of the page writes nothing, and is not reported", () =>
    Effect.gen(function*() {
      const client = yield* start()
      yield* client.get("/count")
      const before = yield* client.content
      const page = yield* client.get("/_session")
      assert.deepStrictEqual(page.headers.getSetCookie(), [])
      assert.deepStrictEqual(yield* client.content, before)
    }))
})

describe("the page explains", () => {
  const reason = (
    title: string,
    story: (client: Client) => Effect.Effect<unknown>,
    expected: RegExp,
    options?: Options
  ) =>
    it.scopedLive(title, () =>
      Effect.gen(function*() {
        const client = yield* start(options)
        yield* story(client)
        assert.match((yield* notes(client)).join(" "), expected)
      }))
  const begun = (path: string, headers?: Readonly<Record<string, string>>) => (client: Client) =>
    Effect.zipRight(client.get("/count"), client.get(path, headers))
  const presenting = (value: string) => (client: Client) => {
    client.cookie = value
    return client.get("/read")
  }
  const withoutCookie = (headers: Readonly<Record<string, string>>) => (client: Client) => client.get("/count", headers)
  const secure = (domain?: string): Options => ({
    devtools: SessionDevtools.layerWith({ allowSecureCookie: true }),
    session: Visitor.layerWith({
      cookie: { prefix: "", name: "session", ...(domain === undefined ? {} : { domain }) }
    })
  })

  reason("a malformed cookie", presenting("junk"), /has not the form of one of this engine/)
  reason("an unknown token", presenting(`r1.${"A".repeat(43)}`), /The store has no trace of the session/)
  reason(
    "a session that was logged out",
    (client) =>
      Effect.gen(function*() {
        yield* client.get("/count")
        const { cookie } = client
        yield* client.get("/logout")
        client.cookie = cookie
        yield* client.get("/read")
      }),
    /ended by a logout/
  )
  reason(
    "a rejected seal",
    (client) =>
      Effect.gen(function*() {
        yield* client.get("/count")
        client.cookie = client.cookie?.replace(/.$/, (last) => last === "A" ? "B" : "A")
        yield* client.get("/read")
      }),
    /The seal or signature was rejected: it is wrong/,
    { engine: CookieEngine.layer.pipe(Layer.provide(Keyring.layer([{ id: "k1", secret: key }]))) }
  )
  reason(
    "a cookie of another name",
    (client) => client.get("/read", { cookie: `__Host-${cookieName}=x` }),
    /has a cookie "__Host-session-dev-test.Visitor", and this tag reads "session-dev-test.Visitor"/
  )
  reason(
    "a cross-site request, whose new session gets no cookie",
    withoutCookie({ "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" }),
    /cross-site, and the cookie is SameSite=Lax/
  )
  reason(
    "a new session that a cross-site link would have replaced",
    withoutCookie({ "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" }),
    /No cookie was set: the request is cross-site/,
    { session: Visitor.layerWith({ cookie: { ...SessionCookie.development, sameSite: "strict" } }) }
  )
  reason(
    "a cookie for another path",
    (client) => client.get("/read"),
    /has the path \/shop, and the browser does not send it to \/read/,
    { session: Visitor.layerWith({ cookie: { ...SessionCookie.development, path: "/shop" } }) }
  )
  reason(
    "a cookie for another domain",
    (client) => client.get("/count"),
    /domain example.com, and a browser does not accept it from localhost/,
    secure("example.com")
  )
  reason(
    "a Secure cookie over plain http",
    (client) => client.get("/count", { origin: "http://192.168.1.2:3000" }, "http://192.168.1.2:3000"),
    /is Secure, and the browser uses plain http: it drops the cookie/,
    secure()
  )
  reason(
    "a cookie that the client did not send back",
    (client) =>
      Effect.gen(function*() {
        yield* client.get("/count")
        client.cookie = undefined
        yield* client.get("/read")
      }),
    /The response to request 1 set the cookie, and this client did not send it back/
  )
  reason("changes dropped by an error", begun("/fail"), /dropped: the response has the status 500/)
  reason(
    "a login dropped by a response with 403",
    begun("/deny"),
    /dropped: the response has the status 403, which neither logs in/
  )
  reason("changes that were discarded", begun("/discard"), /dropped: the handler called discard/)

  it.scopedLive("nothing if the cookie came back", () =>
    Effect.gen(function*() {
      const client = yield* start()
      yield* client.get("/count")
      yield* client.get("/count")
      assert.deepStrictEqual(yield* notes(client), [])
    }))
})

const key = Redacted.make("uCq8Jm0z0eZzVqE5oD0z8jVQm3rT5yWc1nB7hK2pX4E")

describe("secrets", () => {
  const engines: Readonly<Record<string, Options["engine"]>> = {
    memory,
    cookie: CookieEngine.layer.pipe(Layer.provide(Keyring.layer([{ id: "k1", secret: key }]))),
    ledger: CookieEngine.layerLedger.pipe(
      Layer.provide(MemoryStore.layer),
      Layer.provide(Keyring.layer([{ id: "k1", secret: key }]))
    ),
    sealed: StoredEngine.layerWith({ seal: "token" }).pipe(Layer.provide(MemoryStore.layer))
  }
  for (const [name, engine] of Object.entries(engines)) {
    it.scopedLive(`neither the page nor its JSON contains a token, its hash, a key or a redacted value (${name})`, () =>
      Effect.gen(function*() {
        const client = yield* start(engine === undefined ? {} : { engine })
        const tokens: Array<string> = []
        for (const path of ["/count", "/secrets", "/login", "/rotate", "/count", "/logout", "/secrets"]) {
          yield* client.get(`${path}?token=${tokens[0] ?? ""}`, { authorization: `Bearer ${tokens[0] ?? ""}` })
          if (client.cookie !== undefined) tokens.push(client.cookie)
        }
        assert.isAbove(new Set(tokens).size, 2)
        const texts = yield* Effect.forEach(
          ["/_session", "/_session.json"],
          (path) =>
            Effect.flatMap(
              client.get(path),
              (response) =>
                Effect.promise(async () => `${JSON.stringify([...response.headers])}${await response.text()}`)
            )
        )
        const hashes = tokens.flatMap((token) => [
          createHash("sha256").update(token).digest("base64url"),
          createHash("sha256").update(token).digest("hex"),
          ...Option.match(SessionToken.parse(token), {
            onNone: () => [],
            onSome: (token) => [String(storeKeys("test/Visitor")(token))]
          })
        ])
        for (const text of texts) {
          assert.include(text, "secrets")
          assert.include(text, "redacted")
          for (const hidden of [...tokens, ...hashes, ...tokens.flatMap(parts), Redacted.value(key), secret, once]) {
            assert.notInclude(text, hidden)
          }
        }
      }))
  }
  /** The parts of a token that could be enough to use it. */
  const parts = (token: string) => token.split(".").filter((part) => part.length > 16)
})

describe("the layer", () => {
  const built = (
    layer: Layer.Layer<SessionDevtools.SessionDevtools, SessionConfigError>,
    environment = "development"
  ) =>
    Effect.flip(Effect.scoped(Layer.build(layer))).pipe(
      Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["NODE_ENV", environment]])))
    )

  it.effect("fails in production", () =>
    Effect.gen(function*() {
      assert.match((yield* built(SessionDevtools.layer, "production")).message, /NODE_ENV is production/)
    }))

  it.effect("fails if the cookie of a tag is not that of development", () =>
    Effect.gen(function*() {
      const error = yield* built(servicesOf({ session: Visitor.layerWith({ cookie: {} }) }))
      assert.match(error.message, /The cookie of "test\/Visitor" is not that of development/)
    }))

  it.effect("fails if `requests` is no whole number from 1 to 10,000", () =>
    Effect.gen(function*() {
      for (const requests of [0, 1.5, 10_001, NaN]) {
        const error = yield* built(servicesOf({ devtools: SessionDevtools.layerWith({ requests }) }))
        assert.match(error.message, /requests must be a whole number/)
      }
    }))

  it.scopedLive("`none` passes every request on", () =>
    Effect.gen(function*() {
      const client = yield* start({ devtools: SessionDevtools.none })
      assert.strictEqual((yield* client.get("/count")).status, 200)
      assert.notStrictEqual((yield* client.get("/_session")).status, 200)
    }))
})

describe("the page answers only requests of this machine", () => {
  const refused: Readonly<Record<string, readonly [origin: string, headers?: Readonly<Record<string, string>>]>> = {
    "another host": ["http://192.168.1.2"],
    "a name of another site that resolves to this machine": ["http://attacker.example"],
    "a proxy": ["http://localhost", { "x-forwarded-for": "203.0.113.1" }],
    "a standard proxy": ["http://localhost", { forwarded: "for=203.0.113.1" }]
  }
  for (const [title, [origin, headers]] of Object.entries(refused)) {
    it.scopedLive(`${title} gets 403`, () =>
      Effect.gen(function*() {
        const client = yield* start()
        yield* client.get("/secrets")
        for (const path of ["/_session", "/_session.json"]) {
          const response = yield* client.get(path, headers, origin)
          assert.strictEqual(response.status, 403)
          assert.notInclude(yield* Effect.promise(() => response.text()), "Visitor")
        }
      }))
  }

  it("an address that is not of this machine is refused, whatever the host", () => {
    const from = (remoteAddress: string) =>
      isFromThisMachine(
        HttpServerRequest.fromWeb(new Request("http://localhost/_session", { headers: { host: "localhost" } })).modify({
          remoteAddress
        })
      )
    for (const address of ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"]) assert.isTrue(from(address), address)
    for (const address of ["192.168.1.2", "::ffff:10.0.0.1", "fe80::1", "127.0.0.1.example", "1127.0.0.1"]) {
      assert.isFalse(from(address), address)
    }
  })

  it.scopedLive("a method that changes something gets 405", () =>
    Effect.gen(function*() {
      const port = yield* serve(HttpServer.serve(app, SessionDevtools.middleware).pipe(Layer.provide(servicesOf())))
      assert.strictEqual((yield* Effect.orDie(rawRequest(port, "/_session", [], "POST"))).status, 405)
      assert.strictEqual((yield* Effect.orDie(rawRequest(port, "/_session"))).status, 200)
    }))
})

describe("the HTML", () => {
  it.scopedLive("escapes values of the session, and has a strict policy", () =>
    Effect.gen(function*() {
      const client = yield* start()
      yield* client.get("/hostile")
      yield* client.get("/<img%20src=x>'\"")
      const response = yield* client.get("/_session")
      const text = yield* Effect.promise(() => response.text())
      assert.include(text, "&#60;script&#62;")
      assert.notMatch(text, /<script|<img/)
      assert.match(
        response.headers.get("content-security-policy") ?? "",
        /^default-src 'none'; style-src 'sha256-[A-Za-z0-9+/]{43}='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$/
      )
      assert.strictEqual(response.headers.get("cache-control"), "no-store")
      assert.strictEqual(response.headers.get("x-content-type-options"), "nosniff")
    }))
})
