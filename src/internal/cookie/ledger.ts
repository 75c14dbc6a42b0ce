/**
 * The engine of cookie sessions that can be revoked. A ledger in a store holds one entry per session, without its data: the generations of
 * its cookie that are valid. Every cookie that is sent is a new generation.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import type * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { BoundEngine, CookieValue, Opened, Write, Written } from "../../SessionEngine.js"
import type { SessionRecord } from "../../SessionRecord.js"
import type {
  CreateOutcome,
  EndReason,
  Loaded,
  ReadConsistency,
  RotateOutcome,
  Store,
  SubjectLimit
} from "../../SessionStore.js"
import { SessionStoreError } from "../../SessionStore.js"
import * as StoreKey from "../../StoreKey.js"
import { lengthPrefixed, randomBytes, sha256 } from "../crypto/primitives.js"
import { ofHash } from "../crypto/sessionToken.js"
import { isTokenText } from "../crypto/tokens.js"
import { isExpired } from "../domain/expiry.js"
import * as Counts from "../metrics.js"
import * as StoreCalls from "../store/calls.js"
import { causeOf, guarded } from "../store/defects.js"
import type { Succeeded } from "../store/written.js"
import { writtenIf } from "../store/written.js"
import type { Generations } from "./generations.js"
import * as Gen from "./generations.js"

/** The decoded content of a cookie. */
interface Content {
  readonly record: SessionRecord
  /** The cookie was sealed with an older key of the keyring. */
  readonly needsReseal: boolean
}

/** Decodes and encodes the cookies of one session tag. */
export interface Cookies {
  /** Decodes a value without checking its times. */
  readonly decode: (value: CookieValue) => Exit.Exit<Option.Option<Content>, SessionStoreError>
  /** Returns whether a value has the form of a cookie that `encode` makes. It may be invented all the same. */
  readonly hasForm: (value: CookieValue) => boolean
  /** Derives the secret of tokens against forged requests. */
  readonly secretOf: NonNullable<BoundEngine["secretOf"]>
  /** Encodes a record as a cookie. Fails if it is too large. */
  readonly encode: (operation: string, record: SessionRecord) => Exit.Exit<Succeeded, SessionStoreError>
}

// The ledger

/** The ledger entry of a session. Its times are those of the session, independent of the cookie that is presented. */
interface Entry {
  readonly record: Loaded
  readonly generations: Generations
}

const makeLedger = (inner: Store, namespace: string, timeout: Duration.Duration) => {
  const store = guarded(inner)
  const { limited, resolved } = StoreCalls.make(store.capabilities, timeout)

  /** The key includes the login time, so a new login invalidates the previous entry. */
  const keyOf = ({ authenticatedAt, id, subject }: SessionRecord) =>
    ofHash(
      sha256(lengthPrefixed("effect-session/ledger", namespace, id, String(authenticatedAt ?? ""), subject ?? ""))
    )

  /** Generates the `writeId`, because cookies have none. */
  const encodeEntry = (record: SessionRecord, generations: Generations): SessionRecord => ({
    ...record,
    data: Gen.encode(generations),
    writeId: Encoding.encodeBase64Url(randomBytes(12))
  })

  /** Whether this write, whose reply was lost, has written the stored entry. */
  const isOwn = (key: StoreKey.StoreKey, { writeId }: SessionRecord, now: number) =>
    Effect.map(limited("load", store.load(key, now, "fresh")), Option.exists((found) => found.writeId === writeId))

  return {
    capabilities: store.capabilities,

    insert: (record: SessionRecord, now: number, limit: SubjectLimit | undefined) => {
      const key = keyOf(record)
      const entry = encodeEntry(record, Gen.only(record.version))
      return resolved<CreateOutcome, Exclude<CreateOutcome, "exists">>(
        "create",
        store.create(key, entry, now, limit),
        // An existing entry is never adopted.
        (outcome) =>
          outcome === "exists"
            ? new SessionStoreError({ operation: "create", reason: "corrupt" })
            : Effect.succeed(outcome),
        // `full` and `exists` may be due to the entry that this call has written.
        (outcome, error) =>
          outcome === "created" || typeof outcome === "object"
            ? Effect.succeed(outcome)
            : Effect.flatMap(isOwn(key, entry, now), (own) =>
              own
                ? Effect.succeed("created" as const)
                : outcome === "full"
                ? Effect.succeed(outcome)
                : Effect.fail(error))
      )
    },

    /** Returns the live entry of the session of a cookie. A cached entry that is older than the cookie is read again from the origin. */
    get: (record: SessionRecord, now: number, reading?: ReadConsistency) => {
      const entry = (reading?: ReadConsistency) =>
        Effect.flatMap(
          store.load(keyOf(record), now, reading),
          Effect.transposeMapOption((record) =>
            Option.match(Gen.decode(record.data), {
              onNone: () => new SessionStoreError({ operation: "load", reason: "corrupt" }),
              onSome: (generations) => Effect.succeed<Entry>({ record, generations })
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

    /**
     * Replaces an entry if it has not changed since. A limit is enforced if the entry moves to another key: otherwise the number of sessions
     * of its subject stays the same.
     */
    replace: (
      { record: { version } }: Entry,
      before: SessionRecord,
      next: SessionRecord,
      generations: Generations,
      now: number,
      limit?: SubjectLimit
    ) => {
      const [from, to] = [keyOf(before), keyOf(next)]
      const entry = encodeEntry(next, generations)
      const [operation, write] = from === to
        ? ["save", store.save(from, entry, { expectedVersion: version, now })] as const
        : ["rotate", store.rotate(from, to, entry, { expectedVersion: version, now, limit })] as const
      return resolved<RotateOutcome, RotateOutcome>(
        operation,
        write,
        Effect.succeed,
        (outcome, error) =>
          outcome === "saved" || typeof outcome === "object"
            ? Effect.succeed(outcome)
            : Effect.flatMap(isOwn(to, entry, now), (own): Effect.Effect<RotateOutcome, SessionStoreError> =>
              own
                ? Effect.succeed("saved")
                // The outcome is unknown: another write may have replaced ours, so "conflict" could be wrong.
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

    remove: (record: SessionRecord) =>
      resolved("destroy", store.destroy(keyOf(record)), Effect.succeed, Effect.succeed),

    ping: (now: number) =>
      limited("load", Effect.suspend(() => Effect.asVoid(store.load(ofHash(sha256(randomBytes(32))), now, "fresh")))),

    endReason: (record: SessionRecord, now: number) => limited("endReason", store.endReason(keyOf(record), now))
  }
}

// The engine

type Change = Exclude<Write, { readonly _tag: "Create" }>

const gone: Written = { _tag: "Gone" }
const conflict: Written = { _tag: "Conflict" }

const limitOf = (write: Write): SubjectLimit | undefined =>
  write._tag === "Create" || write._tag === "Rotate" ? write.limit : undefined

const mayWrite = ({ generations }: Entry, { version }: SessionRecord, now: number): boolean => {
  const standing = Gen.standing(generations, version, now)
  return standing === "current" || standing === "previous"
}

const isUnacknowledged = ({ generations: { base, current } }: Entry, { version }: SessionRecord): boolean =>
  version === current && base !== undefined

/** The engine of one session tag, with its ledger in a store. */
export const make = (
  cookies: Cookies,
  store: Store,
  namespace: string,
  timeout: Duration.Duration
): BoundEngine => {
  const ledger = makeLedger(store, namespace, timeout)
  // The entries that `open` has read, so that a write need not read them again and conflicts with later changes.
  const opened = new WeakMap<CookieValue, Entry>()

  const open = (
    { record, needsReseal }: Content,
    value: CookieValue,
    entry: Entry,
    now: number
  ): Option.Option<Opened> => {
    if (Gen.standing(entry.generations, record.version, now) === "rejected") return Option.none()
    opened.set(value, entry)
    const { stale, expiry, lastSeenAt } = entry.record
    return Option.some({
      value,
      // A touch changes the entry only, not the cookie.
      record: { ...record, lastSeenAt, expiry },
      needsReseal: needsReseal || isUnacknowledged(entry, record),
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
    // The version grows with each write of the entry, so that the number of a lost cookie is not used again.
    const record = { ...write.record, version: entry.record.version + 1 }
    // A rotation invalidates all older cookies at once, without a grace period.
    const generations: Generations = write._tag === "Rotate"
      ? Gen.only(record.version)
      : Gen.advance(entry.generations, before.version, record.version, now)
    return Effect.flatMap(
      cookies.encode(write._tag.toLowerCase(), record),
      (written) =>
        Effect.flatMap(
          ledger.replace(entry, before, record, generations, now, limitOf(write)),
          (outcome) =>
            outcome === "conflict"
              ? retry(write, before, now)
              : Effect.succeed(writtenIf(outcome, written.value, written.record))
        )
    )
  }

  /** Retries after a conflict if the generation is still the current one: then the entry was only acknowledged or touched. */
  const retry = (write: Change, before: SessionRecord, now: number): Effect.Effect<Written, SessionStoreError> =>
    Effect.flatMap(
      ledger.get(before, now, "fresh"),
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
    { record: before, needsReseal }: Content,
    entry: Entry,
    now: number
  ): Effect.Effect<Written, SessionStoreError> => {
    if (needsReseal || write.resent === true) return advance(write, before, entry, now)
    const { record, value } = write
    const touched: Written = { _tag: "Written", value, record }
    if (!isUnacknowledged(entry, before)) {
      return Effect.map(ledger.touch(record, now), (outcome) => outcome === "gone" ? gone : touched)
    }
    const acknowledged = Effect.map(
      ledger.replace(entry, before, record, Gen.acknowledge(entry.generations, now), now),
      // On a conflict, another request has acknowledged the generation or made a newer one.
      (outcome) => outcome === "gone" ? gone : touched
    )
    return record.lastSeenAt > entry.record.lastSeenAt
      ? acknowledged
      // Without a touch a failure loses nothing: the next request acknowledges the generation.
      : Effect.catchAll(acknowledged, (error) => Effect.as(Effect.logWarning(error.message, causeOf(error)), touched))
  }

  const change = (write: Change, content: Content, now: number): Effect.Effect<Written, SessionStoreError> =>
    Effect.flatMap(
      Effect.suspend(() => {
        const entry = opened.get(write.value)
        return entry === undefined ? ledger.get(content.record, now, "fresh") : Effect.succeedSome(entry)
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

  /**
   * Why a session without a live entry has ended. A touch moves the end in the ledger only, so the ledger is asked before the cookie's own
   * times.
   */
  const endReason = ({ record }: Content, now: number): Effect.Effect<EndReason | "unknown", SessionStoreError> =>
    Effect.flatMap(
      ledger.endReason(record, now),
      Option.match({
        onSome: Effect.succeed<EndReason>,
        onNone: () =>
          Effect.map(
            ledger.get(record, now, "fresh"),
            Option.match({
              onNone: () => isExpired(record.expiry, now) ? "expired" : "unknown",
              // The session lives on under a newer cookie.
              onSome: ({ generations }) =>
                Gen.standing(generations, record.version, now) === "rejected" ? "rotated" : "unknown"
            })
          )
      })
    )

  return {
    remote: ledger.capabilities.remote,
    selfContained: true,
    limitsSubjects: ledger.capabilities.limitsSubjects,
    secretOf: cookies.secretOf,
    ping: ledger.ping,
    endReason: (value, now) =>
      Effect.flatMap(
        Effect.suspend(() => cookies.decode(value)),
        Option.match({
          onNone: () => Effect.succeed(cookies.hasForm(value) ? Option.some("unknown" as const) : Option.none()),
          onSome: (content) => Effect.asSome(endReason(content, now))
        })
      ),
    recognizes: isTokenText,
    open: (value, now, reading) =>
      Effect.flatMap(
        Effect.suspend(() => cookies.decode(value)),
        Option.match({
          onNone: () => Effect.succeedNone,
          // The expiry is read from the ledger, not from the cookie, which may have been made with another clock.
          onSome: (content) =>
            Effect.map(ledger.get(content.record, now, reading), (found) => {
              const session = Option.flatMap(found, (entry) => open(content, value, entry, now))
              if (Option.isNone(session)) Counts.countRejection("ended")
              return session
            })
        })
      ),
    write: (write, now) =>
      write._tag === "Create"
        ? Effect.flatMap(
          Effect.suspend(() => cookies.encode("create", write.record)),
          (written) =>
            Effect.map(
              ledger.insert(write.record, now, write.limit),
              (outcome) => writtenIf(outcome, written.value, written.record)
            )
        )
        : Effect.flatMap(
          Effect.suspend(() => cookies.decode(write.value)),
          Option.match({
            onNone: () => Effect.succeed(gone),
            onSome: (content) => change(write, content, now)
          })
        ),
    destroy: (value) =>
      Effect.flatMap(
        Effect.suspend(() => cookies.decode(value)),
        Option.match({ onNone: () => Effect.void, onSome: ({ record }) => ledger.remove(record) })
      )
  }
}
