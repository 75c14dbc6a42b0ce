/**
 * What a server keeps of sessions that live in cookies, so that they can be ended: an entry for each, without its data.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Option from "effect/Option"
import type { SessionRecord } from "../../SessionRecord.js"
import type { Loaded, Reading, Shape, WriteOutcome } from "../../SessionStore.js"
import { SessionStoreError } from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"
import { lengthPrefixed, randomBytes, sha256 } from "../crypto/primitives.js"
import * as StoreCalls from "../store/calls.js"
import { guarded } from "../store/defects.js"
import type { Generations } from "./generations.js"
import * as Gen from "./generations.js"

/** What is kept of a session. The times are those of the whole session, whichever cookie of it is presented. */
export interface Entry {
  readonly kept: Loaded
  readonly generations: Generations
}

export interface Ledger {
  readonly remote: boolean
  readonly enter: (record: SessionRecord, now: number) => Effect.Effect<void, SessionStoreError>
  /** The live entry of the session of a cookie. A copy that knows less than the cookie is older than it, and is not used. */
  readonly look: (
    record: SessionRecord,
    now: number,
    reading?: Reading
  ) => Effect.Effect<Option.Option<Entry>, SessionStoreError>
  /** Replaces an entry, if it is still as it was. */
  readonly replace: (
    entry: Entry,
    before: SessionRecord,
    next: SessionRecord,
    generations: Generations,
    now: number
  ) => Effect.Effect<WriteOutcome, SessionStoreError>
  readonly touch: (record: SessionRecord, now: number) => Effect.Effect<"touched" | "gone", SessionStoreError>
  readonly strike: (record: SessionRecord) => Effect.Effect<void, SessionStoreError>
}

export const make = (unguarded: Shape, namespace: string, timeout: Duration.Duration): Ledger => {
  const store = guarded(unguarded)
  const { limited, settled } = StoreCalls.make(store.capabilities, timeout)

  /** Another login is another entry: what was there before it is dead. */
  const keyOf = ({ authenticatedAt, id, subject }: SessionRecord) =>
    sha256(
      lengthPrefixed("effect-session/ledger", namespace, id, String(authenticatedAt ?? ""), subject ?? "")
    ) as StoreKey

  /** The name of the write is drawn here: cookies have none. */
  const keep = (record: SessionRecord, generations: Generations): SessionRecord => ({
    ...record,
    data: Gen.encode(generations),
    writeId: Encoding.encodeBase64Url(randomBytes(12))
  })

  /** Whether what is under a key was left there by this very write, whose reply was lost. */
  const isOwn = (key: StoreKey, { writeId }: SessionRecord, now: number) =>
    Effect.map(limited("load", store.load(key, now, "fresh")), Option.exists((found) => found.writeId === writeId))

  return {
    remote: store.capabilities.remote,

    enter: (record, now) => {
      const key = keyOf(record)
      const entry = keep(record, Gen.only(record.version))
      return settled(
        "create",
        store.create(key, entry, now),
        // An id that is taken is never adopted.
        (outcome) =>
          outcome === "created" ? Effect.void : new SessionStoreError({ operation: "create", reason: "corrupt" }),
        (outcome, error) =>
          outcome === "created"
            ? Effect.void
            : Effect.flatMap(isOwn(key, entry, now), (own) => own ? Effect.void : Effect.fail(error))
      )
    },

    look: (record, now, reading) => {
      const entry = (reading?: Reading) =>
        Effect.flatMap(
          store.load(keyOf(record), now, reading),
          Effect.transposeMapOption((kept) =>
            Option.match(Gen.decode(kept.data), {
              onNone: () => new SessionStoreError({ operation: "load", reason: "corrupt" }),
              onSome: (generations) => Effect.succeed<Entry>({ kept, generations })
            })
          )
        )
      return limited(
        "load",
        Effect.flatMap(
          entry(reading),
          (found) =>
            reading !== "fresh" && Option.exists(found, ({ generations }) => generations.current < record.version)
              ? entry("fresh")
              : Effect.succeed(found)
        )
      )
    },

    replace: ({ kept: { version } }, before, next, generations, now) => {
      const [from, to] = [keyOf(before), keyOf(next)]
      const entry = keep(next, generations)
      const [operation, write] = from === to
        ? ["save", store.save(from, entry, version, now)] as const
        : ["rotate", store.rotate(from, to, entry, version, now)] as const
      return settled<WriteOutcome, WriteOutcome>(
        operation,
        write,
        Effect.succeed,
        (outcome, error) =>
          outcome === "saved"
            ? Effect.succeed(outcome)
            : Effect.flatMap(isOwn(to, entry, now), (own): Effect.Effect<WriteOutcome, SessionStoreError> =>
              own
                ? Effect.succeed("saved")
                // Ours, or another's after ours: who cannot know must not say that nothing was written.
                : operation === "save" && outcome === "conflict"
                ? Effect.fail(error)
                : Effect.succeed(outcome))
      )
    },

    touch: (record, now) =>
      settled(
        "touch",
        store.touch(keyOf(record), record.lastSeenAt, record.expiry.at, now),
        Effect.succeed,
        Effect.succeed
      ),

    strike: (record) => settled("destroy", store.destroy(keyOf(record)), Effect.succeed, Effect.succeed)
  }
}
