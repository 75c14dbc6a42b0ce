/**
 * Routes and handlers.
 */
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Data, Effect, Ref, Schema } from "effect"
import { type SessionError, SessionErrorPage } from "effect-session"
import { AppSession, Locale, UserName } from "./AppSession.js"
import * as Catalogue from "./catalogue.js"
import * as Pages from "./pages.js"
import { StoreCosts } from "./StoreCosts.js"

class BadForm extends Data.TaggedError("BadForm") {}

/** Decodes the submitted form. Fails with `BadForm` if it is invalid. */
const form = <A, I extends Readonly<Record<string, string | ReadonlyArray<string> | undefined>>>(
  schema: Schema.Schema<A, I>
) => Effect.mapError(HttpServerRequest.schemaBodyUrlParams(schema), () => new BadForm())

/** Redirects a POST with status 303, so that reloading the page does not post again. */
const see = (path: string) => HttpServerResponse.redirect(path, { status: 303 })

const showCatalogue = Effect.map(AppSession.value, Pages.catalogue)

const showCart = Effect.map(AppSession.value, Pages.cart)

const addToCart = Effect.gen(function*() {
  const { sku } = yield* form(Schema.Struct({ sku: Catalogue.Sku }))
  // Two concurrent requests add two items: the later update is replayed on the result of the first.
  yield* AppSession.update("cart", Catalogue.add(sku))
  return see("/cart")
})

const removeFromCart = Effect.gen(function*() {
  const { sku } = yield* form(Schema.Struct({ sku: Schema.String }))
  yield* AppSession.update("cart", Catalogue.remove(sku))
  return see("/cart")
})

const setLocale = Effect.gen(function*() {
  const { locale } = yield* form(Schema.Struct({ locale: Locale }))
  yield* AppSession.set("locale", locale)
  return see("/")
})

/** Does not use the session, so it causes no store call. */
const showLogin = Effect.succeed(Pages.login())

const login = Effect.gen(function*() {
  const { name } = yield* form(Schema.Struct({ name: Schema.compose(Schema.Trim, UserName) }))
  // A real shop checks the password here.
  yield* AppSession.authenticate(name)
  yield* AppSession.set("user", name)
  return see("/")
}).pipe(
  Effect.catchTag("BadForm", () => Effect.succeed(Pages.login("A name has 1 to 60 characters.")))
)

/** `clear-site-data` removes pages with the visitor's name that the browser would show again on back navigation. */
const logout = Effect.as(AppSession.destroy, HttpServerResponse.setHeader(see("/"), "clear-site-data", `"cache"`))

const showSession = Effect.gen(function*() {
  const session = yield* AppSession
  return Pages.session({
    visitor: yield* session.value,
    id: yield* session.id,
    subject: yield* session.subject,
    costs: yield* Effect.flatMap(StoreCosts, Ref.get)
  })
})

/** The error page. The middleware adds the header `retry-after`. */
const sorry = (error: SessionError.SessionError) => {
  switch (error._tag) {
    case "SessionUnavailable":
      return Pages.problem(503, "One moment", error.message)
    case "SessionConflict":
    case "SessionGone":
      return Pages.problem(409, "Not done", error.message)
    case "SessionCrossSite":
      return Pages.problem(403, "Not done", error.message)
    default:
      return Pages.problem(500, "Our mistake", "The shop could not keep what you did.")
  }
}

export const shop = HttpRouter.empty.pipe(
  HttpRouter.get("/", showCatalogue),
  HttpRouter.get("/cart", showCart),
  HttpRouter.post("/cart", addToCart),
  HttpRouter.post("/cart/remove", removeFromCart),
  HttpRouter.post("/locale", setLocale),
  HttpRouter.get("/login", showLogin),
  HttpRouter.post("/login", login),
  HttpRouter.post("/logout", logout),
  HttpRouter.get("/session", showSession),
  HttpRouter.use(AppSession.middleware),
  Effect.provideService(SessionErrorPage.SessionErrorPage, (error) => Effect.succeed(sorry(error))),
  Effect.catchTags({
    BadForm: () => Effect.succeed(Pages.problem(400, "Bad request", "The shop does not understand this form.")),
    RouteNotFound: () => Effect.succeed(Pages.problem(404, "Not found", "The shop has no such page."))
  })
)
