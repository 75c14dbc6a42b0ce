/**
 * The engine on the table of sessions of a live Django: both sides read and write the same sessions.
 *
 * A login, a logout, a rotation and a change of the password on one side count on the other. Django must use its engine `db`: the cache of
 * `cached_db` does not notice writes of this engine. Every member of a session that is not in the schema of the tag keeps its text, also a
 * number that JavaScript cannot hold.
 *
 * Some laws of other engines hold in part or not at all, because Django writes the table, too:
 *
 * - *No lost update* holds between requests of this engine, and it overwrites nothing that Django has written since the session was read.
 *   Django itself saves the whole session without a condition, and may overwrite a write of this engine: let only one side write a field.
 * - *Nothing to steal* does not hold: the table has the keys as the cookies have them, and a signature covers neither key nor end. A user
 *   of the database who can read the table can act as any visitor.
 * - An `absolute` limit begins with the first write or login of this engine, and only this engine enforces it: a session that only Django
 *   uses has none.
 *
 * The table has no column for the user, so there are no lists of sessions and no revocation by user. A new password ends the logins of its
 * user on both sides. `docs/django-migration.md` describes the move from Django step by step.
 *
 * @since 0.6.0
 */
import * as FileSystem from "@effect/platform/FileSystem"
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Option } from "effect/Option"
import type * as Redacted from "effect/Redacted"
import { configError } from "./internal/configError.js"
import * as Engine from "./internal/django/engine.js"
import * as DjangoMembers from "./internal/django/members.js"
import * as Moving from "./internal/django/moving.js"
import * as Signing from "./internal/django/signing.js"
import * as Sources from "./internal/django/sources.js"
import * as Start from "./internal/django/start.js"
import type { SessionConfigError } from "./SessionConfigError.js"
import type { BoundEngine, Scope } from "./SessionEngine.js"
import { SessionEngine } from "./SessionEngine.js"
import { SessionMaintenance } from "./SessionMaintenance.js"

/**
 * The secrets of Django's settings.
 *
 * @since 0.6.0
 * @category models
 */
export interface DjangoSecrets {
  /** `SECRET_KEY`: signs what is written here, and verifies. */
  readonly secretKey: Redacted.Redacted<string>
  /** `SECRET_KEY_FALLBACKS`: verify only. The next write signs with `secretKey`. Default: none. */
  readonly fallbacks?: ReadonlyArray<Redacted.Redacted<string>>
}

/**
 * The settings of Django beside its secrets.
 *
 * @since 0.6.0
 * @category models
 */
export interface DjangoSettings {
  /** The table, with its schema if that is not the default. Default `"django_session"`. */
  readonly table?: string
  /**
   * The salt of the signatures. Default: that of Django's own `SessionStore`. A subclass with another name has
   * `"django.contrib.sessions."` and the qualified name of the class.
   */
  readonly salt?: string
  /**
   * The authentication backend of logins that are made here, one of Django's `AUTHENTICATION_BACKENDS`. Default
   * `"django.contrib.auth.backends.ModelBackend"`.
   */
  readonly backend?: string
  /**
   * Returns the `password` column of a user, from which Django computes the hash of a login; `None` for a user who does not exist or is not
   * active. It is called once for each request that reads the session of a login. Default: reads the table `auth_user`.
   */
  readonly authHash?: (userId: string) => Effect.Effect<Option<string>, unknown>
  /**
   * `TIME_ZONE`, such as `"Europe/Paris"`, if Django's `USE_TZ` is false: its dates have no offset then. Default: `USE_TZ` is true.
   */
  readonly timeZone?: string
  /**
   * The form of a lifetime that ends at a moment (`Lifetime.until`). `"iso"`, the default: a date, as Django 4.1 and later write it.
   * `"seconds"`: for an older Django, which fails on a date. It reads the seconds from the write to that moment, and counts them again from
   * each of its saves; this engine keeps the moment.
   */
  readonly expiryDates?: "iso" | "seconds"
  /**
   * The `SqlClient` is used for sessions only, so its connections are never inside the application's transactions. Default `false`: a write
   * inside such a transaction fails with the reason `transaction`, because a rollback would undo it.
   */
  readonly ownPool?: boolean
  /** The timeout of one call to the database. Default 1 second. */
  readonly timeout?: Duration.DurationInput
}

/**
 * The options of {@link layer}.
 *
 * @since 0.6.0
 * @category models
 */
export interface DjangoEngineOptions extends DjangoSecrets, DjangoSettings {}

/**
 * The engine on Django's table. The session tag needs the cookie of Django and a policy without an idle limit: `Expiry.django`, or for a
 * `SESSION_COOKIE_AGE` other than two weeks `Expiry.sinceModified` with an absolute limit. The names of its fields must not begin with an
 * underscore, which Django reserves.
 *
 * `authenticate` takes the primary key of the user as text. The layer fails with `SessionConfigError` if the table is missing or may not be
 * read and written. The layer of a tag fails with it if the policy has an idle limit, a name is reserved, or another tag uses the engine.
 *
 * @example
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { Config, Layer, Redacted, Schema } from "effect"
 * import { Expiry, Session } from "effect-session"
 * import * as DjangoEngine from "effect-session/DjangoEngine"
 *
 * class AppSession extends Session.Tag<AppSession>()("shop/Session", {
 *   schema: Schema.Struct({ cart: Schema.optional(Schema.Array(Schema.String)) }),
 *   cookie: { prefix: "", name: "sessionid" },
 *   expiry: Expiry.django
 * }) {}
 *
 * export const sessions = AppSession.layer.pipe(
 *   Layer.provide(DjangoEngine.layer({ secretKey: Redacted.make("the SECRET_KEY of Django's settings") })),
 *   Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
 * )
 * ```
 *
 * @since 0.6.0
 * @category layers
 */
export const layer = (
  options: DjangoEngineOptions
): Layer.Layer<SessionEngine | SessionMaintenance, SessionConfigError, SqlClient.SqlClient> =>
  Layer.effectContext(
    Effect.map(Start.connected(options), ({ engine, table }) => {
      const claim = makeClaim()
      return Context.make(SessionEngine, {
        bind: (scope) => Effect.as(Effect.zipRight(checkScope(scope), claim(scope)), Engine.make(engine, scope))
      }).pipe(
        Context.add(SessionMaintenance, {
          count: table.count,
          removeExpired: table.removeExpired
        })
      )
    })
  )

/**
 * The engine on Django's table, with secrets from the configuration: by default from the variables `SECRET_KEY` and
 * `SECRET_KEY_FALLBACKS`, whose keys are separated by commas. Fails with a `ConfigError` if `SECRET_KEY` is missing.
 *
 * @example
 * ```ts
 * import { Config } from "effect"
 * import * as DjangoEngine from "effect-session/DjangoEngine"
 *
 * export const engine = DjangoEngine.layerConfig({ secrets: { secretKey: Config.redacted("DJANGO_SECRET_KEY") } })
 * ```
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  { secrets = Start.secretsConfig, ...settings }: DjangoSettings & {
    readonly secrets?: Config.Config.Wrap<DjangoSecrets>
  } = {}
): Layer.Layer<SessionEngine | SessionMaintenance, SessionConfigError | ConfigError, SqlClient.SqlClient> =>
  Layer.unwrapEffect(Effect.map(Config.unwrap(secrets), (secrets) => layer({ ...settings, ...secrets })))

/**
 * Moves the sessions of Django's table to another engine, which takes part of the layer `to`: an engine on a store, such as
 * `SqlEngine.layer`. Cookies of Django are opened in its table, and those of `to` there.
 *
 * A session of Django moves at the end of the first request that uses it, with its data, its login and its end: `to` gets a session with a
 * new token, the response sets the cookie, and Django does not find the session any more. Requests that still have the old cookie use the
 * session in `to` until it ends or gets another token, at most until the end that it had when it moved. The `absolute` limit of the tag
 * begins with the move, unless a write of {@link layer} has begun it before.
 *
 * Use it when no view of Django needs the session any more. When the sessions of Django have expired, use `to` alone. The row that a move
 * leaves in the table has no data, and expires with the end that the session had; `clearsessions` of Django deletes it.
 *
 * @example
 * ```ts
 * import { Redacted } from "effect"
 * import * as DjangoEngine from "effect-session/DjangoEngine"
 * import * as SqlEngine from "effect-session/SqlEngine"
 *
 * export const engine = DjangoEngine.moving(SqlEngine.layer, {
 *   secretKey: Redacted.make("the SECRET_KEY of Django's settings")
 * })
 * ```
 *
 * @since 0.6.0
 * @category layers
 */
export const moving = <Out, E, R>(
  to: Layer.Layer<SessionEngine | Out, E, R>,
  options: DjangoEngineOptions
): Layer.Layer<SessionEngine | Out, E | SessionConfigError, R | SqlClient.SqlClient> =>
  movingFrom(to, Effect.map(Start.connected(options), ({ engine }) => (namespace) => Sources.table(engine, namespace)))

/**
 * The secrets of Django, and the settings that its engines without a table share.
 *
 * @since 0.6.0
 * @category models
 */
export interface DjangoSourceOptions extends DjangoSecrets, Pick<DjangoSettings, "salt" | "timeZone"> {
  /** `SESSION_COOKIE_AGE`. Default 14 days, as Django's. */
  readonly cookieAge?: Duration.DurationInput
  /** Returns the `password` column of an active user, as {@link DjangoSettings}: a login moves only if its password has not changed. */
  readonly authHash: (userId: string) => Effect.Effect<Option<string>, unknown>
}

/**
 * Moves the sessions of Django's engine `file` to another engine, as {@link moving} does. The file of a session that has moved gets another
 * name, which Django does not look for; delete the directory afterwards. No view of Django may use sessions at the same time: a save of
 * Django that happens during the move may be lost.
 *
 * @since 0.6.0
 * @category layers
 */
export const movingFiles = <Out, E, R>(
  to: Layer.Layer<SessionEngine | Out, E, R>,
  options: DjangoSourceOptions & {
    /** `SESSION_FILE_PATH`. */
    readonly directory: string
    /** `SESSION_COOKIE_NAME`, with which the names of the files begin. Default `"sessionid"`. */
    readonly cookieName?: string
  }
): Layer.Layer<SessionEngine | Out, E | SessionConfigError, R | FileSystem.FileSystem> =>
  movingFrom(
    to,
    Effect.zipWith(Start.sourceFormats(options), FileSystem.FileSystem, (formats, fs) => {
      const { cookieName = "sessionid", directory } = options
      return (namespace: string) => Sources.files(formats, { fs, directory, prefix: cookieName }, namespace)
    })
  )

/**
 * Moves the sessions of Django's engine `signed_cookies` to another engine, as {@link moving} does. Such a cookie stays valid for Django
 * after a logout, but not here: until the cookie would have expired, `to` keeps a marker of each session that has moved or ended, as a
 * session without a user.
 *
 * @since 0.6.0
 * @category layers
 */
export const movingSignedCookies = <Out, E, R>(
  to: Layer.Layer<SessionEngine | Out, E, R>,
  options: DjangoSourceOptions
): Layer.Layer<SessionEngine | Out, E | SessionConfigError, R> =>
  movingFrom(
    to,
    Effect.map(
      Start.sourceFormats({ salt: Signing.salts.signedCookies, ...options }),
      (formats) => (namespace, target) => Sources.signedCookies(formats, namespace, target)
    )
  )

const movingFrom = <Out, E, R, R1>(
  to: Layer.Layer<SessionEngine | Out, E, R>,
  source: Effect.Effect<(namespace: string, target: BoundEngine) => Moving.Source, SessionConfigError, R1>
): Layer.Layer<SessionEngine | Out, E | SessionConfigError, R | R1> =>
  Layer.provideMerge(
    Layer.effect(
      SessionEngine,
      Effect.zipWith(SessionEngine, source, (target, sourceOf) => {
        const claim = makeClaim()
        return {
          bind: (scope: Scope) =>
            Effect.zipRight(
              claim(scope),
              Effect.flatMap(target.bind(scope), (engine) =>
                engine.selfContained
                  ? configError(
                    scope.namespace,
                    "Sessions of Django move to an engine on a store, and this one keeps them in the cookie. Give another one, such as SqlEngine.",
                    "django-tag-unsupported"
                  )
                  : Effect.succeed(Moving.make(sourceOf(scope.namespace, engine), engine, scope)))
            )
        }
      })
    ),
    to
  )

/** Fails for a tag whose sessions Django's table cannot keep. */
const checkScope = ({ expiry, fields = [], namespace }: Scope): Effect.Effect<void, SessionConfigError> => {
  const reserved = fields.filter(DjangoMembers.isReserved)
  return reserved.length > 0
    ? configError(
      namespace,
      `Django reserves the names of fields that begin with an underscore: ${
        reserved.join(", ")
      }. Rename them, in the encoding too.`,
      "django-tag-unsupported"
    )
    : expiry?.idle !== undefined
    ? configError(
      namespace,
      "The expiry policy has an idle limit, and every use would have to write Django's table. Use Expiry.django, or Expiry.sinceModified with " +
        "the length of SESSION_COOKIE_AGE.",
      "django-tag-unsupported"
    )
    : Effect.void
}

/** Makes a function that fails for every tag but the first one: a cookie of one tag would be valid as that of another. */
const makeClaim = () => {
  let owner: Scope | undefined
  return (scope: Scope): Effect.Effect<void, SessionConfigError> =>
    Effect.suspend(() => {
      if (owner !== undefined && (owner.namespace !== scope.namespace || owner.cookieName !== scope.cookieName)) {
        return configError(
          scope.namespace,
          `The table of Django serves the session "${owner.namespace}" already, and a cookie of one would be valid as that of the other. ` +
            "Give each session a table of its own, or make one session of both.",
          "django-tag-unsupported"
        )
      }
      owner = scope
      return Effect.void
    })
}
