/**
 * The engine over a store: the cookie holds a random token, the store knows the record by the token's hash.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { lengthPrefixed, randomBytes, sha256 } from "./internal/crypto.js"
import { guarded } from "./internal/defects.js"
import * as SealedText from "./internal/sealedText.js"
import * as StoreCalls from "./internal/storeCalls.js"
import { SessionDirectory } from "./SessionDirectory.js"
import type { BoundEngine, CookieValue, Opened, Written } from "./SessionEngine.js"
import { SessionEngine } from "./SessionEngine.js"
import { SessionMaintenance } from "./SessionMaintenance.js"
import type { SessionRecord } from "./SessionRecord.js"
import { SessionRevocation } from "./SessionRevocation.js"
import type { Shape, WriteOutcome } from "./SessionStore.js"
import { SessionStore, SessionStoreError } from "./SessionStore.js"
import * as SessionToken from "./SessionToken.js"
import type { StoreKey } from "./StoreKey.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * How long one call to a remote store may take. A load that takes longer is answered with 503; a write is tried a
   * second time, and its outcome settled. Default 1 second.
   */
  readonly timeout?: Duration.DurationInput
  /**
   * `"token"`: the data of each session is sealed with a key that only its token gives, so that the store alone, and who
   * copies it, can never read it; nor can a listing of sessions. Default: data is kept as it is.
   */
  readonly seal?: "token"
}

/**
 * Derives the store keys of one namespace: SHA-256 over purpose and namespace (length-prefixed) and the token's bytes.
 * The token has 256 bits of entropy, so a slow hash would add nothing but work for an attacker to cause.
 *
 * @since 0.1.0
 * @category constructors
 */
export const storeKeys = (namespace: string): (token: SessionToken.SessionToken) => StoreKey => {
  const prefix = lengthPrefixed("effect-session/r1", namespace)
  return (token) => {
    const input = new Uint8Array(prefix.length + SessionToken.byteLength)
    input.set(prefix)
    input.set(SessionToken.unsafeBytes(token), prefix.length)
    return sha256(input) as StoreKey
  }
}

/**
 * Makes an engine over a store.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (store: Shape, options: Options = {}): Context.Tag.Service<SessionEngine> => ({
  bind: ({ namespace }) =>
    Effect.sync(() =>
      bind(
        guarded(store),
        storeKeys(namespace),
        Duration.decode(options.timeout ?? "1 second"),
        options.seal === "token" ? SealedText.make(namespace) : undefined
      )
    )
})

const bind = (
  store: Shape,
  keyOf: (token: SessionToken.SessionToken) => StoreKey,
  timeout: Duration.Duration,
  sealedText: SealedText.SealedText | undefined
): BoundEngine => {
  const { colocated, remote } = store.capabilities
  const { limited, settled } = StoreCalls.make(store.capabilities, timeout)

  /** What the store keeps of a record, as its next version. */
  const closed = (token: SessionToken.SessionToken, record: SessionRecord, version: number): SessionRecord =>
    sealedText === undefined ? record : { ...record, data: sealedText.seal(token, version, record.data) }

  const opened = (
    token: SessionToken.SessionToken,
    record: SessionRecord
  ): Effect.Effect<SessionRecord, SessionStoreError> =>
    sealedText === undefined
      ? Effect.succeed(record)
      : Option.match(sealedText.open(token, record.version, record.data), {
        onNone: () => new SessionStoreError({ operation: "load", reason: "corrupt" }),
        onSome: (data) => Effect.succeed({ ...record, data })
      })

  /** What is under the key, if it bears our own write id: then the write whose reply was lost had succeeded. */
  const own = (key: StoreKey, value: CookieValue, record: SessionRecord, now: number) =>
    Effect.map(
      limited("load", store.load(key, now, "fresh")),
      Option.filterMap((found) =>
        found.writeId === record.writeId
          ? Option.some<Written>({ _tag: "Written", value, record: { ...found, data: record.data } })
          : Option.none()
      )
    )

  const create = (record: SessionRecord, now: number, tries = 3): Effect.Effect<Written, SessionStoreError> =>
    Effect.suspend(() => {
      const token = SessionToken.fromBytes(randomBytes(SessionToken.byteLength))
      const key = keyOf(token)
      const written: Written = { _tag: "Written", value: token, record }
      // A taken key or id is never adopted: another one is drawn, and a source that repeats itself is an error.
      const taken = tries > 1
        ? create(record, now, tries - 1)
        : Effect.fail(new SessionStoreError({ operation: "create", reason: "corrupt" }))
      return settled<"created" | "exists", Written>(
        "create",
        store.create(key, closed(token, record, record.version), now),
        (outcome) => outcome === "created" ? Effect.succeed(written) : taken,
        (outcome, error) =>
          outcome === "created"
            ? Effect.succeed(written)
            : Effect.flatMap(
              own(key, token, record, now),
              Option.match({ onNone: () => Effect.fail(error), onSome: Effect.succeed })
            )
      )
    })

  const save = (value: SessionToken.SessionToken, record: SessionRecord, expectedVersion: number, now: number) => {
    const key = keyOf(value)
    return settled(
      "save",
      store.save(key, closed(value, record, expectedVersion + 1), expectedVersion, now),
      (outcome) => Effect.succeed(writtenIf(outcome, value, record)),
      (outcome, error) =>
        outcome === "conflict"
          // Ours, or another's after ours: only the first is known, and a replay of the second would write twice.
          ? Effect.flatMap(
            own(key, value, record, now),
            Option.match({ onNone: () => Effect.fail(error), onSome: Effect.succeed })
          )
          : Effect.succeed(writtenIf(outcome, value, record))
    )
  }

  /** A new token, with a key in the same place as another one where that matters. */
  const tokenBeside = (key: StoreKey) => {
    const draw = () => SessionToken.fromBytes(randomBytes(SessionToken.byteLength))
    let token = draw()
    // One in 64 fits in a Redis Cluster; a store of which none fits is not waited for.
    for (let draws = 1; draws < 1000 && colocated?.(key, keyOf(token)) === false; draws++) token = draw()
    return token
  }

  const rotate = (value: SessionToken.SessionToken, record: SessionRecord, expectedVersion: number, now: number) =>
    Effect.suspend(() => {
      const key = keyOf(value)
      const next = tokenBeside(key)
      const nextKey = keyOf(next)
      return settled(
        "rotate",
        store.rotate(key, nextKey, closed(next, record, expectedVersion + 1), expectedVersion, now),
        (outcome) => Effect.succeed(writtenIf(outcome, next, record)),
        (outcome) =>
          outcome === "gone"
            ? Effect.map(own(nextKey, next, record, now), Option.getOrElse((): Written => ({ _tag: "Gone" })))
            : Effect.succeed(writtenIf(outcome, next, record))
      )
    })

  const touch = (value: SessionToken.SessionToken, record: SessionRecord, now: number) => {
    const answer = (outcome: "touched" | "gone") =>
      Effect.succeed<Written>(outcome === "touched" ? { _tag: "Written", value, record } : { _tag: "Gone" })
    return settled("touch", store.touch(keyOf(value), record.lastSeenAt, record.expiry.at, now), answer, answer)
  }

  return {
    remote,
    selfContained: false,
    open: (value, now, reading) =>
      Option.match(SessionToken.parse(Redacted.value(value)), {
        onNone: () => Effect.succeedNone,
        onSome: (token) =>
          Effect.flatMap(
            limited("load", store.load(keyOf(token), now, reading)),
            Effect.transposeMapOption(({ copied, ...kept }) =>
              Effect.map(opened(token, kept), (record): Opened => ({
                value: token,
                record,
                stale: false,
                ...copied === true ? { copied } : {}
              }))
            )
          )
      }),
    write: (write, now) => {
      if (write._tag === "Create") return create(write.record, now)
      return Option.match(SessionToken.parse(Redacted.value(write.value)), {
        onNone: () => Effect.succeed<Written>({ _tag: "Gone" }),
        onSome: (token) => {
          switch (write._tag) {
            case "Save":
              return save(token, write.record, write.expectedVersion, now)
            case "Rotate":
              return rotate(token, write.record, write.expectedVersion, now)
            case "Touch":
              return touch(token, write.record, now)
          }
        }
      })
    },
    destroy: (value) =>
      Option.match(SessionToken.parse(Redacted.value(value)), {
        onNone: () => Effect.void,
        onSome: (token) => settled("destroy", store.destroy(keyOf(token)), Effect.succeed, Effect.succeed)
      })
  }
}

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
 * The engine over a store, and what goes with it.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options = {}
): Layer.Layer<Provided, never, SessionStore> =>
  Layer.effectContext(Effect.map(SessionStore, (unguarded) => {
    const store = guarded(unguarded)
    return Context.make(SessionEngine, make(unguarded, options)).pipe(
      Context.add(SessionDirectory, store),
      Context.add(SessionMaintenance, store),
      Context.add(SessionRevocation, store)
    )
  }))
