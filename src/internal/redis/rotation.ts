/**
 * Rotation: moves a record to a new key.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SessionRecord } from "../../SessionRecord.js"
import type { RotateOutcome, SessionStoreError, SubjectLimit } from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"
import type { Calls } from "./calls.js"
import { outcome } from "./calls.js"
import type { Limits } from "./limits.js"
import { evictedIn } from "./limits.js"
import { encodeMetadata, encodeText } from "./record.js"
import * as Scripts from "./scripts.js"
import type { Forwarding, IdDirectory, Shard, Shards } from "./shards.js"
import { keptReasonIn, qualified, qualifiedIdIn } from "./shards.js"

interface Rotation {
  readonly key: StoreKey
  readonly newKey: StoreKey
  readonly record: SessionRecord
  readonly expected: number
  readonly now: number
  readonly limit: SubjectLimit | undefined
  /** The idempotency key of this call. */
  readonly call: string
}

/**
 * Rotates within the shard of the record, in one script. If the new key belongs to another shard, a forwarding entry is written there
 * first.
 */
export const rotation = (
  shards: Shards,
  ids: IdDirectory,
  forwarding: Forwarding,
  limits: Limits,
  load: (
    calls: Calls,
    key: StoreKey,
    now: number
  ) => Effect.Effect<{ readonly shard: Shard; readonly found: Option.Option<SessionRecord> }, SessionStoreError>
) =>
(
  calls: Calls,
  { call, expected, key, limit, newKey, now, record }: Rotation
): Effect.Effect<RotateOutcome, SessionStoreError> => {
  const ownId = qualified(record.namespace, record.id)

  /** The outcome if the new key or the id is taken: a conflict only if the session exists and is in `shard`. */
  const takenIn = (shard: Shard) =>
    Effect.flatMap(
      load(calls, key, now),
      ({ found, shard: current }): Effect.Effect<RotateOutcome, SessionStoreError> =>
        Option.isNone(found)
          ? Effect.succeed("gone")
          : current === shard
          ? Effect.succeed("conflict")
          : within(current)
    )

  const moveIn = (shard: Shard) =>
    limits.within(calls, {
      shard,
      call,
      record,
      limit,
      now,
      run: (input) =>
        calls.run(
          Scripts.rotate,
          [
            shard.record(key),
            shard.epochs,
            shard.ids,
            shard.subjects,
            shard.expiryIndex,
            shard.record(newKey),
            shard.ended(key),
            shard.ended(newKey),
            ...input.keys
          ],
          [key, newKey, now, call, encodeMetadata(record), encodeText(record.data), expected, ...input.args]
        )
    })

  const within = (shard: Shard): Effect.Effect<RotateOutcome, SessionStoreError> =>
    Effect.gen(function*() {
      if (!(yield* forwarding.add(calls, newKey, shard, record.expiry.deadline, now))) return yield* takenIn(shard)
      const reserved = yield* ids.reserve(calls, shard, ownId, record.expiry.at)
      if (reserved === "taken") {
        yield* forwarding.remove(calls, newKey, shard)
        return yield* takenIn(shard)
      }
      const reply = yield* moveIn(shard)
      const word = yield* outcome(calls, "saved", "evicted", "conflict", "gone", "full", "relocated")(reply)
      if (word === "saved" || word === "evicted") {
        yield* ids.release(calls, shard, qualifiedIdIn(reply).filter(({ name }) => name !== ownId.name))
        yield* forwarding.remove(calls, key, shard, keptReasonIn(reply, 3))
        return word === "evicted" ? evictedIn(reply) : word
      }
      if (reserved === "new") yield* ids.release(calls, shard, [ownId])
      yield* forwarding.remove(calls, newKey, shard)
      const other = word === "relocated" ? shards.byTag(reply[1]) : undefined
      return other === undefined ? word === "relocated" ? "gone" : word : yield* within(other)
    })

  return within(shards.of(key))
}
