/**
 * Data that changes its shape: the earlier schemas of a session, and the way from each to the next.
 *
 * @since 0.2.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import { isRecord, problemOf } from "./internal/json.js"
import type { JsonRecord } from "./Json.js"
import type { ValidationIssue } from "./SessionSchema.js"
import * as SessionSchema from "./SessionSchema.js"

/** Takes encoded data one version further. */
type Upgrade = (raw: JsonRecord, context: Context.Context<never>) => Effect.Effect<JsonRecord, ValidationIssue>

/**
 * The schemas of a session, oldest first. The last one is the schema of the tag; the number of schemas is its version,
 * kept in every record.
 *
 * @since 0.2.0
 * @category models
 */
export interface SessionHistory<Last extends SessionSchema.Any> {
  readonly last: Last
  readonly upgrades: ReadonlyArray<Upgrade>
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

const make = <Last extends SessionSchema.Any>(last: Last, upgrades: ReadonlyArray<Upgrade>): SessionHistory<Last> => ({
  last,
  upgrades,
  to: (schema, upgrade) => make(schema, [...upgrades, upgradeOf(last, upgrade)])
})

/**
 * Begins with the first schema that a session had.
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
export const from = <First extends SessionSchema.Any>(schema: First): SessionHistory<First> => make(schema, [])

/**
 * The version that a history ends with. A session without a history is version 1.
 *
 * @since 0.2.0
 * @category computation
 */
export const versionOf = (self: { readonly upgrades: ReadonlyArray<unknown> } | undefined): number =>
  1 + (self?.upgrades.length ?? 0)

const upgradeOf = <Last extends SessionSchema.Any>(
  last: Last,
  upgrade: (value: Schema.Schema.Type<Last>) => unknown
): Upgrade =>
(raw, context) => {
  const schema = SessionSchema.make<Extract<Schema.Schema.Type<Last>, object>>(last, context)
  const known = new Set(schema.keys.map((key) => schema.encodedName(key)))
  const unknown = Object.fromEntries(Object.entries(raw).filter(([name]) => !known.has(name)))
  return Effect.flatMap(schema.decode(raw), (value) =>
    Effect.try({
      try: (): JsonRecord => {
        const next = upgrade(value)
        if (!isRecord(next) || problemOf(next) !== undefined) throw new TypeError("not JSON")
        return { ...unknown, ...next }
      },
      catch: (): ValidationIssue => ({ _tag: "Misfit", field: "", problem: "the upgrade from an older version failed" })
    }))
}

/**
 * Takes encoded data from the version that wrote it to the last one. Data of a newer version is left as it is: the
 * schema then decides whether it can be read.
 *
 * @since 0.2.0
 * @category computation
 */
export const upgrade = (
  upgrades: ReadonlyArray<Upgrade>,
  raw: JsonRecord,
  version: number,
  context: Context.Context<never>
): Effect.Effect<JsonRecord, ValidationIssue> =>
  Effect.reduce(upgrades.slice(Math.max(0, version - 1)), raw, (raw, step) => step(raw, context))
