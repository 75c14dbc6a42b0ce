/**
 * The session engines of the shop: `npm start -- --engine sql|sqlite|mysql|redis|file|memory|cookie`. Each is a layer, and the
 * rest of the shop is independent of the choice.
 */
import { NodeContext } from "@effect/platform-node"
import { MysqlClient } from "@effect/sql-mysql2"
import { SqliteClient } from "@effect/sql-sqlite-node"
import type { MigrationError } from "@effect/sql/Migrator"
import type { SqlClient } from "@effect/sql/SqlClient"
import { Cause, Config, Data, Effect, Layer, Option, Redacted } from "effect"
import { FileStore, MemoryStore, StoredEngine } from "effect-session"
import * as CookieEngine from "effect-session/CookieEngine"
import * as Keyring from "effect-session/Keyring"
import * as RedisClient from "effect-session/RedisClient"
import * as RedisStore from "effect-session/RedisStore"
import type { SessionConfigError } from "effect-session/SessionConfigError"
import type { SessionEngine } from "effect-session/SessionEngine"
import type { SessionRevocation } from "effect-session/SessionRevocation"
import type { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import { Redis } from "ioredis"
import { mkdir } from "node:fs/promises"
import * as Path from "node:path"
import { parseArgs } from "node:util"
import * as Postgres from "./database.js"
import { EngineName } from "./frame.js"
import * as StoreCosts from "./StoreCosts.js"

export class UnknownEngine extends Data.TaggedError("UnknownEngine")<{ readonly message: string }> {}

export class SqliteFails extends Data.TaggedError("SqliteFails")<{ readonly message: string }> {}

export class MissingUrl extends Data.TaggedError("MissingUrl")<{ readonly message: string }> {}

/** Creates a data folder. */
const folder = (name: string) =>
  Effect.promise(async () => {
    const path = Path.join(Postgres.data, name)
    await mkdir(path, { recursive: true })
    return path
  })

/** The URL of a running server, from the environment. */
const urlOf = (variable: string, example: string) =>
  Effect.mapError(
    Config.redacted(Config.nonEmptyString(variable)),
    () => new MissingUrl({ message: `Set ${variable} to the URL of a running server, such as ${example}.` })
  )

const tables = <E>(client: Layer.Layer<SqlClient, E>) =>
  SqlStore.layer.pipe(Layer.provide(SqlMigrations.layer), Layer.provide(client))

const opened = Layer.unwrapEffect(
  Effect.map(folder("."), (path) => SqliteClient.layer({ filename: Path.join(path, "sessions.sqlite") }))
)

/** The driver throws if its install script has not run, or has run for another version of Node. */
const sqlite = Layer.catchAllCause(
  opened,
  (cause): Layer.Layer<Layer.Layer.Success<typeof opened>, Layer.Layer.Error<typeof opened> | SqliteFails> =>
    Option.match(Cause.dieOption(cause), {
      onNone: () => Layer.failCause(cause),
      onSome: (defect) => Layer.fail(new SqliteFails({ message: withoutDriver(defect) }))
    })
)

const withoutDriver = (defect: unknown) => {
  const [why = ""] = (defect instanceof Error ? defect.message : String(defect)).split(/\.?(?: Tried:)?\n/)
  return `SQLite cannot be used (${why}): if its driver was installed with --ignore-scripts, or for another version of ` +
    `Node, run \`npm rebuild\`.`
}

const mysql = Layer.unwrapEffect(
  Effect.map(urlOf("MYSQL_URL", "mysql://user:password@localhost/shop"), (url) => MysqlClient.layer({ url }))
)

const redis = Layer.scoped(
  RedisClient.RedisClient,
  Effect.gen(function*() {
    const url = yield* urlOf("REDIS_URL", "redis://localhost:6379")
    const client = yield* Effect.acquireRelease(
      Effect.sync(() => new Redis(Redacted.value(url), { autoResendUnfulfilledCommands: false }).on("error", () => {})),
      (client) => Effect.sync(() => client.disconnect())
    )
    return RedisClient.ioredis(client)
  })
)

const files = (name: string) =>
  Layer.provide(
    Layer.unwrapEffect(
      Effect.map(folder(name), (path) => FileStore.layer({ directory: Path.join(path, "sessions") }))
    ),
    NodeContext.layer
  )

/** The usual line is `Layer.provide(SqlEngine.layer)`. Here the engine and its store are separate, to count the calls. */
const stored = <E>(store: Layer.Layer<SessionStore, E>) =>
  StoredEngine.layer.pipe(Layer.provideMerge(StoreCosts.layer), Layer.provide(store))

/** The keys from the environment, which keep visitors logged in across restarts, or a new key for this process. */
const keys = Layer.unwrapEffect(Effect.map(
  Effect.flatMap(Effect.option(Keyring.config()), Option.match({ onNone: () => freshKeys, onSome: Effect.succeed })),
  Keyring.layer
))

/** The sessions are in sealed cookies. The store keeps one small entry for each, so that they can be listed and ended. */
const ledger = <E>(store: Layer.Layer<SessionStore, E>) =>
  CookieEngine.layerLedger.pipe(
    Layer.provideMerge(StoreCosts.layer),
    Layer.provide(store),
    Layer.provide(keys)
  )

const freshKeys = Effect.map(Keyring.generate({ id: "shop" }), (text) => [
  { id: "shop", secret: Redacted.make(Redacted.value(text).slice("shop:".length)) }
])

/** The account page and the limit need `SessionRevocation`. The plain `CookieEngine.layer` has none, so it does not compile here. */
type Provided = SessionEngine | SessionRevocation | StoreCosts.StoreCosts

type Engine = Layer.Layer<Provided, Problem>

/** Errors of starting an engine. */
export type Problem =
  | Layer.Layer.Error<typeof Postgres.layer>
  | Layer.Layer.Error<typeof sqlite>
  | Layer.Layer.Error<typeof mysql>
  | Layer.Layer.Error<typeof redis>
  | Layer.Layer.Error<ReturnType<typeof files>>
  | MigrationError
  | SessionConfigError
  | SessionStoreError

const engines = {
  sql: () => stored(tables(Postgres.layer)),
  sqlite: () => stored(tables(sqlite)),
  mysql: () => stored(tables(mysql)),
  redis: () => stored(Layer.provide(RedisStore.layer, redis)),
  file: () => stored(files("files")),
  memory: () => stored(MemoryStore.layer),
  cookie: () => ledger(files("ledger"))
} satisfies Readonly<Record<string, () => Engine>>

const isName = (name: string): name is keyof typeof engines => name in engines

/** The engine selected on the command line, and its name. */
export const chosen = Effect.suspend(() => {
  const { values } = parseArgs({ options: { engine: { type: "string", default: "sql" } }, strict: false })
  const name = String(values.engine)
  if (!isName(name)) {
    return new UnknownEngine({ message: `There is no engine "${name}": take ${Object.keys(engines).join(", ")}.` })
  }
  const engine: Engine = engines[name]()
  return Effect.succeed(Layer.merge(engine, Layer.succeed(EngineName, name)))
})
