/**
 * The part of the bookshop that has moved to Effect: the cart and the order. Its session is a row of Django's table.
 */
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { SqlClient } from "@effect/sql"
import { Array, Effect, Layer, Option, type Redacted, Schema } from "effect"
import { Expiry, Session } from "effect-session"
import * as DjangoEngine from "effect-session/DjangoEngine"
import { page } from "./page.js"

/** The members of Django's session that these pages use. The others stay as they are. */
export class AppSession extends Session.Tag<AppSession>()("bookshop/Session", {
  schema: Schema.Struct({
    cart: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] }),
    orders: Schema.optionalWith(Schema.Number, { default: () => 0 })
  }),
  // Django's SESSION_COOKIE_AGE is two weeks.
  expiry: Expiry.django,
  // Django's cookie. `secure: false` is for plain HTTP on this machine, as SESSION_COOKIE_SECURE = False.
  cookie: { prefix: "", name: "sessionid", secure: false }
}) {}

/** The session layer. It needs the `SqlClient` of Django's database. */
export const sessions = (secretKey: Redacted.Redacted<string>) =>
  AppSession.layer.pipe(
    // A Django older than 4.1, such as that of Debian 12, reads no dates in a session.
    Layer.provide(DjangoEngine.layer({ secretKey, expiryDates: "seconds" }))
  )

/** The name of the user: the subject of a login of Django is the primary key of its user. */
const username = Effect.flatMap(
  AppSession.subject,
  Option.match({
    onNone: () => Effect.succeedNone,
    onSome: (id) =>
      Effect.flatMap(SqlClient.SqlClient, (sql) =>
        Effect.map(
          sql<{ readonly username: string }>`SELECT username FROM auth_user WHERE id = ${Number(id)}`,
          (rows) => Option.map(Array.head(rows), ({ username }) => username)
        ))
  })
)

const show = Effect.gen(function*() {
  const { cart, orders } = yield* AppSession.value
  const books = cart.map((book) => `<li>${escaped(book)}</li>`).join("")
  const user = yield* username
  return page(
    cart.length,
    user,
    `<h1>Cart</h1><ul>${books}</ul><p>Your orders: ${orders}</p>
    <form method="post" action="/cart/order"><button>Order</button></form>`
  )
})

const add = Effect.gen(function*() {
  const { book } = yield* HttpServerRequest.schemaBodyUrlParams(Schema.Struct({ book: Schema.NonEmptyString }))
  yield* AppSession.update("cart", Array.append(book))
  return HttpServerResponse.redirect("/cart", { status: 303 })
})

const order = Effect.gen(function*() {
  // Django has the page of the login, and leads back here.
  if (Option.isNone(yield* AppSession.subject)) {
    return HttpServerResponse.redirect("/login/?next=/cart", { status: 303 })
  }
  yield* AppSession.patch({ cart: [] })
  yield* AppSession.update("orders", (n) => n + 1)
  return HttpServerResponse.redirect("/cart", { status: 303 })
})

/** Ends the session for both sides. */
const logOut = Effect.as(AppSession.destroy, HttpServerResponse.redirect("/", { status: 303 }))

export const app = HttpRouter.empty.pipe(
  HttpRouter.get("/cart", show),
  HttpRouter.post("/cart", add),
  HttpRouter.post("/cart/order", order),
  HttpRouter.post("/cart/logout", logOut),
  HttpRouter.catchTag("ParseError", () => HttpServerResponse.empty({ status: 400 })),
  HttpRouter.use(AppSession.middleware)
)

const escaped = (text: string): string => text.replaceAll(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)
