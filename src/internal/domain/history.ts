/**
 * The versions of a session's data, and the upgrade of older data to the last one.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { JsonRecord } from "../../Json.js"
import type { Any } from "../../SessionSchema.js"
import { isRecord, problemOf } from "../json.js"
import type { ValidationIssue } from "../schema/prepared.js"
import * as Prepared from "../schema/prepared.js"

/** Upgrades encoded data by one version. */
type Upgrade = (raw: JsonRecord, context: Context.Context<never>) => Effect.Effect<JsonRecord, ValidationIssue>

/** The schemas of a session, oldest first. */
export class History<Last extends Any> {
  readonly last: Last
  readonly upgrades: ReadonlyArray<Upgrade>

  constructor(last: Last, upgrades: ReadonlyArray<Upgrade>) {
    this.last = last
    this.upgrades = upgrades
  }

  to<Next extends Any>(
    schema: Next,
    upgrade: (value: Schema.Schema.Type<Last>) => Schema.Schema.Encoded<Next>
  ): History<Next> {
    return new History(schema, [...this.upgrades, upgradeOf(this.last, upgrade)])
  }
}

const upgradesOf = (history: object | undefined): ReadonlyArray<Upgrade> =>
  history instanceof History ? history.upgrades : []

/** The version that a history ends with. A session without a history is version 1. */
export const versionOf = (history: object | undefined): number => 1 + upgradesOf(history).length

const upgradeOf = <Last extends Any>(
  last: Last,
  upgrade: (value: Schema.Schema.Type<Last>) => unknown
): Upgrade =>
(raw, context) => {
  const schema = Prepared.make<Extract<Schema.Schema.Type<Last>, object>>(last, context)
  const known = new Set(schema.keys.map((key) => schema.encodedName(key)))
  const unknown = Object.fromEntries(Object.entries(raw).filter(([name]) => !known.has(name)))
  return Effect.flatMap(schema.decode(raw), (value) =>
    Effect.try({
      try: (): JsonRecord => {
        const next = upgrade(value)
        if (!isRecord(next) || problemOf(next) !== undefined) throw new TypeError("not JSON")
        return { ...unknown, ...next }
      },
      catch: (): ValidationIssue => ({
        _tag: "ValidationIssue",
        field: "",
        problem: "the upgrade from an older version failed"
      })
    }))
}

/**
 * Upgrades encoded data from the version that wrote it to the last one. Data of a newer version is left as it is: the schema then
 * decides whether it can be read.
 */
export const upgrade = (
  history: object | undefined,
  raw: JsonRecord,
  version: number,
  context: Context.Context<never>
): Effect.Effect<JsonRecord, ValidationIssue> =>
  Effect.reduce(upgradesOf(history).slice(Math.max(0, version - 1)), raw, (raw, step) => step(raw, context))
