/**
 * Engines over stores, and checks of what they return.
 */
import { Effect, Option } from "effect"
import { MemoryStore, StoredEngine } from "effect-session"
import { aRecord, hour, minute, start } from "effect-session/Fixtures"
import type { BoundEngine, CookieValue, Write } from "effect-session/SessionEngine"
import type { SessionRecord } from "effect-session/SessionRecord"
import type { Operation, Store } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"

export const namespace = "test/Engine"

export const engineOf = (store: Store, options?: StoredEngine.StoredEngineOptions, scope = namespace) =>
  StoredEngine.make(store, options).bind({ namespace: scope, cookieName: "session" })

export const record = (fields: Partial<SessionRecord> = {}) => aRecord({ namespace, ...fields })

/** The record after the next write (`next`), and after a touch (`seen`). */
export const next = (before: SessionRecord): SessionRecord => ({
  ...before,
  data: `"next"`,
  version: before.version + 1,
  writeId: "next"
})
export const seen = (before: SessionRecord): SessionRecord => ({
  ...before,
  lastSeenAt: start + minute,
  expiry: { ...before.expiry, at: start + hour + minute }
})

/** The record that an engine opens for a cookie value, or `undefined`. */
export const opened = (engine: BoundEngine, value: CookieValue) =>
  Effect.map(engine.open(value, start), (found) => Option.getOrUndefined(found)?.record)

/** Writes, and dies unless the outcome is Written. */
export const written = (engine: BoundEngine, write: Write) =>
  Effect.flatMap(
    engine.write(write, start),
    (outcome) =>
      outcome._tag === "Written" ? Effect.succeed(outcome) : Effect.dieMessage(`not written, but ${outcome._tag}`)
  )

/** A memory store with one session, and two engines on it: a plain one, and one with calls that `around` intercepts. */
export const withSession = (around: FaultyStore.Interception, remote = true) =>
  Effect.gen(function*() {
    const memory = MemoryStore.make()
    const plain = yield* engineOf(memory)
    const first = yield* written(plain, { _tag: "Create", record: record() })
    const { calls, store } = FaultyStore.recorded(memory, around, remote)
    const engine = yield* engineOf(store)
    const callsOf = (operation: Operation) => calls.filter((call) => call.operation === operation)
    return { ...first, memory, plain, engine, callsOf }
  })

export type Session = Effect.Effect.Success<ReturnType<typeof withSession>>
