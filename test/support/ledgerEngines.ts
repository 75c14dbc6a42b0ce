/**
 * Sessions in cookies, with a ledger of them.
 */
import { Layer, Schema } from "effect"
import { Expiry, MemoryStore, Session } from "effect-session"
import * as CookieEngine from "effect-session/CookieEngine"
import type * as Keyring from "effect-session/Keyring"
import type { SessionRevocation } from "effect-session/SessionRevocation"
import type { SessionService } from "effect-session/SessionService"
import { SessionStore } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { firstKey, keyringOf } from "./keyrings.js"
import { type Around, recorded } from "./recordedStore.js"

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

/** A ledger far away whose calls are noted, and go as `around` says; and one without faults, for the time before. */
export const far = (around?: Around, options?: CookieEngine.LedgerOptions) => {
  const memory = MemoryStore.make()
  const { calls, store } = recorded(memory, around, true)
  let known = 0
  return {
    near: on(memory),
    served: on(store, options),
    /** The calls since it was last asked. */
    taken: () => {
      const since = calls.slice(known)
      known = calls.length
      return since.map(({ operation }) => operation)
    }
  }
}
