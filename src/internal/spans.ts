/**
 * Spans that affect nothing but the trace.
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import type * as Tracer from "effect/Tracer"
import * as Done from "./done.js"

/**
 * Runs an effect in its own span. At the end `attribute` gets the outcome, and the span ends with an exit that `endOf` makes of the
 * effect's: the effect's own may hold data. A tracer that throws fails nothing: a completed write would be reported as failed.
 */
export const withSpan = <A, E, R>(
  name: string,
  options: Tracer.SpanOptions,
  effect: Effect.Effect<A, E, R>,
  attribute: string,
  endOf: (exit: Exit.Exit<A, E>) => readonly [outcome: string, exit: Exit.Exit<void, unknown>]
): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.matchCauseEffect(Effect.makeSpan(name, options), {
      onFailure: () => restore(effect),
      onSuccess: (span) =>
        Effect.onExit(restore(Effect.withParentSpan(effect, span)), (exit) =>
          Effect.withFiberRuntime<void>((fiber) => {
            const isTimed = fiber.getFiberRef(FiberRef.currentTracerTimingEnabled)
            const now = isTimed ? Done.clockIn(fiber.currentDefaultServices).unsafeCurrentTimeNanos() : 0n
            const [outcome, ended] = endOf(exit)
            try {
              span.attribute(attribute, outcome)
              span.end(now, ended)
            } catch {
              // The span is lost; the outcome is not.
            }
            return Effect.void
          }))
    })
  )
