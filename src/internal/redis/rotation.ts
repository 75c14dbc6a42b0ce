/**
 * How a session of a Redis store moves to a new key.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SessionRecord } from "../../SessionRecord.js"
import type { SessionStoreError, WriteOutcome } from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"
import type { Calls } from "./calls.js"
import { outcome } from "./calls.js"
import { encodeMetadata, spell } from "./record.js"
import * as Scripts from "./scripts.js"
import type { Homes, Ids, Shard, Shards } from "./shards.js"
import { named, namedIn } from "./shards.js"

interface Rotation {
  readonly key: StoreKey
  readonly newKey: StoreKey
  readonly record: SessionRecord
  readonly expected: number
  readonly now: number
  /** The name of this call. */
  readonly call: string
}

/** One script, where the new key belongs to the shard of the record. Otherwise that key is made to lead there first. */
export const rotation = (
  shards: Shards,
  ids: Ids,
  homes: Homes,
  load: (
    calls: Calls,
    key: StoreKey,
    now: number
  ) => Effect.Effect<{ readonly home: Shard; readonly found: Option.Option<SessionRecord> }, SessionStoreError>
) =>
(
  calls: Calls,
  { call, expected, key, newKey, now, record }: Rotation
): Effect.Effect<WriteOutcome, SessionStoreError> => {
  const own = named(record.namespace, record.id)

  /** The new key or the id is taken. That is a conflict only for a session that is there, and was looked for there. */
  const refusedIn = (shard: Shard) =>
    Effect.flatMap(
      load(calls, key, now),
      ({ found, home }): Effect.Effect<WriteOutcome, SessionStoreError> =>
        Option.isNone(found)
          ? Effect.succeed("gone")
          : home === shard
          ? Effect.succeed("conflict")
          : within(home)
    )

  const moveIn = (shard: Shard) =>
    calls.run(
      Scripts.rotate,
      [shard.record(key), shard.epochs, shard.ids, shard.subjects, shard.ends, shard.record(newKey)],
      [key, newKey, now, call, encodeMetadata(record), spell(record.data), expected]
    )

  const within = (home: Shard): Effect.Effect<WriteOutcome, SessionStoreError> =>
    Effect.gen(function*() {
      if (!(yield* homes.lead(calls, newKey, home, record.expiry.deadline, now))) return yield* refusedIn(home)
      const claim = yield* ids.claim(calls, home, own, record.expiry.at)
      if (claim === "taken") {
        yield* homes.leave(calls, newKey, home)
        return yield* refusedIn(home)
      }
      const reply = yield* moveIn(home)
      const word = yield* outcome(calls, "saved", "conflict", "gone", "elsewhere")(reply)
      if (word === "saved") {
        yield* ids.release(calls, home, namedIn(reply).filter(({ name }) => name !== own.name))
        yield* homes.leave(calls, key, home)
        return word
      }
      if (claim === "new") yield* ids.release(calls, home, [own])
      yield* homes.leave(calls, newKey, home)
      const elsewhere = word === "elsewhere" ? shards.tagged(reply[1]) : undefined
      return elsewhere === undefined ? word === "conflict" ? word : "gone" : yield* within(elsewhere)
    })

  return within(shards.of(key))
}
