/**
 * The session: its data, what lists of devices show, and what a login keeps.
 */
import { Schema } from "effect"
import { Session } from "effect-session"

export const Theme = Schema.Literal("light", "dark")

export class AppSession extends Session.Tag<AppSession>()("app/Session", {
  schema: Schema.Struct({
    theme: Schema.optionalWith(Theme, { default: () => "light" })
  }),
  context: Schema.Struct({ browser: Schema.String }),
  carryOver: ["theme"]
}) {}
