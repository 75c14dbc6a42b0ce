/**
 * Stores and engines are extension points: a call of one that throws, or dies, has failed like any other. An interruption
 * stays one.
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

/** A store whose defects are errors with the reason `unavailable`. */
export const guarded = (store: Store): Store =>
  intercepted(store, (operation, call) => defectFails(operation, () => call))

/** An engine whose defects are errors with the reason `unavailable`. */
export const guardedEngine = (engine: BoundEngine): BoundEngine => ({
  ...engine,
  open: (value, now, reading) => defectFails("load", () => engine.open(value, now, reading)),
  write: (write, now) => defectFails(write._tag.toLowerCase(), () => engine.write(write, now)),
  destroy: (value) => defectFails("destroy", () => engine.destroy(value))
})

/** Why, for a log: a logger prints a `Cause` with all causes below it, and an error as its fields alone. */
export const causeOf = ({ cause }: { readonly cause?: unknown }): Cause.Cause<unknown> =>
  Cause.isCause(cause) ? cause : cause === undefined ? Cause.empty : Cause.fail(cause)
