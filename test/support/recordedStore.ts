/**
 * A store that notes every call, and that can be made to fail as networks do.
 */
import { Effect } from "effect"
import { SessionStoreError } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import type { Interception, Operation } from "./intercept.js"
import { intercepted } from "./intercept.js"

export interface Call {
  readonly operation: Operation
  readonly args: ReadonlyArray<unknown>
}

/** What is done around a call. */
export type Around = Interception

/** A call is noted each time it is run. */
export const recorded = (
  store: Store,
  around: Around = (_, call) => call,
  remote = store.capabilities.remote
): { readonly store: Store; readonly calls: ReadonlyArray<Call> } => {
  const calls: Array<Call> = []
  return {
    calls,
    store: intercepted(store, (operation, call, args) =>
      Effect.suspend(() => {
        calls.push({ operation, args })
        return around(operation, call, args)
      }), remote)
  }
}

/**
 * Ways in which a call to a remote store goes wrong. The caller cannot tell them apart: each is an error, or silence.
 */
export const faults = {
  /** It never arrived, and that is known. */
  refused: { applied: false, answer: "unavailable" },
  /** It was done, and the reply was lost. */
  lost: { applied: true, answer: "unavailable" },
  /** It never arrived, and nothing is heard. */
  silent: { applied: false, answer: "timeout" },
  /** It was done, and nothing is heard. */
  swallowed: { applied: true, answer: "timeout" }
} as const

export type Fault = keyof typeof faults

/**
 * Lets the first calls of some functions go wrong, in this order; later ones work. `meanwhile` is what others do
 * between a call that went wrong and the next.
 */
export const faulty = (
  script: { readonly [K in Operation]?: ReadonlyArray<Fault> },
  meanwhile: Effect.Effect<unknown, unknown> = Effect.void
): Around => {
  const left = new Map(Object.entries(script).map(([operation, faults]) => [operation, [...faults]]))
  return (operation, call) => {
    const name = left.get(operation)?.shift()
    if (name === undefined) return call
    const { answer, applied } = faults[name]
    const done = Effect.zipRight(applied ? Effect.asVoid(call) : Effect.void, Effect.orDie(meanwhile))
    return Effect.zipRight(
      done,
      answer === "timeout" ? Effect.never : Effect.fail(new SessionStoreError({ operation, reason: answer }))
    )
  }
}
