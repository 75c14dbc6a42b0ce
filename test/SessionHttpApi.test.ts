/** The session in an HttpApi, from the view of its clients. */
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as OpenApi from "@effect/platform/OpenApi"
import { Deferred, Effect, Fiber, Layer, Option } from "effect"
import { SessionCookie, SessionError, SessionErrorPage } from "effect-session"
import { assert, describe, expect, it } from "vitest"
import { type browse, live, open, Visitor } from "./support/frontEnds.js"
import { pairOf } from "./support/httpServer.js"
import { request } from "./support/rawHttp.js"
import { apiServers, clientOn, login, routes, ShopApi, type Stage, unavailable, using } from "./support/shopApi.js"

const cookie = "__Host-Http-session"

/** The status and headers of the last response. */
const last = ({ answers }: Pick<ReturnType<typeof browse>, "answers">) => {
  const answer = answers.at(-1)
  return [answer?.status, answer?.headers["retry-after"], answer?.headers["vary"]]
}

for (const [name, serve] of apiServers) {
  describe(`an HttpApi on ${name}`, () => {
    live(
      "a visitor without a cookie is anonymous; login, use and logout work",
      Effect.gen(function*() {
        const site = yield* open(serve())
        const { account, cookies } = yield* clientOn(site.port)
        expect([yield* account.whoami({}), site.calls(), cookies()]).toStrictEqual([Option.none(), [], []])

        yield* account.login({ payload: { name: "ann" } })
        assert.deepStrictEqual([site.calls(), cookies()], [["create"], [cookie]])
        expect([yield* account.whoami({}), site.calls()]).toStrictEqual([Option.some("ann"), ["load"]])
        assert.deepStrictEqual([yield* account.count({}), site.calls()], [1, ["load", "save"]])

        yield* account.logout({})
        assert.deepStrictEqual([site.calls(), cookies()], [["destroy"], []])
        expect(yield* account.whoami({})).toStrictEqual(Option.none())
      })
    )

    live(
      "a store that is down fails with SessionUnavailable: in the handler, and at the commit",
      Effect.gen(function*() {
        const site = yield* open(serve())
        const { account, ...browser } = yield* clientOn(site.port)
        yield* account.login({ payload: { name: "ann" } })
        for (const [operation, call] of [...using(account), ["destroy", account.logout({})]] as const) {
          yield* site.breaks(operation)
          assert.deepStrictEqual(yield* Effect.flip(call), unavailable)
          assert.deepStrictEqual(last(browser), [503, "5", "Cookie"], operation)
          yield* site.breaks(undefined)
        }
        expect(yield* account.whoami({})).toStrictEqual(Option.some("ann"))
      })
    )

    live(
      "an invalid value fails with SessionInvalid",
      Effect.gen(function*() {
        const site = yield* open(serve())
        const { account, ...browser } = yield* clientOn(site.port)
        const error = yield* Effect.flip(account.invalidate({}))
        assert.instanceOf(error, SessionError.SessionInvalid)
        assert.deepStrictEqual([error._tag === "SessionInvalid" && error.field, last(browser)[0]], ["count", 400])
      })
    )

    live(
      "a conflicting change fails with SessionConflict, and a change after a concurrent logout with SessionGone",
      Effect.gen(function*() {
        const stage: Stage = { pause: Effect.void }
        const site = yield* open(serve(stage))
        const { account, ...browser } = yield* clientOn(site.port)
        const meanwhile = (other: Effect.Effect<void, unknown>) =>
          Effect.gen(function*() {
            yield* account.login({ payload: { name: "ann" } })
            const [reached, go] = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
            stage.pause = Effect.zipRight(Deferred.succeed(reached, undefined), Deferred.await(go))
            const renaming = yield* Effect.fork(Effect.flip(account.rename({ payload: { name: "bob" } })))
            yield* Deferred.await(reached)
            stage.pause = Effect.void
            yield* other
            yield* Deferred.succeed(go, undefined)
            const error = yield* Fiber.join(renaming)
            return [error._tag, last(browser)[0]]
          })
        assert.deepStrictEqual(
          yield* meanwhile(account.rename({ payload: { name: "eve" } })),
          ["SessionConflict", 409]
        )
        expect(yield* account.whoami({})).toStrictEqual(Option.some("eve"))
        assert.deepStrictEqual(yield* meanwhile(account.logout({})), ["SessionGone", 409])
      })
    )

    live(
      "single endpoints may use the session, beside other guards and other sessions",
      Effect.gen(function*() {
        const site = yield* open(serve())
        const { account, cookies, office } = yield* clientOn(site.port)
        yield* account.login({ payload: { name: "ann" } })
        site.calls()
        assert.deepStrictEqual([yield* office.open({}), site.calls()], ["None", []])
        for (const call of [office.guarded({}), office.guardedFirst({})]) {
          assert.deepStrictEqual([(yield* Effect.flip(call))._tag, site.calls()], ["Unauthorized", []])
        }
        const pair = yield* pairOf(yield* site.visit("/login", undefined, login("bob")))
        site.calls()
        for (const path of ["/guarded", "/guarded-first"]) {
          const answer = yield* site.visit(path, pair, { headers: { authorization: "Bearer key" } })
          assert.deepStrictEqual([answer.body, site.calls()], [`"key bob"`, ["load"]])
        }
        yield* office.both({ payload: { name: "eve" } })
        assert.deepStrictEqual(site.calls().sort(), ["create", "load", "save"])
        assert.deepStrictEqual(cookies().sort(), [cookie, "__Host-Http-staff"])
      })
    )

    live(
      "clients get no error page",
      Effect.gen(function*() {
        const page = SessionErrorPage.layer(() => HttpServerResponse.html("<h1>Sorry</h1>"))
        const site = yield* open(serve().pipe(Layer.provide(page)))
        const { account } = yield* clientOn(site.port)
        yield* account.login({ payload: { name: "ann" } })
        for (const [operation, call] of using(account)) {
          yield* site.breaks(operation)
          assert.deepStrictEqual(yield* Effect.flip(call), unavailable)
        }
      })
    )

    live(
      "the development cookie works on localhost only, and for any other host the error states it",
      Effect.gen(function*() {
        const site = yield* open(serve(), Visitor.layerWith({ cookie: SessionCookie.development }))
        const near = yield* request(site.port, "/whoami")
        assert.strictEqual(near.status, 200)
        const far = yield* request(site.port, "/whoami", [["Host", "shop.example"]])
        assert.strictEqual(far.status, 500)
        assert.include(far.body, "answers on localhost only")
      })
    )
  })
}

for (const [name, serve] of apiServers) {
  live(
    `${name}: a save in the handler that fails answers with Retry-After`,
    Effect.gen(function*() {
      const site = yield* open(serve())
      const { account, answers } = yield* clientOn(site.port)
      yield* account.login({ payload: { name: "ann" } })
      yield* site.breaks("save")
      assert.deepStrictEqual(yield* Effect.flip(account.save({})), unavailable)
      assert.strictEqual(answers.at(-1)?.headers["retry-after"], "5")
    })
  )
}

describe("the OpenAPI description of an API", () => {
  it("has component names that the specification allows", () => {
    for (const name of Object.keys(OpenApi.fromApi(ShopApi).components.schemas)) {
      assert.match(name, /^[A-Za-z0-9._-]+$/)
    }
  })

  const spec = OpenApi.fromApi(ShopApi)
  const operation = (path: "/whoami" | "/guarded" | "/both" | "/open") =>
    spec.paths[path]?.get ?? spec.paths[path]?.post
  const shapes = (path: "/whoami" | "/open", status: 409 | 503) =>
    JSON.stringify(operation(path)?.responses[status])?.match(/Session[A-Z][a-z]+(?="})/g)

  it("contains each session's cookie under the name of its tag", () => {
    assert.deepInclude(spec.components.securitySchemes, {
      "test.Visitor": { type: "apiKey", in: "cookie", name: cookie },
      "test.Staff": { type: "apiKey", in: "cookie", name: "__Host-Http-staff" }
    })
  })

  it("lists which endpoints use which session", () => {
    assert.deepStrictEqual(operation("/whoami")?.security, [{ "test.Visitor": [] }])
    assert.deepStrictEqual(operation("/guarded")?.security, [{ "test.Visitor": [] }, { bearer: [] }])
    assert.deepStrictEqual(operation("/both")?.security, [{ "test.Visitor": [] }, { "test.Staff": [] }])
    assert.deepStrictEqual(operation("/open")?.security, [])
    assert.deepStrictEqual(OpenApi.fromApi(ShopApi.middleware(Visitor.HttpApi)).security, [{ "test.Visitor": [] }])
  })

  it("lists the errors of the session for endpoints that use it", () => {
    assert.deepStrictEqual(shapes("/whoami", 503), ["SessionUnavailable"])
    assert.deepStrictEqual(shapes("/whoami", 409), ["SessionConflict", "SessionGone"])
    assert.isUndefined(shapes("/open", 503))
  })

  live(
    "declares exactly the fields of the responses",
    Effect.gen(function*() {
      const declared = Object.entries(spec.components.schemas).flatMap(([name, schema]) =>
        name.endsWith("SessionUnavailable") && "properties" in schema ? [Object.keys(schema.properties).sort()] : []
      )
      for (
        const app of [
          HttpLayerRouter.serve(routes().pipe(Layer.provide(Visitor.allRoutes))),
          ...apiServers.map(([, serve]) => serve())
        ]
      ) {
        const site = yield* open(app)
        const pair = yield* pairOf(yield* site.visit("/login", undefined, login("ann")))
        for (const [operation, path, method] of [["load", "/whoami", "GET"], ["save", "/count", "POST"]] as const) {
          yield* site.breaks(operation)
          const { body } = yield* site.visit(path, pair, { method })
          assert.deepStrictEqual([Object.keys(JSON.parse(body)).sort()], declared)
        }
      }
    })
  )
})
