/**
 * A store whose records can be damaged.
 */
import { Effect, Option } from "effect"
import type { SessionId } from "effect-session/SessionId"
import { SessionStoreError } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import type { StoreKey } from "effect-session/StoreKey"

export const corruptError = (operation: string) => new SessionStoreError({ operation, reason: "corrupt" })

/** The same store, in which a record cannot be read as long as its id is in `damaged`. */
export const corruptible = (whole: Store) => {
  const damaged = new Set<SessionId>()
  const unlessDamaged = <A extends { readonly id: SessionId }>(
    operation: string,
    call: Effect.Effect<Option.Option<A>, SessionStoreError>
  ) =>
    Effect.flatMap(
      call,
      (found) =>
        Option.exists(found, ({ id }) => damaged.has(id)) ? Effect.fail(corruptError(operation)) : Effect.succeed(found)
    )
  const store: Store = {
    ...whole,
    load: (...args) => unlessDamaged("load", whole.load(...args)),
    find: (...args) => unlessDamaged("find", whole.find(...args)),
    list: (...args) => Effect.map(whole.list(...args), (all) => all.filter(({ id }) => !damaged.has(id))),
    scan: (...args) =>
      Effect.map(
        whole.scan(...args),
        (page) => page.map((one) => damaged.has(one.id) ? { id: one.id, error: corruptError("scan") } : one)
      )
  }
  /** Damages the record of a key. What it gives mends it. */
  const damage = (key: StoreKey) =>
    Effect.gen(function*() {
      const { id } = yield* Effect.flatten(whole.load(key, 0))
      damaged.add(id)
      return Effect.sync(() => void damaged.delete(id))
    })
  return { damage, damaged, store, whole }
}
