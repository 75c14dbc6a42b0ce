/**
 * Settings of a session tag from the environment. Variables that are not set leave the tag's own settings.
 */
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Expiry from "../../Expiry.js"
import type { SessionConfigError } from "../../SessionConfigError.js"
import type { SessionEngine } from "../../SessionEngine.js"
import type { Sessions, SessionService, Settings } from "../../SessionService.js"
import type { UncheckedCookieOptions } from "../domain/cookieDefaults.js"
import { choice, variable } from "../domain/variables.js"
import { withHelp } from "../help.js"
import * as Service from "./service.js"

/**
 * Settings from the environment. Each field that is present replaces one field of the tag's own settings, also within `cookie`
 * and `expiry`.
 */
export interface Overrides extends Omit<Settings, "cookie" | "expiry"> {
  readonly cookie?: UncheckedCookieOptions
  readonly expiry?: Partial<Expiry.Expiry>
}

const text = (name: string, description: string) =>
  variable(name, description, "a text that is not blank", Option.liftPredicate((text) => text !== ""))

const flag = (name: string, description: string) =>
  choice(name, description, { true: true, false: false, yes: true, no: false, on: true, off: false, 1: true, 0: false })

const duration = (name: string, description: string, { zero = false } = {}) =>
  variable(
    name,
    description,
    `a length of time such as "20 minutes"${zero ? "" : ", and not zero"}`,
    (text) =>
      Option.filter(
        Duration.decodeUnknown(text),
        (length) => Duration.isFinite(length) && (zero || Duration.greaterThan(length, Duration.zero))
      )
  )

const millis = (name: string, description: string) => Config.map(duration(name, description), Duration.toMillis)

/** Reads each field on its own, and omits those that are not set. */
const optional = <A extends object>(
  fields: { readonly [K in keyof A]: Config.Config<A[K]> }
): Config.Config<Partial<A>> => {
  let all: Config.Config<Partial<A>> = Config.succeed({})
  for (const key in fields) {
    all = Config.zipWith(
      all,
      Config.option(fields[key]),
      (set, value) => Option.isSome(value) ? { ...set, [key]: value.value } : set
    )
  }
  return all
}

const cookie = optional<Required<UncheckedCookieOptions>>({
  name: text("SESSION_COOKIE_NAME", "The name of the session cookie, without its prefix."),
  prefix: choice("SESSION_COOKIE_PREFIX", "The prefix of the cookie's name, which browsers enforce.", {
    "__Host-Http-": "__Host-Http-",
    "__Host-": "__Host-",
    "__Secure-": "__Secure-",
    "__Http-": "__Http-",
    none: ""
  }),
  domain: text("SESSION_COOKIE_DOMAIN", "The domain whose hosts share the session cookie."),
  path: text("SESSION_COOKIE_PATH", "The path below which browsers send the session cookie."),
  secure: flag("SESSION_COOKIE_SECURE", "Whether browsers send the session cookie over HTTPS only."),
  sameSite: choice("SESSION_COOKIE_SAMESITE", "When browsers send the session cookie along from other sites.", {
    lax: "lax",
    strict: "strict",
    none: "none"
  }),
  partitioned: flag("SESSION_COOKIE_PARTITIONED", "Whether each site that embeds this one has its own session cookie."),
  browserLength: flag("SESSION_EXPIRE_AT_BROWSER_CLOSE", "Whether the session cookie ends with the browser.")
})

const acknowledged = Config.zipWith(
  cookie,
  Config.withDefault(
    flag(
      "SESSION_ACKNOWLEDGE_CROSS_SITE",
      "Acknowledges that SESSION_COOKIE_SAMESITE=none gives up the browser's defence against forged requests."
    ),
    false
  ),
  (cookie, acknowledge) =>
    cookie.sameSite === "none" && !acknowledge
      ? invalid(
        "SESSION_COOKIE_SAMESITE",
        "SESSION_COOKIE_SAMESITE=none gives up the browser's defence against forged requests; " +
          "acknowledge it with SESSION_ACKNOWLEDGE_CROSS_SITE=true."
      )
      : Either.right(cookie)
).pipe(Config.mapOrFail((checked) => checked))

const limits = optional<{ idle: number; sinceModified: number; absolute: number }>({
  idle: millis("SESSION_IDLE", "The longest time between two uses of a session."),
  sinceModified: millis("SESSION_SINCE_MODIFIED", "The longest time since the data of a session was changed."),
  absolute: millis("SESSION_ABSOLUTE", "The longest time since a session's last authentication, or since it was made.")
})

const preset = choice("SESSION_EXPIRY", "When sessions end, by the name of a preset.", {
  standard: Expiry.standard,
  django: Expiry.django,
  aal1: Expiry.aal1,
  aal2: Expiry.aal2,
  aal3: Expiry.aal3
})

const expiry = Config.zipWith(
  Config.option(preset),
  limits,
  (preset, limits): Either.Either<Partial<Expiry.Expiry>, ConfigError.ConfigError> => {
    // Among the limits, only the absolute one is an end that activity cannot move.
    const set = limits.absolute === undefined ? limits : { ...limits, bounded: true }
    if (Option.isNone(preset)) return Either.right(set)
    return Object.keys(set).length === 0 ? Either.right(preset.value) : invalid(
      "SESSION_EXPIRY",
      "SESSION_EXPIRY names a whole policy; leave out SESSION_IDLE, SESSION_SINCE_MODIFIED and SESSION_ABSOLUTE, or it."
    )
  }
).pipe(Config.mapOrFail((checked) => checked))

const invalid = (name: string, sentence: string): Either.Either<never, ConfigError.ConfigError> =>
  Either.left(ConfigError.InvalidData([name], withHelp(sentence, "environment-variable-invalid")))

const rest = optional<Required<Omit<Overrides, "cookie" | "expiry">>>({
  onGone: choice("SESSION_ON_GONE", "The treatment of changes to a session that has ended meanwhile.", {
    fail: "fail",
    discard: "discard"
  }),
  onUndecodable: choice("SESSION_ON_UNDECODABLE", "The treatment of a session whose data does not fit the schema.", {
    restart: "restart",
    fail: "fail"
  }),
  commitTimeout: duration("SESSION_COMMIT_TIMEOUT", "The time limit of a commit, replays included."),
  retryAfter: duration("SESSION_RETRY_AFTER", "The value of Retry-After when the store is down."),
  touchEvery: duration("SESSION_TOUCH_EVERY", "The least time between two writes of a session's last use.", {
    zero: true
  }),
  watchEvery: duration(
    "SESSION_WATCH_EVERY",
    "The time between two checks whether the session of an open connection has ended."
  )
})

/**
 * The settings from the environment; fields that are not set are absent. `docs/settings.md` lists the variables.
 *
 * Fails on a wrong value with a `ConfigError` that names the variable and never repeats the value. {@link layer} rejects
 * combinations that cannot work, because they depend on the tag's own settings, too.
 */
export const settings: Config.Config<Overrides> = Config.map(
  Config.all([acknowledged, expiry, rest]),
  ([cookie, expiry, rest]) => ({ ...rest, cookie, expiry })
)

/**
 * Overrides a tag's own settings, field by field.
 */
export const overlay = (own: Settings, overrides: Overrides): Service.UncheckedSettings => ({
  ...own,
  ...overrides,
  cookie: { ...own.cookie, ...overrides.cookie },
  expiry: { ...(own.expiry ?? Expiry.standard), ...overrides.expiry }
})

/**
 * The service of a session tag, with its own settings overridden by the environment.
 */
export const layer = <Self, A extends object, C, CI, R>(
  tag: Context.Tag<SessionService<Self>, Sessions<A, C>>,
  definition: Service.Definition<A, C, CI>
): Layer.Layer<
  SessionService<Self>,
  SessionConfigError | ConfigError.ConfigError,
  SessionEngine | R
> =>
  Layer.effect(
    tag,
    Effect.flatMap(settings, (overrides) => Service.make(definition, overlay(definition.settings, overrides)))
  )
