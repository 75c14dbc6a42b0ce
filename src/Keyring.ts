/**
 * The secrets of a server, in order: the first signs and seals, all verify and open.
 *
 * A key is changed without logging anybody out: add the new one at the end, so that every process can read what it will
 * make; then move it to the front; and take the old one away when the sessions that it made have expired.
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
import * as RootKeys from "./internal/crypto/keys.js"
import { randomBytes } from "./internal/crypto/primitives.js"
import type { RootKey } from "./internal/crypto/tokens.js"
import * as Wire from "./internal/crypto/tokens.js"
import { SessionConfigError } from "./SessionConfigError.js"
import * as SessionMetrics from "./SessionMetrics.js"

/**
 * One secret: at least 32 random bytes, in base64url or hex, and the id by which tokens refer to it, of 1 to 8 letters
 * and digits. The id is not secret.
 *
 * @since 0.5.0
 * @category models
 */
export interface Key {
  readonly id: string
  readonly secret: Redacted.Redacted<string>
}

/**
 * What tokens are for. What is made for one use is nothing to another, though the secrets are the same: each part has its
 * own keys.
 *
 * @since 0.5.0
 * @category models
 */
export interface Use {
  readonly purpose: "seal" | "sign" | "csrf" | "log" | "handle" | "rest"
  readonly cookieName: string
  /** Which application or site. */
  readonly audience: string
}

/**
 * How to seal: `e1` is XChaCha20-Poly1305; `f1` is AES-256-GCM with a key of its own for each token, where a policy
 * demands approved algorithms.
 *
 * @since 0.5.0
 * @category models
 */
export interface SealingUse extends Use {
  readonly suite: "e1" | "f1"
}

/**
 * How to sign: `h1` is HMAC-SHA-256. Whoever has the token can read it.
 *
 * @since 0.5.0
 * @category models
 */
export interface SigningUse extends Use {
  readonly suite: "h1"
}

/**
 * What a token holds. `stale`: an older key of the ring had made it, so it should be made again.
 *
 * @since 0.5.0
 * @category models
 */
export interface Unsealed {
  readonly content: Uint8Array
  readonly outdated: boolean
}

/**
 * The keys of one use, derived once. `open` gives `None` for whatever this ring has not sealed for this use, and does
 * not say why (`session_rejections` counts it). `seal` throws if the source of random bytes does, or repeats itself.
 *
 * @since 0.5.0
 * @category models
 */
export interface Sealing {
  readonly seal: (content: Uint8Array) => string
  readonly open: (token: string) => Option<Unsealed>
}

/**
 * The same for tokens that are signed.
 *
 * @since 0.5.0
 * @category models
 */
export interface Signing {
  readonly sign: (content: Uint8Array) => string
  readonly verify: (token: string) => Option<Unsealed>
}

/**
 * A keyring. It shows its ids and never its secrets.
 *
 * @since 0.5.0
 * @category models
 */
export interface Keys extends Inspectable.Inspectable {
  readonly ids: Arr.NonEmptyReadonlyArray<string>
  /** Derives the keys of one use: when a layer is built, and not for each request. */
  readonly derive: {
    (use: SealingUse): Effect.Effect<Sealing, SessionConfigError>
    (use: SigningUse): Effect.Effect<Signing, SessionConfigError>
  }
}

/**
 * The tag under which a keyring is provided.
 *
 * @since 0.5.0
 * @category tags
 */
export class Keyring extends Context.Tag("effect-session/Keyring")<Keyring, Keys>() {}

const reject = (problem: string) => new SessionConfigError({ subject: "Keyring", problem })

/**
 * Makes a keyring of 1 to 5 keys. Refuses secrets that are short, not random or well known, and what is given twice.
 *
 * @since 0.5.0
 * @category constructors
 */
export const make = (keys: ReadonlyArray<Key>): Effect.Effect<Keys, SessionConfigError> =>
  RootKeys.parse(keys.map(({ id, secret }) => ({ id, secret: Redacted.value(secret) }))).pipe(
    Either.mapBoth({ onLeft: reject, onRight: ring })
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
        const { read, write } = Wire.tokens(keys, use, SessionMetrics.countRejection)
        return use.suite === "h1"
          ? { sign: (content: Uint8Array) => write(content), verify: read }
          : { seal: (content: Uint8Array) => write(content), open: read }
      },
      catch: () => reject("A cookie name or an audience is too long, or no Unicode text.")
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
 * The keys in one variable, `SESSION_KEYS` unless another is named: `id:secret,id:secret`, the first of which signs and
 * seals.
 *
 * @since 0.5.0
 * @category config
 */
export const config = (name = "SESSION_KEYS"): Config.Config<ReadonlyArray<Key>> =>
  Config.redacted(Config.nonEmptyString(name)).pipe(
    Config.mapOrFail((text) =>
      Either.mapLeft(
        Either.all(Redacted.value(text).split(",").map(split)),
        () => ConfigError.InvalidData([], `${name} must be id:secret, and may be several of these with commas between.`)
      )
    ),
    Config.withDescription(
      "The secrets that session cookies are sealed with: id:secret,id:secret. The first one seals."
    )
  )

const split = (text: string): Either.Either<Key, void> => {
  const colon = text.indexOf(":")
  return colon < 0
    ? Either.left(undefined)
    : Either.right({ id: text.slice(0, colon).trim(), secret: Redacted.make(text.slice(colon + 1).trim()) })
}

/**
 * A keyring as a layer.
 *
 * @since 0.5.0
 * @category layers
 */
export const layer = (keys: ReadonlyArray<Key>): Layer.Layer<Keyring, SessionConfigError> =>
  Layer.effect(Keyring, make(keys))

/**
 * A keyring from the environment.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import * as Keyring from "effect-session/Keyring"
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
 * A new key, as `SESSION_KEYS` takes it: `id:secret`. The id is drawn too, unless one is given.
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
    if (problem !== undefined) return reject(`A key ${problem}.`)
    const secret = Encoding.encodeBase64Url(randomBytes(RootKeys.secretBytes))
    // Chance also makes what would be refused.
    return Either.isRight(RootKeys.parse([{ id, secret }]))
      ? Effect.succeed(Redacted.make(`${id}:${secret}`))
      : generate(options)
  })

const freshId = (): string =>
  Array.from(randomBytes(4), (byte) => "abcdefghijklmnopqrstuvwxyz234567"[byte % 32]).join("")
