/**
 * Maps failures to session errors, with the name and settings of the session tag.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { JsonRecord } from "../../Json.js"
import type { SessionError } from "../../SessionError.js"
import {
  SessionCommitted,
  SessionConflict,
  SessionInTransaction,
  SessionInvalid,
  SessionTooLarge,
  SessionUnavailable
} from "../../SessionError.js"
import type { SessionStoreError } from "../../SessionStore.js"
import type { Conflict } from "../domain/draft.js"
import { withHelp } from "../help.js"
import type { ValidationIssue } from "../schema/prepared.js"
import { causeOf } from "../store/defects.js"
import type { Core } from "./core.js"

/** The part of a session tag that errors contain. */
type Named = Pick<Core<never>, "name" | "settings">

/** The store could not be read or written. */
export const unavailable = ({ name, settings }: Named, cause: unknown): SessionUnavailable =>
  SessionUnavailable.because({ session: name, reason: "store", retryAfter: settings.retryAfter }, cause)

/** Maps any cause to a session error; defects count as an unavailable store. */
export const from = (named: Named, cause: Cause.Cause<SessionError>): SessionError =>
  Option.getOrElse(Cause.failureOption(cause), () => unavailable(named, cause))

/** A record whose data does not fit the schema. */
export const undecodable = ({ name, settings }: Named): SessionUnavailable =>
  new SessionUnavailable({ session: name, reason: "data", retryAfter: settings.retryAfter })

/** A change of a stale session. */
export const readOnly = ({ name, settings }: Named): SessionUnavailable =>
  new SessionUnavailable({ session: name, reason: "readOnly", retryAfter: settings.retryAfter })

/** A first use after the head of the response was sent. */
export const late = ({ name, settings }: Named): SessionUnavailable =>
  new SessionUnavailable({ session: name, reason: "late", retryAfter: settings.retryAfter })

/** Too many concurrent commits of one session before the deadline. */
export const busy = ({ name, settings }: Named): SessionUnavailable =>
  new SessionUnavailable({ session: name, reason: "busy", retryAfter: settings.retryAfter })

/** A change after the end of the request. */
export const committed = ({ name }: Named): SessionCommitted => new SessionCommitted({ session: name })

/** A value that does not fit the schema. */
export const invalid = ({ name }: Pick<Named, "name">, { _tag: _, ...issue }: ValidationIssue): SessionInvalid =>
  new SessionInvalid({ session: name, ...issue })

/** Maps the error of a step. */
export const stepError = ({ name }: Named, error: ValidationIssue | Conflict): SessionInvalid | SessionConflict =>
  error._tag === "ValidationIssue"
    ? invalid({ name }, error)
    : new SessionConflict({ session: name, what: error.what })

/** Maps the error of a store to the error that a commit fails with. */
export const failure = (named: Named, raw: JsonRecord = {}) => (error: SessionStoreError): SessionError => {
  switch (error.reason) {
    case "transaction":
      return new SessionInTransaction({ session: named.name })
    case "size":
      return new SessionTooLarge({ session: named.name, fields: largest(raw) })
    default:
      return unavailable(named, error)
  }
}

/** The three largest fields, with their lengths as JSON. */
const largest = (raw: JsonRecord): ReadonlyArray<{ readonly name: string; readonly length: number }> =>
  Object.entries(raw)
    .map(([name, value]) => ({ name, length: JSON.stringify(value).length }))
    .sort((a, b) => b.length - a.length)
    .slice(0, 3)

/** Logs an unavailable store as an error. Other errors are the client's or the application's, and go to the debug log. */
export const log = (error: SessionError): Effect.Effect<void> =>
  error._tag === "SessionUnavailable"
    ? Effect.logError(withHelp(error.message, error._tag), causeOf(error))
    : Effect.logDebug(withHelp(error.message, error._tag))
