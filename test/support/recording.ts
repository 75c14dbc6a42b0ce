/**
 * A store that notes every call, and that can be made to fail as networks do.
 */
import { Effect } from "effect"
import { SessionStoreError } from "effect-session"
import type { Shape } from "effect-session/SessionStore"

/** The functions of a store. */
export type Operation = Exclude<keyof Shape, "capabilities">

export interface Call {
  readonly operation: Operation
  readonly args: ReadonlyArray<unknown>
}

/** What becomes of a call. */
export type Around = <A>(
  operation: Operation,
  call: Effect.Effect<A, SessionStoreError>
) => Effect.Effect<A, SessionStoreError>

/** Wraps every function by name, so that none is forgotten. A call is noted each time it is run. */
export const recorded = (
  store: Shape,
  around: Around = (_, call) => call,
  remote = store.capabilities.remote
): { readonly store: Shape; readonly calls: ReadonlyArray<Call> } => {
  const calls: Array<Call> = []
  const note = <A>(operation: Operation, args: ReadonlyArray<unknown>, call: Effect.Effect<A, SessionStoreError>) =>
    Effect.suspend(() => {
      calls.push({ operation, args })
      return around(operation, call)
    })
  return {
    calls,
    store: {
      capabilities: { ...store.capabilities, remote },
      create: (...args) => note("create", args, store.create(...args)),
      load: (...args) => note("load", args, store.load(...args)),
      save: (...args) => note("save", args, store.save(...args)),
      touch: (...args) => note("touch", args, store.touch(...args)),
      rotate: (...args) => note("rotate", args, store.rotate(...args)),
      destroy: (...args) => note("destroy", args, store.destroy(...args)),
      removeExpired: (...args) => note("removeExpired", args, store.removeExpired(...args)),
      count: (...args) => note("count", args, store.count(...args)),
      list: (...args) => note("list", args, store.list(...args)),
      find: (...args) => note("find", args, store.find(...args)),
      scan: (...args) => note("scan", args, store.scan(...args)),
      revoke: (...args) => note("revoke", args, store.revoke(...args)),
      revokeSubject: (...args) => note("revokeSubject", args, store.revokeSubject(...args)),
      revokeAll: (...args) => note("revokeAll", args, store.revokeAll(...args))
    }
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
