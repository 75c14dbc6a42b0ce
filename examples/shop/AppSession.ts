/**
 * The session of the shop.
 */
import { Schema } from "effect"
import { ReadOnce, Session } from "effect-session"
import { CartItem } from "./catalogue.js"

export const Locale = Schema.Literal("en", "ja", "ko")
export type Locale = typeof Locale.Type

export const UserName = Schema.NonEmptyTrimmedString.pipe(Schema.maxLength(60), Schema.pattern(/^\P{Cc}*$/u))

export const Note = Schema.String.pipe(Schema.maxLength(200))

/** The part of a session that the list of devices shows. */
export const Client = Schema.Struct({ browser: Schema.String })

export const maxDevices = 5

export class AppSession extends Session.Tag<AppSession>()("app/Session", {
  schema: Schema.Struct({
    user: Schema.optional(UserName),
    locale: Schema.optionalWith(Locale, { default: () => "en" }),
    cart: Schema.optionalWith(Schema.Array(CartItem), { default: () => [] }),
    /** A request of the customer for the delivery. */
    note: Schema.optionalWith(Note, { default: () => "" }),
    /** A sentence for the next page. */
    notice: ReadOnce.field(Schema.String)
  }),
  context: Client,
  // Not the note: another user of the browser may have left it there before the login.
  carryOver: ["cart", "locale"],
  // A login on one device more ends the oldest session.
  maxPerSubject: maxDevices
}) {}
