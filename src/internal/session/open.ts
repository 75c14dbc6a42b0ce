/**
 * From the cookie values of a request to the session that belongs to it.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { JsonRecord } from "../../Json.js"
import type { CookieValue, Opened } from "../../SessionEngine.js"
import { SessionUnavailable } from "../../SessionError.js"
import * as SessionMetrics from "../../SessionMetrics.js"
import type { SessionRecord } from "../../SessionRecord.js"
import { placeOf } from "../../SessionSchema.js"
import type { Reading } from "../../SessionStore.js"
import { isRecord, problemOf } from "../json.js"
import type { Core } from "./core.js"
import { log, unavailable } from "./errors.js"

/** A record whose data fits the schema. */
export interface Held<A> extends Opened {
  /** The encoded data as it is kept, fields of other versions included. */
  readonly raw: JsonRecord
  readonly decoded: A
}

/** What a request presents: a session, or nothing that counts as one. */
export interface Presented<A> {
  readonly held: Held<A> | undefined
  /** Several live sessions were presented. None is trusted; a login or logout destroys them all. */
  readonly ambiguous: ReadonlyArray<CookieValue>
}

/** The values that a request presents. */
export interface Values {
  /** A cookie of ours was there, whatever its value. */
  readonly presented: boolean
  readonly values: ReadonlyArray<CookieValue>
  /** There may have been more. */
  readonly partial: boolean
  /** What is asked of copies. */
  readonly reading: Reading | undefined
}

const anonymous: Presented<never> = { held: undefined, ambiguous: [] }

/** Opens what a request presents. Whatever a visitor can send is anonymous; a store that is down is an error. */
export const open = <A extends object>(
  core: Core<A>,
  { partial, presented, reading, values }: Values,
  now: number
): Effect.Effect<Presented<A>, SessionUnavailable> => {
  if (values.length === 0) {
    return Effect.as(SessionMetrics.countLoad(presented ? "malformed" : "no_cookie"), anonymous)
  }
  if (partial) return Effect.as(SessionMetrics.countLoad("ambiguous"), { held: undefined, ambiguous: values })
  const only = values[0]
  const opened = values.length === 1 && only !== undefined
    ? Effect.map(core.engine.open(only, now, reading), Option.toArray)
    : Effect.map(
      // All at once, so that the time limit of one is the limit of all.
      Effect.forEach(values, (value) => core.engine.open(value, now, reading), { concurrency: "unbounded" }),
      (found) => found.flatMap(Option.toArray)
    )
  return Effect.flatMap(
    Effect.tapError(
      Effect.mapError(opened, (error) => unavailable(core, error)),
      (error) => Effect.zipRight(SessionMetrics.countLoad("unavailable"), log(error))
    ),
    (live): Effect.Effect<Presented<A>, SessionUnavailable> => {
      const one = live[0]
      if (one === undefined) return Effect.as(SessionMetrics.countLoad("unknown"), anonymous)
      if (live.length > 1) {
        return Effect.zipRight(
          Effect.logWarning(`A request presented ${live.length} live sessions of "${core.name}"; none is trusted.`),
          Effect.as(SessionMetrics.countLoad("ambiguous"), {
            held: undefined,
            ambiguous: live.map(({ value }) => value)
          })
        )
      }
      return Effect.flatMap(hold(core, one), (held) =>
        Effect.as(
          SessionMetrics.countLoad(held === undefined ? "undecodable" : "loaded"),
          { held, ambiguous: [] }
        ))
    }
  )
}

/**
 * Decodes a record. One whose data does not fit is left as it is, for a roll-back of the deploy; the tag's policy
 * says whether the visitor starts again or gets an error.
 */
export const hold = <A extends object>(
  core: Core<A>,
  opened: Opened
): Effect.Effect<Held<A> | undefined, SessionUnavailable> =>
  Effect.matchEffect(decode(core, opened.record), {
    onSuccess: ({ decoded, raw }) => Effect.succeed({ ...opened, raw, decoded }),
    onFailure: (problem) =>
      Effect.zipRight(
        Effect.logError(
          `The data of session ${opened.record.id} does not fit "${core.name}": ${problem}. It was left as it is.`
        ),
        core.settings.onUndecodable === "restart"
          ? Effect.succeed(undefined)
          : Effect.fail(
            new SessionUnavailable({ session: core.name, reason: "data", retryAfter: core.settings.retryAfter })
          )
      )
  })

/** The data of a record, upgraded and decoded. The error is a sentence that never contains the data. */
export const decode = <A extends object>(
  core: Core<A>,
  record: SessionRecord
): Effect.Effect<{ readonly raw: JsonRecord; readonly decoded: A }, string> => {
  const parsed = parse(core, record.data)
  if (typeof parsed === "string") return Effect.fail(parsed)
  const raw = record.schemaVersion < core.history.version
    ? core.history.upgrade(parsed, record.schemaVersion)
    : Effect.succeed(parsed)
  return Effect.mapError(
    Effect.flatMap(raw, (raw) => Effect.map(core.schema.decode(raw), (decoded) => ({ raw, decoded }))),
    (misfit) => `at "${placeOf(misfit)}": ${misfit.problem}`
  )
}

const parse = <A extends object>(core: Core<A>, data: string): JsonRecord | string => {
  let raw: unknown
  try {
    raw = core.codec.decode(data)
  } catch {
    // The parser's own message quotes the text, which may hold secrets.
    return "it cannot be parsed"
  }
  const problem = problemOf(raw)
  if (problem !== undefined) return problem.message
  return isRecord(raw) ? raw : "it is not an object"
}
