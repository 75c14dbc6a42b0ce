/**
 * Engines over stores, and what can be asked of them.
 */
import { Effect, Option } from "effect"
import { MemoryStore, StoredEngine } from "effect-session"
import type { BoundEngine, CookieValue, Write } from "effect-session/SessionEngine"
import type { SessionRecord } from "effect-session/SessionRecord"
import type { Store } from "effect-session/SessionStore"
import { aRecord, hour, minute, start } from "../../src/internal/testing/records.js"
import type { Operation } from "./intercept.js"
import type { Around } from "./recordedStore.js"
import { recorded } from "./recordedStore.js"

export const namespace = "test/Engine"

export const engineOf = (store: Store, options?: StoredEngine.StoredEngineOptions, scope = namespace) =>
  StoredEngine.make(store, options).bind({ namespace: scope, cookieName: "session" })

export const record = (fields: Partial<SessionRecord> = {}) => aRecord({ namespace, ...fields })

/** What the next write makes of a record, and what a touch does. */
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

/** What an engine says of a value: the record, or nothing. */
export const opened = (engine: BoundEngine, value: CookieValue) =>
  Effect.map(engine.open(value, start), (found) => Option.getOrUndefined(found)?.record)

/** Writes where nothing may come in between. */
export const written = (engine: BoundEngine, write: Write) =>
  Effect.flatMap(
    engine.write(write, start),
    (outcome) =>
      outcome._tag === "Written" ? Effect.succeed(outcome) : Effect.dieMessage(`not written, but ${outcome._tag}`)
  )

/** A memory store with one session, seen by an engine without faults and by one whose calls go as `around` says. */
export const withSession = (around: Around, remote = true) =>
  Effect.gen(function*() {
    const memory = MemoryStore.make()
    const plain = yield* engineOf(memory)
    const first = yield* written(plain, { _tag: "Create", record: record() })
    const { calls, store } = recorded(memory, around, remote)
    const engine = yield* engineOf(store)
    const callsOf = (operation: Operation) => calls.filter((call) => call.operation === operation)
    return { ...first, memory, plain, engine, callsOf }
  })

export type Session = Effect.Effect.Success<ReturnType<typeof withSession>>
