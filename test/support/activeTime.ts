/**
 * Time that this process was running. Time during which a busy machine suspended it does not count.
 */
import { Effect, Fiber } from "effect"

/** Milliseconds. A suspension of any length counts as one tick. */
const tick = 25

/** Measures how many milliseconds an effect took while this process was running, and returns its result. */
export const activeMillis = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<readonly [millis: number, A], E, R> =>
  Effect.gen(function*() {
    let ticks = 0
    const counting = yield* Effect.fork(Effect.forever(Effect.map(Effect.sleep(tick), () => ticks++)))
    const result = yield* Effect.ensuring(effect, Fiber.interrupt(counting))
    return [ticks * tick, result] as const
  })
