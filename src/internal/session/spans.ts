/**
 * The spans of the operations of a session: nothing of a session is in them, only the id of its tag and the outcome.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import type { SessionError } from "../../SessionError.js"
import * as Done from "../done.js"

/** Runs an operation in a span of its own. `outcomeOf` names a success; a failure has the tag of its error. */
export const spanned = <A, E extends SessionError, R>(
  operation: "open" | "commit" | "authenticate" | "revoke",
  tag: string,
  effect: Effect.Effect<A, E, R>,
  outcomeOf: (value: A) => string = () => "done"
): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      Effect.makeSpan(`session.${operation}`, { attributes: { "session.tag": tag }, captureStackTrace: false }),
      (span) =>
        Effect.onExit(restore(Effect.withParentSpan(effect, span)), (exit) =>
          Effect.withFiberRuntime<void>((fiber) => {
            const isTimed = fiber.getFiberRef(FiberRef.currentTracerTimingEnabled)
            const now = isTimed ? Done.clockIn(fiber.currentDefaultServices).unsafeCurrentTimeNanos() : 0n
            const [outcome, ended] = endOf(exit, outcomeOf)
            span.attribute("session.outcome", outcome)
            span.end(now, ended)
            return Effect.void
          }))
    )
  )

/** The same if the fiber has a tracer, and else the operation as it is. */
export const spannedIfTraced = <A, E extends SessionError, R>(
  operation: "authenticate" | "revoke",
  tag: string,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber) => Done.isTraced(fiber) ? spanned(operation, tag, effect) : effect)

/** How a span ends. Not with the error itself: its cause holds words of a driver, and its fields what a visitor has sent. */
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
            : ["defect", Exit.die(new Error("The operation of a session has thrown."))],
        onSome: ({ _tag, message }) => [_tag, Exit.fail(Object.assign(new Error(message), { name: _tag }))]
      })
  })
