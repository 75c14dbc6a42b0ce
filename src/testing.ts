/**
 * The laws of stores and engines, published: what is run on every store here can be run on anybody's. No test runner is
 * needed; `docs/stores.md` shows how.
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
export * as Fixtures from "./Fixtures.js"
export { type Law, LawBroken } from "./Law.js"
export * as SessionTest from "./SessionTest.js"

/**
 * The laws of a store's claims. `crash` ends what keeps the records as a power cut would, starts it again, and gives the
 * store that is there then. A store that does not claim `durableDestroy` is not asked.
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
 * What any engine promises.
 *
 * @since 0.4.0
 * @category laws
 */
export const engineLaws: ReadonlyArray<Law<SessionEngine>> = Engine.engineLaws

/**
 * What an engine over a store promises beyond that.
 *
 * @since 0.4.0
 * @category laws
 */
export const storedEngineLaws: ReadonlyArray<Law<SessionEngine>> = Engine.storedEngineLaws

/**
 * What any store promises: the contract, the model, every order of two racing requests, and what a session makes of
 * its failures. Each law wants a store that is empty.
 *
 * @since 0.4.0
 * @category laws
 */
export const storeLaws: ReadonlyArray<Law> = Stores.storeLaws
