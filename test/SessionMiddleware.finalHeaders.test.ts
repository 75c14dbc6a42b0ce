/**
 * The headers that protect a response with our cookie are set last, over other pre-response handlers, middleware and
 * error handlers inside and outside the session; headers added outside stay.
 */
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Effect, Layer, Schema } from "effect"
import { assert, describe } from "vitest"
import { everyFrontEnd, type Handler } from "./support/everyFrontEnd.js"
import { header, live, open, type Served, Staff, text, Visitor } from "./support/frontEnds.js"
import { pairOf, setCookiesOf } from "./support/httpServer.js"

/** A pre-response handler that replaces the caching headers. */
const makePublic = HttpApp.appendPreResponseHandler((_, response) =>
  Effect.succeed(HttpServerResponse.setHeaders(response, {
    "cache-control": "public, max-age=600",
    "cdn-cache-control": "max-age=600",
    vary: "Accept"
  }))
)

const members = (value: string) => value.split(",").map((member) => member.trim().toLowerCase())

/** RFC 9111: a cache does not store a response with `no-store`, whatever other directives it has. */
const assertPrivate = (answer: Parameters<typeof header>[0], what: string) => {
  assert.include(members(header(answer, "cache-control")), "no-store", what)
  assert.include(members(header(answer, "vary")), "cookie", what)
}

describe("pre-response handlers of a handler", () => {
  for (const { name, prefix, serve } of everyFrontEnd) {
    live(
      `${name}: a response with the cookie is no-store and varies on it, if the handler returns, fails or dies`,
      Effect.gen(function*() {
        let act: Handler = Effect.succeed(text("done"))
        const site = yield* open(serve({
          act: Effect.zipRight(makePublic, Effect.suspend(() => act)),
          read: Effect.zipRight(makePublic, Effect.map(Visitor.get("name"), text))
        }))
        const set = Visitor.set("name", "ann")
        const acts: Readonly<Record<string, Handler>> = {
          returned: Effect.as(set, text("done")),
          "returned 403": Effect.as(set, HttpServerResponse.empty({ status: 403 })),
          "died with a redirect": Effect.zipRight(set, Effect.die(HttpServerResponse.redirect("/"))),
          "failed with a 401": Effect.zipRight(set, Effect.fail(HttpServerResponse.empty({ status: 401 }))),
          "saved, then broke": Effect.all([set, Visitor.save, Effect.fail("broken")]).pipe(Effect.as(text("")))
        }
        for (const [what, handler] of Object.entries(acts)) {
          act = handler
          const answer = yield* site.visit(`${prefix}/act`)
          yield* pairOf(answer)
          assertPrivate(answer, what)
          assert.include(members(header(answer, "cdn-cache-control")), "no-store", what)
          assert.include(members(header(answer, "vary")), "accept", what)
        }
        act = Effect.as(set, text("done"))
        const cookie = yield* pairOf(yield* site.visit(`${prefix}/act`))
        const read = yield* site.visit(`${prefix}/read`, cookie)
        assert.deepStrictEqual([read.body, setCookiesOf(read)], ["ann", []])
        assert.include(members(header(read, "vary")), "cookie")
        // The application's own Cache-Control is kept.
        assert.strictEqual(header(read, "cache-control"), "public, max-age=600")
      })
    )

    live(
      `${name}: a response that used the session is private, unless it has its own Cache-Control`,
      Effect.gen(function*() {
        const read = Effect.map(Visitor.get("name"), text)
        const site = yield* open(serve({ act: Effect.succeed(text("free")), read }))
        assert.strictEqual(header(yield* site.visit(`${prefix}/read`), "cache-control"), "private")
        assert.strictEqual(header(yield* site.visit(`${prefix}/act`), "cache-control"), "")
      })
    )

    live(
      `${name}: an error at the commit keeps the CORS headers added outside the session`,
      Effect.gen(function*() {
        const cors = HttpMiddleware.cors({ allowedOrigins: ["https://a.example", "https://b.example"] })
        const site = yield* open(serve({
          act: Effect.as(Visitor.update("count", (n) => n + 1), text("done")),
          read: Effect.map(Visitor.get("count"), text)
        }, cors))
        const headers = { origin: "https://a.example" }
        const cookie = yield* pairOf(yield* site.visit(`${prefix}/act`, undefined, { headers }))
        yield* site.breaks("save")
        const failed = yield* site.visit(`${prefix}/act`, cookie, { headers })
        assert.strictEqual(failed.status, 503)
        assert.strictEqual(header(failed, "access-control-allow-origin"), "https://a.example")
        assert.includeMembers(members(header(failed, "vary")), ["origin", "cookie"])
      })
    )
  }
})

const handlers = {
  begin: Effect.zipRight(Visitor.set("name", "guest"), Staff.set("name", "guest")),
  login: Effect.all([
    Staff.set("name", "bob"),
    Visitor.authenticate("ann"),
    Visitor.set("name", "ann")
  ], { discard: true }),
  who: Effect.map(Visitor.get("name"), String)
}

const routes = HttpRouter.empty.pipe(
  HttpRouter.get("/begin", Effect.as(handlers.begin, text("start"))),
  HttpRouter.get("/login", Effect.as(handlers.login, text("in"))),
  HttpRouter.get("/who", Effect.flatMap(handlers.who, (name) => HttpServerResponse.json(name)))
)

class Group extends HttpApiGroup.make("group")
  .add(HttpApiEndpoint.get("begin", "/begin"))
  .add(HttpApiEndpoint.get("login", "/login"))
  .add(HttpApiEndpoint.get("who", "/who").addSuccess(Schema.String))
{}

const apiServers: ReadonlyArray<readonly [name: string, app: Layer.Layer<never, never, Served>]> = ([
  ["HttpApi, the failing one first", Group.middleware(Visitor.HttpApi).middleware(Staff.HttpApi)],
  ["HttpApi, the failing one last", Group.middleware(Staff.HttpApi).middleware(Visitor.HttpApi)]
] as const).map(([name, group]) => {
  const api = HttpApi.make("api").add(group)
  const live = HttpApiBuilder.group(
    api,
    "group",
    (group) =>
      group.handle("begin", () => handlers.begin).handle("login", () => handlers.login).handle(
        "who",
        () => handlers.who
      )
  )
  return [name, HttpApiBuilder.serve().pipe(Layer.provide(Layer.provide(HttpApiBuilder.api(api), live)))]
})

describe("two sessions of one request", () => {
  live(
    "with HttpServer.serve(app, middleware): the request succeeds and each session sends its cookie",
    Effect.gen(function*() {
      const app = Effect.as(Effect.zipRight(Visitor.set("name", "ann"), Staff.set("name", "bob")), text("both"))
      const site = yield* open(HttpServer.serve(app, (app) => Staff.middleware(Visitor.middleware(app))))
      const answer = yield* site.visit("/")
      assert.deepStrictEqual([answer.status, answer.body], [200, "both"])
      assert.sameMembers(setCookiesOf(answer).map(({ name }) => name), ["__Host-Http-session", "__Host-Http-staff"])
    })
  )

  const nested: ReadonlyArray<readonly [name: string, app: Layer.Layer<never, never, Served>]> = [
    ["the failing one outside", HttpServer.serve(Staff.middleware(Visitor.middleware(routes)))],
    ["the failing one inside", HttpServer.serve(Visitor.middleware(Staff.middleware(routes)))],
    ...apiServers
  ]
  for (const [name, app] of nested) {
    live(
      `${name}: if the commit of one fails, the cookie of the other still works`,
      Effect.gen(function*() {
        const site = yield* open(app)
        const start = yield* site.visit("/begin")
        const cookies = new Map(setCookiesOf(start).map(({ name, value }) => [name, value]))
        assert.strictEqual(cookies.size, 2)
        const jar = () => [...cookies].map(([name, value]) => `${name}=${value}`).join("; ")
        yield* site.breaks("save")
        const failed = yield* site.visit("/login", jar())
        assert.strictEqual(failed.status, 503)
        // The other session may have been written.
        assert.notInclude(failed.body, "Nothing was written")
        for (const { name, value } of setCookiesOf(failed)) cookies.set(name, value)
        yield* site.breaks(undefined)
        const who = yield* site.visit("/who", jar())
        assert.include(["ann", "guest"], JSON.parse(who.body))
      })
    )
  }
})
