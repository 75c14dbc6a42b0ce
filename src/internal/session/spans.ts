/**
 * Spans of session operations. They hold the id of the session tag and the outcome, and no data of a session.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import type { SessionError } from "../../SessionError.js"
import * as Done from "../done.js"
import { withSpan } from "../spans.js"

/** Runs an operation in its own span. `outcomeOf` names a success; a failure is named by the tag of its error. */
export const spanned = <A, E extends SessionError, R>(
  operation: "open" | "commit" | "authenticate" | "revoke",
  tag: string,
  effect: Effect.Effect<A, E, R>,
  outcomeOf: (value: A) => string = () => "done"
): Effect.Effect<A, E, R> =>
  withSpan(
    `session.${operation}`,
    { attributes: { "session.tag": tag }, captureStackTrace: false },
    effect,
    "session.outcome",
    (exit) => endOf(exit, outcomeOf)
  )

/** Runs an operation in a span if the fiber has a tracer, and without one otherwise. */
export const spannedIfTraced = <A, E extends SessionError, R>(
  operation: "authenticate" | "revoke",
  tag: string,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber) => Done.isTraced(fiber) ? spanned(operation, tag, effect) : effect)

/**
 * The outcome of a span. Leaves out the error itself: its cause may quote a driver, and its fields may hold input of a visitor.
 */
const endOf = <A, E extends SessionError>(
  exit: Exit.Exit<A, E>,
  outcomeOf: (value: A) => string
): readonly [outcome: string, Exit.Exit<void, Error>] =>
  Exit.match(exit, {
    onSuccess: (value) => [outcomeOf(value), Exit.void],
    onFailure: (cause) =>
      Option.match(Cause.failureOption(cause), {
        onNone: () =>
          Cause.isInterruptedOnly(cause)
            ? ["interrupted", Exit.interrupt(FiberId.none)]
            : ["defect", Exit.die(new Error("A session operation threw an exception."))],
        onSome: ({ _tag, message }) => [_tag, Exit.fail(Object.assign(new Error(message), { name: _tag }))]
      })
  })
