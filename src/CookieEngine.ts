/**
 * Engines that keep the session in the cookie: sealed, so that it can be neither read nor changed, without state on the server.
 *
 * `docs/cookies.md` describes the limits: of two concurrent requests one loses its update, and a copied cookie is valid until it expires,
 * unless {@link layerLedger} is used. Lists and `take` do not compile with it.
 *
 * @since 0.5.0
 */
import type * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { configError } from "./internal/configError.js"
import type { Cookies } from "./internal/cookie/ledger.js"
import * as Ledger from "./internal/cookie/ledger.js"
import type { CookieRecords } from "./internal/cookie/record.js"
import * as CookieRecord from "./internal/cookie/record.js"
import { hmacSha256, lengthPrefixed } from "./internal/crypto/primitives.js"
import { hasForm, isTokenText } from "./internal/crypto/tokens.js"
import * as Attributes from "./internal/domain/attributes.js"
import { isExpired } from "./internal/domain/expiry.js"
import * as Done from "./internal/done.js"
import { withHelp } from "./internal/help.js"
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import * as Counts from "./internal/metrics.js"
import { corrupt } from "./internal/store/corrupt.js"
import { guarded } from "./internal/store/defects.js"
import type { Succeeded } from "./internal/store/written.js"
import type { Signing } from "./Keyring.js"
import { Keyring } from "./Keyring.js"
import type { BoundEngine, CookieValue, Scope } from "./SessionEngine.js"
import { SessionEngine } from "./SessionEngine.js"
import type { SessionRecord } from "./SessionRecord.js"
import { clockSlack } from "./SessionRecord.js"
import { SessionRevocation } from "./SessionRevocation.js"
import type * as SessionSchema from "./SessionSchema.js"
import { SessionStore, SessionStoreError } from "./SessionStore.js"

/**
 * The options of {@link layerWith}.
 *
 * @since 0.5.0
 * @category models
 */
export interface CookieEngineOptions {
  /**
   * The algorithm. `"e1"`: XChaCha20-Poly1305, the default. `"f1"`: AES-256-GCM with a key for each cookie, for policies that require approved
   * algorithms.
   */
  readonly suite?: "e1" | "f1"
  /** The name of the application. Applications that share a secret reject each other's cookies if their audiences differ. */
  readonly audience?: string
}

/** The maximum length of the name and value of a cookie in bytes: browsers drop longer cookies. */
const mostBytes = 4096

/** The keys of the cookies of one session tag. */
interface Keys {
  readonly suite: "e1" | "f1" | "h1"
  readonly records: CookieRecords
  /** Signs the tokens against forged requests. */
  readonly csrf: Signing
}

/** A rotation mark as the library makes it. */
const isMark = (rotation: string): boolean => /^[\w-]+$/.test(rotation)

/**
 * The text that identifies one rotation of a session: random text in its attributes, or its id if there is none. Not both: a login whose
 * session has ended meanwhile creates a session with another id, and its page may already contain a token.
 */
const rotationOf = ({ attributes, id }: SessionRecord): Uint8Array =>
  Attributes.decode(attributes).pipe(
    Option.flatMapNullable(({ rotation }) => rotation),
    Option.filter(isMark),
    Option.match({
      onNone: () => lengthPrefixed("id", id),
      onSome: (rotation) => lengthPrefixed("rotation", rotation)
    })
  )

const utf8 = new TextEncoder()

/** Encodes and decodes cookies. The functions do their work when they are called. */
const cookiesOf = ({ csrf, records, suite }: Keys, cookieName: string): Cookies => {
  /** Values that were rejected. The question why a session ended must not count the rejection again. */
  const rejected = new WeakSet<CookieValue>()
  return {
    hasForm: (value) => hasForm(suite, Redacted.value(value)),
    // The signature never leaves the server. Its text contains what is signed, so it is hashed to 32 bytes.
    secretOf: ({ record }) => hmacSha256(utf8.encode(csrf.sign(rotationOf(record))), forgery),
    decode: (value) => {
      if (rejected.has(value)) return Exit.succeed(Option.none())
      const decoded = records.decode(Redacted.value(value))
      switch (decoded._tag) {
        case "Invalid":
          rejected.add(value)
          return Exit.succeed(Option.none())
        case "Unreadable":
          Counts.countRejection("unreadable")
          return Exit.fail(new SessionStoreError({ operation: "open", reason: "corrupt" }))
        case "Opened":
          return Exit.succeed(Option.some(decoded))
      }
    },
    encode: (operation, record) => {
      let encoded: Either.Either<string, string>
      try {
        encoded = records.encode(record)
      } catch (cause) {
        // The source of random bytes may fail.
        return Exit.fail(new SessionStoreError({ operation, reason: "unavailable", cause }))
      }
      return Either.match(encoded, {
        onLeft: (problem) => Exit.fail(corrupt(operation, new TypeError(problem))),
        onRight: (token): Exit.Exit<Succeeded, SessionStoreError> =>
          token.length + cookieName.length > mostBytes
            ? Exit.fail(new SessionStoreError({ operation, reason: "size" }))
            : Exit.succeed({ _tag: "Written", value: Redacted.make(token), record })
      })
    }
  }
}

/** The engine without state on the server. */
const withoutLedger = ({ decode, encode, hasForm, secretOf }: Cookies): BoundEngine => {
  const endReason: NonNullable<BoundEngine["endReason"]> = (value, now) =>
    Done.map(
      decode(value),
      Option.match({
        onNone: () => hasForm(value) ? Option.some("unknown" as const) : Option.none(),
        // A cookie leaves no trace of a logout.
        onSome: ({ record }) => Option.some(isExpired(record.expiry, now) ? "expired" : "unknown")
      })
    )
  const synchronous: BoundEngine = {
    remote: false,
    selfContained: true,
    secretOf,
    endReason,
    recognizes: isTokenText,
    open: (value, now) => {
      const content = decode(value)
      if (Exit.isFailure(content)) return Exit.failCause(content.cause)
      if (Option.isNone(content.value)) return Exit.succeed(Option.none())
      const { record, needsReseal } = content.value.value
      if (isExpired(record.expiry, now)) {
        Counts.countRejection("expired")
        return Exit.succeed(Option.none())
      }
      const ahead = aheadOf(record, now)
      return ahead > clockSlack
        ? Effect.as(premature(ahead), Option.none())
        : Exit.succeed(Option.some({ value, record, needsReseal }))
    },
    write: (write) => encode(write._tag.toLowerCase(), write.record),
    destroy: () => Exit.void
  }
  return {
    ...synchronous,
    endReason: (value, now) => Effect.suspend(() => endReason(value, now)),
    open: (value, now) => Effect.suspend(() => synchronous.open(value, now)),
    write: (write, now) => Effect.suspend(() => synchronous.write(write, now)),
    synchronous
  }
}

/** Returns the number of milliseconds by which the latest time of a record is ahead of `now`. */
const aheadOf = ({ authenticatedAt = 0, createdAt, lastSeenAt, modifiedAt }: SessionRecord, now: number): number =>
  Math.max(createdAt, authenticatedAt, lastSeenAt, modifiedAt) - now

/** Logs and counts a rejected cookie from the future: its end may be too late by as much, and is stored in the cookie only. */
const premature = (ahead: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    Counts.countRejection("premature")
    return Effect.logWarning(
      withHelp(
        `Rejected a session cookie, so its visitor is anonymous: it was made ${
          Math.round(ahead / 1000)
        } seconds in the ` +
          "future. The clocks of the servers differ by more than a minute; set them right.",
        "clocks-differ"
      )
    )
  })

/** The message whose MAC with the signature as the key is the secret of tokens against forged requests. */
const forgery = lengthPrefixed("effect-session/csrf")

/** A cookie name has no line breaks, so different pairs give different texts. */
const scoped = ({ cookieName, cookieScope }: Scope): string =>
  cookieScope === undefined ? cookieName : `${cookieName}\n${cookieScope}`

/** A namespace has no line breaks, so different pairs give different texts. */
const audienceOf = ({ audience = "" }: Pick<CookieEngineOptions, "audience">, namespace: string) =>
  `${audience}\n${namespace}`

const make = (
  options: CookieEngineOptions,
  engineOf: (cookies: Cookies, namespace: string) => BoundEngine
): Effect.Effect<Context.Tag.Service<SessionEngine>, never, Keyring> =>
  Effect.map(Keyring, (keyring) => ({
    bind: (scope) => {
      const { cookieName, namespace } = scope
      const { suite = "e1" } = options
      const use = { cookieName: scoped(scope), audience: audienceOf(options, namespace) }
      return Effect.zipWith(
        keyring.derive({ purpose: "seal", suite, ...use }),
        keyring.derive({ purpose: "csrf", suite: "h1", ...use }),
        ({ open, seal }, csrf) => {
          const records = CookieRecord.make({ read: open, write: seal }, namespace)
          return engineOf(cookiesOf({ suite, records, csrf }, cookieName), namespace)
        }
      )
    }
  }))

/**
 * The engine on sealed cookies, with options.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWith = (options: CookieEngineOptions): Layer.Layer<SessionEngine, never, Keyring> =>
  Layer.effect(SessionEngine, make(options, withoutLedger))

/**
 * The engine on sealed cookies. A logout deletes the cookie of this browser; a copy of the cookie is valid until it expires.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { CookieEngine, Keyring } from "effect-session"
 *
 * export const engine = CookieEngine.layer.pipe(Layer.provide(Keyring.layerConfig()))
 * ```
 *
 * @since 0.5.0
 * @category layers
 */
export const layer: Layer.Layer<SessionEngine, never, Keyring> = Layer.fresh(layerWith({}))

/**
 * The engine on sealed cookies, with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<CookieEngineOptions>
): Layer.Layer<SessionEngine, ConfigError, Keyring> => layerConfigOf(options, layerWith)

/**
 * The engine on signed cookies, which are not encrypted. Compiles only for a tag whose schema is `SessionSchema.readable`. Fails with
 * `SessionConfigError` for the layer of another tag.
 *
 * @since 0.5.0
 * @category layers
 */
export const layerSigned = (
  tag: { readonly schema: SessionSchema.Any & SessionSchema.Readable; readonly namespace: string },
  options: Pick<CookieEngineOptions, "audience"> = {}
): Layer.Layer<SessionEngine, never, Keyring> =>
  Layer.effect(
    SessionEngine,
    Effect.map(Keyring, (keyring) => ({
      bind: (scope) => {
        const { cookieName, namespace } = scope
        const use = { suite: "h1", cookieName: scoped(scope), audience: audienceOf(options, namespace) } as const
        return namespace === tag.namespace
          ? Effect.zipWith(
            keyring.derive({ purpose: "sign", ...use }),
            keyring.derive({ purpose: "csrf", ...use }),
            ({ sign, verify }, csrf) => {
              const records = CookieRecord.make({ read: verify, write: sign }, namespace)
              return withoutLedger(cookiesOf({ suite: "h1", records, csrf }, cookieName))
            }
          )
          : configError(
            "CookieEngine",
            `Signed cookies are configured for "${tag.namespace}" only. Give "${namespace}" an engine of its own.`,
            "signed-cookie-of-another-tag"
          )
      }
    }))
  )

/**
 * The options of {@link layerLedgerWith}.
 *
 * @since 0.5.0
 * @category models
 */
export interface LedgerOptions extends CookieEngineOptions {
  /**
   * The timeout of one call to a remote store. After it, a load fails with 503; a write is retried once, and its outcome is resolved.
   * Default 1 second.
   */
  readonly timeout?: Duration.DurationInput
}

/**
 * The engine on sealed cookies with a ledger, with options.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerLedgerWith = (
  options: LedgerOptions
): Layer.Layer<SessionEngine | SessionRevocation, never, Keyring | SessionStore> =>
  Layer.effectContext(
    Effect.flatMap(SessionStore, (store) => {
      const timeout = Duration.decode(options.timeout ?? "1 second")
      return Effect.map(
        make(options, (cookies, namespace) => Ledger.make(cookies, store, namespace, timeout)),
        (engine) => Context.make(SessionEngine, engine).pipe(Context.add(SessionRevocation, guarded(store)))
      )
    })
  )

/**
 * The engine on sealed cookies with a ledger: a store keeps one small entry without data for each session. A logout and a revocation then
 * end every copy of a cookie at once, and a login, a change of authority or `rotate` ends every older cookie. After a save the previous
 * cookie can be read until the browser has presented the current one, and for a grace period of ten seconds after that, for concurrent
 * requests; a write with it fails with `SessionConflict`. Each request that uses the session costs one read of the store, and the first
 * request with a new cookie one write.
 *
 * @since 0.5.0
 * @category layers
 */
export const layerLedger: Layer.Layer<SessionEngine | SessionRevocation, never, Keyring | SessionStore> = Layer.fresh(
  layerLedgerWith({})
)

/**
 * The engine on sealed cookies with a ledger, with options from the configuration. Fails with a `ConfigError` if one is missing or
 * invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerLedgerConfig = (
  options: Config.Config.Wrap<LedgerOptions>
): Layer.Layer<SessionEngine | SessionRevocation, ConfigError, Keyring | SessionStore> =>
  layerConfigOf(options, layerLedgerWith)
