/**
 * The commands about the sessions of Django: `django check` and `django decode`.
 */
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { SessionConfigError } from "../../SessionConfigError.js"
import type { Report } from "../django/check.js"
import * as Check from "../django/check.js"
import type { Content } from "../django/content.js"
import * as DjangoMembers from "../django/members.js"
import * as Reader from "../django/reader.js"
import * as Signing from "../django/signing.js"
import * as Start from "../django/start.js"
import type { DatabaseUrl } from "./database.js"
import { client, explained, failed, fileOf, misconfigured, printable, reworded } from "./database.js"
import { jsonOption, print, table, time, timeOrNull } from "./output.js"
import { connection, integerBetween, kindOf } from "./store.js"

const salt = Options.text("salt").pipe(
  Options.withDefault(Signing.salts.sessionStore),
  Options.withDescription(`The salt of the signatures. Default: ${Signing.salts.sessionStore}.`)
)

const timeZone = Options.text("time-zone").pipe(
  Options.filterMap(
    (text) => Option.as(DateTime.zoneFromString(text), text),
    "--time-zone takes the name of a time zone, such as Europe/Paris."
  ),
  Options.optional,
  Options.withDescription("Django's TIME_ZONE, if its USE_TZ is false.")
)

const timeZoneOf = Option.match({
  onNone: () => ({}),
  onSome: (timeZone: string) => ({ timeZone })
})

/** The secrets. From the environment only: other users of the machine can read the arguments of a process. */
const secrets = Effect.mapError(
  Start.secretsConfig,
  () =>
    failed(
      "SECRET_KEY is not set: give Django's SECRET_KEY, and SECRET_KEY_FALLBACKS separated by commas, as environment variables.",
      "django-key-invalid",
      2
    )
)

/** The name of the setting that has a secret. */
const settingOf = (secret: number): string => secret === 0 ? "SECRET_KEY" : `SECRET_KEY_FALLBACKS[${secret - 1}]`

// Check

const check = Command.make("check", {
  url: connection.url,
  table: Options.text("table").pipe(
    Options.withDefault("django_session"),
    Options.withDescription("The table, with its schema if necessary. Default: django_session.")
  ),
  salt,
  timeZone,
  cookieAge: Options.integer("cookie-age").pipe(
    Options.optional,
    Options.withDescription("Django's SESSION_COOKIE_AGE in seconds. Default: derived from the sample.")
  ),
  sample: integerBetween("sample", 1, 100_000, 1000, "Sessions that are read."),
  json: jsonOption
}, ({ cookieAge, json, sample, salt, table, timeZone, url }) =>
  Effect.gen(function*() {
    const settings = yield* secrets
    if (kindOf(url) !== "sql") {
      return yield* failed(
        "Redis and files have no table of Django: give the URL of the SQL database of the Django project.",
        "database-url-invalid",
        2
      )
    }
    const layer = yield* databaseOf(url)
    const report = yield* Effect.provide(
      Check.run({
        ...settings,
        table,
        salt,
        sample,
        cookieAge: Option.getOrUndefined(cookieAge),
        ...timeZoneOf(timeZone)
      }),
      layer
    ).pipe(
      // Exit code 1, as for the other commands if their tables are missing.
      Effect.mapError((error) =>
        error instanceof SessionConfigError && error.help === "django-table-unusable" ? misconfigured(error, 1) : error
      )
    )
    const zone = Option.getOrElse(timeZone, () => "UTC")
    const problems = problemsOf(report, zone, Option.isSome(timeZone))
    yield* print(json, documentOf(report, zone, problems), textOf(report, zone, problems))
    const rejected = report.sample - report.usable
    if (rejected > 0) {
      return yield* failed(
        `DjangoEngine cannot use ${rejected} of ${report.sample} sessions: their visitors would be anonymous.`,
        "django-session-unreadable"
      )
    }
    if (hasWrongZone(report, Option.isSome(timeZone))) {
      return yield* failed(
        `Dates of Django are not in the zone ${zone}, so sessions would end at another time.`,
        "django-time-zone"
      )
    }
  }).pipe(explained(url), Effect.disconnect)).pipe(Command.withDescription(
    "Read sessions of Django's table, and report whether DjangoEngine can use them. Changes nothing. Variables: SECRET_KEY, SECRET_KEY_FALLBACKS."
  ))

/** The client of Django's database, whose file this program never creates. */
const databaseOf = (url: DatabaseUrl) =>
  Effect.mapError(client(url, false), (failure) =>
    failure.help === "store-missing"
      ? reworded(failure, `There is no file ${fileOf(url)}: give the database file of the Django project.`)
      : failure)

const hasWrongZone = ({ zone }: Report, isGiven: boolean): boolean =>
  Check.isContradicted(zone) || (isGiven ? zone.dates.withOffset : zone.dates.withoutOffset) > 0

/** The problems, each with what to do. */
const problemsOf = (report: Report, zone: string, isGiven: boolean): ReadonlyArray<string> => {
  const { invalidKeys, logins, members, unreadable, zone: { dates } } = report
  const when = (count: number, sentence: string) => count === 0 ? [] : [`${count} ${sentence}`]
  return [
    ...when(
      unreadable.signature,
      "without a signature of these secret keys and this salt: give older keys as SECRET_KEY_FALLBACKS. If there are none, Django's " +
        "SessionStore has another salt (--salt), or Django is older than 3.1."
    ),
    ...when(
      unreadable.pickle,
      "written by Django's PickleSerializer: set SESSION_SERIALIZER to django.contrib.sessions.serializers.JSONSerializer in Django, and " +
        "wait until they have expired, or let their users log in again."
    ),
    ...when(
      unreadable.payload,
      "signed, but without a JSON object of at most 1 MiB: look at them with \"effect-session django decode\"."
    ),
    ...when(unreadable.date, "without a date in expire_date: delete these rows."),
    ...when(
      invalidKeys,
      "with a key of another form than 8 to 40 letters, digits, hyphens and underscores: their users have to log in again."
    ),
    ...zoneProblemOf(report.zone, zone),
    ...isGiven
      ? when(
        dates.withOffset,
        "with an offset in _session_expiry, so Django's USE_TZ is true: leave out --time-zone, and timeZone of DjangoEngine."
      )
      : when(
        dates.withoutOffset,
        "without an offset in the date of _session_expiry, so Django's USE_TZ is false: give its TIME_ZONE as --time-zone, and as timeZone " +
          "of DjangoEngine."
      ),
    ...logins.total > 0 && logins.verified === undefined
      ? [
        "The table auth_user is missing or may not be read, so no login was verified: give DjangoEngine the option authHash."
      ]
      : [],
    ...members.size === 0 ? [] : [
      `Members with values that JavaScript cannot hold: ${
        membersText(members)
      }. DjangoEngine keeps their text; leave them out of the ` +
      "schema of the session."
    ]
  ]
}

const bases: Record<Report["zone"]["basis"], (cookieAge: number) => string> = {
  sessionExpiry: () => "the _session_expiry of the sessions",
  cookieAge: (cookieAge) => `a SESSION_COOKIE_AGE of ${cookieAge} seconds (--cookie-age gives another)`,
  frequentAge: (cookieAge) => `the most frequent age of ${cookieAge} seconds (--cookie-age gives SESSION_COOKIE_AGE)`
}

const zoneProblemOf = (found: Report["zone"], zone: string): ReadonlyArray<string> => {
  if (!Check.isContradicted(found)) return []
  const offsets = offsetsOf(found)
  const basis = bases[found.basis](found.cookieAge ?? 0)
  return [
    `expire_date is not in the zone ${zone}: by ${basis}, its offset is ${
      [
        ...offsets.map(([offset, count]) => `${offset} in ${sessions(count)}`),
        ...found.agreeing === 0 ? [] : [`and that of ${zone} in ${sessions(found.agreeing)}`]
      ].join(", ")
    }. ${
      offsets.every(([offset]) => offset === "+00:00")
        ? "Django's USE_TZ is true: leave out --time-zone, and timeZone of DjangoEngine."
        : "Django's USE_TZ is false: give its TIME_ZONE as --time-zone, and as timeZone of DjangoEngine."
    }`
  ]
}

const sessions = (count: number): string => count === 1 ? "1 session" : `${count} sessions`

const offsetsOf = ({ differing }: Report["zone"]): ReadonlyArray<readonly [offset: string, count: number]> =>
  Array.from(differing).sort(([a], [b]) => a - b).map(([quarters, count]) => [Check.offsetText(quarters), count])

/** The maximum number of names that are printed as text. */
const maxNames = 20

const membersText = (members: Report["members"]): string => {
  const names = Array.from(members).sort(([, a], [, b]) => b - a)
  const others = names.length - maxNames
  return names.slice(0, maxNames).map(([name, count]) => `${JSON.stringify(name)} in ${count}`).join(", ") +
    (others > 0 ? `, and ${others} others` : "")
}

const zoneText = (found: Report["zone"], zone: string): string => {
  const { agreeing, basis, cookieAge, differing, keepsMoments } = found
  if (keepsMoments) return "moments, as Postgres keeps them"
  if (Check.isContradicted(found)) return `taken for ${zone}, which is wrong: see below`
  if (agreeing === 0 || basis === "frequentAge") return `taken for ${zone}, and no session of the sample shows its zone`
  return `in ${zone}, by ${
    basis === "sessionExpiry" ? "the _session_expiry" : `a SESSION_COOKIE_AGE of ${cookieAge} seconds`
  } of ${sessions(agreeing)}${differing.size > 0 ? ", not of all" : ""}`
}

const textOf = (report: Report, zone: string, problems: ReadonlyArray<string>): string => {
  const { age, invalidKeys, logins, moved, readable, rows, sample, unreadable } = report
  const counts = (label: string, count: number) => count === 0 ? [] : [[label, String(count)] as const]
  return [
    table([
      ["alive", String(rows.current)],
      ["expired", String(rows.expired)],
      ["sample", String(sample)],
      ["readable", String(readable.reduce((sum, count) => sum + count, 0))],
      ...readable.map((count, secret) => [`  by ${settingOf(secret)}`, String(count)] as const),
      ...counts("without a valid signature", unreadable.signature),
      ...counts("pickled", unreadable.pickle),
      ...counts("without a JSON object", unreadable.payload),
      ...counts("without a date", unreadable.date),
      ...counts("with a key of another form", invalidKeys),
      ...counts("moved to another engine", moved),
      ["logins", String(logins.total)],
      ...logins.verified === undefined ? [["  valid", "not verified"] as const] : [
        ["  valid", String(logins.verified.valid)] as const,
        ...counts("  of an older password", logins.verified.invalid),
        ...counts("  of no active user", logins.verified.unknownUser)
      ],
      ["expire_date", zoneText(report.zone, zone)],
      ...age === undefined || Check.isContradicted(report.zone) ? [] : [
        [
          "most frequent age",
          `${age.seconds} seconds (${Duration.format(Duration.seconds(age.seconds))}) in ${age.sessions}`
        ] as const
      ]
    ]),
    ...problems.map(printable),
    ...sample === 0
      ? ["The table has no live session, so nothing was verified."]
      : report.usable === sample
      ? ["DjangoEngine can read every session of the sample."]
      : []
  ].join("\n")
}

const documentOf = (report: Report, zone: string, problems: ReadonlyArray<string>) => {
  const { age, invalidKeys, logins, members, moved, readable, rows, sample, unreadable, usable } = report
  return {
    current: rows.current,
    expired: rows.expired,
    sample,
    usable,
    moved,
    readable: readable.map((sessions, secret) => ({ key: settingOf(secret), sessions })),
    unreadable,
    invalidKeys,
    logins: { total: logins.total, verified: logins.verified ?? null },
    members: Object.fromEntries(members),
    zone: {
      assumed: report.zone.keepsMoments ? null : zone,
      basis: report.zone.basis,
      agreeing: report.zone.agreeing,
      differing: Object.fromEntries(offsetsOf(report.zone)),
      contradicted: Check.isContradicted(report.zone)
    },
    age: age ?? null,
    problems
  }
}

// Decode

const decode = Command.make("decode", {
  text: Args.text({ name: "session_data" }).pipe(
    Args.withDescription(
      "The column session_data of a row, the content of a session file, or with --salt a signed cookie."
    )
  ),
  salt,
  timeZone,
  showSecrets: Options.boolean("show-secrets").pipe(
    Options.withDescription("Also print the members that prove a login, a form or a new password.")
  ),
  json: jsonOption
}, ({ json, salt, showSecrets, text, timeZone }) =>
  Effect.gen(function*() {
    const { dates, signer } = yield* Effect.flatMap(
      secrets,
      (secrets) =>
        Effect.mapError(Start.formats({ ...secrets, salt, ...timeZoneOf(timeZone) }), (error) => misconfigured(error))
    )
    const content = yield* Reader.decode(signer, text.trim(), dates)
    if (Reader.isUnreadable(content)) {
      return yield* failed(`The session cannot be read. Its text ${content.reason}.`, "django-session-unreadable")
    }
    const data = DjangoMembers.join(showSecrets ? content.members : masked(content.members))
    const signedAt = content.verified.signedAt * 1000
    const key = settingOf(content.verified.secret)
    const isCompressed = text.trim().startsWith(".")
    yield* print(
      json,
      {
        signedAt: timeOrNull(signedAt),
        key,
        compressed: isCompressed,
        user: content.subject ?? null,
        expiry: expiryOf(content),
        data
      },
      [
        table([
          ["signed", time(signedAt)],
          ["by", key],
          ["compressed", isCompressed ? "yes" : "no"],
          ["user", content.subject ?? "-"],
          ["ends", endText(content)]
        ]),
        printable(data)
      ].join("\n")
    )
  })).pipe(Command.withDescription(
    "Verify the text of one session of Django, and print its data. Decodes JSON only. Variables: SECRET_KEY, SECRET_KEY_FALLBACKS."
  ))

/** The members with which a reader could act as the user. */
const secretMembers = new Set(["_auth_user_hash", "_csrftoken", "_password_reset_token"])

const masked = (members: DjangoMembers.Members): DjangoMembers.Members =>
  new Map(
    Array.from(members, ([name, source]) => [name, secretMembers.has(name) ? DjangoMembers.encode("(hidden)") : source])
  )

const expiryOf = ({ lifetime }: Content) => {
  switch (lifetime?._tag) {
    case undefined:
      return null
    case "Browser":
      return { browser: true }
    case "Inactivity":
      return { seconds: lifetime.millis / 1000 }
    case "Until":
      return { at: timeOrNull(lifetime.at) }
  }
}

const endText = ({ isAmbiguous, lifetime }: Content): string => {
  switch (lifetime?._tag) {
    case undefined:
      return "SESSION_COOKIE_AGE after the last save"
    case "Browser":
      return "with the browser session"
    case "Inactivity":
      return `${lifetime.millis / 1000} seconds after the last save`
    case "Until":
      return `${time(lifetime.at)}${isAmbiguous ? " (a date without an offset, taken for UTC: --time-zone)" : ""}`
  }
}

export const django = Command.make(
  "django",
  {},
  () => failed("A command is missing: django check or django decode.", "cli-usage", 2)
).pipe(
  Command.withSubcommands([check, decode]),
  Command.withDescription("Check and decode sessions of a live Django.")
)
