/**
 * Cookie sessions with a ledger.
 */
import { Layer, Schema } from "effect"
import { Expiry, MemoryStore, Session } from "effect-session"
import * as CookieEngine from "effect-session/CookieEngine"
import type * as Keyring from "effect-session/Keyring"
import type { SessionRevocation } from "effect-session/SessionRevocation"
import type { SessionService } from "effect-session/SessionService"
import { SessionStore } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import { firstKey, keyringOf } from "./keyrings.js"

export class Tea extends Session.Tag<Tea>()("test/Tea", {
  schema: Schema.Struct({
    count: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    notes: Schema.optionalWith(Schema.String, { default: () => "" })
  }),
  expiry: Expiry.earliest(Expiry.idle("20 minutes"), Expiry.absolute("8 hours"))
}) {}

export const increment = Tea.update("count", (n) => n + 1)
export const read = Tea.get("count")

export type Served = SessionService<Tea> | SessionRevocation | SessionStore

export const on = (
  store: Store,
  { keys = keyringOf(firstKey), session = Tea.layer, ...options }: CookieEngine.LedgerOptions & {
    readonly keys?: Layer.Layer<Keyring.Keyring, unknown>
    readonly session?: typeof Tea.layer
  } = {}
) =>
  session.pipe(
    Layer.provideMerge(CookieEngine.layerLedgerWith(options)),
    Layer.provide(keys),
    Layer.provideMerge(Layer.succeed(SessionStore, store))
  )

/** A remote ledger whose calls are recorded and intercepted (`served`), and the same ledger without faults (`near`). */
export const far = (around?: FaultyStore.Interception, options?: CookieEngine.LedgerOptions) => {
  const memory = MemoryStore.make()
  const { calls, store } = FaultyStore.recorded(memory, around, true)
  let known = 0
  return {
    near: on(memory),
    served: on(store, options),
    /** The calls since the last call of this function. */
    taken: () => {
      const since = calls.slice(known)
      known = calls.length
      return since.map(({ operation }) => operation)
    }
  }
}
