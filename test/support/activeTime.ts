/**
 * Time as this process has it: while it does not get its turn, because the machine is busy or stands still, none goes by.
 */
import { Effect, Fiber } from "effect"

/** Milliseconds. A pause of any length counts as one of these. */
const tick = 25

/** How many milliseconds an effect took, of those in which this process had its turn; and what came of it. */
export const activeMillis = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<readonly [millis: number, A], E, R> =>
  Effect.gen(function*() {
    let ticks = 0
    const counting = yield* Effect.fork(Effect.forever(Effect.map(Effect.sleep(tick), () => ticks++)))
    const result = yield* Effect.ensuring(effect, Fiber.interrupt(counting))
    return [ticks * tick, result] as const
  })
