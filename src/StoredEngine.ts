/**
 * The engine over a store: the cookie holds a random token, and the store keeps the record under a hash of the token.
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
import { configError } from "./internal/configError.js"
import { hmacSha256, lengthPrefixed, randomBytes } from "./internal/crypto/primitives.js"
import * as SealedText from "./internal/crypto/sealedText.js"
import * as Tokens from "./internal/crypto/sessionToken.js"
import { storeKeys } from "./internal/crypto/sessionToken.js"
import { isTokenText } from "./internal/domain/tokenText.js"
import * as Done from "./internal/done.js"
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import { observedStore } from "./internal/session/observer.js"
import * as StoreCalls from "./internal/store/calls.js"
import { guarded } from "./internal/store/defects.js"
import { synchronousOf } from "./internal/store/synchronous.js"
import { writtenIf } from "./internal/store/written.js"
import { SessionDirectory } from "./SessionDirectory.js"
import type { BoundEngine, CookieValue, Opened, Written } from "./SessionEngine.js"
import { SessionEngine } from "./SessionEngine.js"
import { SessionMaintenance } from "./SessionMaintenance.js"
import type { SessionRecord } from "./SessionRecord.js"
import { SessionRevocation } from "./SessionRevocation.js"
import type { CreateOutcome, Loaded, ReadConsistency, SessionStore, Store, SubjectLimit } from "./SessionStore.js"
import { SessionStoreError } from "./SessionStore.js"
import * as SessionToken from "./SessionToken.js"
import type * as StoreKey from "./StoreKey.js"

/**
 * The options of {@link make} and {@link layerWith}.
 *
 * @since 0.1.0
 * @category models
 */
export interface StoredEngineOptions {
  /**
   * The timeout of one call to a remote store. After it, a load fails with 503; a write is retried once, and its outcome is resolved.
   * Default 1 second.
   */
  readonly timeout?: Duration.DurationInput
  /**
   * `"token"`: seals the data of each session with a key derived from its token, so that neither the store, nor a copy of it, nor a list
   * of sessions can reveal the data. The seal is bound to namespace, id, subject, version, schema version, the times of creation and
   * authentication, and the deadline. If one of these was edited, the record is corrupt (503). A record whose deadline has passed is
   * absent. So is a record that 0.5.0 sealed, which was not bound to these fields: its visitor logs in again. Default: data is not sealed.
   */
  readonly seal?: "token"
  /**
   * The maximum size of the data of one session in bytes of UTF-8, as the store keeps it: sealed data is a third longer. A write of more
   * fails with `SessionTooLarge` (413), and nothing is written. A session that is larger already can be read, and written as long as it
   * does not grow. Default 65,536 (64 KiB).
   *
   * @since 0.6.0
   */
  readonly maxSessionBytes?: number
}

const defaultMaxSessionBytes = 64 * 1024

/**
 * Makes an engine over a store. `bind` fails with `SessionConfigError` if `maxSessionBytes` is not a positive integer.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (store: Store, options: StoredEngineOptions = {}): Context.Tag.Service<SessionEngine> =>
  engineOf(store, options, options.seal === "token" ? SealedText.make : undefined)

/** `sealed` is passed in, so that a bundle of an application that seals nothing contains no ciphers. */
const engineOf = (
  store: Store,
  options: StoredEngineOptions,
  sealed: ((namespace: string) => SealedText.SealedText) | undefined
): Context.Tag.Service<SessionEngine> => ({
  bind: ({ namespace }) =>
    Effect.suspend(() => {
      const { maxSessionBytes = defaultMaxSessionBytes, timeout = "1 second" } = options
      if (!(Number.isSafeInteger(maxSessionBytes) && maxSessionBytes > 0)) {
        return configError(
          "StoredEngine",
          "maxSessionBytes must be a whole number of bytes, 1 or more.",
          "option-out-of-range"
        )
      }
      const boundTo = (store: Store) =>
        bind(
          store,
          storeKeys(namespace),
          Duration.decode(timeout),
          sealed?.(namespace),
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
  const { limited, resolved } = StoreCalls.make(store.capabilities, timeout)
  const load = remote
    ? (key: StoreKey.StoreKey, now: number, reading?: ReadConsistency) => limited("load", store.load(key, now, reading))
    : store.load

  /** The size in bytes of loaded data that exceeds `maxSessionBytes`, by cookie value. */
  const larger = new WeakMap<CookieValue, number>()

  const noteSize = (value: CookieValue, { data }: SessionRecord): void => {
    if (isLonger(data, maxSessionBytes)) larger.set(value, utf8Length(data))
    else larger.delete(value)
  }

  /** Seals the next version of a record for the store. Fails with the reason `size` if it is too large. */
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
    // A touch moves the end of a row, so the seal covers the deadline only.
    if (Option.isSome(data)) {
      return Exit.succeed(
        (row.expiry.deadline ?? Infinity) > now ? Option.some({ ...row, data: data.value }) : Option.none()
      )
    }
    return sealedText.isUnbound(token, row)
      ? Exit.succeed(Option.none())
      : Exit.fail(new SessionStoreError({ operation: "load", reason: "corrupt" }))
  }

  /** Converts a loaded row to the result of `open`. */
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

  /** Returns the record of the key if it has the write id of this call: then the write whose reply was lost has succeeded. */
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

  /** `minted`: the token to use for the first try. */
  const create = (
    record: SessionRecord,
    now: number,
    limit: SubjectLimit | undefined,
    minted: SessionToken.SessionToken | undefined,
    tries = 3
  ): Effect.Effect<Written, SessionStoreError> => {
    const token = minted ?? drawToken()
    const key = keyOf(token)
    return Done.flatMap(
      closed("create", token, record, record.version),
      (kept) =>
        resolved<CreateOutcome, Written>(
          "create",
          store.create(key, kept, now, limit),
          (outcome) =>
            outcome !== "exists"
              ? Exit.succeed(writtenIf(outcome, token, record))
              // An existing record is never adopted: a new key and id are generated. A random source that repeats itself is an error.
              : tries > 1
              ? create(record, now, limit, undefined, tries - 1)
              : Exit.fail(new SessionStoreError({ operation: "create", reason: "corrupt" })),
          // `full` and `exists` may be due to the record that this call has written.
          (outcome, error) =>
            outcome === "created" || typeof outcome === "object"
              ? Exit.succeed(writtenIf(outcome, token, record))
              : Effect.flatMap(
                own(key, token, record, now),
                Option.match({
                  onNone: () => outcome === "full" ? Exit.succeed(writtenIf(outcome, token, record)) : Exit.fail(error),
                  onSome: Effect.succeed
                })
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
      resolved(
        "save",
        store.save(key, kept, { expectedVersion, now }),
        (outcome) => Exit.succeed(writtenIf(outcome, value, record)),
        (outcome, error) =>
          outcome === "conflict"
            // Either our own write succeeded, or another write followed it. A replay in the second case would write twice.
            ? Effect.flatMap(
              own(key, value, record, now),
              Option.match({ onNone: () => Effect.fail(error), onSome: Effect.succeed })
            )
            : Effect.succeed(writtenIf(outcome, value, record))
      ))
  }

  /** Generates a token whose key is on the same shard as `key`, if the store has shards. */
  const tokenBeside = (key: StoreKey.StoreKey) => {
    let token = drawToken()
    // In a Redis Cluster one of 64 tokens is on the same shard. The number of attempts is limited, in case that none is.
    for (let draws = 1; draws < 1000 && colocated?.(key, keyOf(token)) === false; draws++) token = drawToken()
    return token
  }

  const rotate = (
    value: SessionToken.SessionToken,
    record: SessionRecord,
    expectedVersion: number,
    now: number,
    before: CookieValue,
    limit: SubjectLimit | undefined,
    minted: SessionToken.SessionToken | undefined
  ) => {
    const key = keyOf(value)
    const next = minted ?? tokenBeside(key)
    const nextKey = keyOf(next)
    return Done.flatMap(closed("rotate", next, record, expectedVersion + 1, before), (kept) =>
      resolved(
        "rotate",
        store.rotate(key, nextKey, kept, { expectedVersion, now, limit }),
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
    return resolved(
      "touch",
      store.touch(keyOf(value), { lastSeenAt: record.lastSeenAt, expiresAt: record.expiry.at, now }),
      answer,
      answer
    )
  }

  return {
    remote,
    selfContained: false,
    recognizes: isTokenText,
    limitsSubjects: store.capabilities.limitsSubjects,
    mint: (beside) => {
      const token = Tokens.refine(beside)
      return token === undefined ? drawToken() : tokenBeside(keyOf(token))
    },
    secretOf: ({ value }) => {
      const token = Tokens.refine(value)
      if (token === undefined) throw new TypeError("not a session token")
      return hmacSha256(Tokens.unsafeBytes(token), forgery)
    },
    endReason: (value, now) => {
      const token = Tokens.refine(value)
      return token === undefined
        ? Exit.succeed(Option.none())
        : Done.map(
          remote ? limited("endReason", store.endReason(keyOf(token), now)) : store.endReason(keyOf(token), now),
          (reason) => Option.some(Option.getOrElse(reason, () => "unknown" as const))
        )
    },
    // No session has this key. Every store, also one of an application, can load it.
    ping: (now) => Effect.suspend(() => Effect.asVoid(load(keyOf(drawToken()), now, "fresh"))),
    open: (value, now, reading) => {
      const token = Tokens.refine(value)
      if (token === undefined) return Exit.succeed(Option.none())
      const found = load(keyOf(token), now, reading)
      return Done.isDone(found) && Exit.isSuccess(found)
        ? row(token, found.value, now)
        : Effect.flatMap(found, (found) => row(token, found, now))
    },
    write: (write, now) => {
      if (write._tag === "Create") {
        return create(write.record, now, write.limit, Tokens.refine(write.minted))
      }
      const token = Tokens.refine(write.value)
      if (token === undefined) return Exit.succeed<Written>({ _tag: "Gone" })
      switch (write._tag) {
        case "Save":
          return save(token, write.record, write.expectedVersion, now, write.value)
        case "Rotate":
          return rotate(
            token,
            write.record,
            write.expectedVersion,
            now,
            write.value,
            write.limit,
            Tokens.refine(write.minted)
          )
        case "Touch":
          return touch(token, write.record, now)
      }
    },
    destroy: (value) =>
      Effect.suspend(() => {
        const token = Tokens.refine(value)
        return token === undefined
          ? Effect.void
          : resolved("destroy", store.destroy(keyOf(token)), Exit.succeed, Exit.succeed)
      })
  }
}

const withoutStale = ({ stale: _, ...record }: SessionRecord & { readonly stale?: true }): SessionRecord => record

const utf8 = new TextEncoder()

const utf8Length = (text: string): number => utf8.encode(text).length

/** Returns whether a text is longer than `bytes` in UTF-8. Encodes it only if its length does not decide. */
const isLonger = (text: string, bytes: number): boolean =>
  text.length > bytes || (text.length * 3 > bytes && utf8Length(text) > bytes)

const drawToken = () => Tokens.fromBytes(randomBytes(Tokens.byteLength))

/** The message whose MAC with the token as the key is the secret of tokens against forged requests. */
const forgery = lengthPrefixed("effect-session/csrf")

/**
 * The services that every stored engine provides.
 *
 * @since 0.1.0
 * @category models
 */
export type Provided = SessionEngine | SessionDirectory | SessionMaintenance | SessionRevocation

/**
 * The engine over a store, with options.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWith = (options: StoredEngineOptions): Layer.Layer<Provided, never, SessionStore> =>
  layerOf((store) => make(store, options))

const layerOf = (
  engine: (store: Store) => Context.Tag.Service<SessionEngine>
): Layer.Layer<Provided, never, SessionStore> =>
  Layer.effectContext(Effect.map(observedStore, (store) => {
    const safe = guarded(store)
    return Context.make(SessionEngine, engine(store)).pipe(
      Context.add(SessionDirectory, safe),
      Context.add(SessionMaintenance, safe),
      Context.add(SessionRevocation, safe)
    )
  }))

/**
 * The engine over a store, with the services for lists, clean-up and revocation.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { MemoryStore, StoredEngine } from "effect-session"
 *
 * export const engine = StoredEngine.layer.pipe(Layer.provide(MemoryStore.layer))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Provided, never, SessionStore> = Layer.fresh(
  layerOf((store) => engineOf(store, {}, undefined))
)

/**
 * The engine over a store, with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<StoredEngineOptions>
): Layer.Layer<Provided, ConfigError, SessionStore> => layerConfigOf(options, layerWith)
