/**
 * Waits for the end of a session.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Core } from "./core.js"
import type { Loaded } from "./work.js"

/**
 * Completes when the session has ended. Checks at once, because the session may have ended since it was loaded, and then at least
 * every `every` milliseconds. While the store is unavailable, only the fixed deadline ends the session.
 */
export const awaitEnd = <A extends object>(
  core: Core<A>,
  { record, value }: Loaded<A>,
  every: number
): Effect.Effect<void> =>
  core.watchers.watch(value, (latch) => {
    const wait = (until: number): Effect.Effect<void> =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        // If the session ends before the next check is due, check at that moment.
        Effect.race(Effect.interruptible(latch.await), Effect.sleep(until > now ? Math.min(every, until - now) : every))
          .pipe(
            Effect.zipRight(latch.close),
            Effect.zipRight(check(until))
          ))
    const check = (until: number): Effect.Effect<void> =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        Effect.matchEffect(core.engine.open(value, now), {
          onSuccess: Option.match({ onNone: () => Effect.void, onSome: ({ record }) => wait(record.expiry.at) }),
          onFailure: (error) =>
            record.expiry.deadline !== undefined && now >= record.expiry.deadline
              ? Effect.void
              : Effect.zipRight(Effect.logDebug(error.message), wait(until))
        }))
    return check(record.expiry.at)
  })
