/**
 * Moves a session from one store to another while both are used, by any number of processes that help each other.
 *
 * 1. The old record is frozen: `Moving`. Whoever wanted to write it meets a conflict, and looks again.
 * 2. A copy is made in the new store, under a key that leads nobody to it: `Arriving`. Its id keeps it the only one.
 * 3. The old record names the copy that counts: `Moved`. This one write is the move.
 * 4. That copy comes to the session's key, with the version that the record had.
 * 5. The old record is removed.
 *
 * A process that dies in between leaves a mark from which the next one goes on. What ends a session ends it in the old
 * store first, so that no copy can come to count any more, and then in the new one, wherever in it the copy is.
 *
 * Where the two stores were exchanged, a mark of the other direction stays in what is the new one now: its session arrives
 * where it was going, and does not turn round while the mark stands. For others may be helping it, too, and be late; a
 * session that came back to the same key, with the version that it had, would be taken for what they had seen.
 */
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Option from "effect/Option"
import type { SessionRecord } from "../../SessionRecord.js"
import type { Loaded, Located, ReadConsistency, Store } from "../../SessionStore.js"
import { SessionStoreError } from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"
import { randomBytes } from "../crypto/primitives.js"
import { isCorrupt } from "../store/corrupt.js"
import { asideOf } from "../store/randomKey.js"
import type { Original } from "./marks.js"
import { isLeaving, isMovedTo, marked, markOf, originalOf } from "./marks.js"

/** In milliseconds, more than anybody takes who helps: a request that began before is over. */
export const patience = 15_000

/**
 * - `move`: sessions move when they are looked for.
 * - `prepare`: moves that others began are ended.
 * - `arrive`: the same, but the mark stays, which says that somebody may still be at it.
 */
type Role = "move" | "prepare" | "arrive"

/** Where a live session is, and nothing of its move is under way. */
export interface Place {
  readonly side: "old" | "new"
  readonly record: Loaded
}

type Step = Effect.Effect<Option.Option<Place>, SessionStoreError>

/** A move under way. */
interface Move {
  readonly key: StoreKey
  readonly now: number
  /** Looks anew: somebody else has taken a step. */
  readonly again: Step
}

/** What a store has under a key, as of long ago, so that one that has expired is found, too. */
const whatever = (store: Store, key: StoreKey) =>
  Effect.catchIf(store.load(key, 0, "fresh"), isCorrupt, () => Effect.succeedNone)

/** Ends the copy that a store may have, by now, of what was found in the other. */
const endCopy = (
  store: Store,
  key: StoreKey,
  found: Option.Option<SessionRecord>
): Effect.Effect<unknown, SessionStoreError> => {
  // It may come to its key until it is ended.
  const end = (copy: StoreKey) => Effect.zipRight(store.destroy(copy), store.destroy(key))
  if (Option.isNone(found)) return Effect.void
  const mark = markOf(found.value)
  if (mark._tag === "Moved") return end(mark.copy)
  return Effect.flatMap(store.find(found.value.namespace, found.value.id, 0), (copy) => {
    const state = Option.getOrUndefined(Option.map(copy, markOf))
    // With another key, it is what this session has become since.
    return state?._tag === "Arriving" && state.key === key ? end(state.copy) : store.destroy(key)
  })
}

const year = 365 * 86_400_000

/** How often a session may be on its way when it is looked for. */
const mostTries = 20

/** The name of a write. */
const freshWrite = () => Encoding.encodeBase64Url(randomBytes(12))

export class Mover {
  readonly #old: Store
  readonly #new: Store
  readonly #role: Role

  constructor(from: Store, to: Store, role: Role) {
    this.#old = from
    this.#new = to
    this.#role = role
  }

  /** Where the session of a key is. */
  locate(key: StoreKey, now: number, reading?: ReadConsistency, tries = mostTries): Step {
    const move = this.#move(key, now, reading, tries)
    const { again } = move
    return Effect.flatMap(this.#new.load(key, now, reading), (there): Step => {
      if (Option.isSome(there)) {
        return markOf(there.value)._tag === "Plain"
          ? Effect.succeedSome({ side: "new", record: there.value })
          : this.#role === "arrive"
          ? again
          : this.arrive(key, now)
      }
      return Effect.flatMap(this.#old.load(key, now, reading), (here): Step => {
        if (Option.isNone(here)) return this.#unlessThere(move, Effect.succeedNone)
        const mark = markOf(here.value)
        switch (mark._tag) {
          case "Moving":
            return this.#carry(move, here.value, mark.original)
          case "Moved":
            return this.#complete(move, here.value, mark.copy)
          case "Arriving":
            return Effect.succeedNone
          default:
            // What is a copy is shown as it is: its truth cannot be reached, and can still less be moved.
            return this.#role === "move" && here.value.stale !== true
              ? this.#begin(move, here.value)
              : Effect.succeedSome({ side: "old", record: here.value })
        }
      })
    })
  }

  /** Ends the session of a key, wherever it is, and whatever is found there. */
  end(key: StoreKey): Effect.Effect<void, SessionStoreError> {
    const [a, b] = [this.#old, this.#new]
    return Effect.flatMap(
      Effect.zip(whatever(a, key), whatever(b, key)),
      ([inOld, inNew]) =>
        Effect.zipRight(
          Effect.all([a.destroy(key), b.destroy(key), endCopy(b, key, inOld), endCopy(a, key, inNew)], {
            discard: true
          }),
          // The mark that kept it from turning round is gone: it may have done so before it was ended.
          Option.exists(inNew, isLeaving) ? Effect.suspend(() => this.end(key)) : Effect.void
        )
    )
  }

  /** Ends the move of what was found in the old store, or begins it. True if the session lives in the new store. */
  settle({ key, ...found }: Located, now: number): Effect.Effect<boolean, SessionStoreError> {
    const mark = markOf(found)
    const located = mark._tag === "Plain"
      // Freezes the record that the scan has read. If it has changed since, that fails and the session is located.
      ? this.#begin(this.#move(key, now, "fresh", mostTries), found)
      // What is arriving here, from before all turned round, is not under its own key.
      : this.locate(mark._tag === "Arriving" ? mark.key : key, now, "fresh")
    return Effect.flatMap(located, (place) => {
      // It had been moved, by somebody who died before the last step; or it is a copy of what has ended.
      const tidied = mark._tag === "Moved" || mark._tag === "Arriving" ? this.#old.destroy(key) : Effect.void
      return Effect.as(tidied, Option.exists(place, ({ side }) => side === "new"))
    })
  }

  /** Where what was on its way in the other direction has arrived. Its mark stays. */
  arrive(key: StoreKey, now: number): Step {
    return Effect.map(
      new Mover(this.#new, this.#old, "arrive").locate(key, now, "fresh"),
      Option.map(({ record, side }) => ({ record, side: side === "new" ? "old" : "new" }))
    )
  }

  /** Removes the mark of what has arrived in the other direction, where nobody can be late any more; and nothing but that. */
  forget(key: StoreKey, now: number): Effect.Effect<void, SessionStoreError> {
    return Effect.flatMap(this.#new.load(key, now, "fresh"), (found) => {
      const mark = Option.getOrUndefined(found)
      if (mark === undefined || markOf(mark)._tag !== "Moved") return Effect.void
      const aside = asideOf(key, this.#new.capabilities)
      return Effect.flatMap(
        this.#new.rotate(key, aside, { ...mark, writeId: freshWrite() }, { expectedVersion: mark.version, now }),
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

  /** Step 1, unless somebody may be late who has helped it in the other direction. It may have another token since. */
  #begin(move: Move, here: Loaded): Step {
    return Effect.flatMap(
      this.#new.find(here.namespace, here.id, move.now - patience),
      (other) =>
        Option.exists(other, isLeaving)
          ? Effect.succeedSome({ side: "old", record: here })
          : this.#freeze(move, here)
    )
  }

  /** Step 1. */
  #freeze(move: Move, { stale: _, ...record }: Loaded): Step {
    const original = originalOf(record)
    const frozen = marked(record, { _tag: "Moving", original }, freshWrite())
    return Effect.flatMap(
      this.#old.save(move.key, frozen, { expectedVersion: record.version, now: move.now }),
      // A touch since the read is not lost: a save never moves times back, and `#confirm` reads them again for step 4.
      (outcome) =>
        outcome === "saved" ? this.#carry(move, { ...frozen, version: record.version + 1 }, original) : move.again
    )
  }

  /** Step 2. */
  #carry(move: Move, frozen: SessionRecord, original: Original): Step {
    const copy = asideOf(move.key, this.#new.capabilities)
    const record = {
      ...marked(frozen, { _tag: "Arriving", copy, key: move.key, original }, freshWrite()),
      // To come to its key is one more version, which makes it the one that it was.
      version: original.version - 1,
      // It must not end before the old record, which may still be touched.
      expiry: { ...frozen.expiry, at: frozen.expiry.deadline ?? frozen.expiry.at + year }
    }
    return Effect.flatMap(this.#new.create(copy, record, move.now), (outcome): Step => {
      if (outcome === "created") return this.#confirm(move, frozen, copy, { original, record })
      // Another has made a copy before.
      return Effect.flatMap(this.#new.find(frozen.namespace, frozen.id, move.now), (found): Step => {
        const mark = Option.map(found, markOf)
        if (Option.isSome(mark)) {
          return mark.value._tag === "Arriving" ? this.#confirm(move, frozen, mark.value.copy) : move.again
        }
        // What has the id has expired: a mark from long ago, while its session was touched elsewhere.
        return Effect.zipRight(this.#new.removeExpired({ now: move.now - patience, limit: 1000 }), move.again)
      })
    })
  }

  /** Step 3. `own`: the record of the copy, if this call has created it. */
  #confirm(
    move: Move,
    frozen: SessionRecord,
    copy: StoreKey,
    own?: { readonly original: Original; readonly record: SessionRecord }
  ): Step {
    const { again, key, now } = move
    const moved = marked(frozen, { _tag: "Moved", copy }, freshWrite())
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
      const mark = arriving === undefined ? undefined : markOf(arriving)
      // It has come to its key before, or has ended.
      if (arriving === undefined || mark?._tag !== "Arriving") return this.#unlessThere(move, Effect.succeedNone)
      return this.#rename(move, moved, copy, arriving, mark.original)
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
            this.#role === "arrive" ? Effect.void : this.#old.destroy(key),
            Option.some({ side: "new", record: { ...record, version } })
          )
          : again
    )
  }

  /** Looks whether the session has come to its key since. */
  #unlessThere({ again, key, now }: Move, otherwise: Step): Step {
    return Effect.flatMap(this.#new.load(key, now, "fresh"), (there) => Option.isSome(there) ? again : otherwise)
  }
}
