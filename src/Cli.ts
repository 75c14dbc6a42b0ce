/**
 * The command line: `effect-session migrate | clear-expired | stats | show | revoke | copy | generate-key`.
 *
 * @since 0.2.0
 */
import * as Args from "@effect/cli/Args"
import type * as CliApp from "@effect/cli/CliApp"
import * as Command from "@effect/cli/Command"
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as Options from "@effect/cli/Options"
import * as ValidationError from "@effect/cli/ValidationError"
import * as Terminal from "@effect/platform/Terminal"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { copy } from "./internal/cli/copy.js"
import type { DatabaseUrl } from "./internal/cli/database.js"
import { client, CliFailure, dialectOf, explained, printable } from "./internal/cli/database.js"
import { kindOf, namesOption, namespaceOption, urlOption, withStore } from "./internal/cli/store.js"
import * as Keyring from "./Keyring.js"
import * as SessionId from "./SessionId.js"
import { SessionMaintenance } from "./SessionMaintenance.js"
import * as SessionReaper from "./SessionReaper.js"
import type { SessionRecord } from "./SessionRecord.js"
import type { Store } from "./SessionStore.js"
import * as SqlMigrations from "./SqlMigrations.js"
import type { TableNames } from "./SqlStore.js"

/**
 * The exit code of the program: 0 done, 1 failed, 2 invalid arguments, 3 not found.
 *
 * @since 0.6.0
 * @category models
 */
export type ExitCode = 0 | 1 | 2 | 3

/**
 * Runs a command line (`process.argv`) and returns the exit code. Writes results to the console's `log`, and one sentence about a failure to its
 * `error`. Never fails.
 *
 * @since 0.2.0
 * @category running
 */
export const run = (argv: ReadonlyArray<string>): Effect.Effect<ExitCode, never, CliApp.CliApp.Environment> =>
  Effect.gen(function*() {
    const console = yield* Console.consoleWith(Effect.succeed)
    const { isTTY } = yield* Terminal.Terminal
    const plain = !(yield* isTTY)
    const outcome = program(dashedIdLast(argv)).pipe(
      Effect.as<ExitCode>(0),
      Effect.catchAll((error) => {
        const { exitCode, message } = ValidationError.isValidationError(error) ? misuse(error, argv) : error
        return Effect.as(console.error(message), exitCode)
      }),
      Effect.catchAllDefect(() => Effect.as(console.error("The command line failed; this is a bug of it."), 1 as const))
    )
    // The parser prints its errors itself, in colours. They are printed above instead, in the form of the other errors.
    return yield* Effect.withConsole(outcome, {
      ...console,
      error: () => Effect.void,
      log: (...args) => console.log(...args.map((arg) => plain && typeof arg === "string" ? withoutColours(arg) : arg))
    })
  }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.logfmtLogger))))

// Commands

const connection = {
  url: urlOption(
    "database-url",
    "DATABASE_URL",
    "postgres:// or mysql://user:password@host/database, sqlite:path, redis://host, or file:directory."
  ),
  names: namesOption()
}

const session = {
  ...connection,
  namespace: namespaceOption,
  id: Args.text({ name: "id" }).pipe(
    // The message does not repeat the value, which may be a token.
    Args.mapEffect((id) =>
      Option.match(SessionId.parse(id), {
        onNone: () => Effect.fail(HelpDoc.p("A session id has 22 characters: letters, digits, \"-\" and \"_\".")),
        onSome: Effect.succeed
      })
    ),
    Args.withDescription("The public id of a session, as lists and logs show it.")
  )
}

const migrate = Command.make("migrate", {
  ...connection,
  print: Options.boolean("print").pipe(
    Options.withDescription("Print the SQL and do nothing: no connection is made.")
  ),
  partitions: Options.integer("partitions").pipe(
    Options.optional,
    Options.withDescription("Postgres: the number of partitions of the table of sessions, by the hash of the key.")
  )
}, ({ names, partitions, print, url }) =>
  kindOf(url) !== "sql"
    ? Console.log("There is nothing to migrate: Redis and files have no tables.")
    : print
    ? dialectOf(url).pipe(
      Effect.flatMap((dialect) => SqlMigrations.print(dialect, tables(names, partitions))),
      Effect.flatMap((sql) => Console.log(sql.trimEnd())),
      explained(url)
    )
    : SqlMigrations.run(tables(names, partitions)).pipe(
      Effect.flatMap((applied) =>
        Console.log(
          applied.length === 0
            ? "The tables are up to date."
            : applied.map(([id, name]) => `Applied ${String(id).padStart(4, "0")}_${name}.`).join("\n")
        )
      ),
      connected(url, true)
    )).pipe(Command.withDescription("Create or upgrade the tables. Safe to run again."))

const clearExpired = Command.make("clear-expired", {
  ...connection,
  dryRun: Options.boolean("dry-run").pipe(Options.withDescription("Count the expired sessions, and delete nothing."))
}, ({ dryRun, names, url }) =>
  withStore(url, names, (store, now) =>
    dryRun
      ? Effect.flatMap(
        store.count(now),
        ({ current, expired }) => Console.log(`${expired} expired would be deleted, ${current} current kept.`)
      )
      : Effect.gen(function*() {
        const deleted = yield* removeAll(store)
        const { current, expired } = yield* store.count(now)
        yield* Console.log(`${deleted} expired deleted, ${current} current kept.`)
        if (expired > 0) yield* Console.log(`${expired} expired left: another process holds or deletes them.`)
      }))).pipe(Command.withDescription("Delete the sessions that have expired, in batches."))

const stats = Command.make(
  "stats",
  connection,
  ({ names, url }) =>
    withStore(url, names, (store, now) =>
      Effect.flatMap(
        store.count(now),
        ({ current, expired }) => Console.log(table([["current", String(current)], ["expired", String(expired)]]))
      ))
).pipe(Command.withDescription("Count the sessions, current and expired, of all namespaces."))

const show = Command.make("show", {
  ...session,
  data: Options.boolean("data").pipe(Options.withDescription("Also print the data of the session."))
}, ({ data, id, names, namespace, url }) =>
  withStore(url, names, (store, now) =>
    Effect.flatMap(
      store.find(namespace, id, now),
      Option.match({
        onNone: () => notFound,
        onSome: (record) => Console.log(table([...metadata(record), ...data ? [["data", record.data] as const] : []]))
      })
    ))).pipe(Command.withDescription("Print the public metadata of one session."))

const revoke = Command.make(
  "revoke",
  session,
  ({ id, names, namespace, url }) =>
    withStore(url, names, (store) =>
      Effect.flatMap(
        store.revoke(namespace, id),
        (found) => found ? Console.log("The session is revoked.") : notFound
      ))
).pipe(Command.withDescription("End one session at once."))

const generateKey = Command.make("generate-key", {
  id: Options.text("id").pipe(Options.optional, Options.withDescription("1 to 8 letters and digits; random if absent."))
}, ({ id }) =>
  Keyring.generate(Option.match(id, { onNone: () => ({}), onSome: (id) => ({ id }) })).pipe(
    Effect.mapError(({ problem }) => new CliFailure({ exitCode: 2, message: problem })),
    Effect.flatMap((key) => Console.log(Redacted.value(key)))
  )).pipe(Command.withDescription("Print a new key for SESSION_KEYS, which seals session cookies: id:secret."))

const program = Command.run(
  Command.make(
    "effect-session",
    {},
    () => new CliFailure({ exitCode: 2, message: "A command is missing; --help lists them." })
  ).pipe(
    Command.withSubcommands([migrate, clearExpired, stats, show, revoke, copy, generateKey]),
    Command.withDescription("Manages the tables, sessions and keys of effect-session.")
  ),
  { name: "effect-session", version: "0.5.0", executable: "effect-session" }
)

// Connecting

const tables = (names: TableNames, partitions: Option.Option<number>): SqlMigrations.SqlMigrationsOptions => ({
  ...names,
  ...Option.match(partitions, { onNone: () => ({}), onSome: (partitions) => ({ partitions }) })
})

const connected = (url: DatabaseUrl, create: boolean) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  client(url, create).pipe(
    Effect.flatMap((layer) => Effect.provide(effect, layer)),
    explained(url),
    Effect.disconnect
  )

const notFound = new CliFailure({ exitCode: 3, message: "There is no such session in this namespace." })

// Work

/** Deletes all expired records. Shows progress on a TTY. */
const removeAll = (store: Store) =>
  Effect.gen(function*() {
    const terminal = yield* Terminal.Terminal
    const watched = yield* terminal.isTTY
    const progress = (text: string) => watched ? Effect.ignore(terminal.display(text)) : Effect.void
    let deleted = 0
    const onBatch = (removed: number) => progress(`\r${deleted += removed} deleted …`)
    // No time limit: the user can interrupt it.
    return yield* Effect.ensuring(SessionReaper.sweep({ budget: "20 days", onBatch }), progress("\r\u001b[K"))
  }).pipe(Effect.provideService(SessionMaintenance, store))

// Text

const metadata = (record: SessionRecord): ReadonlyArray<readonly [label: string, value: string]> => [
  ["namespace", record.namespace],
  ["id", record.id],
  ["subject", record.subject ?? "-"],
  ["version", String(record.version)],
  ["schema version", String(record.schemaVersion)],
  ["created", time(record.createdAt)],
  ["authenticated", time(record.authenticatedAt)],
  ["modified", time(record.modifiedAt)],
  ["last seen", time(record.lastSeenAt)],
  ["expires", time(record.expiry.at)],
  ["deadline", time(record.expiry.deadline)]
]

const table = (rows: ReadonlyArray<readonly [label: string, value: string]>): string => {
  const width = Math.max(...rows.map(([label]) => label.length))
  return rows.map(([label, value]) => `${label.padEnd(width)}  ${printable(value)}`).join("\n")
}

const time = (millis: number | undefined): string => {
  if (millis === undefined) return "-"
  const date = new Date(millis)
  return Number.isNaN(date.getTime()) ? String(millis) : date.toISOString()
}

/** The error of invalid arguments. It repeats names of options only, because values may contain a password or a token. */
const misuse = (error: ValidationError.ValidationError, argv: ReadonlyArray<string>): CliFailure => {
  const message = withoutColours(HelpDoc.toAnsiText(error.error)).replace(/\s+/g, " ").trim()
  const repeated = argv.some((arg) => message.includes(`'${arg}'`) && !/^--[a-z-]{1,20}$/.test(arg))
  const missing = [...message.matchAll(/Expected to find option: '--([a-z-]+)'/g)].map(([, name = ""]) => name)
  // The parser also reports an option as missing if another argument made it overlook the option.
  const overlooked = missing.some((name) => argv.some((arg) => arg === `--${name}` || arg.startsWith(`--${name}=`)))
  return new CliFailure({
    exitCode: 2,
    message: message === "" || message.includes("://") || repeated || overlooked
      ? "An argument is wrong or too many; --help lists what there is."
      : missing.length === 0
      ? message
      : missing.map((name) => `Neither --${name} nor ${variables[name]} is given.`).join(" ")
  })
}

/** The required options, and the variables that replace them. */
const variables: Readonly<Record<string, string>> = {
  "database-url": "DATABASE_URL",
  from: "FROM_DATABASE_URL",
  namespace: "SESSION_NAMESPACE",
  to: "TO_DATABASE_URL"
}

const withoutColours = (text: string): string => text.replace(/\u001b\[[0-9;]*m/g, "")

/** Moves ids that begin with "-" to the end, so that they are not parsed as options. */
const dashedIdLast = (argv: ReadonlyArray<string>): ReadonlyArray<string> => {
  const dashed = argv.filter((arg) => arg.startsWith("-") && Option.isSome(SessionId.parse(arg)))
  return dashed.length === 0 || argv.includes("--")
    ? argv
    : [...argv.filter((arg) => !dashed.includes(arg)), "--", ...dashed]
}
