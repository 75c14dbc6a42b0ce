/**
 * The time limit of a commit. The calls of the store share it, so that a slow store is reported by the call that timed out, before the
 * commit as a whole times out.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import { millisOf } from "../done.js"

/** The limit of one commit. Times are milliseconds since the epoch. */
export interface Deadline {
  readonly begunAt: number
  readonly endsAt: number
  /** The last time at which another commit of the same session was seen to overtake this one. */
  overtakenAt: number | undefined
}

const current: FiberRef.FiberRef<Deadline | undefined> = FiberRef.unsafeMake<Deadline | undefined>(undefined)

/** Runs a commit with a deadline in `millis` milliseconds. The caller enforces the limit. */
export const within = <A, E, R>(
  millis: number,
  commit: (deadline: Deadline) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.flatMap(Clock.currentTimeMillis, (begunAt) => {
    const deadline: Deadline = { begunAt, endsAt: begunAt + millis, overtakenAt: undefined }
    return Effect.locally(commit(deadline), current, deadline)
  })

/** Returns an effect that records, from any fiber, that another commit has overtaken the commit of this fiber. */
export const overtaken: Effect.Effect<Effect.Effect<void>> = Effect.map(
  FiberRef.get(current),
  (deadline) =>
    deadline === undefined
      ? Effect.void
      : Effect.map(Clock.currentTimeMillis, (now) => void (deadline.overtakenAt = now))
)

/** Returns whether other commits took more than half of the time. */
export const wasBusy = ({ begunAt, endsAt, overtakenAt }: Deadline): boolean =>
  overtakenAt !== undefined && overtakenAt - begunAt > (endsAt - begunAt) / 2

/** The share of the remaining time that a call of an overtaken commit may take: there may be no time for another try. */
const lastShare = 0.9

/** Returns the timeout of a call in milliseconds: at most `millis` and, inside a commit, at most a fraction of its remaining time. */
export const share = (millis: number, fraction: number): Effect.Effect<number> =>
  Effect.withFiberRuntime((fiber) => {
    const deadline = fiber.getFiberRef(current)
    if (deadline === undefined) return Exit.succeed(millis)
    const part = deadline.overtakenAt === undefined ? fraction : lastShare
    return Exit.succeed(Math.min(millis, Math.max(0, Math.floor((deadline.endsAt - millisOf(fiber)) * part))))
  })
