/**
 * In which shard the record of a key is: the key's own, unless it was rotated from another. A record never leaves its
 * shard, so that one script sees all of a rotation; where the new key belongs to another shard, that one notes where
 * the record is. An engine that heeds `colocated` has no use for such notes.
 */
import * as Effect from "effect/Effect"
import type { SessionStoreError } from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"
import type { Calls, Reply } from "./calls.js"
import * as Scripts from "./scripts.js"
import type { Shard, Shards } from "./shards.js"

type Result<A> = Effect.Effect<A, SessionStoreError>

export interface Homes {
  /** Does something in the shard where the record is, and says which one that was. */
  readonly at: (
    key: StoreKey,
    run: (shard: Shard) => Result<Reply>
  ) => Result<{ readonly home: Shard; readonly reply: Reply }>
  /** Makes a key lead to a shard, until the record's deadline at the most. `false` if something has the key already. */
  readonly lead: (
    calls: Calls,
    key: StoreKey,
    home: Shard,
    deadline: number | undefined,
    now: number
  ) => Result<boolean>
  /** A key leads to a shard no longer. That it fails is no harm: nothing is there. */
  readonly leave: (calls: Calls, key: StoreKey, home: Shard) => Effect.Effect<void>
}

export const homes = (shards: Shards): Homes => ({
  at: (key, run) => {
    const own = shards.of(key)
    return Effect.flatMap(run(own), (reply) => {
      const home = reply[0] === "elsewhere" ? shards.tagged(reply[1]) ?? own : own
      return home === own ? Effect.succeed({ home, reply }) : Effect.map(run(home), (reply) => ({ home, reply }))
    })
  },

  lead: (calls, key, home, deadline, now) => {
    const own = shards.of(key)
    return home === own
      ? Effect.succeed(true)
      : Effect.map(
        calls.run(Scripts.point, [own.record(key)], [home.tag, deadline ?? "", now]),
        ([word]) => word === "pointed"
      )
  },

  leave: (calls, key, home) => {
    const own = shards.of(key)
    return home === own ? Effect.void : Effect.ignore(calls.run(Scripts.unpoint, [own.record(key)], [home.tag]))
  }
})
