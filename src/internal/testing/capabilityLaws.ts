/**
 * Laws for the capabilities that a store may declare.
 */
import * as Effect from "effect/Effect"
import { isDead, start, stored } from "../../Fixtures.js"
import type { Law } from "../../Law.js"
import type { Store } from "../../SessionStore.js"
import { law, range } from "./law.js"

/**
 * Laws for the declared capabilities of a store. `crash` stops the database or process that keeps the records as a power cut
 * would, starts it again and returns the store after the restart. The laws succeed if the store does not declare
 * `durableDestroy`.
 *
 * @since 0.4.0
 * @category laws
 */
export const capabilityLaws = <E>(crash: Effect.Effect<Store, E>): ReadonlyArray<Law> => [
  law("an acknowledged `destroy` survives a crash, if the store declares `durableDestroy`", function*(store) {
    if (!store.capabilities.durableDestroy) return
    const ended = yield* Effect.forEach(range(20), () => stored(store))
    yield* Effect.forEach(ended, ({ key }) => store.destroy(key))
    const after = yield* crash
    yield* Effect.forEach(ended, (one) => isDead(after, one, start))
  }),

  law("an acknowledged revocation survives a crash, if the store declares `durableDestroy`", function*(store) {
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
