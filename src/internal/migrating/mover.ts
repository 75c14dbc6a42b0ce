/**
 * Moves a session from one store to another while both are in use. Any number of processes may execute the steps of one migration.
 *
 * 1. The old record is frozen with the marker `Moving`. Concurrent writes conflict, and locate the session again.
 * 2. A copy with the marker `Arriving` is created in the new store, under a random key. Its unique id makes it the only copy.
 * 3. The marker `Moved` in the old record names the copy. This write is the point at which the session moves.
 * 4. The copy is rotated to the key of the session, with the version of the old record.
 * 5. The old record is removed.
 *
 * If a process dies in between, another one continues from the marker. `destroy` and revocation end a session in the old store first, so
 * that no copy can become valid any more, and then in the new one, where they also end the copy.
 *
 * Reversed migration: after the two stores were exchanged, the new store may hold markers of the old direction. Such a migration is first
 * completed in the old direction. Its marker is kept for {@link graceMillis}, and the session does not move back meanwhile. Otherwise a
 * slow process that still executes the old migration could find the session under the same key with the same version, and overwrite it.
 */
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Option from "effect/Option"
import type { SessionRecord } from "../../SessionRecord.js"
import type { EndReason, Loaded, Located, ReadConsistency, Store } from "../../SessionStore.js"
import { SessionStoreError } from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"
import { randomBytes } from "../crypto/primitives.js"
import { isCorrupt } from "../store/corrupt.js"
import { asideOf } from "../store/randomKey.js"
import type { Original } from "./markers.js"
import { isMovedTo, isSourceMarker, markerOf, originalOf, withMarker } from "./markers.js"

/** Milliseconds after which no process executes a step any more that it began before: longer than a request takes. */
export const graceMillis = 15_000

/**
 * - `move`: starts migrations, and completes those of other processes.
 * - `prepare`: completes migrations of other processes only.
 * - `complete`: the same, but keeps the marker, for a reversed migration.
 */
type Role = "move" | "prepare" | "complete"

/** The store of a live session that is not being moved. */
export interface Place {
  readonly side: "old" | "new"
  readonly record: Loaded
}

type Step = Effect.Effect<Option.Option<Place>, SessionStoreError>

/** A migration that is running. */
interface Move {
  readonly key: StoreKey
  readonly now: number
  /** Locates the session again, after another process has executed a step. */
  readonly again: Step
}

/** Loads a record even if it has expired; `None` if it is corrupt. */
const loadAny = (store: Store, key: StoreKey) =>
  Effect.catchIf(store.load(key, 0, "fresh"), isCorrupt, () => Effect.succeedNone)

/** Ends the copy that a store may hold of a record that was found in the other store. */
const endCopy = (
  store: Store,
  key: StoreKey,
  found: Option.Option<SessionRecord>
): Effect.Effect<unknown, SessionStoreError> => {
  // The copy may be rotated to the key until it is destroyed.
  const end = (copy: StoreKey) => Effect.zipRight(store.destroy(copy), store.destroy(key))
  if (Option.isNone(found)) return Effect.void
  const marker = markerOf(found.value)
  if (marker._tag === "Moved") return end(marker.copy)
  return Effect.flatMap(store.find(found.value.namespace, found.value.id, 0), (copy) => {
    const state = Option.getOrUndefined(Option.map(copy, markerOf))
    // A copy for another key belongs to the session after a rotation.
    return state?._tag === "Arriving" && state.key === key ? end(state.copy) : store.destroy(key)
  })
}

const year = 365 * 86_400_000

/** Attempts to locate a session that other processes keep moving. */
const maxTries = 20

const freshWriteId = () => Encoding.encodeBase64Url(randomBytes(12))

export class Mover {
  readonly #old: Store
  readonly #new: Store
  readonly #role: Role

  constructor(from: Store, to: Store, role: Role) {
    this.#old = from
    this.#new = to
    this.#role = role
  }

  /** Returns the store of the session of a key. In the role `move` it moves the session to the new store first. */
  locate(key: StoreKey, now: number, reading?: ReadConsistency, tries = maxTries): Step {
    const move = this.#move(key, now, reading, tries)
    const { again } = move
    return Effect.flatMap(this.#new.load(key, now, reading), (there): Step => {
      if (Option.isSome(there)) {
        return markerOf(there.value)._tag === "Plain"
          ? Effect.succeedSome({ side: "new", record: there.value })
          : this.#role === "complete"
          ? again
          : this.completeReversed(key, now)
      }
      return Effect.flatMap(this.#old.load(key, now, reading), (here): Step => {
        if (Option.isNone(here)) return this.#unlessArrived(move, Effect.succeedNone)
        const marker = markerOf(here.value)
        switch (marker._tag) {
          case "Moving":
            return this.#createCopy(move, here.value, marker.original)
          case "Moved":
            return this.#complete(move, here.value, marker.copy)
          case "Arriving":
            return Effect.succeedNone
          default:
            // A stale record is returned as it is: its origin is unreachable, so it cannot be moved.
            return this.#role === "move" && here.value.stale !== true
              ? this.#begin(move, here.value)
              : Effect.succeedSome({ side: "old", record: here.value })
        }
      })
    })
  }

  /** Ends the session of a key in both stores, with all records of its migration. */
  end(key: StoreKey): Effect.Effect<void, SessionStoreError> {
    const [a, b] = [this.#old, this.#new]
    return Effect.flatMap(
      Effect.zip(loadAny(a, key), loadAny(b, key)),
      ([inOld, inNew]) =>
        Effect.zipRight(
          Effect.all([a.destroy(key), b.destroy(key), endCopy(b, key, inOld), endCopy(a, key, inNew)], {
            discard: true
          }),
          // The marker of a reversed migration is now removed, so the session may have moved back before it was ended.
          Option.exists(inNew, isSourceMarker) ? Effect.suspend(() => this.end(key)) : Effect.void
        )
    )
  }

  /**
   * Returns why the session of a key has ended, from the first of these stores that knows it. `loggedOut` is not returned: the last step of a
   * migration leaves that reason, too, and the stores cannot distinguish a logout from it. Neither is the reason of a record that is marked as moved.
   */
  endReason(
    key: StoreKey,
    now: number,
    stores: ReadonlyArray<Store>
  ): Effect.Effect<Option.Option<EndReason>, SessionStoreError> {
    const reasonIn = (store: Store) =>
      Effect.flatMap(
        loadAny(store, key),
        (found) =>
          Option.exists(found, (record) => markerOf(record)._tag === "Moved")
            ? Effect.succeedNone
            : Effect.map(store.endReason(key, now), Option.filter((reason) => reason !== "loggedOut"))
      )
    // A session that is not located has ended for ever, so its reasons are read afterwards.
    return Effect.flatMap(this.locate(key, now, "fresh"), (place) =>
      Option.isSome(place)
        ? Effect.succeedNone
        : Effect.map(Effect.forEach(stores, reasonIn), Option.firstSomeOf))
  }

  /** Starts or completes the migration of a record of the old store. Returns whether the session is live in the new store. */
  migrate({ key, ...found }: Located, now: number): Effect.Effect<boolean, SessionStoreError> {
    const marker = markerOf(found)
    const located = marker._tag === "Plain"
      // Freezes the record as the scan has read it. If it has changed since, the save conflicts and the session is located.
      ? this.#begin(this.#move(key, now, "fresh", maxTries), found)
      // An arriving copy of a reversed migration is not stored under the key of its session.
      : this.locate(marker._tag === "Arriving" ? marker.key : key, now, "fresh")
    return Effect.flatMap(located, (place) => {
      // A process died before step 5, or the record is a copy of a session that has ended.
      const removed = marker._tag === "Moved" || marker._tag === "Arriving" ? this.#old.destroy(key) : Effect.void
      return Effect.as(removed, Option.exists(place, ({ side }) => side === "new"))
    })
  }

  /** Completes a migration that was started in the opposite direction. Its marker is kept. */
  completeReversed(key: StoreKey, now: number): Step {
    return Effect.map(
      new Mover(this.#new, this.#old, "complete").locate(key, now, "fresh"),
      Option.map(({ record, side }) => ({ record, side: side === "new" ? "old" : "new" }))
    )
  }

  /** Removes the marker of a completed reversed migration, once {@link graceMillis} have passed. Other records are kept. */
  removeMarker(key: StoreKey, now: number): Effect.Effect<void, SessionStoreError> {
    return Effect.flatMap(this.#new.load(key, now, "fresh"), (found) => {
      const record = Option.getOrUndefined(found)
      if (record === undefined || markerOf(record)._tag !== "Moved") return Effect.void
      const aside = asideOf(key, this.#new.capabilities)
      return Effect.flatMap(
        this.#new.rotate(key, aside, { ...record, writeId: freshWriteId() }, { expectedVersion: record.version, now }),
        (outcome) => outcome === "saved" ? this.#new.destroy(aside) : Effect.void
      )
    })
  }

  #move(key: StoreKey, now: number, reading: ReadConsistency | undefined, tries: number): Move {
    const again: Step = tries > 1
      ? Effect.suspend(() => this.locate(key, now, reading, tries - 1))
      : Effect.fail(new SessionStoreError({ operation: "move", reason: "unavailable" }))
    return { key, now, again }
  }

  /**
   * Step 1, unless the new store holds the marker of a reversed migration. It is looked up by id, because the session may have been rotated
   * to another key since.
   */
  #begin(move: Move, here: Loaded): Step {
    return Effect.flatMap(
      this.#new.find(here.namespace, here.id, move.now - graceMillis),
      (other) =>
        Option.exists(other, isSourceMarker)
          ? Effect.succeedSome({ side: "old", record: here })
          : this.#freeze(move, here)
    )
  }

  /** Step 1. */
  #freeze(move: Move, { stale: _, ...record }: Loaded): Step {
    const original = originalOf(record)
    const frozen = withMarker(record, { _tag: "Moving", original }, freshWriteId())
    return Effect.flatMap(
      this.#old.save(move.key, frozen, { expectedVersion: record.version, now: move.now }),
      // A touch since the read is not lost: a save never moves times back, and `#confirm` reads them again for step 4.
      (outcome) =>
        outcome === "saved" ? this.#createCopy(move, { ...frozen, version: record.version + 1 }, original) : move.again
    )
  }

  /** Step 2. */
  #createCopy(move: Move, frozen: SessionRecord, original: Original): Step {
    const copy = asideOf(move.key, this.#new.capabilities)
    const record = {
      ...withMarker(frozen, { _tag: "Arriving", copy, key: move.key, original }, freshWriteId()),
      // The rotation of step 4 adds one, which restores the original version.
      version: original.version - 1,
      // The copy must not expire before the old record, which may still be touched.
      expiry: { ...frozen.expiry, at: frozen.expiry.deadline ?? frozen.expiry.at + year }
    }
    return Effect.flatMap(this.#new.create(copy, record, move.now), (outcome): Step => {
      if (outcome === "created") return this.#confirm(move, frozen, copy, { original, record })
      // Another process has created the copy.
      return Effect.flatMap(this.#new.find(frozen.namespace, frozen.id, move.now), (found): Step => {
        const marker = Option.map(found, markerOf)
        if (Option.isSome(marker)) {
          return marker.value._tag === "Arriving" ? this.#confirm(move, frozen, marker.value.copy) : move.again
        }
        // The record with this id has expired: an old marker, whose session was touched in the other store since.
        return Effect.zipRight(this.#new.removeExpired({ now: move.now - graceMillis, limit: 1000 }), move.again)
      })
    })
  }

  /** Step 3. `own` is the record of the copy, if this call has created it. */
  #confirm(
    move: Move,
    frozen: SessionRecord,
    copy: StoreKey,
    own?: { readonly original: Original; readonly record: SessionRecord }
  ): Step {
    const { again, key, now } = move
    const moved = withMarker(frozen, { _tag: "Moved", copy }, freshWriteId())
    return Effect.flatMap(this.#old.save(key, moved, { expectedVersion: frozen.version, now }), (outcome): Step => {
      if (own === undefined) return again
      return Effect.flatMap(this.#old.load(key, now, "fresh"), (found): Step => {
        const here = Option.getOrUndefined(Option.filter(found, (record) => isMovedTo(record, copy)))
        if (outcome === "saved" && here !== undefined) {
          return this.#rename(move, here, copy, own.record, own.original)
        }
        // Removes the copy, unless another process has found and confirmed it.
        return outcome === "saved" || here !== undefined ? again : Effect.zipRight(this.#new.destroy(copy), again)
      })
    })
  }

  /** Steps 4 and 5. */
  #complete(move: Move, moved: SessionRecord, copy: StoreKey): Step {
    return Effect.flatMap(this.#new.load(copy, move.now, "fresh"), (found): Step => {
      const arriving = Option.getOrUndefined(found)
      const marker = arriving === undefined ? undefined : markerOf(arriving)
      // Another process has executed step 4, or the session has ended.
      if (arriving === undefined || marker?._tag !== "Arriving") return this.#unlessArrived(move, Effect.succeedNone)
      return this.#rename(move, moved, copy, arriving, marker.original)
    })
  }

  /** Steps 4 and 5, with the record of the copy. */
  #rename(move: Move, moved: SessionRecord, copy: StoreKey, arriving: SessionRecord, original: Original): Step {
    const { again, key, now } = move
    const { data, version, writeId } = original
    const record = { ...arriving, data, writeId, lastSeenAt: moved.lastSeenAt, expiry: moved.expiry }
    return Effect.flatMap(
      this.#new.rotate(copy, key, record, { expectedVersion: arriving.version, now }),
      (outcome): Step =>
        outcome === "saved"
          ? Effect.as(
            this.#role === "complete" ? Effect.void : this.#old.destroy(key),
            Option.some({ side: "new", record: { ...record, version } })
          )
          : again
    )
  }

  /** Locates the session again if it has arrived under its key meanwhile; otherwise returns `otherwise`. */
  #unlessArrived({ again, key, now }: Move, otherwise: Step): Step {
    return Effect.flatMap(this.#new.load(key, now, "fresh"), (there) => Option.isSome(there) ? again : otherwise)
  }
}
