/** Guards of an HttpApi: they check the session and provide a value to the handlers. */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiClient from "@effect/platform/HttpApiClient"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiError from "@effect/platform/HttpApiError"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as OpenApi from "@effect/platform/OpenApi"
import { Array, Context, Effect, Layer, Option, Schema } from "effect"
import { SessionErrorPage } from "effect-session"
import * as SessionHttpApi from "effect-session/SessionHttpApi"
import { assert, describe, expect, it } from "vitest"
import { browse, counted, header, here, live, open, type Served, served, Staff, Visitor } from "./support/frontEnds.js"
import { setCookiesOf } from "./support/httpServer.js"
import { unavailable } from "./support/shopApi.js"

class User extends Schema.Class<User>("GuardedUser")({ id: Schema.String, name: Schema.String }) {}
class CurrentUser extends Context.Tag("test/CurrentUser")<CurrentUser, User>() {}
class Clerk extends Context.Tag("test/Clerk")<Clerk, Option.Option<string>>() {}

/** Looks up users for a guard. `asked` records the URLs of the guarded requests. */
class Users extends Context.Tag("test/Users")<Users, {
  readonly byId: (id: string) => Effect.Effect<Option.Option<User>>
  readonly asked: Array<string>
}>() {}

class Unauthorized extends Schema.TaggedError<Unauthorized>("GuardUnauthorized")("GuardUnauthorized", {
  login: Schema.String
}, HttpApiSchema.annotations({ status: 401 })) {}

class SignedIn extends SessionHttpApi.Guard<SignedIn>()("test/SignedIn", {
  session: Visitor,
  provides: CurrentUser,
  failure: Unauthorized
}) {}

/** Another session's guard, which never fails. */
class WithClerk extends SessionHttpApi.Guard<WithClerk>()("test/WithClerk", { session: Staff, provides: Clerk }) {}

/** A guard that changes the session and fails. */
class Closed extends SessionHttpApi.Guard<Closed>()("test/Closed", {
  session: Visitor,
  provides: CurrentUser,
  failure: HttpApiError.Unauthorized
}) {}

const mine = { success: Schema.Tuple(Schema.String, Schema.Number) }
const endpoint = <const Name extends string>(name: Name, path: `/${string}`) =>
  HttpApiEndpoint.get(name, path).addSuccess(mine.success)

const Account = HttpApiGroup.make("account")
  .add(
    HttpApiEndpoint.post("login", "/login").setPayload(Schema.Struct({ name: Schema.String })).middleware(
      Visitor.HttpApi
    )
  )
  .add(HttpApiEndpoint.get("me", "/me").addSuccess(User).middleware(SignedIn))
  .add(
    HttpApiEndpoint.post("rename", "/rename").setPayload(Schema.Struct({ name: Schema.String })).addSuccess(User)
      .middleware(SignedIn)
  )
  .add(endpoint("before", "/before").middleware(SignedIn).middleware(Visitor.HttpApi))
  .add(endpoint("after", "/after").middleware(Visitor.HttpApi).middleware(SignedIn))
  .add(endpoint("closed", "/closed").middleware(Visitor.HttpApi).middleware(Closed))
  .add(HttpApiEndpoint.get("stale", "/stale").middleware(Closed))
  .add(
    endpoint("two", "/two").middleware(SignedIn).middleware(WithClerk).middleware(Staff.HttpApi).middleware(
      Visitor.HttpApi
    )
  )
  .add(HttpApiEndpoint.get("open", "/open").addSuccess(Schema.String))

/** The session's middleware on the group and the guard on the endpoint, and vice versa. */
const Inner = HttpApiGroup.make("inner").add(endpoint("inner", "/inner").middleware(SignedIn)).middleware(
  Visitor.HttpApi
)
const Outer = HttpApiGroup.make("outer").add(endpoint("outer", "/outer").middleware(Visitor.HttpApi)).middleware(
  SignedIn
)
class Api extends HttpApi.make("guarded").add(Account).add(Inner).add(Outer) {}

/** A guard on the whole API. */
class Whole extends HttpApi.make("whole")
  .add(HttpApiGroup.make("whole").add(endpoint("whole", "/whole").middleware(Visitor.HttpApi)))
  .middleware(SignedIn)
{}

const guarded = Effect.all([Effect.map(CurrentUser, ({ name }) => name), counted])

const guards = Layer.mergeAll(
  SignedIn.layer(
    Effect.map(Users, ({ asked, byId }) => (session) =>
      Effect.gen(function*() {
        const { url } = yield* HttpServerRequest.HttpServerRequest
        asked.push(url)
        const id = yield* session.subject
        const user = Option.isSome(id) ? yield* byId(id.value) : Option.none()
        return yield* Option.match(user, {
          onNone: () => new Unauthorized({ login: "/login" }),
          onSome: Effect.succeed
        })
      }))
  ),
  WithClerk.layer((session) => session.getOption("name")),
  Closed.layer((session) =>
    Effect.gen(function*() {
      const { url } = yield* HttpServerRequest.HttpServerRequest
      yield* url === "/stale" ? session.destroy : session.update("count", (n) => n + 1)
      return yield* new HttpApiError.Unauthorized()
    })
  )
)

const handlers = Layer.mergeAll(
  HttpApiBuilder.group(Api, "account", (handlers) =>
    handlers
      .handle("login", ({ payload: { name } }) => Visitor.authenticate(name))
      .handle("me", () => CurrentUser)
      .handle("rename", ({ payload: { name } }) => Effect.map(CurrentUser, ({ id }) => new User({ id, name })))
      .handle("before", () => guarded)
      .handle("after", () => guarded)
      .handle("closed", () => guarded)
      .handle("stale", () => Effect.void)
      .handle("two", () =>
        Effect.gen(function*() {
          const clerk = yield* Clerk
          yield* Staff.set("name", "sue")
          const [name, count] = yield* guarded
          return [`${name} ${Option.getOrElse(clerk, () => "anonymous")}`, count] as const
        }))
      .handle("open", () => Effect.map(Effect.serviceOption(Visitor), ({ _tag }) => _tag))),
  HttpApiBuilder.group(Api, "inner", (handlers) => handlers.handle("inner", () => guarded)),
  HttpApiBuilder.group(Api, "outer", (handlers) => handlers.handle("outer", () => guarded)),
  HttpApiBuilder.group(Whole, "whole", (handlers) => handlers.handle("whole", () => guarded))
).pipe(Layer.provideMerge(guards))

const asked: Array<string> = []
const users = Layer.succeed(Users, {
  asked,
  byId: (id) => Effect.succeed(id === "deleted" ? Option.none() : Option.some(new User({ id, name: `user ${id}` })))
})

const everything = handlers.pipe(Layer.provide(users))

/** The ways to serve an API, by its layer or its routes. */
const servers = (
  api: Layer.Layer<HttpApi.Api, never, Served>,
  routes: Layer.Layer<never, never, Served | HttpLayerRouter.HttpRouter>
): ReadonlyArray<readonly [name: string, app: Layer.Layer<never, never, Served>]> => [
  ["HttpApiBuilder.serve", Layer.provide(HttpApiBuilder.serve(), api)],
  ["HttpLayerRouter.addHttpApi", HttpLayerRouter.serve(routes)],
  [
    "HttpApiBuilder.toWebHandler",
    Layer.unwrapScoped(
      Effect.map(
        Effect.context<Served>(),
        (context) => served(HttpApiBuilder.toWebHandler(Layer.provideMerge(api, here(context))))
      )
    )
  ]
]
const api = HttpApiBuilder.api(Api).pipe(Layer.provide(everything))
const routes = HttpLayerRouter.addHttpApi(Api).pipe(Layer.provide(everything))
const plain = servers(api, routes)
const whole = servers(
  HttpApiBuilder.api(Whole).pipe(Layer.provide(everything)),
  HttpLayerRouter.addHttpApi(Whole).pipe(Layer.provide(everything))
)
const around: ReadonlyArray<readonly [string, Layer.Layer<never, never, Served>]> = [
  ["HttpApiBuilder.serve(AppSession.middleware)", Layer.provide(HttpApiBuilder.serve(Visitor.middleware), api)],
  [
    "addHttpApi with AppSession.routes",
    HttpLayerRouter.serve(Layer.provide(routes, Visitor.routes.layer))
  ],
  [
    "addHttpApi with AppSession.allRoutes",
    HttpLayerRouter.serve(Layer.provide(routes, Visitor.allRoutes))
  ]
]

const clientOn = (port: number) => {
  const { transformClient, ...browser } = browse()
  return Effect.map(
    HttpApiClient.make(Api, { baseUrl: `http://127.0.0.1:${port}`, transformClient }),
    (client) => ({ ...client, ...browser })
  ).pipe(Effect.provide(FetchHttpClient.layer))
}

const cookie = "__Host-Http-session"

for (const [name, app] of [...plain, ...around]) {
  describe(`a guard of an HttpApi on ${name}`, () => {
    live(
      "provides its value to a handler that does not use the session",
      Effect.gen(function*() {
        const site = yield* open(app)
        const { account } = yield* clientOn(site.port)
        yield* account.login({ payload: { name: "ann" } })
        site.calls()
        expect(yield* account.me({})).toStrictEqual(new User({ id: "ann", name: "user ann" }))
        assert.deepStrictEqual(site.calls(), ["load"])
      })
    )

    live(
      "shares one session and one commit with the session's middleware, in any order and at any level",
      Effect.gen(function*() {
        const site = yield* open(app)
        const { account, answers, cookies, inner, outer } = yield* clientOn(site.port)
        yield* account.login({ payload: { name: "ann" } })
        site.calls()
        const calls = [account.before({}), account.after({}), inner.inner({}), outer.outer({})]
        for (const [at, call] of calls.entries()) {
          assert.deepStrictEqual([yield* call, site.calls()], [["user ann", at + 1], ["load", "save"]])
          assert.strictEqual(answers.at(-1)?.headers["vary"], "Cookie")
        }
        assert.deepStrictEqual(cookies(), [cookie])
      })
    )

    live(
      "fails with its own typed error and status, before the payload is decoded and without a store call",
      Effect.gen(function*() {
        const site = yield* open(app)
        const { account, answers, inner, outer } = yield* clientOn(site.port)
        for (
          const call of [
            Effect.asVoid(account.me({})),
            account.before({}),
            account.after({}),
            inner.inner({}),
            outer.outer({})
          ]
        ) {
          const error = yield* Effect.flip(call)
          assert.deepStrictEqual(error, new Unauthorized({ login: "/login" }))
          assert.deepStrictEqual([answers.at(-1)?.status, answers.at(-1)?.headers["vary"]], [401, "Cookie"])
        }
        const malformed = yield* site.visit("/rename", undefined, { method: "POST", body: "{" })
        assert.deepStrictEqual([malformed.status, site.calls()], [401, []])
        assert.strictEqual(yield* account.open({}), around.some(([other]) => other === name) ? "Some" : "None")
      })
    )

    live(
      "rejects a session whose user was deleted",
      Effect.gen(function*() {
        const site = yield* open(app)
        const { account } = yield* clientOn(site.port)
        yield* account.login({ payload: { name: "deleted" } })
        assert.deepStrictEqual(yield* Effect.flip(account.me({})), new Unauthorized({ login: "/login" }))
      })
    )

    live(
      "sends pending cookies with its 401: of a session that it created, and of one that it destroyed",
      Effect.gen(function*() {
        const site = yield* open(app)
        const { account, answers, cookies } = yield* clientOn(site.port)
        assert.deepStrictEqual(yield* Effect.flip(account.closed({})), new HttpApiError.Unauthorized())
        assert.deepStrictEqual([answers.at(-1)?.status, cookies(), site.calls()], [401, [cookie], ["create"]])
        assert.strictEqual(answers.at(-1)?.headers["cache-control"], "no-store")
        yield* Effect.flip(account.closed({}))
        assert.deepStrictEqual([cookies(), site.calls()], [[cookie], ["load", "save"]])
        assert.deepStrictEqual(yield* Effect.flip(account.stale({})), new HttpApiError.Unauthorized())
        assert.deepStrictEqual([answers.at(-1)?.status, cookies(), site.calls()], [401, [], ["destroy"]])
      })
    )

    live(
      "a store that is down fails with SessionUnavailable: in the guard, and at the commit",
      Effect.gen(function*() {
        const page = SessionErrorPage.layer(() => HttpServerResponse.html("<h1>Sorry</h1>"))
        const site = yield* open(app.pipe(Layer.provide(page)))
        const { account, answers } = yield* clientOn(site.port)
        yield* account.login({ payload: { name: "ann" } })
        for (
          const [operation, call] of [["load", Effect.asVoid(account.me({}))], ["save", account.before({})], [
            "save",
            account.after({})
          ]] as const
        ) {
          yield* site.breaks(operation)
          assert.deepStrictEqual(yield* Effect.flip(call), unavailable)
          assert.deepStrictEqual([answers.at(-1)?.status, answers.at(-1)?.headers["retry-after"]], [503, "5"])
        }
      })
    )

    live(
      "guards and sessions of two tags on one endpoint use their own sessions",
      Effect.gen(function*() {
        const site = yield* open(app)
        const { account, cookies } = yield* clientOn(site.port)
        yield* account.login({ payload: { name: "ann" } })
        site.calls()
        assert.deepStrictEqual(yield* account.two({}), ["user ann anonymous", 1])
        assert.deepStrictEqual(site.calls().sort(), ["create", "load", "save"])
        assert.deepStrictEqual(cookies().sort(), [cookie, "__Host-Http-staff"])
        assert.deepStrictEqual(yield* account.two({}), ["user ann sue", 2])
      })
    )
  })
}

for (const [name, app] of whole) {
  live(
    `${name}: a guard on a whole API, around the session of an endpoint`,
    Effect.gen(function*() {
      const site = yield* open(app)
      const answer = yield* site.visit("/whole")
      assert.deepStrictEqual([answer.status, setCookiesOf(answer)], [401, []])
      assert.strictEqual(header(answer, "vary"), "Cookie")
      assert.deepStrictEqual(JSON.parse(answer.body), { _tag: "GuardUnauthorized", login: "/login" })
    })
  )
}

live(
  "a guard runs once for each request that it guards",
  Effect.gen(function*() {
    const site = yield* open(around[0]?.[1] ?? Layer.empty)
    asked.splice(0)
    for (const path of ["/me", "/open", "/outer"]) yield* site.visit(path)
    assert.deepStrictEqual(asked, ["/me", "/outer"])
  })
)

describe("the OpenAPI description of an API with guards", () => {
  const spec = OpenApi.fromApi(Api)
  const refs = (path: "/me" | "/before" | "/open" | "/two", status: 401 | 503) =>
    Array.dedupe(
      [...(JSON.stringify(spec.paths[path]?.get?.responses[status]) ?? "").matchAll(/schemas\/(?:[\w-]+\.)?(\w+)/g)]
        .map((
          match
        ) => match[1])
    )

  it("contains the guard's error with its status, beside the errors of the session", () => {
    assert.deepStrictEqual([refs("/me", 401), refs("/me", 503)], [
      ["GuardUnauthorized", "SessionNotFresh"],
      ["SessionUnavailable"]
    ])
    assert.deepStrictEqual([refs("/before", 401), refs("/open", 401), refs("/open", 503)], [
      ["GuardUnauthorized", "SessionNotFresh"],
      [],
      []
    ])
  })

  it("contains the session's cookie for endpoints behind a guard", () => {
    assert.deepStrictEqual(spec.paths["/me"]?.get?.security, [{ "test.Visitor": [] }])
    assert.deepInclude(spec.components.securitySchemes, {
      "test.Visitor": { type: "apiKey", in: "cookie", name: cookie },
      "test.Staff": { type: "apiKey", in: "cookie", name: "__Host-Http-staff" }
    })
  })
})
