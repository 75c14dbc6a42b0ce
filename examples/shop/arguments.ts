/**
 * The command line of the shop.
 */
import { Data, Effect } from "effect"
import { parseArgs } from "node:util"

export class WrongUsage extends Data.TaggedError("WrongUsage")<{ readonly message: string }> {}

const engines = {
  sql: "Postgres: an embedded one in .data, or the one at DATABASE_URL (default)",
  sqlite: "a SQLite database in .data",
  mysql: "MySQL or MariaDB at MYSQL_URL",
  redis: "Redis or Valkey at REDIS_URL",
  file: "files in .data",
  memory: "memory: sessions end when the shop closes",
  cookie: "sealed cookies, with a ledger of files in .data; keys from SESSION_KEYS"
}

export type EngineName = keyof typeof engines

const isEngine = (name: string): name is EngineName => Object.hasOwn(engines, name)

export const usage = `npm start -- [--engine <name>]

Opens a small tea shop on this machine. Ctrl-C closes it.

Engines:
${Object.entries(engines).map(([name, what]) => `  ${name.padEnd(14)}${what}`).join("\n")}

Variables:
  PORT          the port, 0 for a free one (default 3000)
  DATABASE_URL  postgres://user:password@localhost/shop
  MYSQL_URL     mysql://user:password@localhost/shop
  REDIS_URL     redis://localhost:6379
  SESSION_KEYS  the keys of the engine cookie, one "id:secret" per line or comma (default: a new one at each start)
`

const wrong = (problem: string) =>
  new WrongUsage({ message: `${problem}: \`npm start -- --help\` lists the options and engines.` })

/** The engine that the command line selects, or `"help"`. */
export const parsed: Effect.Effect<EngineName | "help", WrongUsage> = Effect.flatMap(
  Effect.try({
    try: () =>
      parseArgs({ options: { engine: { type: "string", default: "sql" }, help: { type: "boolean", short: "h" } } })
        .values,
    // The first sentence of the message; the rest explains a rule that does not help here.
    catch: (error) => wrong(error instanceof Error ? (error.message.split(/\.\s/)[0] ?? error.message) : String(error))
  }),
  ({ engine, help }) =>
    help === true
      ? Effect.succeed("help" as const)
      : isEngine(engine)
      ? Effect.succeed(engine)
      : wrong(`There is no engine "${engine}"`)
)
