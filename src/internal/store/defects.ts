/**
 * Defects of stores and engines, which are extension points: a call that throws or dies is a failed call. Interruptions are unchanged.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { BoundEngine } from "../../SessionEngine.js"
import type { Store } from "../../SessionStore.js"
import { SessionStoreError } from "../../SessionStore.js"
import { intercepted } from "./intercepted.js"

const defectFails = <A>(operation: string, call: () => Effect.Effect<A, SessionStoreError>) =>
  Effect.catchAllDefect(
    Effect.suspend(call),
    (cause) => new SessionStoreError({ operation, reason: "unavailable", cause })
  )

/** Converts the defects of a store to errors with the reason `unavailable`. */
export const guarded = (store: Store): Store =>
  intercepted(store, (operation, call) => defectFails(operation, () => call))

/** Converts the defects of an engine to errors with the reason `unavailable`. */
export const guardedEngine = (engine: BoundEngine): BoundEngine => ({
  ...engine,
  open: (value, now, reading) => defectFails("load", () => engine.open(value, now, reading)),
  write: (write, now) => defectFails(write._tag.toLowerCase(), () => engine.write(write, now)),
  destroy: (value) => defectFails("destroy", () => engine.destroy(value)),
  ...engine.endReason === undefined
    ? {}
    : {
      endReason: (value, now) => defectFails("endReason", () => engine.endReason?.(value, now) ?? Effect.succeedNone)
    }
})

/** Converts the cause of an error for a log: loggers print a `Cause` with all nested causes, but only the fields of an error. */
export const causeOf = ({ cause }: { readonly cause?: unknown }): Cause.Cause<unknown> =>
  Cause.isCause(cause) ? cause : cause === undefined ? Cause.empty : Cause.fail(cause)
