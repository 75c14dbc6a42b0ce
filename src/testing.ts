/**
 * The laws of stores and engines, for tests of your own stores and engines. They need no test runner; `docs/stores.md` has an example.
 *
 * @since 0.4.0
 */
import type * as Effect from "effect/Effect"
import * as Capability from "./internal/testing/capabilityLaws.js"
import * as Damage from "./internal/testing/damageLaws.js"
import * as Engine from "./internal/testing/engineLaws.js"
import * as Stores from "./internal/testing/storeLaws.js"
import type { Law } from "./Law.js"
import type { SessionEngine } from "./SessionEngine.js"
import type { Store } from "./SessionStore.js"
import type { StoreKey } from "./StoreKey.js"

export * as FaultyStore from "./FaultyStore.js"
export { type Law, LawBroken } from "./Law.js"
export * as SessionTest from "./SessionTest.js"

/**
 * The laws of a store's capabilities. `crash` stops the database as a power loss would, starts it again, and returns a store on it. A store
 * that does not declare `durableDestroy` passes.
 *
 * @since 0.4.0
 * @category laws
 */
export const capabilityLaws: <E>(crash: Effect.Effect<Store, E>) => ReadonlyArray<Law> = Capability.capabilityLaws

/**
 * The laws of a record that is damaged. `damage` spoils what is kept under a key, past the store, as a disk, or a hand in the
 * database, does, but leaves what names the record, so that it is still found; what it gives puts that back as it was. A
 * store whose records cannot be damaged need not be asked.
 *
 * @since 0.5.0
 * @category laws
 */
export const damageLaws: <E1, E2>(
  damage: (key: StoreKey) => Effect.Effect<Effect.Effect<void, E2>, E1>
) => ReadonlyArray<Law> = Damage.damageLaws

/**
 * The laws of every engine.
 *
 * @since 0.4.0
 * @category laws
 */
export const engineLaws: ReadonlyArray<Law<SessionEngine>> = Engine.engineLaws

/**
 * The further laws of engines over a store.
 *
 * @since 0.4.0
 * @category laws
 */
export const storedEngineLaws: ReadonlyArray<Law<SessionEngine>> = Engine.storedEngineLaws

/**
 * The laws of every store: the contract, the model, all orders of two concurrent requests, and the behaviour of sessions when it fails. Each
 * law needs an empty store.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { MemoryStore } from "effect-session"
 * import { storeLaws } from "effect-session/testing"
 *
 * // Fails with the first law that the store breaks. A test runner can run one test for each law.
 * export const check = Effect.forEach(storeLaws, ({ law }) => Effect.provide(law, MemoryStore.layer), { discard: true })
 * ```
 *
 * @since 0.4.0
 * @category laws
 */
export const storeLaws: ReadonlyArray<Law> = Stores.storeLaws
