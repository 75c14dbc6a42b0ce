/**
 * The session engines of the shop. Each is a layer, and the rest of the shop is independent of the choice.
 */
import { NodeContext } from "@effect/platform-node"
import { MysqlClient } from "@effect/sql-mysql2"
import { SqliteClient } from "@effect/sql-sqlite-node"
import type { MigrationError } from "@effect/sql/Migrator"
import type { SqlClient } from "@effect/sql/SqlClient"
import { Cause, Config, Console, Data, Effect, Layer, Option, Redacted } from "effect"
import { FileEngine, FileStore, MemoryEngine, StoredEngine } from "effect-session"
import * as CookieEngine from "effect-session/CookieEngine"
import * as Keyring from "effect-session/Keyring"
import * as RedisClient from "effect-session/RedisClient"
import * as RedisStore from "effect-session/RedisStore"
import type { SessionConfigError } from "effect-session/SessionConfigError"
import type { SessionEngine } from "effect-session/SessionEngine"
import type { SessionRevocation } from "effect-session/SessionRevocation"
import type { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import * as SqlEngine from "effect-session/SqlEngine"
import * as SqlMigrations from "effect-session/SqlMigrations"
import { Redis } from "ioredis"
import * as Path from "node:path"
import type { EngineName as Name } from "./arguments.js"
import * as Postgres from "./database.js"
import { folder } from "./folder.js"
import { EngineName } from "./frame.js"

export class SqliteFails extends Data.TaggedError("SqliteFails")<{ readonly message: string }> {}

export class MissingUrl extends Data.TaggedError("MissingUrl")<{ readonly message: string }> {}

/** The URL of a running server, from the environment. */
const urlOf = (variable: string, example: string) =>
  Effect.tap(
    Effect.mapError(
      Config.redacted(Config.nonEmptyString(variable)),
      () => new MissingUrl({ message: `Set ${variable} to the URL of a running server, such as ${example}.` })
    ),
    Console.log(`Connecting to ${variable} …`)
  )

const tables = <E>(client: Layer.Layer<SqlClient, E>) =>
  SqlEngine.layer.pipe(
    Layer.provide(Layer.provide(SqlMigrations.layer, Layer.effectDiscard(Console.log("Creating tables …")))),
    Layer.provide(client)
  )

const opened = Layer.unwrapEffect(Effect.gen(function*() {
  const filename = Path.join(yield* folder("."), "sessions.sqlite")
  yield* Console.log(`Opening SQLite at ${filename} …`)
  return SqliteClient.layer({ filename })
}))

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

/** The directory of a file store. */
const directoryIn = (name: string) => Effect.map(folder(name), (path) => ({ directory: Path.join(path, "sessions") }))

/** The keys from the environment, which keep visitors logged in across restarts, or a new key for this process. */
const keys = Layer.unwrapEffect(Effect.map(
  Effect.flatMap(Effect.option(Keyring.config()), Option.match({ onNone: () => freshKeys, onSome: Effect.succeed })),
  Keyring.layer
))

/** The sessions are in sealed cookies. The store keeps one small entry for each, so that they can be listed and ended. */
const ledger = <E>(store: Layer.Layer<SessionStore, E>) =>
  CookieEngine.layerLedger.pipe(
    Layer.provide(store),
    Layer.provide(keys)
  )

const freshKeys = Effect.map(Keyring.generate({ id: "shop" }), (text) => [
  { id: "shop", secret: Redacted.make(Redacted.value(text).slice("shop:".length)) }
])

/** The account page and the limit need `SessionRevocation`. The plain `CookieEngine.layer` has none, so it does not compile here. */
type Provided = SessionEngine | SessionRevocation

type Engine = Layer.Layer<Provided, Problem>

/** Errors of starting an engine. */
export type Problem =
  | Layer.Layer.Error<typeof Postgres.layer>
  | Layer.Layer.Error<typeof sqlite>
  | Layer.Layer.Error<typeof mysql>
  | Layer.Layer.Error<typeof redis>
  | Effect.Effect.Error<ReturnType<typeof folder>>
  | Layer.Layer.Error<ReturnType<typeof FileEngine.layer>>
  | MigrationError
  | SessionConfigError
  | SessionStoreError

const engines: Readonly<Record<Name, () => Engine>> = {
  sql: () => tables(Postgres.layer),
  sqlite: () => tables(sqlite),
  mysql: () => tables(mysql),
  redis: () => StoredEngine.layer.pipe(Layer.provide(RedisStore.layer), Layer.provide(redis)),
  file: () => Layer.provide(Layer.unwrapEffect(Effect.map(directoryIn("files"), FileEngine.layer)), NodeContext.layer),
  memory: () => MemoryEngine.layer,
  cookie: () =>
    ledger(Layer.provide(Layer.unwrapEffect(Effect.map(directoryIn("ledger"), FileStore.layer)), NodeContext.layer))
}

/** An engine, and its name. */
export const layer = (name: Name): Layer.Layer<Provided | EngineName, Problem> =>
  Layer.merge(engines[name](), Layer.succeed(EngineName, name))
