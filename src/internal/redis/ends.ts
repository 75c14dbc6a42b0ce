/**
 * How sessions of a Redis store end otherwise than by their key: by their id, by a revocation, by time.
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { SessionId } from "../../SessionId.js"
import type { SessionStoreError } from "../../SessionStore.js"
import { checkClock } from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"
import type { Calls, Reply } from "./calls.js"
import { outcome } from "./calls.js"
import { locate } from "./directory.js"
import type { Homes } from "./homes.js"
import type { Ids, Named } from "./ids.js"
import { placeIn } from "./ids.js"
import * as Scripts from "./scripts.js"
import type { Shard, Shards } from "./shards.js"

type Result<A> = Effect.Effect<A, SessionStoreError>

/** How many records are deleted by one script: others wait for it. */
const batchSize = 500

/** How many entries are looked at by the way. */
const sampleSize = 32

const together = { concurrency: "unbounded" } as const

export const ends = (shards: Shards, ids: Ids, homes: Homes) => {
  const revoke = (calls: Calls, named: Named): Result<boolean> =>
    Effect.gen(function*() {
      const entry = yield* locate(ids, calls, named)
      if (entry === undefined) return false
      const { key, record, shard, text } = entry
      const reply = yield* calls.run(
        Scripts.revoke,
        [record, shard.ids, shard.subjects, shard.ends],
        [key, text]
      )
      switch (yield* outcome(calls, "revoked", "none", "moved")(reply)) {
        case "moved":
          return yield* revoke(calls, named)
        case "none":
          return false
        case "revoked":
          yield* ids.release(calls, shard, [named])
          yield* homes.leave(calls, key, shard)
          return true
      }
    })

  /**
   * Ends what is in scope in one shard. If the spared session is there, one script spares it and ends the others, so that
   * it is alive at every moment. Until it is told the entry of that session as it is, it does nothing but say it.
   */
  const raiseIn = (calls: Calls, scope: string, shard: Shard, except?: Named, entry?: string): Result<void> => {
    const told = entry === undefined ? [] : [entry]
    return Effect.flatMap(
      calls.run(
        Scripts.raise,
        [shard.epochs, shard.outlived, shard.ends, shard.ids, ...told.map((entry) => shard.record(placeIn(entry)))],
        [scope, ...(except === undefined ? [] : [except.name]), ...told]
      ),
      ([word, there]) => word === "moved" ? raiseIn(calls, scope, shard, except, there) : Effect.void
    )
  }

  /** Ends what is in scope in every shard. It is confirmed when all of them have confirmed it. */
  const raise = (calls: Calls, scope: string, except?: Named): Result<void> =>
    Effect.forEach(shards.all, (shard) => raiseIn(calls, scope, shard, except), { ...together, discard: true })

  /** Deletes what these entries lead to, if it has expired, and those of them that lead nowhere. Says how many. */
  const remove = (calls: Calls, shard: Shard, entries: Reply, now: number): Result<number> =>
    Effect.gen(function*() {
      const reply = yield* calls.run(
        Scripts.remove,
        [shard.ids, shard.subjects, shard.ends, ...entries.map((entry) => shard.record(keyIn(entry)))],
        [now, ...entries.map((entry) => entry ?? "")]
      )
      const removed = reply.flatMap((name = "", i) =>
        i % 3 === 0 ? [{ name, id: reply[i + 1] as SessionId, key: reply[i + 2] as StoreKey }] : []
      )
      yield* ids.release(calls, shard, removed)
      yield* Effect.forEach(removed, ({ key }) => homes.leave(calls, key, shard), { discard: true })
      return removed.length
    })

  /**
   * Looks at some entries anywhere, and drops those that lead nowhere. Redis lets sessions go by itself, expired ones
   * and those that it evicts: their entries would fill its memory in their place.
   */
  const prune = (calls: Calls, shard: Shard): Result<void> =>
    Effect.gen(function*() {
      const [size] = yield* calls.command("zcard", shard.ends)
      const from = yield* Random.nextIntBetween(0, Math.max(Number(size), 1))
      const entries = yield* calls.command("zrange", shard.ends, from, from + sampleSize - 1)
      if (entries.length > 0) yield* remove(calls, shard, entries, 0)
    })

  const removeExpired = (calls: Calls, now: number, limit: number): Result<number> =>
    Effect.gen(function*() {
      const counts = yield* Effect.forEach(
        shards.all,
        ({ ends, epochs, outlived }) => calls.run(Scripts.expired, [ends, epochs, outlived], [now]),
        together
      )
      yield* Effect.forEach(counts, ([, clock]) => checkClock(now, Number(clock)))
      let removed = 0
      for (const [i, shard] of shards.all.entries()) {
        let more = counts[i]?.[0] !== "0"
        while (more && removed < limit) {
          const size = Math.min(limit - removed, batchSize)
          const entries = yield* calls.command("zrangebyscore", shard.ends, "-inf", now, "LIMIT", 0, size)
          if (entries.length > 0) removed += yield* remove(calls, shard, entries, now)
          more = entries.length === size
        }
      }
      yield* ids.sweep(calls, now)
      return removed
    })

  return { prune, raise, removeExpired, revoke }
}

/** The key in an entry; of one that cannot be read, a key that no record has. */
const keyIn = (entry = ""): string => {
  try {
    const parts: unknown = JSON.parse(entry)
    return Array.isArray(parts) ? String(parts[0]) : ""
  } catch {
    return ""
  }
}
