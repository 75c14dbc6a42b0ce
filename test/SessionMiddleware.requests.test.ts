/** Effects of the host, the site and the method of a request on the session, and clients that disconnect. */
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Layer, Logger, Option, Schema, Stream } from "effect"
import { MemoryEngine, ReadOnce, Session, SessionCookie } from "effect-session"
import type * as Http from "node:http"
import * as Http2 from "node:http2"
import { assert, describe } from "vitest"
import * as CookieRules from "../src/internal/domain/cookie.js"
import { abandoned, increment, live, open, text } from "./support/countingServer.js"
import { pairOf, serve, setCookiesOf } from "./support/httpServer.js"
import { request } from "./support/rawHttp.js"
import { ShopSession } from "./support/shop.js"

class Users extends Session.Tag<Users>()("test/Requests", {
  schema: Schema.Struct({ name: Schema.optional(Schema.String), notice: ReadOnce.field(Schema.String) })
}) {}

const handlerOf = <E>(app: HttpApp.Default<E, Users>, cookie: SessionCookie.CookieOptions = {}) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() =>
        HttpApp.toWebHandlerLayer(
          Users.middleware(app),
          Layer.merge(
            Layer.provide(Users.layerWith({ cookie }), MemoryEngine.layer),
            Logger.remove(Logger.defaultLogger)
          )
        )
      ),
      ({ dispose }) => Effect.promise(dispose)
    ),
    ({ handler }) => (url: string, init: RequestInit = {}) => Effect.promise(() => handler(new Request(url, init)))
  )

const set = Effect.as(Users.set("name", "ann"), text("set"))

describe("the host that a development cookie is checked against", () => {
  live(
    "is that of the URL if a web request has no Host header",
    Effect.gen(function*() {
      const ask = yield* handlerOf(set, SessionCookie.development)
      assert.strictEqual((yield* ask("http://localhost:3000/")).status, 200)
      assert.strictEqual((yield* ask("http://shop.example/")).status, 500)
      assert.strictEqual((yield* ask("http://shop.example/", { headers: { host: "localhost" } })).status, 500)
      assert.strictEqual((yield* ask("http://localhost/", { headers: { host: "shop.example" } })).status, 500)
    })
  )

  live(
    "is :authority in HTTP/2",
    Effect.gen(function*() {
      const port = yield* serve(
        HttpServer.serve(Users.middleware(set)).pipe(
          Layer.provide(Users.layerWith({ cookie: SessionCookie.development })),
          Layer.provide(MemoryEngine.layer)
        ),
        // Its requests and responses have the interface of HTTP/1.
        () => Http2.createServer() as unknown as Http.Server
      )
      const ask = (authority: string) =>
        Effect.async<number>((resume) => {
          const client = Http2.connect(`http://127.0.0.1:${port}`)
          const stream = client.request({ ":path": "/", ":authority": authority })
          stream.on("response", (headers) => {
            client.destroy()
            resume(Effect.succeed(Number(headers[":status"])))
          })
        })
      assert.strictEqual(yield* ask("localhost:3000"), 200)
      assert.strictEqual(yield* ask("shop.example"), 500)
    })
  )

  it("two tags have different development cookies, so that two applications on one machine can run at once", () => {
    const [shop, office] = ["shop/Session", "office/Session"].map((id) =>
      SessionCookie.make(SessionCookie.development, id)
    )
    assert.notStrictEqual(shop?.name, office?.name)
    assert.isUndefined(CookieRules.validate(SessionCookie.make(SessionCookie.development, "a b;c=d/ä")))
  })
})

describe("a Secure cookie over plain http", () => {
  const warnings = (headers: ReadonlyArray<readonly [string, string]>, times = 1) =>
    Effect.gen(function*() {
      const logged: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        if (logLevel._tag === "Warning") logged.push(String(message))
      })
      const port = yield* serve(
        HttpServer.serve(Users.middleware(set)).pipe(
          Layer.provide(Logger.add(logger)),
          Layer.provide(Users.layer),
          Layer.provide(MemoryEngine.layer)
        )
      )
      for (let time = 0; time < times; time++) yield* request(port, "/", headers)
      return logged
    })

  live(
    "is reported once, with the host and what to do",
    Effect.gen(function*() {
      const logged = yield* warnings([["Host", "192.168.1.20:3000"]], 3)
      assert.strictEqual(logged.length, 1)
      assert.match(logged[0] ?? "", /"__Host-Http-session" is Secure.*192\.168\.1\.20:3000.*https/)
    })
  )

  live(
    "is detected by the Origin header, on any host",
    Effect.gen(function*() {
      assert.strictEqual((yield* warnings([["Host", "shop.example"], ["Origin", "http://shop.example"]])).length, 1)
    })
  )

  for (
    const [what, headers] of [
      ["localhost, where browsers keep it", [["Host", "localhost"], ["Origin", "http://localhost"]]],
      ["a host behind a proxy with TLS", [["Host", "10.0.0.1"], ["X-Forwarded-Proto", "https"]]],
      ["a request of another site", [["Host", "shop.example"], ["Origin", "http://blog.example"]]],
      ["a public host", [["Host", "shop.example"]]]
    ] as ReadonlyArray<readonly [string, ReadonlyArray<readonly [string, string]>]>
  ) {
    live(
      `is not reported for ${what}`,
      Effect.map(warnings(headers), (logged) => assert.deepStrictEqual(logged, []))
    )
  }
})

describe("a cross-site navigation with SameSite=Strict", () => {
  const navigation = [["Sec-Fetch-Site", "cross-site"], ["Sec-Fetch-Mode", "navigate"]] as const

  live(
    "is answered, and its new session is dropped so that it does not replace the one in the browser",
    Effect.gen(function*() {
      const site = HttpRouter.empty.pipe(
        HttpRouter.all("/set", set),
        HttpRouter.all("/login", Effect.as(Users.authenticate("ann"), text("in"))),
        HttpRouter.use(Users.middleware)
      )
      const port = yield* serve(
        HttpServer.serve(site).pipe(
          Layer.provide(Users.layerWith({ cookie: { sameSite: "strict" } })),
          Layer.provide(MemoryEngine.layer)
        )
      )
      for (const method of ["GET", "HEAD"]) {
        const answer = yield* request(port, "/set", navigation, method)
        assert.deepStrictEqual([answer.status, setCookiesOf(answer)], [200, []])
      }
      assert.strictEqual((yield* request(port, "/set", navigation, "POST")).status, 403)
      // The response of an identity provider.
      yield* pairOf(yield* request(port, "/login", navigation))
    })
  )
})

describe("HEAD", () => {
  live(
    "leaves a read-once value in the session, and has the headers of GET",
    Effect.gen(function*() {
      const site = HttpRouter.empty.pipe(
        HttpRouter.get("/order", Effect.as(Users.set("notice", ReadOnce.make("Ordered.")), text("ordered"))),
        HttpRouter.get("/", Effect.map(Users.take("notice"), (notice) => text(Option.getOrElse(notice, () => "none")))),
        HttpRouter.use(Users.middleware)
      )
      const port = yield* serve(
        HttpServer.serve(site).pipe(Layer.provide(Users.layer), Layer.provide(MemoryEngine.layer))
      )
      const cookie = yield* pairOf(yield* request(port, "/order"))
      const ask = (method: string) => request(port, "/", [["Cookie", cookie]], method)
      const [first, second, page] = [yield* ask("HEAD"), yield* ask("HEAD"), yield* ask("GET")]
      assert.strictEqual(page.body, "Ordered.")
      const stable = (answer: typeof page) => answer.headers.filter(([name]) => name !== "date")
      assert.deepStrictEqual([stable(first), stable(second)], [stable(page), stable(page)])
      assert.strictEqual((yield* ask("GET")).body, "none")
    })
  )
})

describe("a client that disconnects during a commit", () => {
  for (const method of ["GET", "HEAD"]) {
    live(
      `${method}: the commit and the request are completed`,
      Effect.gen(function*() {
        const ended = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
        const app = yield* open(HttpRouter.get(
          HttpRouter.empty,
          "/",
          Effect.as(
            Effect.zipRight(Effect.addFinalizer((exit) => Deferred.succeed(ended, exit)), increment),
            text("an unread body")
          )
        ))
        const saving = yield* app.hold("save", "before")
        const disconnect = yield* abandoned(app.port, "/", app.cookie, method)
        yield* saving.reached
        yield* disconnect
        // The server has seen the disconnect.
        yield* app.hungUp
        yield* saving.go
        yield* Deferred.await(ended)
        assert.strictEqual(yield* app.count, 1)
      })
    )
  }
})

describe("a response stream that first uses the session", () => {
  live(
    "fails, because the headers were sent without those that protect the response",
    Effect.gen(function*() {
      const outcome = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
      const app = yield* open(HttpRouter.get(
        HttpRouter.empty,
        "/",
        Effect.map(ShopSession, (session) =>
          HttpServerResponse.stream(
            Stream.encodeText(Stream.fromEffect(
              Effect.tap(Effect.exit(session.get("user")), (exit) => Deferred.succeed(outcome, exit)).pipe(
                Effect.flatten,
                Effect.map(String)
              )
            )),
            { headers: { "cache-control": "public, max-age=60" } }
          ))
      ))
      yield* Effect.ignore(app.get("/"))
      const exit = yield* Deferred.await(outcome)
      const error = Option.getOrThrow(Exit.causeOption(exit).pipe(Option.flatMap(Cause.failureOption)))
      assert.deepInclude(error, { _tag: "SessionUnavailable", reason: "late" })
      assert.deepStrictEqual(app.calls, [])
    })
  )

  live(
    "succeeds if the handler has read the session before",
    Effect.gen(function*() {
      const app = yield* open(HttpRouter.get(
        HttpRouter.empty,
        "/",
        Effect.flatMap(ShopSession, (session) =>
          Effect.as(
            session.value,
            HttpServerResponse.stream(
              Stream.encodeText(Stream.fromEffect(Effect.orDie(Effect.map(session.get("user"), String))))
            )
          ))
      ))
      assert.include((yield* app.get("/")).body, "ann")
    })
  )
})

describe("a web Response passed to HttpServerResponse.raw", () => {
  const own = () =>
    new Response("own", {
      status: 201,
      headers: [["set-cookie", "theme=dark"], ["set-cookie", "lang=de"], ["vary", "Accept-Language"]]
    })

  for (const method of ["GET", "HEAD"]) {
    live(
      `${method}: keeps its status, its cookies and its Vary beside ours`,
      Effect.gen(function*() {
        const ask = yield* handlerOf(Effect.zipRight(set, Effect.sync(() => HttpServerResponse.raw(own()))))
        const answer = yield* ask("http://localhost/", { method })
        assert.strictEqual(answer.status, 201)
        assert.sameMembers(answer.headers.getSetCookie().map((line) => line.split("=")[0]), [
          "theme",
          "lang",
          "__Host-Http-session"
        ])
        assert.strictEqual(answer.headers.get("vary"), "Accept-Language, Cookie")
        assert.strictEqual(answer.headers.get("cache-control"), "no-store")
        assert.strictEqual(yield* Effect.promise(() => answer.text()), method === "HEAD" ? "" : "own")
      })
    )
  }

  live(
    "may have immutable headers",
    Effect.gen(function*() {
      const ask = yield* handlerOf(Effect.zipRight(
        set,
        Effect.sync(() => HttpServerResponse.raw(Response.redirect("http://localhost/next")))
      ))
      const answer = yield* ask("http://localhost/")
      assert.deepStrictEqual([answer.status, answer.headers.get("location")], [302, "http://localhost/next"])
      assert.strictEqual(answer.headers.getSetCookie().length, 1)
    })
  )

  live(
    "commits by its own status: nothing for a 500",
    Effect.gen(function*() {
      const ask = yield* handlerOf(Effect.zipRight(
        set,
        Effect.sync(() => HttpServerResponse.raw(new Response("", { status: 500 })))
      ))
      const answer = yield* ask("http://localhost/")
      assert.deepStrictEqual([answer.status, answer.headers.getSetCookie()], [500, []])
    })
  )
})
