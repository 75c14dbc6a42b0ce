/**
 * The part of the bookshop that has moved to Effect: the cart and the order.
 */
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Array, Effect, Option, Schema } from "effect"
import { Csrf } from "effect-session"
import { form, see } from "../shop/forms.js"
import { html } from "../shop/html.js"
import { page } from "./page.js"
import { AppSession } from "./session.js"

const Book = Schema.Struct({ book: Schema.NonEmptyString })

const show = Effect.gen(function*() {
  const { cart, orders, visits } = yield* AppSession.value
  return yield* page("Cart", (csrf) =>
    html`<ul>${cart.map((book) => html`<li>${book}</li>`)}</ul>
    <form method="post" action="/cart/order">${csrf}<button>Order</button></form>
    <p>Your orders: ${orders}. Your visits to the catalogue, which Django counts: ${visits}.</p>`)
})

/** The catalogue of Django links to it: a form of Django's pages has no token for Effect. */
const showBook = Effect.flatMap(
  HttpServerRequest.schemaSearchParams(Book),
  ({ book }) =>
    page(book, (csrf) =>
      html`<form method="post" action="/cart">${csrf}
      <button name="book" value="${book}">Add to cart</button>
    </form>`)
)

const add = Effect.gen(function*() {
  const { book } = yield* form(Book)
  yield* AppSession.update("cart", Array.append(book))
  return see("/cart")
})

const order = Effect.gen(function*() {
  // The login is Django's, which leads back here.
  if (Option.isNone(yield* AppSession.subject)) return see("/login/?next=/cart")
  yield* AppSession.set("cart", [])
  yield* AppSession.update("orders", (n) => n + 1)
  return see("/cart")
})

/** Ends the session for both sides. */
const logOut = Effect.as(AppSession.destroy, see("/"))

export const app = HttpRouter.empty.pipe(
  HttpRouter.get("/cart", show),
  HttpRouter.post("/cart", add),
  HttpRouter.get("/cart/add", showBook),
  HttpRouter.post("/cart/order", order),
  HttpRouter.post("/cart/logout", logOut),
  // Provides the session, and refuses forged requests.
  HttpRouter.use(Csrf.middleware(AppSession)),
  Effect.catchTags({
    BadForm: () => HttpServerResponse.text("The cart does not understand this form.", { status: 400 }),
    ParseError: () => HttpServerResponse.text("The link does not name a book.", { status: 400 }),
    CsrfRejected: (error) => HttpServerResponse.text(error.message, { status: 403 }),
    RouteNotFound: () => HttpServerResponse.text("The cart has no such page.", { status: 404 })
  })
)
