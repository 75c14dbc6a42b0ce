/**
 * The laws that the stores and engines of this package are tested against, for tests of your own stores and engines. They
 * work with any test runner; `docs/stores.md` shows how.
 *
 * @since 0.4.0
 */
import type * as Effect from "effect/Effect"
import * as Capability from "./internal/testing/capabilityLaws.js"
import * as Corruption from "./internal/testing/corruptionLaws.js"
import * as EndReason from "./internal/testing/endReasonLaws.js"
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
 * Laws for the declared capabilities of a store. `crash` stops the database or process that keeps the records as a power cut
 * would, starts it again and returns the store after the restart. The laws succeed if the store does not declare
 * `durableDestroy`.
 *
 * @since 0.4.0
 * @category laws
 */
export const capabilityLaws: <E>(crash: Effect.Effect<Store, E>) => ReadonlyArray<Law> = Capability.capabilityLaws

/**
 * Laws for corrupt records. `corrupt` makes the stored record of a key undecodable, bypassing the store, and returns an effect
 * that restores it. It must keep what the store finds the record by (its id and subject). Do not run these laws on a store
 * whose records cannot become corrupt, such as one that keeps them in memory.
 *
 * @since 0.5.0
 * @category laws
 */
export const corruptionLaws: <E1, E2>(
  corrupt: (key: StoreKey) => Effect.Effect<Effect.Effect<void, E2>, E1>
) => ReadonlyArray<Law> = Corruption.corruptionLaws

/**
 * Laws for a store that knows why each session has ended. For every other store, `storeLaws` check that the reasons that it returns
 * are true.
 *
 * @since 0.6.0
 * @category laws
 */
export const endReasonLaws: ReadonlyArray<Law> = EndReason.endReasonLaws

/**
 * Laws for every engine.
 *
 * @since 0.4.0
 * @category laws
 */
export const engineLaws: ReadonlyArray<Law<SessionEngine>> = Engine.engineLaws

/**
 * Additional laws for engines over a store.
 *
 * @since 0.4.0
 * @category laws
 */
export const storedEngineLaws: ReadonlyArray<Law<SessionEngine>> = Engine.storedEngineLaws

/**
 * Laws for every store: the contract, equivalence with `MemoryStore`, every order of two concurrent requests, and the behaviour
 * of a session whose store fails. Each law needs an empty store.
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
