/**
 * Types of the front ends: their requirements and results. Checked by the compiler, never run.
 */
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiGroup,
  type HttpApiMiddleware,
  HttpApp,
  HttpLayerRouter,
  HttpRouter,
  HttpServer,
  HttpServerResponse
} from "@effect/platform"
import { Rpc, RpcGroup, RpcServer } from "@effect/rpc"
import { Context, Effect, Layer, type Option, Schema } from "effect"
import { Csrf, Session, SessionError, SessionErrorPage } from "effect-session"
import type { SessionHttpApi } from "effect-session/SessionHttpApi"
import * as SessionHttpApiModule from "effect-session/SessionHttpApi"
import * as SessionRpc from "effect-session/SessionRpc"
import type { SessionService } from "effect-session/SessionService"
import { expectTypeOf } from "vitest"

const fields = { user: Schema.optional(Schema.String) }
class App extends Session.Tag<App>()("types/App", { schema: Schema.Struct(fields) }) {}
class Twin extends Session.Tag<Twin>()("types/Twin", { schema: Schema.Struct(fields) }) {}

type Services =
  | HttpServer.HttpServer
  | HttpRouter.HttpRouter.DefaultServices
  | SessionService<App>
  | SessionService<Twin>
  | SessionHttpApi<App>

/** Accepts a server whose only missing requirements are the layers of the sessions. */
declare const complete: <R extends Services>(server: Layer.Layer<never, never, R>) => void

const user = Effect.map(App.get("user"), String)
const page = Effect.map(user, (user) => HttpServerResponse.text(user))

// ---- HttpRouter, HttpServer.serve, web handlers
expectTypeOf(App.middleware(page)).toEqualTypeOf<
  HttpApp.Default<SessionError.SessionUnavailable, SessionService<App>>
>()
const router = HttpRouter.empty.pipe(HttpRouter.get("/", page))
complete(HttpServer.serve(HttpRouter.use(router, App.middleware)))
complete(HttpServer.serve(router, App.middleware))
complete(HttpServer.serve(App.middleware(App.middleware(router))))
// @ts-expect-error a handler that uses the session needs its middleware
complete(HttpServer.serve(router))
// @ts-expect-error the middleware of another session is not enough
complete(HttpServer.serve(HttpRouter.use(router, Twin.middleware)))
// @ts-expect-error also if it is around the server
complete(HttpServer.serve(router, Twin.middleware))
declare const service: Layer.Layer<SessionService<App>>
HttpApp.toWebHandlerLayer(App.middleware(page), service)
// @ts-expect-error a handler inside a web handler needs the middleware, too
HttpApp.toWebHandlerLayer(page, service)
// @ts-expect-error a web handler needs the layer of the session
HttpApp.toWebHandlerLayer(App.middleware(page), Layer.empty)

// ---- HttpLayerRouter
type Requires<R> = HttpLayerRouter.Request.From<"Requires", R>
type GlobalRequires<R> = HttpLayerRouter.Request.From<"GlobalRequires", R>
expectTypeOf(App.routes.layer).toEqualTypeOf<Layer.Layer<Requires<App>, never, SessionService<App>>>()
expectTypeOf(App.allRoutes).toEqualTypeOf<
  Layer.Layer<Requires<App> | GlobalRequires<App>, never, HttpLayerRouter.HttpRouter | SessionService<App>>
>()
const route = HttpLayerRouter.add("GET", "/", page)
complete(HttpLayerRouter.serve(Layer.provide(route, App.routes.layer)))
complete(HttpLayerRouter.serve(Layer.provide(route, App.allRoutes)))
complete(HttpLayerRouter.serve(Layer.provide(route, [App.routes.layer, App.allRoutes])))
// @ts-expect-error a route that uses the session needs its middleware
complete(HttpLayerRouter.serve(route))
// @ts-expect-error the middleware of another session is not enough
complete(HttpLayerRouter.serve(Layer.provide(route, Twin.routes.layer)))
// @ts-expect-error also if it is for all routes
complete(HttpLayerRouter.serve(Layer.provide(route, Twin.allRoutes)))

const needing = HttpLayerRouter.middleware<{ provides: never }>()((app) => Effect.zipRight(Effect.orDie(user), app))
expectTypeOf(needing.layer).toBeString()
complete(HttpLayerRouter.serve(Layer.provide(HttpLayerRouter.add("GET", "/", page), needing.combine(App.routes).layer)))
const global = HttpLayerRouter.middleware((app) => Effect.zipRight(Effect.orDie(user), app), { global: true })
complete(HttpLayerRouter.serve(Layer.provide(global, App.allRoutes)))
// @ts-expect-error a global middleware that uses the session needs the session for all routes
complete(HttpLayerRouter.serve(Layer.provide(global, App.routes.layer)))

// ---- HttpApi
expectTypeOf<HttpApiMiddleware.HttpApiMiddleware.Provides<SessionHttpApi<App>>>().toEqualTypeOf<App>()
expectTypeOf<HttpApiMiddleware.HttpApiMiddleware.Error<SessionHttpApi<App>>>().toEqualTypeOf<
  SessionError.SessionError
>()
const endpoint = HttpApiEndpoint.get("user", "/user").addSuccess(Schema.String)
class With extends HttpApiGroup.make("with").add(endpoint).middleware(App.HttpApi) {}
class Single extends HttpApiGroup.make("single").add(endpoint.middleware(App.HttpApi)) {}
class Other extends HttpApiGroup.make("other").add(endpoint).middleware(Twin.HttpApi) {}
class Without extends HttpApiGroup.make("without").add(endpoint) {}
class Api extends HttpApi.make("api").add(With).add(Single).add(Other).add(Without) {}
class Whole extends HttpApi.make("whole").add(Without).middleware(App.HttpApi) {}

const grouped = HttpApiBuilder.group(Api, "with", (handlers) => handlers.handle("user", () => user))
expectTypeOf<Layer.Layer.Context<typeof grouped>>().toEqualTypeOf<SessionHttpApi<App>>()
expectTypeOf<
  Layer.Layer.Context<ReturnType<typeof single>>
>().toEqualTypeOf<SessionHttpApi<App>>()
const single = () => HttpApiBuilder.group(Api, "single", (handlers) => handlers.handle("user", () => user))
const whole = HttpApiBuilder.group(Whole, "without", (handlers) => handlers.handle("user", () => user))
complete(HttpApiBuilder.serve().pipe(Layer.provide(HttpApiBuilder.api(Whole)), Layer.provide(whole)))
complete(HttpLayerRouter.serve(Layer.provide(HttpLayerRouter.addHttpApi(Whole), whole)))
// @ts-expect-error the errors of the session are not declared without its middleware
HttpApiBuilder.group(Api, "without", (handlers) => handlers.handle("user", () => user))
// If the errors are defects, the session is still a requirement.
const orphan = HttpApiBuilder.group(Api, "without", (handlers) => handlers.handle("user", () => Effect.orDie(user)))
expectTypeOf<Layer.Layer.Context<typeof orphan>>().toEqualTypeOf<App>()
const otherMiddleware = HttpApiBuilder.group(Api, "other", (handlers) => handlers.handle("user", () => user))
expectTypeOf<Layer.Layer.Context<typeof otherMiddleware>>().toEqualTypeOf<App | SessionHttpApi<Twin>>()

// ---- guards of an HttpApi
class Unauthorized extends Schema.TaggedError<Unauthorized>()("Unauthorized", {}) {}
class CurrentUser extends Context.Tag("types/CurrentUser")<CurrentUser, { readonly name: string }>() {}
class Users extends Context.Tag("types/Users")<Users, { readonly byName: (name: string) => Effect.Effect<Found> }>() {}
type Found = { readonly name: string }
class SignedIn extends SessionHttpApiModule.Guard<SignedIn>()("types/SignedIn", {
  session: App,
  provides: CurrentUser,
  failure: Unauthorized
}) {}
class Lenient extends SessionHttpApiModule.Guard<Lenient>()("types/Lenient", { session: App, provides: CurrentUser }) {}
expectTypeOf<HttpApiMiddleware.HttpApiMiddleware.Provides<SignedIn>>().toEqualTypeOf<CurrentUser>()
expectTypeOf<HttpApiMiddleware.HttpApiMiddleware.Error<SignedIn>>().toEqualTypeOf<
  Unauthorized | SessionError.SessionError
>()
expectTypeOf<HttpApiMiddleware.HttpApiMiddleware.Error<Lenient>>().toEqualTypeOf<SessionError.SessionError>()
const found = SignedIn.layer(
  Effect.map(
    Users,
    ({ byName }) => (session) =>
      Effect.flatMap(
        session.getOption("user"),
        (user) => user._tag === "Some" ? byName(user.value) : Effect.fail(new Unauthorized())
      )
  )
)
// The requirements of the outer effect become those of the layer, which also requires the service of the session.
expectTypeOf(found).toEqualTypeOf<Layer.Layer<SignedIn, never, Users | SessionService<App>>>()
expectTypeOf(SignedIn.layer(() => new Unauthorized())).toEqualTypeOf<
  Layer.Layer<SignedIn, never, SessionService<App>>
>()
const generated = SignedIn.layer(Effect.gen(function*() {
  yield* Effect.acquireRelease(Effect.void, () => Effect.void)
  const { byName } = yield* Users
  return (session) => Effect.flatMap(session.subject, () => byName("ann"))
}))
expectTypeOf(generated).toEqualTypeOf<Layer.Layer<SignedIn, never, Users | SessionService<App>>>()
// @ts-expect-error a guard fails only with its declared error and with errors of the session
SignedIn.layer(() => Effect.fail("an undeclared error"))
// @ts-expect-error a guard without a declared error fails only with errors of the session
Lenient.layer(() => new Unauthorized())
// @ts-expect-error a guard returns the value that it provides
SignedIn.layer(() => Effect.succeed({ nickname: "ann" }))
// @ts-expect-error services used at each request must be requirements of the layer
SignedIn.layer((session) => Effect.zipRight(session.subject, Effect.flatMap(Users, ({ byName }) => byName("ann"))))
class Signed extends HttpApiGroup.make("signed").add(endpoint).middleware(SignedIn) {}
class Both extends HttpApiGroup.make("both").add(endpoint.middleware(App.HttpApi)).middleware(SignedIn) {}
class SignedApi extends HttpApi.make("signed").add(Signed).add(Both) {}
const current = Effect.map(CurrentUser, ({ name }) => name)
const signed = HttpApiBuilder.group(SignedApi, "signed", (handlers) => handlers.handle("user", () => current))
expectTypeOf<Layer.Layer.Context<typeof signed>>().toEqualTypeOf<SignedIn>()
const both = HttpApiBuilder.group(
  SignedApi,
  "both",
  (handlers) => handlers.handle("user", () => Effect.zipRight(current, user))
)
expectTypeOf<Layer.Layer.Context<typeof both>>().toEqualTypeOf<SignedIn | SessionHttpApi<App>>()
// The guard provides the user alone: an endpoint that uses the session has its middleware, too.
const alone = HttpApiBuilder.group(SignedApi, "signed", (handlers) => handlers.handle("user", () => Effect.orDie(user)))
expectTypeOf<Layer.Layer.Context<typeof alone>>().toEqualTypeOf<SignedIn | App>()

// ---- two tags' middlewares never unify, even of one shape
expectTypeOf<SessionHttpApi<App>>().not.toEqualTypeOf<SessionHttpApi<Twin>>()
declare const twin: Layer.Layer<SessionHttpApi<Twin>>
// @ts-expect-error the middlewares of two tags have different types
const wrong: Layer.Layer<SessionHttpApi<App>> = twin
void wrong
// @ts-expect-error and so have their tags
const mistaken: typeof App.HttpApi = Twin.HttpApi
void mistaken

// ---- RPC
const WithSession = SessionRpc.make(App)
const error = SessionError.SessionError
expectTypeOf(WithSession.layer).toEqualTypeOf<Layer.Layer<SessionRpc.SessionRpc<App>>>()
class Calls extends RpcGroup.make(Rpc.make("User", { success: Schema.String, error })) {}
class Guarded extends Calls.middleware(WithSession) {}
const calls = Guarded.toLayer({ User: () => user })
expectTypeOf<Layer.Layer.Context<typeof calls>>().toEqualTypeOf<never>()
// The group requires the middleware, too.
expectTypeOf<Layer.Layer.Context<ReturnType<typeof rpc>>>().toEqualTypeOf<
  RpcServer.Protocol | SessionRpc.SessionRpc<App>
>()
const rpc = () => RpcServer.layer(Guarded).pipe(Layer.provide(calls))
const withoutSession = Calls.toLayer({ User: () => user })
expectTypeOf<Layer.Layer.Context<typeof withoutSession>>().toEqualTypeOf<App>()
class Silent extends RpcGroup.make(Rpc.make("User", { success: Schema.String })).middleware(WithSession) {}
// @ts-expect-error a procedure must declare the errors that its handler does not catch
Silent.toLayer({ User: () => user })
Silent.toLayer({ User: () => Effect.orDie(user) })
class OtherMiddleware extends Calls.middleware(SessionRpc.make(Twin)) {}
const otherCalls = OtherMiddleware.toLayer({ User: () => user })
expectTypeOf<Layer.Layer.Context<typeof otherCalls>>().toEqualTypeOf<App>()
expectTypeOf<SessionRpc.SessionRpc<App>>().not.toEqualTypeOf<SessionRpc.SessionRpc<Twin>>()

// ---- pages for errors
expectTypeOf(SessionErrorPage.layer((error) => HttpServerResponse.text(error._tag))).toEqualTypeOf<
  Layer.Layer<SessionErrorPage.SessionErrorPage>
>()
// @ts-expect-error a page cannot fail
SessionErrorPage.layer(() => Effect.fail("no template"))
// @ts-expect-error a page cannot use the session, which has failed
SessionErrorPage.layer(() => page)

// Protection against forged requests accepts every tag, also one with a context.
class Person extends Session.Tag<Person>()("types/Person", {
  schema: Schema.Struct(fields),
  context: Schema.Struct({ browser: Schema.String }),
  maxPerSubject: 3
}) {}
class Protected extends Csrf.HttpApi<Protected>()("types/Csrf", Person) {}

expectTypeOf(Csrf.token(Person)).toEqualTypeOf<
  Effect.Effect<Option.Option<string>, SessionError.SessionUnavailable, Person>
>()
expectTypeOf(Protected.layer()).toEqualTypeOf<Layer.Layer<Protected, never, SessionService<Person>>>()
expectTypeOf(Csrf.middleware(Person)(Effect.as(Person.subject, HttpServerResponse.empty()))).toEqualTypeOf<
  HttpApp.Default<Csrf.CsrfRejected | SessionError.SessionUnavailable, SessionService<Person>>
>()
expectTypeOf(Csrf.routes(Person)).toEqualTypeOf<Csrf.Routes<Person>>()
expectTypeOf(Csrf.allRoutes(Person)).toEqualTypeOf<Csrf.AllRoutes<Person>>()
