/**
 * Sessions inside the cookie: sealed, so that nobody reads or changes them, and nothing is kept on the server.
 *
 * What that cannot do is in `docs/cookies.md`: two requests at once lose an update, and a cookie that was copied is good
 * until it expires, unless {@link layerLedger} is used. Lists and `take` do not compile with it.
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
import { isExpired } from "./Expiry.js"
import type { Cookies } from "./internal/cookie/ledger.js"
import * as Ledger from "./internal/cookie/ledger.js"
import type { CookieRecords } from "./internal/cookie/record.js"
import * as CookieRecord from "./internal/cookie/record.js"
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import { corrupt } from "./internal/store/corrupt.js"
import { guarded } from "./internal/store/defects.js"
import { Keyring } from "./Keyring.js"
import { SessionConfigError } from "./SessionConfigError.js"
import type { BoundEngine, Scope, Written } from "./SessionEngine.js"
import { SessionEngine } from "./SessionEngine.js"
import * as SessionMetrics from "./SessionMetrics.js"
import type { SessionRecord } from "./SessionRecord.js"
import { clockSlack } from "./SessionRecord.js"
import { SessionRevocation } from "./SessionRevocation.js"
import type * as SessionSchema from "./SessionSchema.js"
import { SessionStore, SessionStoreError } from "./SessionStore.js"

/**
 * @since 0.5.0
 * @category models
 */
export interface CookieEngineOptions {
  /**
   * `"e1"`: XChaCha20-Poly1305, the default. `"f1"`: AES-256-GCM with a key for each cookie, where policy demands
   * approved algorithms.
   */
  readonly suite?: "e1" | "f1"
  /** Keeps applications apart that share a secret: the cookie of one is nothing to another. */
  readonly audience?: string
}

/** A browser drops a cookie whose name and value are longer. */
const mostBytes = 4096

/** All of it works when it is called. */
const cookiesOf = (records: CookieRecords, cookieName: string): Cookies => ({
  contentOf: (value) => {
    const decoded = records.decode(Redacted.value(value))
    switch (decoded._tag) {
      case "Invalid":
        return Exit.succeed(Option.none())
      case "Unreadable":
        SessionMetrics.countRejection("unreadable")
        return Exit.fail(new SessionStoreError({ operation: "open", reason: "corrupt" }))
      case "Opened":
        return Exit.succeed(Option.some(decoded))
    }
  },
  written: (operation, record) => {
    let encoded: Either.Either<string, string>
    try {
      encoded = records.encode(record)
    } catch (cause) {
      // The source of random bytes may fail.
      return Exit.fail(new SessionStoreError({ operation, reason: "unavailable", cause }))
    }
    return Either.match(encoded, {
      onLeft: (problem) => Exit.fail(corrupt(operation, new TypeError(problem))),
      onRight: (token): Exit.Exit<Written, SessionStoreError> =>
        token.length + cookieName.length > mostBytes
          ? Exit.fail(new SessionStoreError({ operation, reason: "size" }))
          : Exit.succeed({ _tag: "Written", value: Redacted.make(token), record })
    })
  }
})

/** The engine that keeps nothing. */
const withoutLedger = ({ contentOf, written }: Cookies): BoundEngine => {
  const synchronous: BoundEngine = {
    remote: false,
    selfContained: true,
    open: (value, now) => {
      const content = contentOf(value)
      if (Exit.isFailure(content)) return Exit.failCause(content.cause)
      if (Option.isNone(content.value)) return Exit.succeed(Option.none())
      const { record, needsReseal: needsReseal } = content.value.value
      if (isExpired(record.expiry, now)) {
        SessionMetrics.countRejection("expired")
        return Exit.succeed(Option.none())
      }
      const ahead = aheadOf(record, now)
      return ahead > clockSlack
        ? Effect.as(premature(ahead), Option.none())
        : Exit.succeed(Option.some({ value, record, needsReseal }))
    },
    write: (write) => written(write._tag.toLowerCase(), write.record),
    destroy: () => Exit.void
  }
  return {
    ...synchronous,
    open: (value, now) => Effect.suspend(() => synchronous.open(value, now)),
    write: (write, now) => Effect.suspend(() => synchronous.write(write, now)),
    synchronous
  }
}

/** By how much a clock was ahead when it made a record, in milliseconds. */
const aheadOf = ({ authenticatedAt = 0, createdAt, lastSeenAt, modifiedAt }: SessionRecord, now: number): number =>
  Math.max(createdAt, authenticatedAt, lastSeenAt, modifiedAt) - now

/** The end of such a record may be too late by as much, and nothing but the cookie knows it. */
const premature = (ahead: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    SessionMetrics.countRejection("premature")
    return Effect.logWarning(
      `A session cookie was refused and its visitor is anonymous: it was made ${
        Math.round(ahead / 1000)
      } seconds in the ` +
        "future. The clocks of the servers differ by more than a minute; set them right."
    )
  })

/** The name of a cookie has no line breaks, so no two pairs read alike. */
const scoped = ({ cookieName, cookieScope }: Scope): string =>
  cookieScope === undefined ? cookieName : `${cookieName}\n${cookieScope}`

/** A namespace has no line breaks, so no two pairs read alike. */
const audienceOf = ({ audience = "" }: Pick<CookieEngineOptions, "audience">, namespace: string) =>
  `${audience}\n${namespace}`

const make = (
  options: CookieEngineOptions,
  engineOf: (cookies: Cookies, namespace: string) => BoundEngine
): Effect.Effect<Context.Tag.Service<SessionEngine>, never, Keyring> =>
  Effect.map(Keyring, (keyring) => ({
    bind: (scope) => {
      const { cookieName, namespace } = scope
      return Effect.map(
        keyring.derive({
          purpose: "seal",
          suite: options.suite ?? "e1",
          cookieName: scoped(scope),
          audience: audienceOf(options, namespace)
        }),
        ({ open, seal }) =>
          engineOf(cookiesOf(CookieRecord.make({ read: open, write: seal }, namespace), cookieName), namespace)
      )
    }
  }))

/**
 * The engine on sealed cookies with options.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWith = (options: CookieEngineOptions): Layer.Layer<SessionEngine, never, Keyring> =>
  Layer.effect(SessionEngine, make(options, withoutLedger))

/**
 * Sessions in sealed cookies. A logout deletes the cookie of this browser; a copy of it is good until it expires.
 *
 * @since 0.5.0
 * @category layers
 */
export const layer: Layer.Layer<SessionEngine, never, Keyring> = layerWith({})

/**
 * The engine on sealed cookies with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<CookieEngineOptions>
): Layer.Layer<SessionEngine, ConfigError, Keyring> => layerConfigOf(options, layerWith)

/**
 * Sessions in signed cookies, which whoever holds them can read: for a tag whose schema was declared `SessionSchema.readable`,
 * and no other compiles.
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
        return namespace === tag.namespace
          ? Effect.map(
            keyring.derive({
              purpose: "sign",
              suite: "h1",
              cookieName: scoped(scope),
              audience: audienceOf(options, namespace)
            }),
            ({ sign, verify }) =>
              withoutLedger(cookiesOf(CookieRecord.make({ read: verify, write: sign }, namespace), cookieName))
          )
          : new SessionConfigError({
            subject: "CookieEngine",
            problem: `Signed cookies were chosen for "${tag.namespace}", and "${namespace}" is not declared readable.`
          })
      }
    }))
  )

/**
 * @since 0.5.0
 * @category models
 */
export interface LedgerOptions extends CookieEngineOptions {
  /**
   * How long one call to a remote store may take. A load that takes longer is answered with 503; a write is tried a
   * second time, and its outcome settled. Default 1 second.
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
 * The same with a ledger in a store: for each session one small entry without data. A logout and a revocation then end
 * every copy of a cookie, and a login, a change of authority or `rotate` every older cookie, at once. After a save the older
 * cookie can be read until the newer one has come back, and ten seconds more, for requests that were sent together;
 * a write with it is `SessionConflict`. Costs one read of the store for each request that uses the session, and one
 * write when a new cookie comes back for the first time.
 *
 * @since 0.5.0
 * @category layers
 */
export const layerLedger: Layer.Layer<SessionEngine | SessionRevocation, never, Keyring | SessionStore> =
  layerLedgerWith({})

/**
 * The engine on sealed cookies with a ledger, with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerLedgerConfig = (
  options: Config.Config.Wrap<LedgerOptions>
): Layer.Layer<SessionEngine | SessionRevocation, ConfigError, Keyring | SessionStore> =>
  layerConfigOf(options, layerLedgerWith)
