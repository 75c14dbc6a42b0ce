/**
 * The engine over a store: the cookie holds a random token, the store knows the record by the token's hash.
 *
 * @since 0.1.0
 */
import type * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { randomBytes } from "./internal/crypto/primitives.js"
import * as SealedText from "./internal/crypto/sealedText.js"
import * as Done from "./internal/done.js"
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import * as StoreCalls from "./internal/store/calls.js"
import { guarded } from "./internal/store/defects.js"
import { storeKeys } from "./internal/store/keys.js"
import { synchronousOf } from "./internal/store/synchronous.js"
import { SessionConfigError } from "./SessionConfigError.js"
import { SessionDirectory } from "./SessionDirectory.js"
import type { BoundEngine, CookieValue, Opened, Written } from "./SessionEngine.js"
import { SessionEngine } from "./SessionEngine.js"
import { SessionMaintenance } from "./SessionMaintenance.js"
import type { SessionRecord } from "./SessionRecord.js"
import { SessionRevocation } from "./SessionRevocation.js"
import type { Loaded, ReadConsistency, Store, WriteOutcome } from "./SessionStore.js"
import { SessionStore, SessionStoreError } from "./SessionStore.js"
import * as SessionToken from "./SessionToken.js"
import type * as StoreKey from "./StoreKey.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface StoredEngineOptions {
  /**
   * How long one call to a remote store may take. A load that takes longer is answered with 503; a write is tried a
   * second time, and its outcome settled. Default 1 second.
   */
  readonly timeout?: Duration.DurationInput
  /**
   * `"token"`: the data of each session is sealed with a key that only its token gives, so that the store alone, and who
   * copies it, can never read it; nor can a listing of sessions. The seal is bound to what a `SealedStore` binds: namespace,
   * id, subject, version, schema version, the times of birth and authentication, and the deadline. A row of which one was
   * edited is corrupt (503), and one whose deadline has passed is absent. So is one that 0.5.0 sealed, which bound nothing of
   * this: its visitor logs in again. Default: data is kept as it is.
   */
  readonly seal?: "token"
  /**
   * The most bytes that the data of one session may take, in UTF-8, as the store keeps it: sealed data is a third longer. A
   * write of more fails with `SessionTooLarge` (413), and nothing is written. What is larger already can be read, and
   * written as long as it does not grow. Default 65,536 (64 KiB).
   *
   * @since 0.6.0
   */
  readonly maxSessionBytes?: number
}

const defaultMaxSessionBytes = 64 * 1024

/**
 * Makes an engine over a store.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (store: Store, options: StoredEngineOptions = {}): Context.Tag.Service<SessionEngine> => ({
  bind: ({ namespace }) =>
    Effect.suspend(() => {
      const { maxSessionBytes = defaultMaxSessionBytes, seal, timeout = "1 second" } = options
      if (!(Number.isSafeInteger(maxSessionBytes) && maxSessionBytes > 0)) {
        return new SessionConfigError({
          subject: "StoredEngine",
          problem: "maxSessionBytes is a whole number of bytes from 1 on."
        })
      }
      const boundTo = (store: Store) =>
        bind(
          store,
          storeKeys(namespace),
          Duration.decode(timeout),
          seal === "token" ? SealedText.make(namespace) : undefined,
          maxSessionBytes
        )
      const synchronous = synchronousOf(store)
      const engine = boundTo(guarded(store))
      return Effect.succeed(synchronous === undefined ? engine : { ...engine, synchronous: boundTo(synchronous) })
    })
})

const bind = (
  store: Store,
  keyOf: (token: SessionToken.SessionToken) => StoreKey.StoreKey,
  timeout: Duration.Duration,
  sealedText: SealedText.SealedText | undefined,
  maxSessionBytes: number
): BoundEngine => {
  const { colocated, remote } = store.capabilities
  const { limited, settled } = StoreCalls.make(store.capabilities, timeout)
  const load = remote
    ? (key: StoreKey.StoreKey, now: number, reading?: ReadConsistency) => limited("load", store.load(key, now, reading))
    : store.load

  /** The bytes of what was opened with a value, where they are more than are written today. */
  const larger = new WeakMap<CookieValue, number>()

  const noteSize = (value: CookieValue, { data }: SessionRecord): void => {
    if (isLonger(data, maxSessionBytes)) larger.set(value, utf8Length(data))
    else larger.delete(value)
  }

  /** What the store keeps of a record, as its next version, if it is not too large. */
  const closed = (
    operation: string,
    token: SessionToken.SessionToken,
    record: SessionRecord,
    version: number,
    before?: CookieValue
  ): Effect.Effect<SessionRecord, SessionStoreError> => {
    const most = (before === undefined ? undefined : larger.get(before)) ?? maxSessionBytes
    const tooLarge = () => Exit.fail(new SessionStoreError({ operation, reason: "size" }))
    if (isLonger(record.data, most)) return tooLarge()
    const kept = sealedText === undefined ? record : { ...record, data: sealedText.seal(token, version, record) }
    if (isLonger(kept.data, most)) return tooLarge()
    noteSize(token, kept)
    return Exit.succeed(kept)
  }

  /** Opens a sealed row with its token. */
  const opened = (
    sealedText: SealedText.SealedText,
    token: SessionToken.SessionToken,
    row: SessionRecord,
    now: number
  ): Effect.Effect<Option.Option<SessionRecord>, SessionStoreError> => {
    const data = sealedText.open(token, row)
    // Touches move the end of a row, so it is not sealed; the deadline is.
    if (Option.isSome(data)) {
      return Exit.succeed(
        (row.expiry.deadline ?? Infinity) > now ? Option.some({ ...row, data: data.value }) : Option.none()
      )
    }
    return sealedText.isUnbound(token, row)
      ? Exit.succeed(Option.none())
      : Exit.fail(new SessionStoreError({ operation: "load", reason: "corrupt" }))
  }

  /** Opens a row. */
  const row = (
    token: SessionToken.SessionToken,
    found: Option.Option<Loaded>,
    now: number
  ): Effect.Effect<Option.Option<Opened>, SessionStoreError> => {
    if (Option.isNone(found)) return Exit.succeed(Option.none())
    const { stale } = found.value
    const kept = stale === undefined ? found.value : withoutStale(found.value)
    noteSize(token, kept)
    const open = (record: SessionRecord): Opened =>
      stale === true
        ? { value: token, record, needsReseal: false, stale }
        : { value: token, record, needsReseal: false }
    return sealedText === undefined
      ? Exit.succeed(Option.some(open(kept)))
      : Effect.map(opened(sealedText, token, kept, now), Option.map(open))
  }

  /** What is under the key, if it bears our own write id: then the write whose reply was lost had succeeded. */
  const own = (key: StoreKey.StoreKey, value: SessionToken.SessionToken, record: SessionRecord, now: number) =>
    Effect.flatMap(
      load(key, now, "fresh"),
      Option.match({
        onNone: () => Effect.succeedNone,
        onSome: (found) =>
          found.writeId === record.writeId
            ? Effect.map(
              row(value, Option.some(found), now),
              Option.map(({ record }): Written => ({ _tag: "Written", value, record }))
            )
            : Effect.succeedNone
      })
    )

  const create = (record: SessionRecord, now: number, tries = 3): Effect.Effect<Written, SessionStoreError> => {
    const token = SessionToken.fromBytes(randomBytes(SessionToken.byteLength))
    const key = keyOf(token)
    const written: Written = { _tag: "Written", value: token, record }
    return Done.flatMap(
      closed("create", token, record, record.version),
      (kept) =>
        settled<"created" | "exists", Written>(
          "create",
          store.create(key, kept, now),
          (outcome) =>
            outcome === "created"
              ? Exit.succeed(written)
              // A taken key or id is never adopted: another one is drawn, and a source that repeats itself is an error.
              : tries > 1
              ? create(record, now, tries - 1)
              : Exit.fail(new SessionStoreError({ operation: "create", reason: "corrupt" })),
          (outcome, error) =>
            outcome === "created"
              ? Exit.succeed(written)
              : Effect.flatMap(
                own(key, token, record, now),
                Option.match({ onNone: () => Effect.fail(error), onSome: Effect.succeed })
              )
        )
    )
  }

  const save = (
    value: SessionToken.SessionToken,
    record: SessionRecord,
    expectedVersion: number,
    now: number,
    before: CookieValue
  ) => {
    const key = keyOf(value)
    const kept = closed("save", value, record, expectedVersion + 1, before)
    if (!remote && Done.isDone(kept) && Exit.isSuccess(kept)) {
      const saved = store.save(key, kept.value, { expectedVersion, now })
      return Done.isDone(saved) && Exit.isSuccess(saved)
        ? Exit.succeed(writtenIf(saved.value, value, record))
        : Effect.map(saved, (outcome) => writtenIf(outcome, value, record))
    }
    return Effect.flatMap(kept, (kept) =>
      settled(
        "save",
        store.save(key, kept, { expectedVersion, now }),
        (outcome) => Exit.succeed(writtenIf(outcome, value, record)),
        (outcome, error) =>
          outcome === "conflict"
            // Ours, or another's after ours: only the first is known, and a replay of the second would write twice.
            ? Effect.flatMap(
              own(key, value, record, now),
              Option.match({ onNone: () => Effect.fail(error), onSome: Effect.succeed })
            )
            : Effect.succeed(writtenIf(outcome, value, record))
      ))
  }

  /** A new token, with a key in the same place as another one where that matters. */
  const tokenBeside = (key: StoreKey.StoreKey) => {
    const draw = () => SessionToken.fromBytes(randomBytes(SessionToken.byteLength))
    let token = draw()
    // One in 64 fits in a Redis Cluster; a store of which none fits is not waited for.
    for (let draws = 1; draws < 1000 && colocated?.(key, keyOf(token)) === false; draws++) token = draw()
    return token
  }

  const rotate = (
    value: SessionToken.SessionToken,
    record: SessionRecord,
    expectedVersion: number,
    now: number,
    before: CookieValue
  ) => {
    const key = keyOf(value)
    const next = tokenBeside(key)
    const nextKey = keyOf(next)
    return Done.flatMap(closed("rotate", next, record, expectedVersion + 1, before), (kept) =>
      settled(
        "rotate",
        store.rotate(key, nextKey, kept, { expectedVersion, now }),
        (outcome) => Exit.succeed(writtenIf(outcome, next, record)),
        (outcome) =>
          outcome === "gone"
            ? Effect.map(own(nextKey, next, record, now), Option.getOrElse((): Written => ({ _tag: "Gone" })))
            : Exit.succeed(writtenIf(outcome, next, record))
      ))
  }

  const touch = (value: SessionToken.SessionToken, record: SessionRecord, now: number) => {
    const answer = (outcome: "touched" | "gone") =>
      Exit.succeed<Written>(outcome === "touched" ? { _tag: "Written", value, record } : { _tag: "Gone" })
    return settled(
      "touch",
      store.touch(keyOf(value), { lastSeenAt: record.lastSeenAt, expiresAt: record.expiry.at, now }),
      answer,
      answer
    )
  }

  return {
    remote,
    selfContained: false,
    open: (value, now, reading) => {
      const token = SessionToken.refine(value)
      if (token === undefined) return Exit.succeed(Option.none())
      const found = load(keyOf(token), now, reading)
      return Done.isDone(found) && Exit.isSuccess(found)
        ? row(token, found.value, now)
        : Effect.flatMap(found, (found) => row(token, found, now))
    },
    write: (write, now) => {
      if (write._tag === "Create") return create(write.record, now)
      const token = SessionToken.refine(write.value)
      if (token === undefined) return Exit.succeed<Written>({ _tag: "Gone" })
      switch (write._tag) {
        case "Save":
          return save(token, write.record, write.expectedVersion, now, write.value)
        case "Rotate":
          return rotate(token, write.record, write.expectedVersion, now, write.value)
        case "Touch":
          return touch(token, write.record, now)
      }
    },
    destroy: (value) =>
      Effect.suspend(() => {
        const token = SessionToken.refine(value)
        return token === undefined
          ? Effect.void
          : settled("destroy", store.destroy(keyOf(token)), Exit.succeed, Exit.succeed)
      })
  }
}

const withoutStale = ({ stale: _, ...record }: SessionRecord & { readonly stale?: true }): SessionRecord => record

const utf8 = new TextEncoder()

const utf8Length = (text: string): number => utf8.encode(text).length

/** Whether a text is longer than so many bytes. Encodes it only where its length does not say. */
const isLonger = (text: string, bytes: number): boolean =>
  text.length > bytes || (text.length * 3 > bytes && utf8Length(text) > bytes)

const writtenIf = (outcome: WriteOutcome, value: CookieValue, record: SessionRecord): Written =>
  outcome === "saved"
    ? { _tag: "Written", value, record }
    : outcome === "conflict"
    ? { _tag: "Conflict" }
    : { _tag: "Gone" }

/**
 * What every stored engine provides.
 *
 * @since 0.1.0
 * @category models
 */
export type Provided = SessionEngine | SessionDirectory | SessionMaintenance | SessionRevocation

/**
 * The engine with options.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWith = (options: StoredEngineOptions): Layer.Layer<Provided, never, SessionStore> =>
  Layer.effectContext(Effect.map(SessionStore, (unguarded) => {
    const store = guarded(unguarded)
    return Context.make(SessionEngine, make(unguarded, options)).pipe(
      Context.add(SessionDirectory, store),
      Context.add(SessionMaintenance, store),
      Context.add(SessionRevocation, store)
    )
  }))

/**
 * The engine over a store, and what goes with it.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Provided, never, SessionStore> = layerWith({})

/**
 * The engine with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<StoredEngineOptions>
): Layer.Layer<Provided, ConfigError, SessionStore> => layerConfigOf(options, layerWith)
