/**
 * The session of the shop.
 */
import { Schema } from "effect"
import { Session } from "effect-session"
import { CartItem } from "./catalogue.js"

export const Locale = Schema.Literal("en", "ja", "ko")
export type Locale = typeof Locale.Type

export const UserName = Schema.NonEmptyTrimmedString.pipe(Schema.maxLength(60), Schema.pattern(/^\P{Cc}*$/u))

export class AppSession extends Session.Tag<AppSession>()("app/Session", {
  schema: Schema.Struct({
    user: Schema.optional(UserName),
    locale: Schema.optionalWith(Locale, { default: () => "en" }),
    cart: Schema.optionalWith(Schema.Array(CartItem), { default: () => [] })
  })
}) {}
