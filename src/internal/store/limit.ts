/**
 * The time limit of one call. It holds inside uninterruptible regions, and does not wait for a driver that cannot be interrupted.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import { clockIn } from "../done.js"

const machineClock = Context.get(DefaultServices.liveServices, Clock.Clock)

/**
 * Runs an effect with a time limit in milliseconds. On timeout or interruption the caller continues at once, and the effect is
 * interrupted in the background.
 *
 * It runs in one fiber of its own, which starts at once. `Effect.timeoutFail` of an effect that is disconnected means the same and
 * takes three, and as many turns of the scheduler; by a clock other than the machine's, that is what happens.
 */
export const within = <A, E, E1>(
  effect: Effect.Effect<A, E>,
  millis: number,
  onTimeout: () => E1
): Effect.Effect<A, E | E1> =>
  Effect.withFiberRuntime((caller) =>
    clockIn(caller.currentDefaultServices) === machineClock
      ? Effect.flatMap(Effect.runtime<never>(), (runtime) => byTimer(runtime, effect, millis, onTimeout))
      : Effect.flatten(
        Effect.timeoutFail(Effect.interruptible(Effect.disconnect(exitOf(effect))), { duration: millis, onTimeout })
      )
  )

/** Never fails: Effect logs the failure of a fiber as unhandled, and this one is reported to the caller. */
const exitOf = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<Exit.Exit<A, E>> =>
  Effect.exit(Effect.interruptible(effect))

const byTimer = <A, E, E1>(
  runtime: Runtime.Runtime<never>,
  effect: Effect.Effect<A, E>,
  millis: number,
  onTimeout: () => E1
): Effect.Effect<A, E | E1> =>
  Effect.async<A, E | E1>((resume) => {
    const fiber = Runtime.runFork(runtime, exitOf(effect))
    const timer = setTimeout(() => {
      fiber.unsafeInterruptAsFork(fiber.id())
      resume(Effect.fail(onTimeout()))
    }, millis)
    fiber.addObserver((exit) => {
      clearTimeout(timer)
      resume(Exit.flatten(exit))
    })
    return Effect.sync(() => {
      clearTimeout(timer)
      fiber.unsafeInterruptAsFork(fiber.id())
    })
  })
