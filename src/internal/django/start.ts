/**
 * Connects to Django's table: checks the options, and that this user of the database may read and write the table.
 */
import * as Config from "effect/Config"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { SessionConfigError } from "../../SessionConfigError.js"
import { SessionStoreError } from "../../SessionStore.js"
import { configError, type Problem } from "../configError.js"
import * as Fields from "../record.js"
import * as SqlCalls from "../sql/calls.js"
import { clientOf } from "../sql/client.js"
import { isRemote } from "../sql/driver.js"
import { problemOfAccess } from "../sql/errors.js"
import { column } from "../sql/rows.js"
import type { Prepared } from "../sql/statements.js"
import * as StoreCalls from "../store/calls.js"
import type { Dates } from "./content.js"
import type { Options as EngineOptions } from "./engine.js"
import type { PasswordOf } from "./reader.js"
import * as Reader from "./reader.js"
import * as Signing from "./signing.js"
import type { Formats } from "./sources.js"
import * as Table from "./table.js"

/** The secrets and settings that all engines of Django share: a part of `DjangoSecrets` and `DjangoSettings`. */
interface Settings {
  readonly secretKey: Redacted.Redacted<string>
  readonly fallbacks?: ReadonlyArray<Redacted.Redacted<string>>
  readonly salt?: string
  readonly timeZone?: string
  readonly expiryDates?: "iso" | "seconds"
}

/** The same as `DjangoEngineOptions`. */
interface TableSettings extends Settings {
  readonly table?: string
  readonly backend?: string
  readonly authHash?: (userId: string) => Effect.Effect<Option.Option<string>, unknown>
  readonly ownPool?: boolean
  readonly timeout?: Duration.DurationInput
}

/** The secrets of Django, from the variables of the same names. */
export const secretsConfig: Config.Config<Signing.Secrets> = Config.all({
  secretKey: Config.redacted("SECRET_KEY"),
  fallbacks: Config.withDefault(Config.array(Config.redacted(), "SECRET_KEY_FALLBACKS"), [])
})

const failing = (problem: string, help: Problem[1]) => Effect.fail(configError("DjangoEngine", problem, help))

/** Returns the signer and the dates of these settings. Fails if a secret is empty, or the zone does not exist. */
export const formats = (
  { fallbacks = [], expiryDates, salt = Signing.salts.sessionStore, secretKey, timeZone }: Settings
): Effect.Effect<
  { readonly secrets: Signing.Secrets; readonly signer: Signing.Signer; readonly dates: Dates },
  SessionConfigError
> =>
  Effect.gen(function*() {
    if ([secretKey, ...fallbacks].some((secret) => Redacted.value(secret) === "")) {
      return yield* failing(
        "A secret key is empty. Give SECRET_KEY, and each of SECRET_KEY_FALLBACKS, of Django's settings.",
        "django-key-invalid"
      )
    }
    const zone = DateTime.zoneFromString(timeZone ?? "UTC")
    if (Option.isNone(zone)) {
      return yield* failing(
        "timeZone is no time zone. Give TIME_ZONE of Django's settings, such as \"Europe/Paris\", if its USE_TZ is false; else leave " +
          "timeZone out.",
        "option-out-of-range"
      )
    }
    const secrets = { secretKey, fallbacks }
    return {
      secrets,
      signer: Signing.make(secrets, salt),
      dates: { zone: zone.value, isNaive: timeZone !== undefined, onlySeconds: expiryDates === "seconds" }
    }
  })

/** Converts the option `authHash`: its failures and defects become errors of the store. */
const passwordsBy = (
  authHash: (userId: string) => Effect.Effect<Option.Option<string>, unknown>
): PasswordOf =>
(userId) =>
  Effect.catchAllCause(
    Effect.suspend(() => authHash(userId)),
    (cause) => new SessionStoreError({ operation: "authHash", reason: "unavailable", cause })
  )

/** Returns the formats of the engines without a table. Fails as {@link formats}. */
export const sourceFormats = (
  { authHash, cookieAge = "14 days", ...settings }: Settings & {
    readonly cookieAge?: Duration.DurationInput
    readonly authHash: (userId: string) => Effect.Effect<Option.Option<string>, unknown>
  }
): Effect.Effect<Formats, SessionConfigError> =>
  Effect.map(formats(settings), ({ dates, secrets, signer }) => ({
    signer,
    reader: Reader.make({ signer, secrets, passwordOf: passwordsBy(authHash), dates }),
    cookieAge: Duration.toMillis(cookieAge)
  }))

/** Connects to the table. Fails if it is missing, or may not be read and written. */
export const connected = (options: TableSettings) =>
  Effect.gen(function*() {
    const { authHash, backend = "django.contrib.auth.backends.ModelBackend", table: name = "django_session" } = options
    const { dates, secrets, signer } = yield* formats(options)
    yield* checkName(name)
    const [sql, dialect] = yield* clientOf
    const statement = Table.statements(dialect, name)
    const password = Table.passwordStatement(dialect)
    const calls = SqlCalls.make(
      sql,
      dialect,
      [statement.load, statement.loadMoved, statement.create, statement.replace, statement.destroy, password],
      options.ownPool === true
    )
    const table = Table.make(calls, dialect, statement, dates)
    const ofTable = passwordsIn(calls, password)
    yield* checkAccess(
      name,
      table.check,
      "Grant the user SELECT, INSERT, UPDATE and DELETE on it."
    )
    if (authHash === undefined) {
      yield* checkAccess(
        "auth_user",
        ofTable("1"),
        "Grant the user SELECT on it. If Django's users are in another table, or it has none, give authHash."
      )
    }
    const remote = isRemote(sql, dialect)
    const stores = StoreCalls.make(
      { remote, durableDestroy: false },
      Duration.decode(options.timeout ?? "1 second")
    )
    const passwordsOf = authHash === undefined ? ofTable : passwordsBy(authHash)
    const passwordOf: PasswordOf = (userId) => stores.limited("load", passwordsOf(userId))
    const reader = Reader.make({ signer, secrets, passwordOf, dates })
    const engine: EngineOptions = { table, calls: stores, remote, signer, reader, dates, backend }
    return { engine, table }
  })

/** Fails if the option `table` cannot be the name of a table. */
export const checkName = (name: string): Effect.Effect<void, SessionConfigError> =>
  Table.isName(name) ? Effect.void : failing(
    "table must be the name of a table: letters, digits and underscores, with a schema and a dot in front of it if necessary.",
    "table-names-invalid"
  )

/** Reads passwords from the table of Django's own user model. */
export const passwordsIn = (calls: SqlCalls.Calls, statement: Prepared): PasswordOf => (userId) =>
  // Its keys are integers. With a leading zero, one user would be two subjects.
  /^[1-9]\d{0,14}$/.test(userId)
    ? Effect.flatMap(calls.read("load", statement, { id: Number(userId) }), ([row]) =>
      row === undefined
        ? Effect.succeedNone
        : Effect.try({
          try: () => Option.some(column(row, "password", Fields.text)),
          catch: (cause) => new SessionStoreError({ operation: "load", reason: "corrupt", cause })
        }))
    : Effect.succeedNone

/**
 * Runs statements that change nothing, and fails if the table cannot be used. Succeeds if the database is down, because it may be up at the
 * first request.
 */
export const checkAccess = (
  name: string,
  statements: Effect.Effect<unknown, SessionStoreError>,
  advice: string
): Effect.Effect<void, SessionConfigError> =>
  statements.pipe(
    Effect.disconnect,
    Effect.timeoutOption("10 seconds"),
    Effect.matchEffect({
      onSuccess: () => Effect.void,
      onFailure: (error) => {
        const problem = problemOfAccess(error)
        return problem === undefined ? Effect.void : failing(
          problem.kind === "missing"
            ? `The table ${name} is missing (${problem.message}). Run "python manage.py migrate" in the Django project, and connect to its ` +
              `database. ${advice}`
            : problem.kind === "denied"
            ? `The table ${name} may not be used by this user of the database (${problem.message}). ${advice}`
            : `The database is read-only (${problem.message}). Connect to the primary, not to a replica; with SQLite, let this process ` +
              `write the file and its directory.`,
          "django-table-unusable"
        )
      }
    })
  )
