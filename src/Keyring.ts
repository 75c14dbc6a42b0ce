/**
 * The secret keys of a server in order: the first key signs and seals, and all keys verify and open.
 *
 * To change the key without logging users out: add the new key at the end, so that every process accepts it; then move it to the first place; and
 * remove the old key when the sessions that it sealed have expired.
 *
 * @since 0.5.0
 */
import * as Arr from "effect/Array"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import type { Option } from "effect/Option"
import * as Redacted from "effect/Redacted"
import { configError } from "./internal/configError.js"
import * as RootKeys from "./internal/crypto/keys.js"
import { randomBytes } from "./internal/crypto/primitives.js"
import type { RootKey } from "./internal/crypto/tokens.js"
import * as Wire from "./internal/crypto/tokens.js"
import { withHelp } from "./internal/help.js"
import * as Counts from "./internal/metrics.js"
import type { SessionConfigError } from "./SessionConfigError.js"

/**
 * One key. `secret`: at least 32 random bytes, in base64url or hex. `id`: 1 to 8 letters and digits, by which tokens name the key; not secret.
 *
 * @since 0.5.0
 * @category models
 */
export interface Key {
  readonly id: string
  readonly secret: Redacted.Redacted<string>
}

/**
 * The use of tokens. Each use has its own derived keys, so a token of one use is not valid for another.
 *
 * @since 0.5.0
 * @category models
 */
export interface Use {
  readonly purpose: "seal" | "sign" | "csrf" | "log" | "handle" | "rest"
  readonly cookieName: string
  /** The application or site. */
  readonly audience: string
}

/**
 * The use of sealed tokens, with their algorithm. `e1`: XChaCha20-Poly1305. `f1`: AES-256-GCM with a key for each token, for policies that
 * require approved algorithms.
 *
 * @since 0.5.0
 * @category models
 */
export interface SealingUse extends Use {
  readonly suite: "e1" | "f1"
}

/**
 * The use of signed tokens, with their algorithm. `h1`: HMAC-SHA-256. Signed tokens are not encrypted.
 *
 * @since 0.5.0
 * @category models
 */
export interface SigningUse extends Use {
  readonly suite: "h1"
}

/**
 * The content of a token. `outdated`: it was made with an older key of the keyring and should be made again.
 *
 * @since 0.5.0
 * @category models
 */
export interface Unsealed {
  readonly content: Uint8Array
  readonly outdated: boolean
}

/**
 * The derived keys of one sealing use. `open` returns `None` for a token that this keyring has not sealed for this use, without a reason
 * (`session_rejections` counts it). `seal` throws if the source of random bytes fails or repeats itself.
 *
 * @since 0.5.0
 * @category models
 */
export interface Sealing {
  readonly seal: (content: Uint8Array) => string
  readonly open: (token: string) => Option<Unsealed>
}

/**
 * The derived keys of one signing use. `verify` returns `None` for a token that this keyring has not signed for this use.
 *
 * @since 0.5.0
 * @category models
 */
export interface Signing {
  readonly sign: (content: Uint8Array) => string
  readonly verify: (token: string) => Option<Unsealed>
}

/**
 * A keyring. Inspection and JSON contain the ids, never the secrets.
 *
 * @since 0.5.0
 * @category models
 */
export interface Keys extends Inspectable.Inspectable {
  /** The ids of the keys, in order. */
  readonly ids: Arr.NonEmptyReadonlyArray<string>
  /**
   * Derives the keys of one use. Call it when a layer is built, not for each request. Fails with `SessionConfigError` if a cookie name or an
   * audience is too long.
   */
  readonly derive: {
    (use: SealingUse): Effect.Effect<Sealing, SessionConfigError>
    (use: SigningUse): Effect.Effect<Signing, SessionConfigError>
  }
}

/**
 * The service tag of the keyring.
 *
 * @since 0.5.0
 * @category tags
 */
export class Keyring extends Context.Tag("effect-session/Keyring")<Keyring, Keys>() {}

const invalidKeyring = (problem: string) => configError("Keyring", problem, "keyring-invalid")

/**
 * Makes a keyring of 1 to 5 keys. Fails with `SessionConfigError` if a secret is short, not random or well known, or if an id or a secret
 * occurs twice.
 *
 * @since 0.5.0
 * @category constructors
 */
export const make = (keys: ReadonlyArray<Key>): Effect.Effect<Keys, SessionConfigError> =>
  RootKeys.parse(keys.map(({ id, secret }) => ({ id, secret: Redacted.value(secret) }))).pipe(
    Either.mapBoth({ onLeft: invalidKeyring, onRight: ring })
  )

// The secrets are in this closure only.
const ring = (keys: Arr.NonEmptyReadonlyArray<RootKey>): Keys => {
  const ids = Arr.map(keys, ({ id }) => id)
  const toJSON = () => ({ _id: "effect-session/Keyring", ids })

  function derive(use: SealingUse): Effect.Effect<Sealing, SessionConfigError>
  function derive(use: SigningUse): Effect.Effect<Signing, SessionConfigError>
  function derive(use: SealingUse | SigningUse): Effect.Effect<Sealing | Signing, SessionConfigError> {
    return Effect.try({
      try: () => {
        const { read, write } = Wire.tokens(keys, use, Counts.countRejection)
        return use.suite === "h1"
          ? { sign: (content: Uint8Array) => write(content), verify: read }
          : { seal: (content: Uint8Array) => write(content), open: read }
      },
      catch: () => invalidKeyring("A cookie name or an audience is too long, or not well-formed Unicode.")
    })
  }

  return {
    ids,
    derive,
    toJSON,
    toString: () => Inspectable.format(toJSON()),
    [Inspectable.NodeInspectSymbol]: toJSON
  }
}

/**
 * Reads keys from one variable: `id:secret,id:secret`. The first key signs and seals. Default variable: `SESSION_KEYS`.
 *
 * @since 0.5.0
 * @category config
 */
export const config = (name = "SESSION_KEYS"): Config.Config<ReadonlyArray<Key>> =>
  Config.redacted(Config.nonEmptyString(name)).pipe(
    Config.mapOrFail((text) =>
      Either.mapLeft(
        Either.all(Redacted.value(text).split(",").map(split)),
        () =>
          ConfigError.InvalidData(
            [],
            withHelp(
              `${name} must be one or more keys of the form id:secret, separated by commas.`,
              "environment-variable-invalid"
            )
          )
      )
    ),
    Config.withDescription(
      "The keys that seal session cookies: id:secret,id:secret. The first one seals."
    )
  )

const split = (text: string): Either.Either<Key, void> => {
  const colon = text.indexOf(":")
  return colon < 0
    ? Either.left(undefined)
    : Either.right({ id: text.slice(0, colon).trim(), secret: Redacted.make(text.slice(colon + 1).trim()) })
}

/**
 * A keyring of the given keys. Fails as {@link make} does.
 *
 * @since 0.5.0
 * @category layers
 */
export const layer = (keys: ReadonlyArray<Key>): Layer.Layer<Keyring, SessionConfigError> =>
  Layer.effect(Keyring, make(keys))

/**
 * A keyring from the configuration, by default from `SESSION_KEYS`. Fails with a `ConfigError` if the variable is missing or malformed, and as
 * {@link make} does.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { Keyring } from "effect-session"
 *
 * // SESSION_KEYS=new:…,old:…
 * export const keys: Layer.Layer<Keyring.Keyring, unknown> = Keyring.layerConfig()
 * ```
 *
 * @since 0.5.0
 * @category layers
 */
export const layerConfig = (
  keys: Config.Config<ReadonlyArray<Key>> = config()
): Layer.Layer<Keyring, SessionConfigError | ConfigError.ConfigError> =>
  Layer.effect(Keyring, Effect.flatMap(keys, make))

/**
 * Generates a random key in the form of `SESSION_KEYS`: `id:secret`. The id is random unless one is given. Fails with `SessionConfigError` if the
 * given id is invalid.
 *
 * @since 0.5.0
 * @category constructors
 */
export const generate = (
  options: { readonly id?: string } = {}
): Effect.Effect<Redacted.Redacted<string>, SessionConfigError> =>
  Effect.suspend(() => {
    const id = options.id ?? freshId()
    const problem = RootKeys.problemOfId(id)
    if (problem !== undefined) return invalidKeyring(`A key ${problem}.`)
    const secret = Encoding.encodeBase64Url(randomBytes(RootKeys.secretBytes))
    // A random secret may look like one that is not random, which make rejects.
    return Either.isRight(RootKeys.parse([{ id, secret }]))
      ? Effect.succeed(Redacted.make(`${id}:${secret}`))
      : generate(options)
  })

const freshId = (): string =>
  Array.from(randomBytes(4), (byte) => "abcdefghijklmnopqrstuvwxyz234567"[byte % 32]).join("")
