/**
 * What a server keeps of sessions that live in cookies, so that they can be ended: an entry for each, without its data.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SessionRecord } from "../SessionRecord.js"
import type { SessionStoreError, Shape } from "../SessionStore.js"
import type { StoreKey } from "../StoreKey.js"
import { lengthPrefixed, sha256 } from "./crypto.js"

export interface Ledger {
  readonly remote: boolean
  readonly enter: (record: SessionRecord, now: number) => Effect.Effect<void, SessionStoreError>
  /** Whether this is the latest generation of a session that has not ended, or was a moment ago. */
  readonly isCurrent: (record: SessionRecord, now: number) => Effect.Effect<boolean, SessionStoreError>
  /** Replaces a generation by the next. False if it is not the latest any more. */
  readonly advance: (
    before: SessionRecord,
    next: SessionRecord,
    expectedVersion: number,
    now: number
  ) => Effect.Effect<boolean, SessionStoreError>
  readonly touch: (record: SessionRecord, now: number) => Effect.Effect<boolean, SessionStoreError>
  readonly strike: (record: SessionRecord) => Effect.Effect<void, SessionStoreError>
}

/** How long requests that were sent together with one that saved may still read, in milliseconds. */
const grace = 10_000

export const make = (store: Shape, namespace: string): Ledger => {
  /** Another login is another entry: what was there before it is dead. */
  const keyOf = ({ authenticatedAt, id, subject }: SessionRecord) =>
    sha256(
      lengthPrefixed("effect-session/ledger", namespace, id, String(authenticatedAt ?? ""), subject ?? "")
    ) as StoreKey
  const entryOf = (record: SessionRecord): SessionRecord => ({ ...record, data: "" })

  /** A write whose reply was lost has been done if its id is there. */
  const settled = <A>(
    record: SessionRecord,
    now: number,
    write: Effect.Effect<A, SessionStoreError>,
    isDone: (outcome: A) => boolean
  ): Effect.Effect<boolean, SessionStoreError> =>
    Effect.matchEffect(write, {
      onSuccess: (outcome) => Effect.succeed(isDone(outcome)),
      onFailure: (error) =>
        Effect.flatMap(store.load(keyOf(record), now), (found) =>
          Option.exists(found, ({ writeId }) =>
              writeId === record.writeId)
            ? Effect.succeed(true)
            : Effect.fail(error))
    })

  return {
    remote: store.capabilities.remote,
    enter: (record, now) =>
      Effect.asVoid(settled(
        record,
        now,
        store.create(keyOf(record), entryOf(record), now),
        () => true
      )),
    isCurrent: (record, now) =>
      Effect.map(
        store.load(keyOf(record), now),
        Option.exists(({ modifiedAt, version }) =>
          version === record.version || (version === record.version + 1 && now - modifiedAt <= grace)
        )
      ),
    advance: (before, next, expectedVersion, now) => {
      const [from, to] = [keyOf(before), keyOf(next)]
      const entry = entryOf(next)
      return settled(
        next,
        now,
        from === to
          ? store.save(from, entry, expectedVersion, now)
          : store.rotate(from, to, entry, expectedVersion, now),
        (outcome) => outcome === "saved"
      )
    },
    touch: (record, now) =>
      Effect.map(
        store.touch(keyOf(record), record.lastSeenAt, record.expiry.at, now),
        (outcome) => outcome === "touched"
      ),
    strike: (record) => store.destroy(keyOf(record))
  }
}
