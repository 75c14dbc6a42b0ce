/**
 * The command line: `effect-session migrate | clear-expired | stats | list | find | show | revoke | explain | copy | generate-key |
 * django check | django decode`.
 *
 * @since 0.2.0
 */
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
import { client, type CliFailure, dialectOf, explained, failed, sentenceOf } from "./internal/cli/database.js"
import { django } from "./internal/cli/django.js"
import { jsonOption, print, Screen, table } from "./internal/cli/output.js"
import { explain, find, list, revoke, show } from "./internal/cli/sessions.js"
import { connection, kindOf, withStore } from "./internal/cli/store.js"
import { withHelp } from "./internal/help.js"
import * as Keyring from "./Keyring.js"
import * as SessionId from "./SessionId.js"
import { SessionMaintenance } from "./SessionMaintenance.js"
import * as SessionReaper from "./SessionReaper.js"
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
 * Runs a command line (`process.argv`) and returns the exit code. Writes results to the console's `log`, and one sentence about a failure
 * to its `error`. Never fails.
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
        const failure = ValidationError.isValidationError(error) ? misuse(error, argv) : error
        return Effect.as(console.error(sentenceOf(failure)), failure.exitCode)
      }),
      Effect.catchAllDefect(() =>
        Effect.as(console.error(withHelp("The command line failed; this is a bug of it.", "cli-bug")), 1 as const)
      )
    )
    // The parser prints its errors itself, in colours. They are printed above instead, in the form of the other errors.
    return yield* Effect.withConsole(outcome, {
      ...console,
      error: () => Effect.void,
      log: (...args) => console.log(...args.map((arg) => plain && typeof arg === "string" ? withoutColours(arg) : arg))
    })
  }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.logfmtLogger))))

// Commands

const migrate = Command.make("migrate", {
  ...connection,
  json: jsonOption,
  print: Options.boolean("print").pipe(
    Options.withDescription("Print the SQL and do nothing: no connection is made.")
  ),
  audit: Options.boolean("audit").pipe(Options.withDescription("Also create the audit table of SqlAudit.")),
  partitions: Options.integer("partitions").pipe(
    Options.optional,
    Options.withDescription("Postgres: the number of partitions of the table of sessions, by the hash of the key.")
  )
}, ({ audit, json, names, partitions, print: printOnly, url }) => {
  const options = tables(names, partitions, audit)
  return kindOf(url) !== "sql"
    ? print(
      json,
      printOnly ? { sql: "" } : { applied: [] },
      "There is nothing to migrate: Redis and files have no tables."
    )
    : printOnly
    ? dialectOf(url).pipe(
      Effect.flatMap((dialect) => SqlMigrations.print(dialect, options)),
      Effect.flatMap((sql) => print(json, { sql }, sql.trimEnd())),
      explained(url)
    )
    : SqlMigrations.run(options).pipe(
      Effect.flatMap((applied) =>
        print(
          json,
          { applied: applied.map(([id, name]) => ({ id, name })) },
          applied.length === 0
            ? "The tables are up to date."
            : applied.map(([id, name]) => `Applied ${String(id).padStart(4, "0")}_${name}.`).join("\n")
        )
      ),
      connected(url, true)
    )
}).pipe(Command.withDescription("Create or upgrade the tables. Safe to run again."))

const clearExpired = Command.make("clear-expired", {
  ...connection,
  json: jsonOption,
  dryRun: Options.boolean("dry-run").pipe(Options.withDescription("Count the expired sessions, and delete nothing."))
}, ({ dryRun, json, names, url }) =>
  withStore(url, names, (store, now) =>
    Effect.gen(function*() {
      const deleted = dryRun ? 0 : yield* removeAll(store)
      const { current, expired } = yield* store.count(now)
      yield* print(
        json,
        { deleted, current, expired },
        dryRun
          ? `${expired} expired would be deleted, ${current} current kept.`
          : `${deleted} expired deleted, ${current} current kept.${
            expired > 0 ? `\n${expired} expired left: another process holds or deletes them.` : ""
          }`
      )
    }))).pipe(Command.withDescription("Delete the sessions that have expired, in batches."))

const stats = Command.make(
  "stats",
  { ...connection, json: jsonOption },
  ({ json, names, url }) =>
    withStore(
      url,
      names,
      (store, now) =>
        Effect.flatMap(store.count(now), ({ current, expired }) =>
          print(json, { current, expired }, table([["current", String(current)], ["expired", String(expired)]])))
    )
).pipe(Command.withDescription("Count the sessions, current and expired, of all namespaces."))

const generateKey = Command.make("generate-key", {
  id: Options.text("id").pipe(
    Options.optional,
    Options.withDescription("1 to 8 letters and digits; random if absent.")
  ),
  json: jsonOption
}, ({ id, json }) =>
  Keyring.generate(Option.match(id, { onNone: () => ({}), onSome: (id) => ({ id }) })).pipe(
    Effect.mapError(({ problem }) => failed(problem, "keyring-invalid", 2)),
    Effect.flatMap((key) => print(json, { key: Redacted.value(key) }, Redacted.value(key)))
  )).pipe(Command.withDescription("Print a new key for SESSION_KEYS, which seals session cookies: id:secret."))

const program = Command.run(
  Command.make(
    "effect-session",
    {},
    () => failed("A command is missing; --help lists them.", "cli-usage", 2)
  ).pipe(
    Command.withSubcommands([
      migrate,
      clearExpired,
      stats,
      list,
      find,
      show,
      revoke,
      explain,
      copy,
      generateKey,
      django
    ]),
    Command.withDescription("Manages the tables, sessions and keys of effect-session.")
  ),
  { name: "effect-session", version: "0.6.0", executable: "effect-session" }
)

// Connecting

const tables = (
  names: TableNames,
  partitions: Option.Option<number>,
  audit: boolean
): SqlMigrations.SqlMigrationsOptions => ({
  ...names,
  audit,
  ...Option.match(partitions, { onNone: () => ({}), onSome: (partitions) => ({ partitions }) })
})

const connected = (url: DatabaseUrl, create: boolean) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  client(url, create).pipe(
    Effect.flatMap((layer) => Effect.provide(effect, layer)),
    explained(url),
    Effect.disconnect
  )

// Work

/** Deletes all expired records. Shows progress if stderr is a terminal. */
const removeAll = (store: Store) =>
  Effect.gen(function*() {
    const { isTTY, write } = yield* Screen
    const progress = (text: string) => isTTY ? Effect.sync(() => write(text)) : Effect.void
    let deleted = 0
    const onBatch = (removed: number) => progress(`\r${deleted += removed} deleted …`)
    // No time limit: the user can interrupt it.
    return yield* Effect.ensuring(SessionReaper.sweep({ budget: "20 days", onBatch }), progress("\r\u001b[K"))
  }).pipe(Effect.provideService(SessionMaintenance, store))

// Errors

/** The error of invalid arguments. It repeats names of options only, because values may contain a password or a token. */
const misuse = (error: ValidationError.ValidationError, argv: ReadonlyArray<string>): CliFailure => {
  const message = withoutColours(HelpDoc.toAnsiText(error.error)).replace(/\s+/g, " ").trim()
  const repeated = argv.some((arg) => message.includes(`'${arg}'`) && !/^--[a-z-]{1,20}$/.test(arg))
  const missing = [...message.matchAll(/Expected to find option: '--([a-z-]+)'/g)].map(([, name = ""]) => name)
  // The parser also reports an option as missing if another argument made it overlook the option.
  const overlooked = missing.some((name) => argv.some((arg) => arg === `--${name}` || arg.startsWith(`--${name}=`)))
  return failed(
    message === "" || message.includes("://") || repeated || overlooked
      ? "An argument is wrong or too many; --help lists what there is."
      : missing.length === 0
      ? message
      : missing.map((name) =>
        variables[name] === undefined ? `--${name} is missing.` : `Neither --${name} nor ${variables[name]} is given.`
      ).join(" "),
    "cli-usage",
    2
  )
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
