/**
 * Routes and handlers.
 */
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, Option, Schema } from "effect"
import { Csrf, type SessionError, SessionErrorPage } from "effect-session"
import * as Account from "./account.js"
import { AppSession, Locale, Note, UserName } from "./AppSession.js"
import { browserOf } from "./browser.js"
import * as Catalogue from "./catalogue.js"
import { form, see } from "./forms.js"
import { frame } from "./frame.js"
import * as Pages from "./pages.js"

const showCatalogue = Effect.map(frame, Pages.catalogue)

const showCart = Effect.map(frame, Pages.cart)

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

/** Saves the note, unless another tab has changed it since the form was shown: then the visitor chooses. */
const saveNote = Effect.flatMap(
  form(Schema.Struct({ note: Note, seen: Schema.String })),
  ({ note, seen }) =>
    Effect.gen(function*() {
      const current = yield* AppSession.get("note")
      if (current !== seen && current !== note) return Pages.noteConflict(yield* frame, note)
      yield* AppSession.set("note", note)
      // Written now, so that this handler, and not the error page, answers a conflict with a request of the same moment.
      yield* AppSession.save
      return see("/cart")
    }).pipe(
      AppSession.withRollback,
      Effect.tapErrorTag("SessionConflict", () => AppSession.reload),
      Effect.retry({ while: (error) => error._tag === "SessionConflict" })
    )
)

const showLogin = Effect.zipWith(frame, AppSession.absence, (frame, absence) => Pages.login(frame, absence))

const login = Effect.gen(function*() {
  const { name, remember } = yield* form(Schema.Struct({
    name: Schema.compose(Schema.Trim, UserName),
    remember: Schema.optional(Schema.Literal("yes"))
  }))
  const { headers } = yield* HttpServerRequest.HttpServerRequest
  // A real shop checks the password here.
  yield* AppSession.authenticate(name, {
    methods: ["pwd"],
    level: 1,
    remember: remember === "yes",
    context: { browser: browserOf(headers["user-agent"] ?? "") }
  })
  yield* AppSession.set("user", name)
  return see("/")
}).pipe(
  Effect.catchTag(
    "BadForm",
    () => Effect.map(frame, (frame) => Pages.login(frame, Option.none(), "A name has 1 to 60 characters."))
  )
)

/** `clear-site-data` removes pages with the visitor's name that the browser would show again on back navigation. */
const logout = Effect.as(AppSession.destroy, HttpServerResponse.setHeader(see("/"), "clear-site-data", `"cache"`))

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
  HttpRouter.post("/cart/note", saveNote),
  HttpRouter.post("/locale", setLocale),
  HttpRouter.get("/login", showLogin),
  HttpRouter.post("/login", login),
  HttpRouter.post("/logout", logout),
  HttpRouter.concat(Account.routes),
  // Provides the session, and refuses forged requests.
  HttpRouter.use(Csrf.middleware(AppSession)),
  Effect.provideService(SessionErrorPage.SessionErrorPage, (error) => Effect.succeed(sorry(error))),
  Effect.catchTags({
    BadForm: () => Effect.succeed(Pages.problem(400, "Bad request", "The shop does not understand this form.")),
    CsrfRejected: (error) => Effect.succeed(Pages.problem(403, "Not done", error.message)),
    RouteNotFound: () => Effect.succeed(Pages.problem(404, "Not found", "The shop has no such page."))
  })
)
