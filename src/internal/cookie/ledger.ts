/**
 * The engine of sessions in cookies that can be revoked. A ledger in a store keeps one entry for each session, without its
 * data: which generations of its cookie are valid. Every cookie that is sent is a new generation.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import type * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { BoundEngine, CookieValue, Opened, Write, Written } from "../../SessionEngine.js"
import * as SessionMetrics from "../../SessionMetrics.js"
import type { SessionRecord } from "../../SessionRecord.js"
import type { Loaded, ReadConsistency, Store, WriteOutcome } from "../../SessionStore.js"
import { SessionStoreError } from "../../SessionStore.js"
import * as StoreKey from "../../StoreKey.js"
import { lengthPrefixed, randomBytes, sha256 } from "../crypto/primitives.js"
import * as StoreCalls from "../store/calls.js"
import { causeOf, guarded } from "../store/defects.js"
import { ofHash } from "../store/keys.js"
import type { Generations } from "./generations.js"
import * as Gen from "./generations.js"

/** What a cookie holds. */
interface Content {
  readonly record: SessionRecord
  /** It was sealed with an older key of the ring. */
  readonly needsReseal: boolean
}

/** Records as cookies of one session tag. */
export interface Cookies {
  /** What a value holds, whenever that was. */
  readonly contentOf: (value: CookieValue) => Exit.Exit<Option.Option<Content>, SessionStoreError>
  /** A record as a cookie, if it fits into one. */
  readonly written: (operation: string, record: SessionRecord) => Exit.Exit<Written, SessionStoreError>
}

// The ledger

/** What is kept of a session. The times are those of the whole session, whichever cookie of it is presented. */
interface Entry {
  readonly kept: Loaded
  readonly generations: Generations
}

const makeLedger = (unguarded: Store, namespace: string, timeout: Duration.Duration) => {
  const store = guarded(unguarded)
  const { limited, resolved } = StoreCalls.make(store.capabilities, timeout)

  /** Another login is another entry: what was there before it is dead. */
  const keyOf = ({ authenticatedAt, id, subject }: SessionRecord) =>
    ofHash(
      sha256(lengthPrefixed("effect-session/ledger", namespace, id, String(authenticatedAt ?? ""), subject ?? ""))
    )

  /** The name of the write is drawn here: cookies have none. */
  const keep = (record: SessionRecord, generations: Generations): SessionRecord => ({
    ...record,
    data: Gen.encode(generations),
    writeId: Encoding.encodeBase64Url(randomBytes(12))
  })

  /** Whether what is under a key was left there by this very write, whose reply was lost. */
  const isOwn = (key: StoreKey.StoreKey, { writeId }: SessionRecord, now: number) =>
    Effect.map(limited("load", store.load(key, now, "fresh")), Option.exists((found) => found.writeId === writeId))

  return {
    remote: store.capabilities.remote,

    enter: (record: SessionRecord, now: number) => {
      const key = keyOf(record)
      const entry = keep(record, Gen.only(record.version))
      return resolved(
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

    /** The live entry of the session of a cookie. A copy that is older than the cookie is not used. */
    look: (record: SessionRecord, now: number, reading?: ReadConsistency) => {
      const entry = (reading?: ReadConsistency) =>
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

    /** Replaces an entry, if it is still as it was. */
    replace: (
      { kept: { version } }: Entry,
      before: SessionRecord,
      next: SessionRecord,
      generations: Generations,
      now: number
    ) => {
      const [from, to] = [keyOf(before), keyOf(next)]
      const entry = keep(next, generations)
      const [operation, write] = from === to
        ? ["save", store.save(from, entry, { expectedVersion: version, now })] as const
        : ["rotate", store.rotate(from, to, entry, { expectedVersion: version, now })] as const
      return resolved<WriteOutcome, WriteOutcome>(
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

    touch: (record: SessionRecord, now: number) =>
      resolved(
        "touch",
        store.touch(keyOf(record), { lastSeenAt: record.lastSeenAt, expiresAt: record.expiry.at, now }),
        Effect.succeed,
        Effect.succeed
      ),

    strike: (record: SessionRecord) => resolved("destroy", store.destroy(keyOf(record)), Effect.succeed, Effect.succeed)
  }
}

// The engine

type Change = Exclude<Write, { readonly _tag: "Create" }>

const gone: Written = { _tag: "Gone" }
const conflict: Written = { _tag: "Conflict" }

const mayWrite = ({ generations }: Entry, { version }: SessionRecord, now: number): boolean => {
  const standing = Gen.standing(generations, version, now)
  return standing === "current" || standing === "stranded"
}

const isUnconfirmed = ({ generations: { base, current } }: Entry, { version }: SessionRecord): boolean =>
  version === current && base !== undefined

/** The engine of one session tag, with its ledger in a store. */
export const make = (
  cookies: Cookies,
  store: Store,
  namespace: string,
  timeout: Duration.Duration
): BoundEngine => {
  const ledger = makeLedger(store, namespace, timeout)
  // What was read when a value was opened, so that a write need not read it again, and judges by what the request saw.
  const seen = new WeakMap<CookieValue, Entry>()

  const open = (
    { record, needsReseal: needsReseal }: Content,
    value: CookieValue,
    entry: Entry,
    now: number
  ): Option.Option<Opened> => {
    if (Gen.standing(entry.generations, record.version, now) === "refused") return Option.none()
    seen.set(value, entry)
    const { stale, expiry, lastSeenAt } = entry.kept
    return Option.some({
      value,
      // Its use is written down in the ledger only.
      record: { ...record, lastSeenAt, expiry },
      needsReseal: needsReseal || isUnconfirmed(entry, record),
      ...stale === true ? { stale } : {}
    })
  }

  /** Makes the next generation. */
  const advance = (
    write: Change,
    before: SessionRecord,
    entry: Entry,
    now: number
  ): Effect.Effect<Written, SessionStoreError> => {
    if (!mayWrite(entry, before, now)) return Effect.succeed(conflict)
    // Grows with each write of the entry: what was lost on the way is not made again.
    const record = { ...write.record, version: entry.kept.version + 1 }
    // A change of authority leaves no older cookie good, not even for those on their way.
    const generations: Generations = write._tag === "Rotate"
      ? Gen.only(record.version)
      : Gen.advance(entry.generations, before.version, record.version, now)
    return Effect.flatMap(
      cookies.written(write._tag.toLowerCase(), record),
      (written) =>
        Effect.flatMap(ledger.replace(entry, before, record, generations, now), (outcome) => {
          switch (outcome) {
            case "saved":
              return Effect.succeed(written)
            case "gone":
              return Effect.succeed(gone)
            case "conflict":
              return again(write, before, now)
          }
        })
    )
  }

  /** The entry has changed. If all of it was that this generation has come back, the write still stands. */
  const again = (write: Change, before: SessionRecord, now: number): Effect.Effect<Written, SessionStoreError> =>
    Effect.flatMap(
      ledger.look(before, now, "fresh"),
      Option.match({
        onNone: () => Effect.succeed(gone),
        onSome: (entry) =>
          entry.generations.current === before.version
            ? advance(write, before, entry, now)
            : Effect.succeed(conflict)
      })
    )

  const touch = (
    write: Change & { readonly _tag: "Touch" },
    { record: before, needsReseal: needsReseal }: Content,
    entry: Entry,
    now: number
  ): Effect.Effect<Written, SessionStoreError> => {
    if (needsReseal || write.resent === true) return advance(write, before, entry, now)
    const { record, value } = write
    const touched: Written = { _tag: "Written", value, record }
    if (!isUnconfirmed(entry, before)) {
      return Effect.map(ledger.touch(record, now), (outcome) => outcome === "gone" ? gone : touched)
    }
    const confirmed = Effect.map(
      ledger.replace(entry, before, record, Gen.confirm(entry.generations, now), now),
      // Another request has done it, or has made a newer one.
      (outcome) => outcome === "gone" ? gone : touched
    )
    return record.lastSeenAt > entry.kept.lastSeenAt
      ? confirmed
      // Nothing is lost: the next request does it.
      : Effect.catchAll(confirmed, (error) => Effect.as(Effect.logWarning(error.message, causeOf(error)), touched))
  }

  const change = (write: Change, content: Content, now: number): Effect.Effect<Written, SessionStoreError> =>
    Effect.flatMap(
      Effect.suspend(() => {
        const entry = seen.get(write.value)
        return entry === undefined ? ledger.look(content.record, now, "fresh") : Effect.succeedSome(entry)
      }),
      Option.match({
        onNone: () => Effect.succeed(gone),
        onSome: (entry) => {
          if (write._tag === "Touch") return touch(write, content, entry, now)
          return write.expectedVersion === content.record.version
            ? advance(write, content.record, entry, now)
            : Effect.succeed(conflict)
        }
      })
    )

  return {
    remote: ledger.remote,
    selfContained: true,
    open: (value, now, reading) =>
      Effect.flatMap(
        Effect.suspend(() => cookies.contentOf(value)),
        Option.match({
          onNone: () => Effect.succeedNone,
          // Whatever clock has made the cookie: when its session ends is in the ledger, by the clock of the store.
          onSome: (content) =>
            Effect.map(ledger.look(content.record, now, reading), (found) => {
              const opened = Option.flatMap(found, (entry) => open(content, value, entry, now))
              if (Option.isNone(opened)) SessionMetrics.countRejection("ended")
              return opened
            })
        })
      ),
    write: (write, now) =>
      write._tag === "Create"
        ? Effect.flatMap(
          Effect.suspend(() => cookies.written("create", write.record)),
          (written) => Effect.as(ledger.enter(write.record, now), written)
        )
        : Effect.flatMap(
          Effect.suspend(() => cookies.contentOf(write.value)),
          Option.match({
            onNone: () => Effect.succeed(gone),
            onSome: (content) => change(write, content, now)
          })
        ),
    destroy: (value) =>
      Effect.flatMap(
        Effect.suspend(() => cookies.contentOf(value)),
        Option.match({ onNone: () => Effect.void, onSome: ({ record }) => ledger.strike(record) })
      )
  }
}
