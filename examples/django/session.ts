/**
 * The session that both sides share: Django's cookie, and Django's table.
 */
import { Effect, Layer, Option, type Redacted, Schema } from "effect"
import { Csrf, Expiry, Session } from "effect-session"
import * as DjangoEngine from "effect-session/DjangoEngine"
import { html } from "../shop/html.js"

/** The members of Django's session that these pages use. The others stay as they are. */
export class AppSession extends Session.Tag<AppSession>()("bookshop/Session", {
  schema: Schema.Struct({
    /** Only Effect writes these two, because a save of Django overwrites what another request has written. */
    cart: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] }),
    orders: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    /** Only Django writes it. */
    visits: Schema.optionalWith(Schema.Number, { default: () => 0 })
  }),
  // Two weeks since the last change, as Django's SESSION_COOKIE_AGE.
  expiry: Expiry.django,
  // Django's cookie. `secure: false` is for plain HTTP on this machine, as SESSION_COOKIE_SECURE = False.
  cookie: { prefix: "", name: "sessionid", secure: false }
}) {}

/** The session layer. It needs the `SqlClient` of Django's database. */
export const sessions = (secretKey: Redacted.Redacted<string>) =>
  AppSession.layer.pipe(
    // For a Django older than 4.1, which cannot read dates in a session. Newer ones read both forms.
    Layer.provide(DjangoEngine.layer({ secretKey, expiryDates: "seconds" }))
  )

/** The hidden field that every form to Effect needs. Django's tokens are for Django's views only. */
export const csrfField = Effect.map(
  Csrf.token(AppSession),
  Option.match({
    onNone: () => html``,
    onSome: (token) => html`<input type="hidden" name="csrfToken" value="${token}">`
  })
)
