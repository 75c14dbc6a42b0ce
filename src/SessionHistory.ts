/**
 * Schema versions of session data, and the upgrade from each version to the next.
 *
 * @since 0.2.0
 */
import type * as Schema from "effect/Schema"
import { History } from "./internal/domain/history.js"
import type * as SessionSchema from "./SessionSchema.js"

/**
 * The schemas of a session, oldest first. The last one is the schema of the tag; the number of schemas is its version, stored in
 * every record.
 *
 * @since 0.2.0
 * @category models
 */
export interface SessionHistory<Last extends SessionSchema.Any> {
  readonly last: Last
  /**
   * Adds a version: `upgrade` makes the encoded data of the next schema from a value of the last one. It runs when an
   * older record is read; the record itself is written only with the next change. Fields that the older schema does not
   * know are kept.
   */
  readonly to: <Next extends SessionSchema.Any>(
    schema: Next,
    upgrade: (value: Schema.Schema.Type<Last>) => Schema.Schema.Encoded<Next>
  ) => SessionHistory<Next>
}

/**
 * Starts a history with the first schema of a session.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Session, SessionHistory } from "effect-session"
 *
 * const V1 = Schema.Struct({ name: Schema.optional(Schema.String) })
 * const V2 = Schema.Struct({ user: Schema.optional(Schema.Struct({ name: Schema.String })) })
 *
 * export class AppSession extends Session.Tag<AppSession>()("app/Session", {
 *   schema: V2,
 *   history: SessionHistory.from(V1).to(V2, ({ name }) => (name === undefined ? {} : { user: { name } }))
 * }) {}
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const from = <First extends SessionSchema.Any>(schema: First): SessionHistory<First> => new History(schema, [])
