/**
 * An engine whose values are the public ids of sessions, for jobs that have no token.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { Directory } from "../../SessionDirectory.js"
import type { BoundEngine, CookieValue, Written } from "../../SessionEngine.js"
import type { SessionRecord } from "../../SessionRecord.js"
import type { WriteOutcome } from "../../SessionStore.js"
import { SessionStoreError } from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"
import * as StoreCalls from "../store/calls.js"
import { isCorruptEntry } from "../store/corrupt.js"
import { writtenIf } from "../store/written.js"
import type { Core } from "./core.js"

export const make = (
  { namespace, settings }: Pick<Core<never>, "namespace" | "settings">,
  store: Directory
): BoundEngine => {
  // Two attempts of a write, and the read that resolves its outcome, fit into `commitTimeout`.
  const { limited, resolved } = StoreCalls.make(store.capabilities, Duration.millis(settings.commitTimeout / 4))
  /** The store keys of the sessions that were opened. */
  const keys = new WeakMap<CookieValue, StoreKey>()

  /** Reads the live record of an id, and its key. `find` returns no key, but a page of `scan` that begins at the id does. */
  const find = (value: CookieValue, now: number): Effect.Effect<Option.Option<SessionRecord>, SessionStoreError> => {
    const id = Redacted.value(value)
    // Sorts directly before the id and after any other: all ids have the same length and are random.
    const before = id.slice(0, -1)
    return Effect.flatMap(limited("scan", store.scan(namespace, { after: before, limit: 1, now })), ([found]) => {
      if (found === undefined || found.id !== id) return Effect.succeedNone
      if (isCorruptEntry(found)) return Effect.fail(found.error)
      const { key, ...record } = found
      keys.set(value, key)
      return Effect.succeedSome(record)
    })
  }

  const save = (value: CookieValue, record: SessionRecord, expectedVersion: number, now: number) => {
    const key = keys.get(value)
    if (key === undefined) return Effect.succeed<Written>({ _tag: "Gone" })
    const answer = (outcome: WriteOutcome): Effect.Effect<Written, SessionStoreError> =>
      outcome === "gone"
        // If a rotation has moved the record to another key, the caller reads it again.
        ? Effect.map(
          find(value, now),
          (found): Written => Option.isSome(found) ? { _tag: "Conflict" } : { _tag: "Gone" }
        )
        : Effect.succeed(writtenIf(outcome, value, record))
    return resolved(
      "save",
      store.save(key, record, { expectedVersion, now }),
      answer,
      (outcome, error) =>
        outcome === "conflict"
          ? Effect.flatMap(
            find(value, now),
            Option.match({
              onNone: () => Effect.fail(error),
              onSome: (found) =>
                found.writeId === record.writeId
                  ? Effect.succeed(writtenIf("saved", value, record))
                  : Effect.fail(error)
            })
          )
          : answer(outcome)
    )
  }

  return {
    remote: store.capabilities.remote,
    selfContained: false,
    open: (value, now) => Effect.map(find(value, now), Option.map((record) => ({ value, record, needsReseal: false }))),
    write: (write, now) =>
      write._tag === "Save"
        ? save(write.value, write.record, write.expectedVersion, now)
        : new SessionStoreError({
          operation: write._tag.toLowerCase(),
          reason: "unavailable",
          cause: new TypeError("A session that was opened by its id can be saved and destroyed, and nothing else.")
        }),
    destroy: (value) =>
      Effect.suspend(() => {
        const key = keys.get(value)
        return key === undefined
          ? Effect.void
          : resolved("destroy", store.destroy(key), Effect.succeed, Effect.succeed)
      })
  }
}
