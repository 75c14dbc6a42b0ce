/**
 * Opens the session that a request presents: from its cookie values to the decoded record.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import * as Order from "effect/Order"
import type { JsonRecord } from "../../Json.js"
import type { CookieValue, Opened } from "../../SessionEngine.js"
import type { SessionUnavailable } from "../../SessionError.js"
import type { Absence } from "../../SessionHandle.js"
import * as SessionMetrics from "../../SessionMetrics.js"
import type { SessionRecord } from "../../SessionRecord.js"
import type { ReadConsistency } from "../../SessionStore.js"
import * as Attributes from "../domain/attributes.js"
import * as Outcomes from "../domain/outcomes.js"
import * as Done from "../done.js"
import { withHelp } from "../help.js"
import { isRecord, maxValues, problemOf } from "../json.js"
import type { ValidationIssue } from "../schema/prepared.js"
import { placeOf } from "../schema/prepared.js"
import type { Core } from "./core.js"
import { log, unavailable, undecodable } from "./errors.js"
import * as Events from "./events.js"
import type { Loaded } from "./work.js"

/** The session of the presented cookie values, if there is exactly one. */
export interface Found<A> {
  readonly loaded: Loaded<A> | undefined
  /** Why there is no session; absent if there is one. */
  readonly absence: Absence | undefined
  /** Several live sessions were presented. None is trusted; a login or logout destroys them all. */
  readonly ambiguous: boolean
}

const anonymous = (absence: Absence): Found<never> => ({ loaded: undefined, absence, ambiguous: false })
const ambiguous: Found<never> = { loaded: undefined, absence: "ambiguous", ambiguous: true }

/** The words of the metric. */
const outcomeOf: Readonly<Record<Absence, Outcomes.LoadOutcome>> = {
  noCookie: "no_cookie",
  malformed: "malformed",
  ambiguous: "ambiguous",
  undecodable: "undecodable",
  expired: "expired",
  loggedOut: "logged_out",
  rotated: "rotated",
  revoked: "revoked",
  subjectRevoked: "subject_revoked",
  allRevoked: "all_revoked",
  limit: "limit",
  unknown: "unknown"
}

/**
 * Loads the record. Invalid cookies make the request anonymous; only an unavailable store is an error. `presented`: the request
 * has a cookie of our name; `partial`: it may have more values than `values`.
 */
export const open = <A extends object>(
  core: Core<A>,
  presented: boolean,
  values: ReadonlyArray<CookieValue>,
  partial: boolean,
  reading: ReadConsistency | undefined,
  fiber: Done.RuntimeFiber,
  onOutcome?: (outcome: Outcomes.LoadOutcome) => void
): Effect.Effect<Found<A>, SessionUnavailable> => {
  const count = (outcome: Outcomes.LoadOutcome) => {
    SessionMetrics.loads.unsafeUpdate(outcome, labelsOf(fiber))
    onOutcome?.(outcome)
    core.observer?.loaded(outcome)
  }
  const [only] = values
  if (only === undefined) {
    const absence = presented ? "malformed" : "noCookie"
    count(outcomeOf[absence])
    return Exit.succeed(anonymous(absence))
  }
  if (partial) {
    count("ambiguous")
    Events.refused(core, Done.millisOf(fiber), undefined, "ambiguous")
    return Exit.succeed(ambiguous)
  }
  const now = Done.clockIn(fiber.currentDefaultServices).unsafeCurrentTimeMillis()
  const failed = (cause: unknown) => {
    count("unavailable")
    const error = unavailable(core, cause)
    return Effect.zipRight(log(error), Effect.fail(error))
  }
  const found = (opened: Opened | undefined): Effect.Effect<Found<A>, SessionUnavailable> => {
    if (opened === undefined) {
      return Done.map(absenceOf(core, values, now), (absence) => {
        count(outcomeOf[absence])
        return anonymous(absence)
      })
    }
    const decoded = (loaded: Loaded<A> | undefined): Found<A> => {
      count(loaded === undefined ? "undecodable" : "loaded")
      return { loaded, absence: loaded === undefined ? "undecodable" : undefined, ambiguous: false }
    }
    const loaded = load(core, opened)
    return Done.isDone(loaded) && Exit.isSuccess(loaded)
      ? Exit.succeed(decoded(loaded.value))
      : Effect.map(loaded, decoded)
  }
  if (values.length === 1) {
    const opened = core.engine.open(only, now, reading)
    return Done.isDone(opened) && Exit.isSuccess(opened)
      ? found(Option.getOrUndefined(opened.value))
      : Effect.matchEffect(opened, {
        onFailure: failed,
        onSuccess: (opened) => found(Option.getOrUndefined(opened))
      })
  }
  // Concurrently, so that the time limit of one load is the limit of all.
  return Effect.matchEffect(
    Effect.forEach(values, (value) => core.engine.open(value, now, reading), { concurrency: "unbounded" }),
    {
      onFailure: failed,
      onSuccess: (all) => {
        const live = distinct(all.flatMap(Option.toArray))
        if (live.length <= 1) return found(live[0])
        count("ambiguous")
        Events.refused(core, now, undefined, "ambiguous")
        return Effect.as(
          Effect.logWarning(
            withHelp(
              `A request presented ${live.length} live sessions of "${core.name}"; none is trusted.`,
              "several-live-sessions"
            )
          ),
          ambiguous
        )
      }
    }
  )
}

/**
 * Keeps one of the values that open the same record, preferably one that need not be sent again: the old and the new cookie of a session
 * that has moved from another engine both open it.
 */
const distinct = (all: ReadonlyArray<Opened>): ReadonlyArray<Opened> =>
  Arr.dedupeWith(
    Arr.sortWith(all, ({ needsReseal }) => needsReseal, Order.boolean),
    ({ record: a }, { record: b }) => a.id === b.id && a.version === b.version && a.writeId === b.writeId
  )

/**
 * Returns why none of the values has a live session, as far as the engine knows. A reason is information only, so a failure to find it is
 * no failure of the request.
 */
const absenceOf = <A extends object>(
  core: Core<A>,
  values: ReadonlyArray<CookieValue>,
  now: number
): Effect.Effect<Absence> => {
  const { endReason } = core.engine
  if (endReason === undefined) return Exit.succeed("unknown")
  const [first, ...others] = values
  if (first === undefined) return Exit.succeed("malformed")
  return Done.matchEffect(endReason(first, now), {
    onFailure: () => Exit.succeed<Absence>("unknown"),
    onSuccess: (reason): Effect.Effect<Absence> => {
      const known = Option.getOrElse(reason, (): Absence => "malformed")
      return others.length > 0 && (known === "malformed" || known === "unknown")
        ? absenceOf(core, others, now)
        : Exit.succeed(known)
    }
  })
}

/** The metric labels that the application has set on a fiber. */
export const labelsOf = (fiber: Done.RuntimeFiber) => fiber.getFiberRef(FiberRef.currentMetricLabels)

/**
 * Decodes a record. A record that does not fit the schema stays unchanged in the store, so that a roll-back of the deploy can
 * read it; `onUndecodable` decides whether the visitor is anonymous or gets an error.
 */
export const load = <A extends object>(
  core: Core<A>,
  opened: Opened
): Effect.Effect<Loaded<A> | undefined, SessionUnavailable> => {
  const { data, schemaVersion } = opened.record
  const known = Attributes.decode(opened.record.attributes)
  if (Option.isNone(known)) return unreadable(core, opened.record, "its attributes are not those of a session")
  const attributes = known.value
  const parsed = parse(core, data)
  // A text this short cannot hold more than `maxValues` values.
  if (schemaVersion >= core.history.version && data.length <= maxValues) {
    const decoded = core.schema.openIfCertain(parsed)
    if (decoded !== undefined) return Exit.succeed({ ...opened, raw: parsed as JsonRecord, decoded, attributes })
  }
  return Done.matchEffect(contentOf(core, parsed, schemaVersion, core.schema.open), {
    onSuccess: ({ decoded, raw }) => Exit.succeed({ ...opened, raw, decoded, attributes }),
    onFailure: (problem) => unreadable(core, opened.record, problem)
  })
}

const unreadable = <A extends object>(
  core: Core<A>,
  { id, subject }: SessionRecord,
  problem: string
): Effect.Effect<undefined, SessionUnavailable> =>
  Effect.zipRight(
    Effect.zipRight(
      Effect.withFiberRuntime<void>((fiber) =>
        Exit.succeed(Events.undecodable(core, Done.millisOf(fiber), { id, subject }))
      ),
      Effect.logError(
        withHelp(
          `The data of session ${id} does not fit "${core.name}": ${problem}. It was left as it is.`,
          "data-does-not-fit-schema"
        )
      )
    ),
    core.settings.onUndecodable === "restart" ? Effect.succeed(undefined) : Effect.fail(undecodable(core))
  )

/** Upgrades and decodes the data of a record. The error is a sentence that never contains the data. */
export const decode = <A extends object>(core: Core<A>, { data, schemaVersion }: SessionRecord) =>
  contentOf(core, parse(core, data), schemaVersion, core.schema.decode)

const unparsable = Symbol("unparsable")

const parse = <A extends object>(core: Core<A>, data: string): unknown => {
  try {
    return core.codec.decode(data)
  } catch {
    // The parser's own message quotes the text, which may hold secrets.
    return unparsable
  }
}

const contentOf = <A extends object>(
  core: Core<A>,
  parsed: unknown,
  schemaVersion: number,
  decode: (raw: JsonRecord) => Effect.Effect<A, ValidationIssue>
): Effect.Effect<{ readonly raw: JsonRecord; readonly decoded: A }, string> => {
  if (parsed === unparsable) return Exit.fail("it cannot be parsed")
  const problem = problemOf(parsed)
  if (problem !== undefined) return Exit.fail(problem.message)
  if (!isRecord(parsed)) return Exit.fail("it is not an object")
  const upgraded: Effect.Effect<JsonRecord, ValidationIssue> = schemaVersion < core.history.version
    ? core.history.upgrade(parsed, schemaVersion)
    : Exit.succeed(parsed)
  return Done.mapError(
    Done.flatMap(upgraded, (raw) => Done.map(decode(raw), (decoded) => ({ raw, decoded }))),
    (issue) => `at "${placeOf(issue)}": ${issue.problem}`
  )
}
