/**
 * A store with something put before, after or in place of its calls, as a layer.
 */
import { Effect, Layer } from "effect"
import { SessionStore } from "effect-session/SessionStore"
import { intercepted, type Interception } from "../../src/internal/store/intercepted.js"

export { intercepted, type Interception } from "../../src/internal/store/intercepted.js"
export type { Operation } from "../../src/SessionStore.js"

/** The same as a layer over a store. */
export const layer = (wrap: Interception, remote?: boolean): Layer.Layer<SessionStore, never, SessionStore> =>
  Layer.effect(SessionStore, Effect.map(SessionStore, (store) => intercepted(store, wrap, remote)))
