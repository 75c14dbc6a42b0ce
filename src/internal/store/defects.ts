/**
 * Stores and engines are extension points: a call of one that throws, or dies, has failed like any other. An interruption
 * stays one.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { BoundEngine } from "../../SessionEngine.js"
import type { Shape } from "../../SessionStore.js"
import { SessionStoreError } from "../../SessionStore.js"
import * as Done from "../done.js"
import { intercepted } from "./intercepted.js"

const defectFails = <A>(operation: string, call: () => Effect.Effect<A, SessionStoreError>) =>
  Effect.catchAllDefect(
    Effect.suspend(call),
    (cause) => new SessionStoreError({ operation, reason: "unavailable", cause })
  )

/** A store whose defects are errors with the reason `unavailable`. */
export const guarded = (store: Shape): Shape =>
  intercepted(store, (operation, call) => defectFails(operation, () => call))

/** An engine whose defects are errors with the reason `unavailable`. */
export const guardedEngine = (engine: BoundEngine, isSynchronous: boolean): BoundEngine => {
  const guard = isSynchronous ? throwFails : defectFails
  return {
    ...engine,
    open: (value, now, reading) => guard("load", () => engine.open(value, now, reading)),
    write: (write, now) => guard(write._tag.toLowerCase(), () => engine.write(write, now)),
    destroy: (value) => defectFails("destroy", () => engine.destroy(value))
  }
}

/** The same for a call that works at once. What it leaves to an effect is guarded as an effect. */
const throwFails = <A>(operation: string, call: () => Effect.Effect<A, SessionStoreError>) => {
  const called = Done.attempt(call)
  return Done.isDone(called) && Exit.isSuccess(called) ? called : defectFails(operation, () => called)
}

/** Why, for a log: a logger prints a `Cause` with all causes below it, and an error as its fields alone. */
export const causeOf = ({ cause }: { readonly cause?: unknown }): Cause.Cause<unknown> =>
  Cause.isCause(cause) ? cause : cause === undefined ? Cause.empty : Cause.fail(cause)
