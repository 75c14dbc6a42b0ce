/**
 * Types of session tags: programs that compile, and programs that must not. Checked by the compiler, never run.
 */
import { HttpRouter, HttpServerResponse } from "@effect/platform"
import { Context, Effect, type Layer, type Option, Schema } from "effect"
import { Expiry, Merge, Session, SessionCookie, type SessionError } from "effect-session"
import type { SessionConfigError } from "effect-session/SessionConfigError"
import type { SessionDirectory } from "effect-session/SessionDirectory"
import type { SessionEngine } from "effect-session/SessionEngine"
import type { SessionHttpApi } from "effect-session/SessionHttpApi"
import type { SessionService } from "effect-session/SessionService"
import { expectTypeOf } from "vitest"

class App extends Session.Tag<App>()("types/App", {
  schema: Schema.Struct({
    user: Schema.optional(Schema.String),
    exact: Schema.optionalWith(Schema.Number, { exact: true }),
    locale: Schema.optionalWith(Schema.Literal("en", "ja", "ko"), { default: () => "en" }),
    cart: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] }),
    since: Schema.optional(Schema.Date)
  }),
  merge: { cart: Merge.union }
}) {}

class Twin
  extends Session.Tag<Twin>()("types/Twin", { schema: Schema.Struct({ user: Schema.optional(Schema.String) }) })
{}
class Twin2
  extends Session.Tag<Twin2>()("types/Twin2", { schema: Schema.Struct({ user: Schema.optional(Schema.String) }) })
{}

// ---- keys and values are exact
expectTypeOf(App.get("cart")).toEqualTypeOf<
  Effect.Effect<ReadonlyArray<string>, SessionError.SessionUnavailable, App>
>()
expectTypeOf(App.get("user")).toEqualTypeOf<Effect.Effect<string | undefined, SessionError.SessionUnavailable, App>>()
expectTypeOf(App.get("locale")).toEqualTypeOf<Effect.Effect<"en" | "ja" | "ko", SessionError.SessionUnavailable, App>>()
expectTypeOf(App.getOption("since")).toEqualTypeOf<
  Effect.Effect<Option.Option<Date>, SessionError.SessionUnavailable, App>
>()
expectTypeOf(App.modify("cart", (cart) => [cart.length, cart])).toEqualTypeOf<
  Effect.Effect<number, SessionError.SessionWriteError, App>
>()
expectTypeOf(App.save).toEqualTypeOf<Effect.Effect<void, SessionError.SessionError, App>>()

App.set("locale", "ja")
App.set("user", undefined)
App.remove("user")
App.pop("exact")
App.patch({ locale: "ko", cart: ["tea"] })

// @ts-expect-error no such field
App.get("crat")
// @ts-expect-error not one of the literals
App.set("locale", "fr")
// @ts-expect-error an exact optional field cannot hold undefined
App.set("exact", undefined)
// @ts-expect-error a field with a default cannot be removed
App.remove("cart")
// @ts-expect-error a field with a default cannot be popped
App.pop("locale")
// @ts-expect-error an update returns the type of the field
App.update("cart", (cart) => cart.length)
// @ts-expect-error a patch has only fields of the session
App.patch({ crat: [] })
// @ts-expect-error the subject is a string
App.authenticate(7)

// ---- `initial` is required exactly if {} does not decode
// @ts-expect-error `initial` is missing
Session.Tag<App>()("types/Needs", { schema: Schema.Struct({ n: Schema.Number }) })
Session.Tag<App>()("types/Has", { schema: Schema.Struct({ n: Schema.Number }), initial: { n: 0 } })
// @ts-expect-error a union is no session schema: it must be the type of a field
Session.Tag<App>()("types/Union", { schema: Schema.Union(Schema.Struct({}), Schema.String) })
class Shape extends Schema.Class<Shape>("Shape")({ n: Schema.optional(Schema.Number) }) {}
expectTypeOf(Session.Tag<App>()("types/Class", { schema: Shape }).value).toEqualTypeOf<
  Effect.Effect<Shape, SessionError.SessionUnavailable, App>
>()
Session.Tag<App>()("types/Merge", {
  schema: Schema.Struct({ s: Schema.optional(Schema.String) }),
  // @ts-expect-error a merge has the type of its field
  merge: { s: Merge.sum }
})

// ---- without Self the result is no class, and its type states the reason
const missing = Session.Tag()("types/Missing", { schema: Schema.Struct({}) })
expectTypeOf(missing).toEqualTypeOf<
  "Missing `Self` generic - use `class AppSession extends Session.Tag<AppSession>()(…) {}`"
>()

// ---- two tags never unify, even of one shape
expectTypeOf<Effect.Effect.Context<typeof Twin.value>>().not.toEqualTypeOf<Effect.Effect.Context<typeof Twin2.value>>()
expectTypeOf<SessionService<Twin>>().not.toEqualTypeOf<SessionService<Twin2>>()
declare const twinLayer: Layer.Layer<SessionService<Twin>>
// @ts-expect-error the services of two tags have different types
const wrong: Layer.Layer<SessionService<Twin2>> = twinLayer
void wrong

// ---- requirements move to the layer, and the middleware replaces the handle by the service
expectTypeOf(App.layer).toEqualTypeOf<
  Layer.Layer<SessionService<App> | SessionHttpApi<App>, SessionConfigError, SessionEngine>
>()
class Secret extends Context.Tag("types/Secret")<Secret, string>() {}
const needing = Schema.transformOrFail(Schema.String, Schema.String, {
  decode: (text) => Effect.map(Secret, () => text),
  encode: (text) => Effect.map(Secret, () => text)
})
class Needing
  extends Session.Tag<Needing>()("types/Needing", { schema: Schema.Struct({ a: Schema.optional(needing) }) })
{}
expectTypeOf(Needing.layer).toEqualTypeOf<
  Layer.Layer<SessionService<Needing> | SessionHttpApi<Needing>, SessionConfigError, SessionEngine | Secret>
>()
expectTypeOf<Effect.Effect.Context<ReturnType<typeof Needing.get<"a">>>>().toEqualTypeOf<Needing>()

const router = HttpRouter.empty.pipe(
  HttpRouter.get("/", Effect.map(App.get("cart"), (cart) => HttpServerResponse.unsafeJson(cart))),
  HttpRouter.use(App.middleware)
)
expectTypeOf<typeof router extends HttpRouter.HttpRouter<infer _, infer R> ? R : "not a router">().toEqualTypeOf<
  SessionService<App>
>()
expectTypeOf<SessionDirectory>().not.toEqualTypeOf<SessionEngine>()

// ---- cookie options that browsers reject do not compile
App.layerWith({ expiry: Expiry.earliest(Expiry.idle("1 hour"), Expiry.absolute("1 day")) })
App.layerWith({ expiry: Expiry.django })
App.layerWith({ cookie: SessionCookie.development })
App.layerWith({ cookie: { prefix: "__Secure-", domain: "example.com", sameSite: "strict" } })
App.layerWith({ cookie: { sameSite: "none", acknowledgeCrossSite: true, partitioned: true } })
// @ts-expect-error a policy needs a limit that activity does not extend
App.layerWith({ expiry: Expiry.idle("1 hour") })
// @ts-expect-error two limits that activity extends are not enough
App.layerWith({ expiry: Expiry.earliest(Expiry.idle("1 hour"), Expiry.sinceModified("1 day")) })
declare const unknownExpiry: Expiry.Expiry
// @ts-expect-error a limit of an unknown kind is not enough
App.layerWith({ expiry: Expiry.earliest(unknownExpiry) })
// @ts-expect-error a __Host- cookie cannot carry a Domain
App.layerWith({ cookie: { prefix: "__Host-", domain: "example.com" } })
// @ts-expect-error a __Host- cookie has the path /
App.layerWith({ cookie: { path: "/shop" } })
// @ts-expect-error a __Host- cookie is Secure
App.layerWith({ cookie: { prefix: "__Host-Http-", secure: false } })
// @ts-expect-error SameSite=None must be acknowledged
App.layerWith({ cookie: { sameSite: "none" } })
// @ts-expect-error a SameSite=None cookie is Secure
App.layerWith({ cookie: { prefix: "", secure: false, sameSite: "none", acknowledgeCrossSite: true } })
// @ts-expect-error a partitioned cookie needs SameSite=None
App.layerWith({ cookie: { partitioned: true } })
// @ts-expect-error HttpOnly cannot be switched off
App.layerWith({ cookie: { httpOnly: false } })
