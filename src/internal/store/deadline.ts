/**
 * The time that a commit has. The calls of the store share it, so that a slow store is reported by the call that it did not answer,
 * before the commit as a whole is given up.
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
  /** When another commit of the same session was last seen to come before this one. */
  overtakenAt: number | undefined
}

const current: FiberRef.FiberRef<Deadline | undefined> = FiberRef.unsafeMake<Deadline | undefined>(undefined)

/** Runs a commit, which may take so many milliseconds. The limit itself is the caller's to enforce. */
export const within = <A, E, R>(
  millis: number,
  commit: (deadline: Deadline) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.flatMap(Clock.currentTimeMillis, (begunAt) => {
    const deadline: Deadline = { begunAt, endsAt: begunAt + millis, overtakenAt: undefined }
    return Effect.locally(commit(deadline), current, deadline)
  })

/** An effect, for whoever learns of it, that notes that another commit has come before the one of this fiber. */
export const overtaken: Effect.Effect<Effect.Effect<void>> = Effect.map(
  FiberRef.get(current),
  (deadline) =>
    deadline === undefined
      ? Effect.void
      : Effect.map(Clock.currentTimeMillis, (now) => void (deadline.overtakenAt = now))
)

/** Whether other commits took more than half of the time. */
export const wasBusy = ({ begunAt, endsAt, overtakenAt }: Deadline): boolean =>
  overtakenAt !== undefined && overtakenAt - begunAt > (endsAt - begunAt) / 2

/** What a call may take of what is left to a commit that others came before: it may not get another chance. */
const lastShare = 0.9

/**
 * How many milliseconds a call may take: at most `millis`, and at most such a share of what is left to the commit, if the
 * call is part of one.
 */
export const share = (millis: number, fraction: number): Effect.Effect<number> =>
  Effect.withFiberRuntime((fiber) => {
    const deadline = fiber.getFiberRef(current)
    if (deadline === undefined) return Exit.succeed(millis)
    const part = deadline.overtakenAt === undefined ? fraction : lastShare
    return Exit.succeed(Math.min(millis, Math.max(0, Math.floor((deadline.endsAt - millisOf(fiber)) * part))))
  })
