/**
 * The session and the calls. The server and its clients import this module.
 */
import { Rpc, RpcGroup } from "@effect/rpc"
import { Schema } from "effect"
import { Session, SessionError } from "effect-session"
import * as SessionRpc from "effect-session/SessionRpc"

export const Visitor = Schema.Struct({
  user: Schema.optional(Schema.String),
  visits: Schema.optionalWith(Schema.Number, { default: () => 0 })
})

export class AppSession extends Session.Tag<AppSession>()("app/Session", {
  schema: Visitor,
  carryOver: ["visits"] // a login keeps the count of the anonymous visitor
}) {}

export const WithSession = SessionRpc.make(AppSession)

const error = SessionError.SessionError

export class Calls extends RpcGroup.make(
  Rpc.make("Show", { success: Visitor, error }),
  Rpc.make("Visit", { success: Visitor, error }),
  Rpc.make("Login", { payload: { name: Schema.NonEmptyString }, success: Visitor, error }),
  Rpc.make("Logout", { error })
).middleware(WithSession) {} // ← the session for these calls
