/**
 * What a store claims beyond the contract, put to the test.
 */
import * as Effect from "effect/Effect"
import type { Law } from "../../Law.js"
import type { Store } from "../../SessionStore.js"
import { law, range } from "./law.js"
import { isDead, start, stored } from "./records.js"

/**
 * The laws of a store's claims. `crash` ends what keeps the records as a power cut would, starts it again, and gives the
 * store that is there then. A store that does not claim `durableDestroy` is not asked.
 *
 * @since 0.4.0
 * @category laws
 */
export const capabilityLaws = <E>(crash: Effect.Effect<Store, E>): ReadonlyArray<Law> => [
  law("a destroy that was acknowledged survives a crash, if the store claims that", function*(store) {
    if (!store.capabilities.durableDestroy) return
    const ended = yield* Effect.forEach(range(20), () => stored(store))
    yield* Effect.forEach(ended, ({ key }) => store.destroy(key))
    const after = yield* crash
    yield* Effect.forEach(ended, (one) => isDead(after, one, start))
  }),

  law("a revocation that was acknowledged survives a crash, if the store claims that", function*(store) {
    if (!store.capabilities.durableDestroy) return
    const byId = yield* stored(store, { subject: "ann" })
    const bySubject = yield* stored(store, { subject: "bob" })
    yield* store.revoke(byId.record.namespace, byId.record.id)
    yield* store.revokeSubject(bySubject.record.namespace, "bob")
    const after = yield* crash
    yield* isDead(after, byId, start)
    yield* isDead(after, bySubject, start)
  })
]
