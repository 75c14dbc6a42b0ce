/** The session behaves the same with every front end, alone and nested. */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Context, Effect, Layer } from "effect"
import { assert, describe } from "vitest"
import { counted, frontEnds, header, live, open, pages, servers, Staff, text, Visitor } from "./support/frontEnds.js"
import { exchange, pairOf, setCookiesOf } from "./support/httpServer.js"
import { api, routes } from "./support/shopApi.js"

const cors = HttpMiddleware.cors({ allowedOrigins: ["https://a.example", "https://b.example"], credentials: true })
const fromElsewhere = { headers: { origin: "https://a.example" } }

describe("the session in each front end", () => {
  for (const { name, prefix, serve } of servers) {
    live(
      `${name}: set, read back, one cookie, one commit`,
      Effect.gen(function*() {
        const site = yield* open(serve(pages))
        const set = yield* site.visit(`${prefix}/set`)
        assert.deepStrictEqual([set.status, set.body, site.calls()], [200, "set", ["create"]])
        assert.deepStrictEqual([header(set, "vary"), header(set, "cache-control")], ["Cookie", "no-store"])
        const cookie = yield* pairOf(set)

        const read = yield* site.visit(`${prefix}/name`, cookie)
        assert.deepStrictEqual([read.body, setCookiesOf(read), site.calls()], ["ann", [], ["load"]])
        assert.strictEqual(header(read, "vary"), "Cookie")

        const count = yield* site.visit(`${prefix}/count`, cookie)
        assert.deepStrictEqual([count.body, setCookiesOf(count), site.calls()], ["1", [], ["load", "save"]])

        const free = yield* site.visit(`${prefix}/free`, cookie)
        assert.deepStrictEqual([free.body, header(free, "vary"), site.calls()], ["free", "", []])
      })
    )

    for (
      const [where, app] of [["inside", serve(cors(pages))], ["outside", serve(pages, cors)]] as const
    ) {
      live(
        `${name}: with CORS ${where} the session, Vary names both`,
        Effect.gen(function*() {
          const site = yield* open(app)
          const answer = yield* site.visit(`${prefix}/set`, undefined, fromElsewhere)
          assert.strictEqual(header(answer, "access-control-allow-origin"), "https://a.example")
          assert.sameMembers(header(answer, "vary").split(", "), ["Origin", "Cookie"])
          assert.deepStrictEqual([setCookiesOf(answer).length, site.calls()], [1, ["create"]])
        })
      )
    }
  }
})

describe("the session of an HttpApi", () => {
  const options = { allowedOrigins: ["https://a.example"] }
  for (
    const [name, app] of [
      [
        "HttpApiBuilder.middlewareCors",
        HttpApiBuilder.serve().pipe(
          Layer.provide(HttpApiBuilder.middlewareCors(options)),
          Layer.provide(api())
        )
      ],
      ["HttpApiBuilder.serve", HttpApiBuilder.serve(HttpMiddleware.cors(options)).pipe(Layer.provide(api()))],
      ["HttpLayerRouter.cors", HttpLayerRouter.serve(Layer.merge(routes(), HttpLayerRouter.cors(options)))]
    ] as const
  ) {
    live(
      `with CORS by ${name}, Vary names both`,
      Effect.gen(function*() {
        const site = yield* open(app)
        const answer = yield* site.visit("/count", undefined, { ...fromElsewhere, method: "POST" })
        assert.deepStrictEqual([answer.body, header(answer, "access-control-allow-origin")], ["1", "https://a.example"])
        assert.sameMembers(header(answer, "vary").split(", "), ["Origin", "Cookie"])
        assert.lengthOf(setCookiesOf(answer), 1)
      })
    )
  }
})

describe("nested front ends", () => {
  for (const outer of servers) {
    for (const inner of frontEnds) {
      live(
        `${outer.name} around ${inner.name}: one session, one commit, one cookie`,
        Effect.gen(function*() {
          // The counter is incremented between the two front ends and inside both.
          const between = Effect.map(inner.around(pages), (app) => outer.serve(Effect.zipRight(counted, app)))
          const site = yield* open(Layer.unwrapScoped(between))
          const path = `${outer.prefix}${inner.prefix}/count`
          const first = yield* site.visit(path)
          assert.deepStrictEqual([first.body, site.calls()], ["2", ["create"]])
          const second = yield* site.visit(path, yield* pairOf(first))
          assert.deepStrictEqual([second.body, site.calls()], ["4", ["load", "save"]])
          assert.strictEqual(header(second, "vary"), "Cookie")
        })
      )
    }
  }
})

describe("HttpLayerRouter", () => {
  live(
    "only the routes with the middleware have the session",
    Effect.gen(function*() {
      const site = yield* open(HttpLayerRouter.serve(Layer.merge(
        HttpLayerRouter.add("GET", "/count", Effect.map(counted, text)).pipe(Layer.provide(Visitor.routes.layer)),
        HttpLayerRouter.add("GET", "/without", Effect.map(Effect.serviceOption(Visitor), ({ _tag }) => text(_tag)))
      )))
      const cookie = yield* pairOf(yield* site.visit("/count"))
      assert.deepStrictEqual([(yield* site.visit("/count", cookie)).body, site.calls()], ["2", [
        "create",
        "load",
        "save"
      ]])
      const without = yield* site.visit("/without", cookie)
      assert.deepStrictEqual([without.body, header(without, "vary"), site.calls()], ["None", "", []])
      assert.strictEqual((yield* site.visit("/nowhere", cookie)).status, 404)
      assert.deepStrictEqual(site.calls(), [])
    })
  )

  live(
    "with allRoutes, changes of another global middleware are saved, also if no route matches",
    Effect.gen(function*() {
      const counting = HttpLayerRouter.middleware<{ provides: never }>()(
        (app) => Effect.zipRight(Effect.orDie(counted), app),
        { global: true }
      )
      const site = yield* open(HttpLayerRouter.serve(
        Layer.merge(HttpLayerRouter.add("GET", "/number", Effect.map(Visitor.get("count"), text)), counting).pipe(
          Layer.provide(Visitor.allRoutes)
        )
      ))
      const lost = yield* site.visit("/nowhere")
      assert.deepStrictEqual([lost.status, header(lost, "vary"), site.calls()], [404, "Cookie", ["create"]])
      const cookie = yield* pairOf(lost)
      assert.strictEqual((yield* site.visit("/nowhere", cookie)).status, 404)
      assert.deepStrictEqual(site.calls(), ["load", "save"])
      assert.deepStrictEqual([(yield* site.visit("/number", cookie)).body, site.calls()], ["3", ["load", "save"]])
    })
  )

  live(
    "a middleware that needs the session is combined with it",
    Effect.gen(function*() {
      class Greeting extends Context.Tag("test/Greeting")<Greeting, string>() {}
      const greeting = HttpLayerRouter.middleware<{ provides: Greeting }>()(Effect.succeed((app) =>
        Effect.flatMap(
          Effect.orDie(Visitor.get("name")),
          (name) => Effect.provideService(app, Greeting, `Hello, ${name}`)
        )
      )).combine(Visitor.routes)
      const site = yield* open(HttpLayerRouter.serve(
        Layer.merge(
          HttpLayerRouter.add("GET", "/", Effect.map(Greeting, text)),
          HttpLayerRouter.add("GET", "/set", Effect.as(Visitor.set("name", "ann"), text("set")))
        ).pipe(Layer.provide(greeting.layer))
      ))
      const cookie = yield* pairOf(yield* site.visit("/set"))
      site.calls()
      assert.strictEqual((yield* site.visit("/", cookie)).body, "Hello, ann")
      assert.deepStrictEqual(site.calls(), ["load"])
    })
  )
})

describe("two sessions around one application", () => {
  const both = HttpRouter.empty.pipe(
    HttpRouter.all("/set", Effect.as(Effect.all([Visitor.set("name", "ann"), Staff.set("name", "boss")]), text("set"))),
    HttpRouter.get("/visitor", Effect.map(Visitor.get("name"), text)),
    HttpRouter.get("/staff", Effect.map(Staff.get("name"), text))
  )
  const either = HttpLayerRouter.add("*", "/*", both)

  for (
    const [name, app] of [
      [
        "HttpRouter.use",
        HttpServer.serve(both.pipe(HttpRouter.use(Visitor.middleware), HttpRouter.use(Staff.middleware)))
      ],
      ["HttpServer.serve", HttpServer.serve(both, (app) => Visitor.middleware(Staff.middleware(app)))],
      [
        "HttpLayerRouter routes",
        HttpLayerRouter.serve(either.pipe(Layer.provide([Visitor.routes.layer, Staff.routes.layer])))
      ],
      [
        "HttpLayerRouter combine",
        HttpLayerRouter.serve(either.pipe(Layer.provide(Visitor.routes.combine(Staff.routes).layer)))
      ],
      [
        "HttpLayerRouter allRoutes",
        HttpLayerRouter.serve(either.pipe(Layer.provide([Visitor.allRoutes, Staff.allRoutes])))
      ],
      [
        "one of each",
        HttpLayerRouter.serve(either.pipe(Layer.provide(Visitor.routes.layer), Layer.provide(Staff.allRoutes)))
      ]
    ] as const
  ) {
    live(
      `${name}: each has its own cookie, record and commit`,
      Effect.gen(function*() {
        const site = yield* open(app)
        const set = yield* site.visit("/set")
        const [visitor, staff] = setCookiesOf(set).map(({ name, value }) => `${name}=${value}`).sort()
        assert.match(visitor ?? "", /^__Host-Http-session=r1/)
        assert.match(staff ?? "", /^__Host-Http-staff=r1/)
        assert.deepStrictEqual([site.calls(), header(set, "vary")], [["create", "create"], "Cookie"])
        const cookies = `${staff}; ${visitor}`
        assert.strictEqual((yield* site.visit("/visitor", cookies)).body, "ann")
        assert.strictEqual((yield* site.visit("/staff", cookies)).body, "boss")
        assert.deepStrictEqual(site.calls(), ["load", "load"])
        assert.strictEqual((yield* site.visit("/staff", visitor)).body, "undefined")
      })
    )
  }
})

describe("HttpServer.serve(app, middleware), which sends the response before the middleware returns", () => {
  const set = Effect.all([Visitor.set("name", "ann"), Staff.set("name", "boss")])

  live(
    "two sessions with CORS inside both: each cookie is sent, and Vary names both",
    Effect.gen(function*() {
      const app = HttpRouter.empty.pipe(HttpRouter.get("/", Effect.as(set, text("set"))), cors)
      const site = yield* open(HttpServer.serve(app, (app) => Visitor.middleware(Staff.middleware(app))))
      const answer = yield* site.visit("/", undefined, fromElsewhere)
      assert.deepStrictEqual([answer.body, setCookiesOf(answer).length, site.calls()], ["set", 2, ["create", "create"]])
      assert.sameMembers(header(answer, "vary").split(", "), ["Origin", "Cookie"])
    })
  )

  live(
    "a handler that fails with a redirect is committed",
    Effect.gen(function*() {
      const redirect = Effect.fail(HttpServerResponse.redirect("/next"))
      const site = yield* open(HttpServer.serve(
        cors(Effect.zipRight(Visitor.set("name", "ann"), redirect)),
        Visitor.middleware
      ))
      const answer = yield* site.visit("/", undefined, fromElsewhere)
      assert.deepStrictEqual([answer.status, setCookiesOf(answer).length, site.calls()], [302, 1, ["create"]])
      assert.sameMembers(header(answer, "vary").split(", "), ["Origin", "Cookie"])
    })
  )

  live(
    "an error of the handler reaches a middleware outside the session",
    Effect.gen(function*() {
      const failures: Array<unknown> = []
      const site = yield* open(HttpServer.serve(
        cors(Effect.zipRight(Visitor.set("name", "ann"), Effect.fail("an error of the application"))),
        (app) => Effect.tapError(Visitor.middleware(app), (error) => Effect.sync(() => failures.push(error)))
      ))
      const answer = yield* site.visit("/", undefined, fromElsewhere)
      assert.deepStrictEqual([answer.status, failures, site.calls()], [500, ["an error of the application"], []])
    })
  )
})

/** Sends a plain request with the headers of an upgrade. */
const upgrading = (port: number, path: string) =>
  Effect.map(
    exchange(
      port,
      `POST ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n`
    ),
    ([answer]) => answer
  )

describe("an upgrade that does not happen", () => {
  for (const { name, prefix, serve } of servers) {
    live(
      `${name}: commits and sends its cookie`,
      Effect.gen(function*() {
        const site = yield* open(serve(HttpRouter.empty.pipe(HttpRouter.post("/count", Effect.map(counted, text)))))
        const answer = yield* upgrading(site.port, `${prefix}/count`)
        assert.deepStrictEqual([answer?.status, answer?.body, site.calls()], [200, "1", ["create"]])
        assert.strictEqual(answer === undefined ? 0 : setCookiesOf(answer).length, 1)
      })
    )
  }
})
