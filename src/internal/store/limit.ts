/**
 * The timeout of one call. It also applies inside uninterruptible regions, and does not wait for a driver that cannot be interrupted.
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
 * Runs an effect with a timeout in milliseconds. On timeout or interruption the caller continues at once, and the effect is
 * interrupted in the background.
 *
 * Uses one fiber, which starts at once. `Effect.timeoutFail` of a disconnected effect has the same result but needs three fibers and as many
 * scheduler steps; it is used only with a clock other than the machine's, such as a `TestClock`.
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

/** Never fails, because Effect would log the failure of a fiber as unhandled although the caller receives it. */
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
